"""Default names of studies."""

import re
from pathlib import Path


def default_name(source: str, folder: Path | None) -> str:
    """The name of a study whose file does not have one: folder and file name, because many files are ``study.yaml``."""
    parts = [_slug(Path(source).stem)]
    if folder is not None and _slug(folder.name) not in {"", parts[0]}:
        parts.insert(0, _slug(folder.name))
    return "-".join(part for part in parts if part)[:63].rstrip("._-") or "study"


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("._-")
