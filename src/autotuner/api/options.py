"""Keyword options that several functions of the API share."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

ManifestForm = Literal["kubernetes", "serving-runtime", "inference-service", "compose"]
ExportForm = Literal["json", "csv", "older"]


class ManifestOptions(TypedDict, total=False):
    """Options of a manifest, with names and values as in ``autotuner best``; None means not given."""

    name: str | None
    namespace: str | None
    image: str | None
    server: str | None
    port: int | None
    pvc: str | None
    cache_pvc: str | None
    hub_token_secret: str | None
    env_secret: Sequence[str] | None
    runtime: str | None
    model: str | None
    start_from: str | Path | None
    model_format: str | None
    model_framework: str | None
    architecture: str | None
    quantization: str | None
    size_range: str | None
