"""Read half of the store: one class per table, over any connection that executes SQL.

Statements use ``:name`` parameters, which both ``sqlite3`` and SQLAlchemy accept, so commands that only read results
share all queries and row decoders with the process that writes them. Nothing here imports SQLAlchemy. Each call is one
statement and sees what was committed when it began.
"""

from collections.abc import Callable, Collection
from types import TracebackType
from typing import Protocol, Self

from autotuner.store.records import EventRecord, LeaseRecord, OwnerRecord, QueueEntry, StudyRecord, WorkerRecord
from autotuner.store.rows import (
    FINISHED,
    Row,
    UnreadableError,
    read_deployers,
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
from autotuner.study.spec import PluginSpec, StudySpec
from autotuner.study.trial import Trial

MAX_NUMBER = 2**31 - 1
"""Largest trial number that the database's integer column can hold."""
STUDY_COLUMNS = (
    "name, digest, spec, source, state, summary, owner_id, search_s, world, beginning, created_at, updated_at"
)
"""All columns of a record. The evidence is left out: it may be large, and only the search reads it."""
_SELECT = f"SELECT {STUDY_COLUMNS} FROM studies"  # noqa: S608 - constants
FINISHED_SQL = ", ".join(f"'{state}'" for state in FINISHED)
"""States of trials with a result, as a list in SQL."""


class Source(Protocol):
    """A database connection that answers queries."""

    url: str
    """For display; a password is masked."""
    dialect: str
    """``sqlite`` or ``postgresql``."""

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

    def row(self, name: str) -> Row | None:
        """The row of :meth:`get` as it is stored, which two readers can compare; None if the study is not stored."""
        rows = self._source.rows(f"{_SELECT} WHERE name = :name", name=storable(name))
        return rows[0] if rows else None

    def all(self, on_unreadable: Callable[[UnreadableError], None] = lambda _: None) -> list[StudyRecord]:
        """All studies by name. A row that cannot be read is left out; ``on_unreadable`` gets its error."""
        found = list[StudyRecord]()
        for row in self._source.rows(f"{_SELECT} ORDER BY name"):
            try:
                found.append(read_study(row))
            except UnreadableError as error:
                on_unreadable(error)
        return found

    def deployers(self) -> list[PluginSpec]:
        """The deployers of all studies, each with its settings, once. Those that cannot be read are left out."""
        rows = self._source.rows("SELECT DISTINCT deployers FROM studies WHERE deployers IS NOT NULL")
        found = {one.model_dump_json(): one for row in rows for one in read_deployers(row["deployers"])}
        return list(found.values())

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

    def stored(self, names: Collection[str]) -> set[str]:
        """Which of these studies are stored."""
        values = {f"n{index}": name for index, name in enumerate(sorted(names))}
        places = ", ".join(f":{key}" for key in values) or "NULL"
        rows = self._source.rows(f"SELECT name FROM studies WHERE name IN ({places})", **values)  # noqa: S608
        return {row["name"] for row in rows}

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

    def texts(self, study: str) -> dict[int, str]:
        """A study's trials as they are stored, by number and in order."""
        rows = self._source.rows("SELECT number, trial FROM trials WHERE study = :study ORDER BY number", study=study)
        return {int(row["number"]): row["trial"] for row in rows}

    def texts_since(self, study: str, seq: int, others: Collection[int]) -> dict[int, str]:
        """As :meth:`texts`, of the trials with an event after ``seq``, and of ``others``."""
        also = "".join(f", {int(number)}" for number in others)
        query = (
            "SELECT number, trial FROM trials WHERE study = :study AND (number IN "  # noqa: S608 - numbers
            "(SELECT trial FROM events WHERE study = :study AND seq > :seq AND trial IS NOT NULL) "
            f"OR number IN (-1{also})) ORDER BY number"
        )
        return {int(row["number"]): row["trial"] for row in self._source.rows(query, study=study, seq=seq)}

    def hosts(self, study: str) -> frozenset[str]:
        """Hosts of the runs that finished a study's trials."""
        query = (
            "SELECT DISTINCT host FROM owners WHERE id IN "  # noqa: S608 - constants
            f"(SELECT owner_id FROM trials WHERE study = :study AND state IN ({FINISHED_SQL}))"
        )
        return frozenset(row["host"] for row in self._source.rows(query, study=study))

    def finished_counts(self) -> dict[str, int]:
        """Trials with a result, by study; studies without any are left out."""
        query = f"SELECT study, count(*) AS n FROM trials WHERE state IN ({FINISHED_SQL}) GROUP BY study"  # noqa: S608
        return {row["study"]: int(row["n"]) for row in self._source.rows(query)}


class EventQueries:
    """Reads ``events``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def read(self, study: str | None, *, after: int = 0, limit: int = 1000) -> list[EventRecord]:
        """Events of a study (None: of all studies) with a ``seq`` above ``after``, in order. Raises
        :class:`UnreadableError`."""
        return [read_event(row) for row in self.rows(study, after=after, limit=limit)]

    def rows(self, study: str | None, *, after: int, limit: int) -> list[Row]:
        """The rows of :meth:`read` as they are stored."""
        if study is None:
            return self.rows_after(after, (), limit=limit)
        query = "SELECT * FROM events WHERE study = :study AND seq > :after ORDER BY seq LIMIT :count"
        return self._source.rows(query, study=study, after=after, count=limit)

    def rows_after(self, after: int, others: Collection[int], *, limit: int) -> list[Row]:
        """Rows of all studies above ``after``, and those with these numbers, which are not above it, in order."""
        newer = "SELECT * FROM events WHERE seq > :after ORDER BY seq LIMIT :count"
        if not others:
            return self._source.rows(newer, after=after, count=limit)
        # One condition with OR would make SQLite read the whole table.
        numbers = ", ".join(str(int(number)) for number in others)
        query = (
            f"SELECT * FROM events WHERE seq IN ({numbers}) UNION ALL SELECT * FROM ({newer}) AS newer "  # noqa: S608
            "ORDER BY seq LIMIT :count"
        )
        return self._source.rows(query, after=after, count=limit)

    def newest_numbers(self, count: int) -> list[int]:
        """Numbers of the newest events of all studies, in order."""
        query = "SELECT seq FROM events ORDER BY seq DESC LIMIT :count"
        return sorted(int(row["seq"]) for row in self._source.rows(query, count=count))

    def last(self, study: str, kind: str) -> EventRecord | None:
        """The newest event of a kind; None if there is none."""
        query = "SELECT * FROM events WHERE study = :study AND kind = :kind ORDER BY seq DESC LIMIT 1"
        rows = self._source.rows(query, study=study, kind=kind)
        return read_event(rows[0]) if rows else None

    def of_trial(self, study: str, trial: int, kind: str) -> list[EventRecord]:
        """A trial's events of a kind, in order."""
        query = "SELECT * FROM events WHERE study = :study AND trial = :trial AND kind = :kind ORDER BY seq"
        return [read_event(row) for row in self._source.rows(query, study=study, trial=trial, kind=kind)]

    def last_seq(self, study: str | None = None) -> int:
        """``seq`` of the last event of a study (None: of all studies); 0 if there is none."""
        if study is None:
            rows = self._source.rows("SELECT max(seq) AS seq FROM events")
        else:
            rows = self._source.rows("SELECT max(seq) AS seq FROM events WHERE study = :study", study=study)
        return int(rows[0]["seq"] or 0)


class OwnerQueries:
    """Reads ``owners``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def all(self) -> list[OwnerRecord]:
        """All owners, those that have ended included."""
        return [read_owner(row) for row in self._source.rows("SELECT * FROM owners")]

    def holding(self) -> list[OwnerRecord]:
        """The owners that hold a study; some may have died."""
        query = "SELECT * FROM owners WHERE id IN (SELECT owner_id FROM studies)"
        return [read_owner(row) for row in self._source.rows(query)]


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
            "SELECT study, state, priority, labels, submitted_at, submitted_by, worker_id, taken_at, attempts, "
            "refusals FROM queue ORDER BY state, priority DESC, submitted_at, study"
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
        self.source = source
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
        return self.source.clock()

    def close(self) -> None:
        """Closes all connections."""
        self.source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
