"""Read half of the store: one class per table, over any connection that executes SQL.

Statements use ``:name`` parameters, which both ``sqlite3`` and SQLAlchemy accept, so commands that only read results
share all queries and row decoders with the process that writes them. Nothing here imports SQLAlchemy. Each call is one
statement and sees what was committed when it began.
"""

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

from autotuner.store.records import EventRecord, LeaseRecord, OwnerRecord, QueueEntry, StudyRecord, WorkerRecord
from autotuner.store.rows import (
    FINISHED,
    Row,
    UnreadableError,
    read_event,
    read_evidence,
    read_owner,
    read_queue,
    read_study,
    read_trial,
    read_worker,
    storable,
)
from autotuner.study.search.evidence import NO_EVIDENCE, Evidence
from autotuner.study.spec import StudySpec
from autotuner.study.trial import Trial

MAX_NUMBER = 2**31 - 1
"""Largest trial number that the database's integer column can hold."""
_SELECT = (
    "SELECT name, digest, spec, source, state, summary, owner_id, search_s, world, beginning, created_at, updated_at "
    "FROM studies"
)
"""All columns of a record. The evidence is left out: it may be large, and only the search reads it."""
_FINISHED = ", ".join(f"'{state}'" for state in FINISHED)


class Source(Protocol):
    """A database connection that answers queries."""

    url: str
    """For display; a password is masked."""

    def rows(self, query: str, **values: object) -> list[Row]:
        """The rows of one SELECT, in a transaction of its own. Raises :class:`StoreError`."""
        ...

    def clock(self) -> float:
        """Seconds since the epoch by the database's clock, which all machines that share a server agree on."""
        ...

    def close(self) -> None:
        """Closes all connections."""
        ...


class StudyQueries:
    """Reads ``studies``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def get(self, name: str) -> StudyRecord | None:
        """One study; None if it is not stored. Raises :class:`UnreadableError`."""
        rows = self._source.rows(f"{_SELECT} WHERE name = :name", name=storable(name))
        return read_study(rows[0]) if rows else None

    def all(self, on_unreadable: Callable[[UnreadableError], None] = lambda _: None) -> list[StudyRecord]:
        """All studies by name. A row that cannot be read is left out; ``on_unreadable`` gets its error."""
        found = list[StudyRecord]()
        for row in self._source.rows(f"{_SELECT} ORDER BY name"):
            try:
                found.append(read_study(row))
            except UnreadableError as error:
                on_unreadable(error)
        return found

    def evidence(self, name: str) -> Evidence:
        """What earlier studies had measured when this one began. Raises :class:`UnreadableError`."""
        rows = self._source.rows("SELECT name, evidence FROM studies WHERE name = :name", name=storable(name))
        return read_evidence(rows[0]) if rows else NO_EVIDENCE

    def draft(self, name: str) -> StudySpec | None:
        """What the study will be when it is started again; None: what it is now."""
        rows = self._source.rows("SELECT draft FROM studies WHERE name = :name", name=storable(name))
        return StudySpec.model_validate_json(rows[0]["draft"]) if rows and rows[0]["draft"] else None

    def holder(self, name: str) -> tuple[bool, str | None]:
        """(whether a study of this name is stored, readable or not; the id of its owner)."""
        rows = self._source.rows("SELECT owner_id FROM studies WHERE name = :name", name=storable(name))
        return bool(rows), rows[0]["owner_id"] if rows else None

    def stop_requested(self, name: str) -> bool:
        """Whether a user has requested the study to stop."""
        rows = self._source.rows("SELECT stop_requested FROM studies WHERE name = :name", name=name)
        return bool(rows and rows[0]["stop_requested"])


class TrialQueries:
    """Reads ``trials``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def all(self, study: str) -> list[Trial]:
        """A study's trials by number. Raises :class:`UnreadableError`."""
        rows = self._source.rows("SELECT trial FROM trials WHERE study = :study ORDER BY number", study=study)
        return [read_trial(study, row["trial"]) for row in rows]

    def get(self, study: str, number: int) -> Trial | None:
        """One trial; None if the study has no trial with this number. Raises :class:`UnreadableError`."""
        if not 0 <= number <= MAX_NUMBER:
            return None
        query = "SELECT trial FROM trials WHERE study = :study AND number = :number"
        rows = self._source.rows(query, study=study, number=number)
        return read_trial(study, rows[0]["trial"]) if rows else None

    def finished_counts(self) -> dict[str, int]:
        """Trials with a result, by study; studies without any are left out."""
        query = f"SELECT study, count(*) AS n FROM trials WHERE state IN ({_FINISHED}) GROUP BY study"  # noqa: S608
        return {row["study"]: int(row["n"]) for row in self._source.rows(query)}


class EventQueries:
    """Reads ``events``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self, study: str, *, after: int = 0, limit: int = 1000) -> list[EventRecord]:
        """A study's events with a ``seq`` above ``after``, in order."""
        query = "SELECT * FROM events WHERE study = :study AND seq > :after ORDER BY seq LIMIT :count"
        return [read_event(row) for row in self._source.rows(query, study=study, after=after, count=limit)]

    def last(self, study: str, kind: str) -> EventRecord | None:
        """The newest event of a kind; None if there is none."""
        query = "SELECT * FROM events WHERE study = :study AND kind = :kind ORDER BY seq DESC LIMIT 1"
        rows = self._source.rows(query, study=study, kind=kind)
        return read_event(rows[0]) if rows else None

    def of_trial(self, study: str, trial: int, kind: str) -> list[EventRecord]:
        """A trial's events of a kind, in order."""
        query = "SELECT * FROM events WHERE study = :study AND trial = :trial AND kind = :kind ORDER BY seq"
        return [read_event(row) for row in self._source.rows(query, study=study, trial=trial, kind=kind)]

    def last_seq(self, study: str) -> int:
        """``seq`` of the study's last event; 0 if there is none."""
        rows = self._source.rows("SELECT max(seq) AS seq FROM events WHERE study = :study", study=study)
        return int(rows[0]["seq"] or 0)


class OwnerQueries:
    """Reads ``owners``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def all(self) -> list[OwnerRecord]:
        """All owners, those that have ended included."""
        return [read_owner(row) for row in self._source.rows("SELECT * FROM owners")]


class LeaseQueries:
    """Reads ``leases``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def all(self) -> list[LeaseRecord]:
        """All resources that are held."""
        return [LeaseRecord.model_validate(row) for row in self._source.rows("SELECT * FROM leases ORDER BY resource")]


class QueueQueries:
    """Reads ``queue``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def all(self) -> list[QueueEntry]:
        """All studies in the queue: the waiting ones in the order in which they will be taken, then those that run."""
        query = (
            "SELECT study, state, priority, labels, submitted_at, submitted_by, worker_id, taken_at, attempts "
            "FROM queue ORDER BY state, priority DESC, submitted_at, study"
        )
        return read_queue(self._source.rows(query))

    def get(self, study: str) -> QueueEntry | None:
        """One study's entry; None if it is not in the queue."""
        return next((entry for entry in self.all() if entry.study == study), None)


class WorkerQueries:
    """Reads ``workers``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def all(self) -> list[WorkerRecord]:
        """All workers, those that have ended included, the newest first."""
        query = "SELECT * FROM workers ORDER BY started_at DESC, id"
        return [read_worker(row) for row in self._source.rows(query)]


class ReadStore:
    """A store for reading, as in ``store.trials.all(name)``; a context manager that closes it."""

    studies: StudyQueries
    trials: TrialQueries
    events: EventQueries
    owners: OwnerQueries
    leases: LeaseQueries
    queue: QueueQueries
    workers: WorkerQueries

    def __init__(self, source: Source) -> None:
        self._source = source
        self.url = source.url
        """For display; a password is masked."""
        self.studies = StudyQueries(source)
        self.trials = TrialQueries(source)
        self.events = EventQueries(source)
        self.owners = OwnerQueries(source)
        self.leases = LeaseQueries(source)
        self.queue = QueueQueries(source)
        self.workers = WorkerQueries(source)

    def clock(self) -> float:
        """Seconds since the epoch by the database's clock."""
        return self._source.clock()

    def close(self) -> None:
        """Closes all connections."""
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
