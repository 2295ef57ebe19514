"""Store: one open database and its tables."""

from pathlib import Path
from typing import Self

from autotuner.store.access import AuditLog, TokenTable
from autotuner.store.connection import missing_file
from autotuner.store.database import Database
from autotuner.store.events import EventLog
from autotuner.store.leases import LeaseTable
from autotuner.store.owners import OwnerTable, WorkerTable
from autotuner.store.paths import default_url
from autotuner.store.presets.table import PresetTable
from autotuner.store.queries import ReadStore
from autotuner.store.queue import QueueTable
from autotuner.store.studies import StudyTable
from autotuner.store.trials import TrialTable
from autotuner.store.webhooks.table import WebhookTable


class Store(ReadStore):
    """An open database with its tables: ``store.studies``, ``store.trials``, ``store.events``, ``store.owners``,
    ``store.leases``, ``store.queue``, ``store.workers``, ``store.tokens``, ``store.audit``, ``store.webhooks``,
    ``store.presets``. Every call on a table is one transaction. Make one with :meth:`open`."""

    studies: StudyTable
    trials: TrialTable
    events: EventLog
    owners: OwnerTable
    leases: LeaseTable
    queue: QueueTable
    workers: WorkerTable

    def __init__(self, url: str | Path | Database) -> None:
        self.database = url if isinstance(url, Database) else Database(url)
        super().__init__(self.database)
        self.webhooks = WebhookTable(self.database)
        self.events = EventLog(self.database, self.webhooks)
        self.trials = TrialTable(self.database, self.events)
        self.studies = StudyTable(self.database, self.trials, self.events)
        self.owners = OwnerTable(self.database)
        self.leases = LeaseTable(self.database)
        self.queue = QueueTable(self.database, self.owners, self.events, self.webhooks)
        self.workers = WorkerTable(self.database, self.webhooks)
        self.tokens = TokenTable(self.database)
        self.audit = AuditLog(self.database)
        self.presets = PresetTable(self.database)

    @classmethod
    def open(cls, url: str | None = None) -> Self:
        """Opens (and creates or migrates, where needed) the store at a SQLAlchemy URL; None: the default one.
        Raises :class:`StoreError`."""
        return cls(url or default_url())

    def held(self, study: str, owner_id: str) -> Self:
        """The same store for the owner of a study: every write first checks, in its own transaction, that this owner
        still holds the study.

        A process that was paused may have been taken for dead, and its study taken over, by the time it wakes up. Its
        writes then raise ``StudyBusyError``, whatever it believes. The id of an owner is used only once, which makes it
        the fencing token.

        Args:
            study: Name of the study.
            owner_id: The owner that holds it.

        Returns:
            A view of this store; closing this one closes both.
        """
        return type(self)(self.database.held(study, owner_id))

    def confirm_held(self) -> None:
        """Raises ``StudyBusyError`` if this store is for the owner of a study that another owner holds by now."""
        with self.database.writing():
            pass

    def wait_for_database(self, seconds: float) -> None:
        """Makes every later call wait up to this many seconds for a database server that does not answer, such as one
        that restarts."""
        self.database.patience_s = seconds

    @classmethod
    def describe(cls, url: str | None = None) -> str:
        """One line about the store at a URL; a file that does not exist is not created. Raises :class:`StoreError`."""
        if waiting := missing_file(url or default_url()):
            return f"{waiting}, will be created by the first run"
        with cls.open(url) as store:
            count = len(store.studies.all())
            return f"{store.url}, {count} {'study' if count == 1 else 'studies'}"

    @classmethod
    def exists(cls, url: str | None = None) -> bool:
        """Whether there is a store to read; a database server counts as one."""
        return not missing_file(url or default_url())
