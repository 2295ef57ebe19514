"""Processes that run studies, and workers, which start such processes."""

from sqlalchemy import Connection, delete, insert, update

from autotuner.store.database import Database, clock
from autotuner.store.queries import OwnerQueries, WorkerQueries
from autotuner.store.records import WorkerRecord
from autotuner.store.rows import labels_text
from autotuner.store.tables import owners, workers
from autotuner.store.webhooks.records import Notification
from autotuner.store.webhooks.table import WebhookTable
from autotuner.study.owner import Owner

_KEPT_S = 7 * 86_400.0
"""Seconds for which a worker is listed after its last heartbeat."""


class OwnerTable(OwnerQueries):
    """Owners and their heartbeats. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def register(self, owner: Owner, now: float | None = None, *, lease_s: float | None = None) -> None:
        """Adds a running process with its first heartbeat at ``now``; None: the database's clock.

        Args:
            owner: The process.
            now: Seconds since the epoch.
            lease_s: Seconds of silence after which it counts as dead where its process cannot be seen; None: the
                default.
        """
        with self._database.writing() as db:
            self.register_in(db, owner, clock(db) if now is None else now, lease_s=lease_s)

    def register_in(self, db: Connection, owner: Owner, now: float, *, lease_s: float | None) -> None:
        """As :meth:`register`, inside a transaction."""
        db.execute(insert(owners).values(**owner.model_dump(), heartbeat_at=now, lease_s=lease_s))

    def adopt(self, owner: Owner) -> bool:
        """Replaces the process of an owner that another process has registered for this one. False if the owner was
        marked as ended meanwhile."""
        values = {**owner.model_dump(exclude={"id"})}
        with self._database.writing() as db:
            living = (owners.c.id == owner.id) & owners.c.ended_at.is_(None)
            return db.execute(update(owners).where(living).values(**values, heartbeat_at=clock(db))).rowcount == 1

    def heartbeat(self, owner_id: str, now: float | None = None, *, pid: int | None = None) -> bool:
        """Records that the owner is alive. False if another process has marked it as ended because it seemed dead; its
        leases and trials may be gone.

        Args:
            owner_id: The owner.
            now: Seconds since the epoch; None: the database's clock.
            pid: Only while this is the owner's process.
        """
        with self._database.writing() as db:
            at = clock(db) if now is None else now
            living = (owners.c.id == owner_id) & owners.c.ended_at.is_(None)
            if pid is not None:
                living &= owners.c.pid == pid
            return db.execute(update(owners).where(living).values(heartbeat_at=at)).rowcount == 1

    def end(self, owner_id: str, now: float) -> None:
        """Marks an owner as ended."""
        with self._database.writing() as db:
            self.end_in(db, owner_id, now)

    def end_in(self, db: Connection, owner_id: str, now: float) -> None:
        """As :meth:`end`, inside a transaction. An owner that has ended keeps its time."""
        living = (owners.c.id == owner_id) & owners.c.ended_at.is_(None)
        db.execute(update(owners).where(living).values(ended_at=now))


class WorkerTable(WorkerQueries):
    """Workers and their heartbeats. Each call is one transaction. Only for display: what a worker holds is decided by
    the owners of its studies."""

    def __init__(self, database: Database, webhooks: WebhookTable) -> None:
        super().__init__(database)
        self._database = database
        self._webhooks = webhooks

    def register(self, worker: WorkerRecord) -> None:
        """Adds a worker, at the database's time, and forgets those that ended long ago."""
        values = {**worker.model_dump(), "labels": labels_text(worker.labels)}
        with self._database.writing() as db:
            now = clock(db)
            db.execute(delete(workers).where(workers.c.heartbeat_at < now - _KEPT_S))
            db.execute(insert(workers).values(**{**values, "started_at": now, "heartbeat_at": now}))

    def heartbeat(self, worker_id: str, state: str) -> None:
        """Records that the worker is alive, and its state."""
        with self._database.writing() as db:
            values = {"heartbeat_at": clock(db), "state": state}
            db.execute(update(workers).where(workers.c.id == worker_id).values(**values))

    def mark_lost(self, worker: WorkerRecord, notification: Notification) -> bool:
        """Stores that a worker is lost, and tells the webhooks, unless it has sent a heartbeat since, or another server
        was faster. Returns whether it did. The next heartbeat makes it an ordinary worker again."""
        seen = (workers.c.id == worker.id) & (workers.c.heartbeat_at == worker.heartbeat_at)
        with self._database.writing() as db:
            marked = update(workers).where(seen & (workers.c.state != "lost")).values(state="lost")
            if db.execute(marked).rowcount != 1:
                return False
            self._webhooks.notify_in(db, [notification])
        return True
