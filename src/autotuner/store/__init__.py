"""The database: tables, migrations, queries; request-level data lies as columnar files beside it."""

from autotuner.store.engine import StoreError
from autotuner.store.records import LeaseRecord, OwnerRecord, StudyRecord
from autotuner.store.store import Store, UnreadableError

__all__ = ["LeaseRecord", "OwnerRecord", "Store", "StoreError", "StudyRecord", "UnreadableError"]
