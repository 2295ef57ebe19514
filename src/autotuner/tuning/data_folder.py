"""Preflight check of the folder that holds logs, request records and the store."""

import os
import shutil

from autotuner.store.paths import data_home
from autotuner.study.check import Check

LEAST_FREE_BYTES = 100_000_000


def data_folder() -> Check:
    """Check of free space and permissions for logs and request records."""
    folder = data_home()
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    detail = f"{folder} ({free / 1e9:.1f} GB free)"
    remedy = "set AUTOTUNER_HOME to a folder with room that you may write"
    bad = not os.access(existing, os.W_OK | os.X_OK) or free < LEAST_FREE_BYTES
    return Check.fail("data folder", detail, remedy=remedy) if bad else Check.ok("data folder", detail)
