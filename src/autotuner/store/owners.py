"""Processes that run studies."""

from sqlalchemy import insert, update

from autotuner.store.database import Database, clock
from autotuner.store.queries import OwnerQueries
from autotuner.store.tables import owners
from autotuner.study.owner import Owner


class OwnerTable(OwnerQueries):
    """Owners and their heartbeats. Each call is one transaction."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def register(self, owner: Owner, now: float | None = None) -> None:
        """Adds a running process with its first heartbeat at ``now``; None: the database's clock."""
        with self._database.writing() as db:
            at = clock(db) if now is None else now
            db.execute(insert(owners).values(**owner.model_dump(), heartbeat_at=at))

    def heartbeat(self, owner_id: str, now: float | None = None) -> bool:
        """Records that the owner is alive. False if another process has marked it as ended because it seemed dead; its
        leases and trials may be gone."""
        with self._database.writing() as db:
            at = clock(db) if now is None else now
            living = (owners.c.id == owner_id) & owners.c.ended_at.is_(None)
            return db.execute(update(owners).where(living).values(heartbeat_at=at)).rowcount == 1

    def end(self, owner_id: str, now: float) -> None:
        """Marks an owner as ended."""
        with self._database.writing() as db:
            db.execute(update(owners).where(owners.c.id == owner_id).values(ended_at=now))
