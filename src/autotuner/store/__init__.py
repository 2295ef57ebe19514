"""The database: tables, migrations, queries; request-level data lies as columnar files beside it.

``Store`` is loaded at first use: commands that only look at results read by :mod:`autotuner.store.reader`, and need no
SQLAlchemy.
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
