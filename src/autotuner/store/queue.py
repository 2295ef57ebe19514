"""Queue of studies that wait for a worker.

Whoever runs a study holds the study's row under the id of an owner, whether a worker took it from the queue or a user
started it in a terminal, so the two cannot run it at the same time. The queue only adds which studies are to be run,
and in which order. Its entry stays while a worker runs the study: if the owner dies, another worker takes the study
over.
"""

import json
from collections.abc import Collection, Mapping

from sqlalchemy import Connection, RowMapping, delete, func, or_, select, update

from autotuner.errors import StudyBusyError
from autotuner.store.database import Database, clock, lock_study
from autotuner.store.events import EventLog
from autotuner.store.owners import OwnerTable
from autotuner.store.queries import QueueQueries
from autotuner.store.records import Job, QueueEntry, QueueState
from autotuner.store.rows import FINISHED, StoreError, labels_of, labels_text, refusals_of
from autotuner.store.tables import events, owners, queue, studies, trials, workers
from autotuner.store.webhooks.records import Notification
from autotuner.store.webhooks.table import WebhookTable
from autotuner.study.owner import Owner
from autotuner.study.spec import StudySpec

_STARTED = "study_started"
"""Kind of the event at the beginning of a run."""


class QueueTable(QueueQueries):
    """The queue. Each call is one transaction, which locks the study's row first."""

    def __init__(self, database: Database, owners: OwnerTable, events: EventLog, webhooks: WebhookTable) -> None:
        super().__init__(database)
        self._database = database
        self._owners = owners
        self._events = events
        self._webhooks = webhooks

    def add(
        self,
        spec: StudySpec,
        *,
        source: str,
        named: bool,
        priority: int,
        by: str,
        dead: Collection[str],
    ) -> bool:
        """Queues a stored study, or changes what is queued for it, which then keeps its place among those of its
        priority.

        Args:
            spec: The study, without secrets and without the settings of any machine.
            source: Where it came from.
            named: Whether the user chose its name.
            priority: Higher ones are taken first.
            by: Who submits it.
            dead: Owners that have ended.

        Returns:
            Whether it was not in the queue before.

        Raises:
            StudyBusyError: If it is running.
            StoreError: If it is not stored, or holds secrets, which must not be stored.
        """
        text = spec.model_dump_json()
        values = {
            "state": QueueState.QUEUED.value,
            "priority": priority,
            "labels": labels_text(spec.worker),
            "spec": text,
            "source": source,
            "named": int(named),
            "submitted_by": by,
            "attempts": 0,
            "progress": 0,
            "refusals": None,
        }
        with self._database.writing() as db:
            holder = lock_study(db, spec.name)["owner_id"]
            if self._alive(db, holder, dead):
                raise StudyBusyError.running(spec.name, f"stop it first: autotuner stop {spec.name}")
            db.execute(update(studies).where(studies.c.name == spec.name).values(stop_requested=0))
            new = {"study": spec.name, "submitted_at": clock(db), **values}
            if self._database.insert_new(db, queue, new):
                return True
            db.execute(update(queue).where(queue.c.study == spec.name).values(**values, worker_id=None, taken_at=None))
        return False

    def take(
        self, *, worker: str, owner: Owner, lease_s: float, labels: Mapping[str, str], dead: Collection[str]
    ) -> str | None:
        """Takes the next study that a worker may run: one that waits, or one whose owner has ended. That may be one
        whose owner ended before it saw a request to stop: whoever takes it records its end.

        Args:
            worker: Id of the worker.
            owner: A new owner, which holds the study from now on.
            lease_s: Seconds of silence after which that owner counts as dead.
            labels: The worker's labels.
            dead: Owners that have ended.

        Returns:
            The study's name; None if there is none for this worker.
        """
        for study, needed, worker_id, refusals in self._candidates(dead):
            if worker in refusals_of(refusals):
                continue
            if labels_of(needed).items() <= labels.items() and self._take(
                study, worker_id, worker=worker, owner=owner, lease_s=lease_s, dead=dead
            ):
                return study
        return None

    def _take(
        self, study: str, seen_with: str | None, *, worker: str, owner: Owner, lease_s: float, dead: Collection[str]
    ) -> bool:
        """Takes one study unless another worker was faster since it was seen with the worker ``seen_with``."""
        with self._database.writing() as db:
            row = self._locked(db, study, seen_with, dead)
            if row is None:
                return False
            now = clock(db)
            if row["owner_id"] is not None:
                self._owners.end_in(db, row["owner_id"], now)
            self._owners.register_in(db, owner, now, lease_s=lease_s)
            db.execute(update(studies).where(studies.c.name == study).values(owner_id=owner.id, updated_at=now))
            self._taken(db, study, worker, now)
            return True

    def job(self, study: str) -> Job:
        """What a worker runs for a study that it has taken. Raises :class:`StoreError` if it is not in the queue."""
        query = "SELECT spec, source, named, attempts FROM queue WHERE study = :study"
        rows = self._database.rows(query, study=study)
        if not rows:
            raise StoreError(f"study {study} is not in the queue")
        spec = StudySpec.model_validate_json(rows[0]["spec"])
        return Job.model_validate({**rows[0], "spec": spec})

    def refuse(self, study: str, why: str) -> None:
        """Stores that the worker that has a study cannot run it. It does not take the study again."""
        with self._database.writing() as db:
            lock_study(db, study)
            row = db.execute(select(queue.c.worker_id, queue.c.refusals).where(queue.c.study == study)).one()
            refusals = {**refusals_of(row.refusals), row.worker_id: why}
            db.execute(update(queue).where(queue.c.study == study).values(refusals=json.dumps(refusals)))

    def tell_waiting(self, seen: QueueEntry, kind: str, data: Mapping[str, object], notification: Notification) -> bool:
        """Stores an event that no worker can run a study, and tells the webhooks, unless that happened since the study
        was submitted or last ran, or a worker has taken it. Returns whether it did.

        Args:
            seen: The study in the queue.
            kind: Kind of the event.
            data: Its data.
            notification: The message.
        """
        study = seen.study
        here = queue.c.study == study
        with self._database.writing() as db:
            # Another server may be about to store the same event.
            db.execute(select(studies.c.name).where(studies.c.name == study).with_for_update())
            entry = db.execute(select(queue.c.worker_id, queue.c.submitted_at).where(here)).first()
            if entry is None or entry.worker_id != seen.worker_id:
                return False
            if self._told_waiting(db, study, kind, entry.submitted_at):
                return False
            self._events.append_in(db, study, kind, data, trial=None, at=notification.at)
            self._webhooks.notify_in(db, [notification])
        return True

    def _told_waiting(self, db: Connection, study: str, kind: str, submitted_at: float) -> bool:
        here = events.c.study == study
        told = (
            select(events.c.seq)
            .where(here & (events.c.kind == kind) & (events.c.at >= submitted_at))
            .order_by(events.c.seq.desc())
            .limit(1)
        )
        seq = db.execute(told).scalar()
        if seq is None:
            return False
        ran = select(events.c.seq).where(here & (events.c.kind == _STARTED) & (events.c.seq > seq)).limit(1)
        return db.execute(ran).first() is None

    def remove(self, study: str, *, dead: Collection[str]) -> bool:
        """Removes a study from the queue unless a worker runs it. Returns whether it was removed."""
        with self._database.writing() as db:
            holder = lock_study(db, study)["owner_id"]
            if self._alive(db, holder, dead):
                return False
            return db.execute(delete(queue).where(queue.c.study == study)).rowcount == 1

    def _candidates(self, dead: Collection[str]) -> list[tuple[str, str, str | None, str | None]]:
        """Studies that may be free, with the labels that they need, the worker that had them and the refusals, in the
        order in which they are taken. Only reads: workers ask every second."""
        query = (
            select(queue.c.study, queue.c.labels, queue.c.worker_id, queue.c.refusals)
            .join(studies, studies.c.name == queue.c.study)
            .outerjoin(owners, owners.c.id == studies.c.owner_id)
            .where(or_(studies.c.owner_id.is_(None), owners.c.ended_at.is_not(None), owners.c.id.in_(list(dead))))
            .order_by(queue.c.priority.desc(), queue.c.submitted_at, queue.c.study)
        )
        with self._database.reading() as db:
            return [(row.study, row.labels, row.worker_id, row.refusals) for row in db.execute(query)]

    def _locked(self, db: Connection, study: str, worker_id: str | None, dead: Collection[str]) -> RowMapping | None:
        """The study's row, locked, if it is still as :meth:`_candidates` saw it; None if another worker was faster."""
        row = (
            db.execute(select(studies.c.owner_id).where(studies.c.name == study).with_for_update(skip_locked=True))
            .mappings()
            .first()
        )
        if row is None:
            return None
        if self._alive(db, row["owner_id"], dead):
            return None
        still = db.execute(select(queue.c.worker_id).where(queue.c.study == study)).first()
        return row if still is not None and still.worker_id == worker_id else None

    def _taken(self, db: Connection, study: str, worker: str, now: float) -> None:
        done = select(func.count()).where((trials.c.study == study) & trials.c.state.in_(FINISHED))
        finished = int(db.execute(done).scalar_one())
        values: dict[str, object] = {
            "state": QueueState.RUNNING.value,
            "worker_id": worker,
            "taken_at": now,
            "progress": finished,
        }
        columns = (queue.c.attempts, queue.c.progress, queue.c.refusals)
        before = db.execute(select(*columns).where(queue.c.study == study)).one()
        values["attempts"] = before.attempts + 1 if finished <= before.progress else 1
        values["refusals"] = _refusals_of_living(db, before.refusals, now)
        db.execute(update(queue).where(queue.c.study == study).values(**values))

    def _alive(self, db: Connection, owner_id: str | None, dead: Collection[str]) -> bool:
        if owner_id is None or owner_id in dead:
            return False
        return db.execute(select(owners.c.ended_at).where(owners.c.id == owner_id)).scalar() is None


def _refusals_of_living(db: Connection, refusals: str | None, now: float) -> str | None:
    """The column without workers that are gone: a worker that is started again is another one."""
    known = refusals_of(refusals)
    if not known:
        return None
    alive = (workers.c.state != "ended") & (workers.c.heartbeat_at >= now - workers.c.lease_s)
    living = set(db.execute(select(workers.c.id).where(alive & workers.c.id.in_(list(known)))).scalars())
    kept = {worker: why for worker, why in known.items() if worker in living}
    return json.dumps(kept) if kept else None
