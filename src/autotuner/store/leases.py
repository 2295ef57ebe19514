"""Leases of resources that only one trial may hold at a time, among all processes that use the database."""

from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, delete, update

from autotuner.store.database import Database
from autotuner.store.queries import LeaseQueries
from autotuner.store.tables import leases


class LeaseTable(LeaseQueries):
    """Leases. Each call is one transaction: several resources are taken together or not at all."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database

    def take(
        self,
        resources: Sequence[str],
        count: int = 1,
        *,
        owner_id: str,
        study: str,
        trial: int,
        now: float,
        dead: Collection[str] = (),
    ) -> list[str]:
        """Takes ``count`` of the resources, the first ones that are free or held by an owner in ``dead``.

        Returns:
            The resources taken; empty, with nothing taken, if fewer than ``count`` are available.
        """
        row = {"owner_id": owner_id, "study": study, "trial": trial, "acquired_at": now}
        got: list[str] = []
        with self._database.writing() as db:
            for resource in resources:
                if len(got) < count and self._take(db, resource, row, dead):
                    got.append(resource)
            if len(got) < count:
                db.rollback()
                got = []
        return got

    def _take(self, db: Connection, resource: str, row: Mapping[str, object], dead: Collection[str]) -> bool:
        stale = (leases.c.resource == resource) & leases.c.owner_id.in_(list(dead))
        if db.execute(update(leases).where(stale).values(**row)).rowcount:
            return True
        return self._database.insert_new(db, leases, {"resource": resource, **row})

    def release(self, resource: str, owner_id: str) -> None:
        """Releases a resource if this owner holds it."""
        mine = (leases.c.resource == resource) & (leases.c.owner_id == owner_id)
        with self._database.writing() as db:
            db.execute(delete(leases).where(mine))

    def release_all(self, owner_id: str) -> None:
        """Releases everything that this owner holds."""
        with self._database.writing() as db:
            db.execute(delete(leases).where(leases.c.owner_id == owner_id))
