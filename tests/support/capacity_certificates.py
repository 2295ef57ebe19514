"""Capacity certificates as files."""

import json
from pathlib import Path
from typing import Any

from autotuner.tuning.capacity_session import CERTIFICATE, seal


def write_certificate(folder: Path, report: dict[str, Any]) -> None:
    """Writes a certificate with its digest, as whoever changes it would."""
    report["sha256"] = seal(json.dumps(report))
    (folder / CERTIFICATE).write_text(json.dumps(report))
