"""Keyword options that several functions of the API share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

ManifestForm = Literal["kubernetes", "serving-runtime", "inference-service", "compose"]
ReportForm = Literal["html", "json", "md"]
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


class ConnectionOptions(TypedDict, total=False):
    """How requests reach a running server, and what they contain for it."""

    model: str | None
    """Model name in requests; None: the server's first model."""
    api_key_env: str | None
    """Environment variable that holds the API key."""
    headers: Mapping[str, str] | Sequence[str]
    """Request headers, as a mapping or as ``Name: value`` strings; ``${VAR}`` is read from the
    environment."""
    ca_file: str | None
    """Certificates to trust (PEM) instead of the system's."""
    insecure: bool
    """Do not verify the server's certificate."""
    max_tokens_field: str
    """Request field that limits the length of the response."""
    workers: str | int
    """Processes that send the load; ``auto`` (default): as many as it needs and the machine has cores for."""
