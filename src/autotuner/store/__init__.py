"""Store of studies: tables, migrations and queries. Request records are columnar files beside the database.

``Store`` is imported on first use: commands that only read results use :mod:`autotuner.store.reader`, which does not
need SQLAlchemy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autotuner.store.queries import ReadStore
from autotuner.store.reader import open_to_read
from autotuner.store.records import LeaseRecord, OwnerRecord, StudyRecord
from autotuner.store.rows import StoreError, UnreadableError

if TYPE_CHECKING:
    from autotuner.store.store import Store

__all__ = [
    "LeaseRecord",
    "OwnerRecord",
    "ReadStore",
    "Store",
    "StoreError",
    "StudyRecord",
    "UnreadableError",
    "open_to_read",
]


def __getattr__(name: str) -> Any:
    if name == "Store":
        return import_module("autotuner.store.store").Store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
