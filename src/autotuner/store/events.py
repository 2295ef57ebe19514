"""Ordered event stream of each study."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, insert, update

from autotuner.store.database import Database, lock_study
from autotuner.store.queries import EventQueries
from autotuner.store.records import EventRecord
from autotuner.store.tables import events
from autotuner.store.webhooks.records import Notification
from autotuner.store.webhooks.table import WebhookTable


class EventLog(EventQueries):
    """Append-only events. The appending transaction locks the study's row, so ``seq`` grows in commit order: a reader
    that has seen an event has seen all earlier ones."""

    def __init__(self, database: Database, webhooks: WebhookTable) -> None:
        super().__init__(database)
        self._database = database
        self._webhooks = webhooks

    def append(
        self,
        study: str,
        kind: str,
        data: Mapping[str, object],
        *,
        trial: int | None = None,
        at: float,
        notifications: Sequence[Notification] = (),
    ) -> EventRecord:
        """Adds one event at the end of the stream, and messages about it for webhooks, in one transaction."""
        with self._database.writing() as db:
            lock_study(db, study)
            seq = self.append_in(db, study, kind, data, trial=trial, at=at)
            self._webhooks.notify_in(db, notifications)
        return EventRecord(seq=seq, at=at, study=study, trial=trial, kind=kind, data=data)

    def append_in(
        self, db: Connection, study: str, kind: str, data: Mapping[str, object], *, trial: int | None, at: float
    ) -> int:
        """Adds one event inside a transaction that holds the study's lock; returns its ``seq``."""
        row = {"study": study, "trial": trial, "at": at, "kind": kind, "data": self._database.json(data)}
        return int(db.execute(insert(events).values(**row).returning(events.c.seq)).scalar_one())

    def rename_study_in(self, db: Connection, study: str, new: str) -> None:
        """Moves a study's events to another name, inside a transaction."""
        db.execute(update(events).where(events.c.study == study).values(study=new))
