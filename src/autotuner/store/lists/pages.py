"""Pages of studies and trials: filtered, sorted and cut in SQL, whatever the size of the store.

As in :mod:`autotuner.store.queries`, statements use ``:name`` parameters, and nothing here imports SQLAlchemy.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from autotuner.store.lists.standing import CUT_OFF_SQL, placed, standing_sql, state_sql
from autotuner.store.queries import FINISHED_SQL, STUDY_COLUMNS, Source
from autotuner.store.rows import Row

STUDY_ORDERS = ("age", "name", "state", "gain", "launches")
_IN = 500
"""Names in one statement; databases limit its parameters."""
_ALL = 2**31 - 1


@dataclass(frozen=True)
class StudyQuery:
    """Which studies a page has."""

    order: str = "age"
    """One of :data:`STUDY_ORDERS`."""
    backward: bool = False
    """The other way round; studies without a gain come last all the same."""
    state: str | None = None
    """Only studies whose state, or standing (``queued``, ``cut off``), is this one."""
    standing: str | None = None
    """Only studies whose standing is this one."""
    engine: str | None = None
    match: str | None = None
    """Only names that match this pattern, with ``*`` and ``?``."""
    contains: str | None = None
    """Only names that contain this text, in upper or lower case."""
    limit: int | None = 100
    """None: all."""
    offset: int = 0
    living: Collection[str] = ()
    """Owners that are alive: their studies are running."""
    changes: Mapping[str, float | None] = field(default_factory=dict)
    """Changes against the default of studies without a stored answer, for the order by gain."""


@dataclass(frozen=True)
class TrialQuery:
    """Which trials a page has."""

    order: str = "number"
    """One of :data:`TRIAL_ORDERS`."""
    descending: bool = False
    state: str | None = None
    role: str | None = None
    feasible: bool | None = None
    cause: str | None = None
    limit: int = 100
    offset: int = 0
    running: bool = True
    """Whether a living process runs the study; otherwise its trials that have not ended are void."""


@dataclass(frozen=True)
class ListedStudy:
    """One study of a page."""

    row: Row
    """Its row as it is stored, which readers that have seen it before can compare."""
    launches: int
    """Trials with a result."""
    newest: Row | None
    """The row of its last ``trial_proposed`` event, unless it is done."""

    @property
    def name(self) -> str:
        """The study's name."""
        return str(self.row["name"])


class StudyList:
    """Reads pages of ``studies``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def page(self, query: StudyQuery) -> tuple[list[ListedStudy], int]:
        """The studies of a page, and the number of studies on all pages."""
        values: dict[str, object] = {}
        where = self._where(query, values)
        stood = self._stood(query, values)
        counted = f"{stood} SELECT count(*) AS n FROM stood{where}"  # noqa: S608 - values are parameters
        total = int(self._source.rows(counted, **values)[0]["n"])
        order = self._order(query, values)
        values |= {"most": _ALL if query.limit is None else query.limit, "first": query.offset}
        chosen = f"{stood} SELECT name FROM stood{where} ORDER BY {order} LIMIT :most OFFSET :first"  # noqa: S608
        names = [row["name"] for row in self._source.rows(chosen, **values)]
        return self.read(names), total

    def standings(self, living: Collection[str]) -> dict[str, int]:
        """The number of all studies by standing; ``living`` are the owners that are alive."""
        values: dict[str, object] = {}
        stood = self._stood(StudyQuery(living=living), values)
        counted = f"{stood} SELECT standing, count(*) AS n FROM stood GROUP BY standing"  # noqa: S608
        return {row["standing"]: int(row["n"]) for row in self._source.rows(counted, **values)}

    def engines(self) -> list[str]:
        """The engines of all studies, in order."""
        rows = self._source.rows("SELECT DISTINCT engines FROM studies")
        return sorted({kind for row in rows for kind in (row["engines"] or "").split(",") if kind})

    def unanswered(self) -> list[str]:
        """Studies without a stored answer: those that run, were killed, or have not begun."""
        return [row["name"] for row in self._source.rows("SELECT name FROM studies WHERE ending IS NULL")]

    def read(self, names: Sequence[str]) -> list[ListedStudy]:
        """Studies by name, without those that are not stored."""
        selected = f"SELECT {STUDY_COLUMNS}, ending FROM studies WHERE name"  # noqa: S608 - constants
        rows = {row["name"]: row for row in self._for(names, selected)}
        counted = self._for(
            names,
            "SELECT study, count(*) AS n FROM trials WHERE study",
            f"AND state IN ({FINISHED_SQL}) GROUP BY study",
        )
        counts = {row["study"]: int(row["n"]) for row in counted}
        open_ones = [name for name in names if name in rows and rows[name]["state"] != "done"]
        newest = self._for(
            open_ones,
            "SELECT * FROM events WHERE seq IN (SELECT max(seq) FROM events WHERE kind = 'trial_proposed' AND study",
            "GROUP BY study)",
        )
        events = {row["study"]: row for row in newest}
        return [ListedStudy(rows[name], counts.get(name, 0), events.get(name)) for name in names if name in rows]

    def _for(self, names: Sequence[str], query: str, end: str = "") -> list[Row]:
        """The rows of ``query IN (names) end``."""
        found = list[Row]()
        for first in range(0, len(names), _IN):
            values: dict[str, object] = {}
            places = placed("n", names[first : first + _IN], values)
            found += self._source.rows(f"{query} IN ({places}) {end}", **values)
        return found

    def _stood(self, query: StudyQuery, values: dict[str, object]) -> str:
        """A table with the standing of each study."""
        launches = "0"
        join = ""
        if query.order == "launches":
            launches = "coalesce(l.n, 0)"
            join = (
                "LEFT JOIN (SELECT study, count(*) AS n FROM trials "  # noqa: S608
                f"WHERE state IN ({FINISHED_SQL}) GROUP BY study) l ON l.study = s.name"
            )
        state = state_sql(query.living, values)
        return (
            f"WITH stood AS (SELECT s.name, {state} AS state, s.engines, s.maximized, s.change, "  # noqa: S608
            f"s.updated_at, {launches} AS launches, {standing_sql(query.living, values)} AS standing "
            f"FROM studies s LEFT JOIN queue q ON q.study = s.name AND q.state = 'queued' {join})"
        )

    def _where(self, query: StudyQuery, values: dict[str, object]) -> str:
        terms = []
        if query.state is not None:
            terms.append("(standing = :state OR state = :state)")
            values["state"] = query.state
        if query.standing is not None:
            terms.append("standing = :standing")
            values["standing"] = query.standing
        if query.engine is not None:
            terms.append("replace(engines, :engine, '') <> engines")
            values["engine"] = f",{query.engine},"
        if query.match is not None:
            terms.append(self._matching(query.match, values))
        if query.contains:
            terms.append("replace(lower(name), :contains, '') <> lower(name)")
            values["contains"] = query.contains.lower()
        return f" WHERE {' AND '.join(terms)}" if terms else ""

    def _matching(self, pattern: str, values: dict[str, object]) -> str:
        if "[" in pattern:  # sets of characters, whose notation differs everywhere
            names = (row["name"] for row in self._source.rows("SELECT name FROM studies"))
            found = [name for name in names if fnmatchcase(name, pattern)]
            return f"name IN ({placed('m', found, values)})" if found else "1 = 0"
        sqlite = self._source.dialect == "sqlite"
        values["match"] = pattern if sqlite else regex_of(pattern)
        return "name GLOB :match" if sqlite else "name ~ :match"

    def _order(self, query: StudyQuery, values: dict[str, object]) -> str:
        name = self._by_code_point("name")
        up, down = ("DESC", "ASC") if query.backward else ("ASC", "DESC")
        match query.order:
            case "age":
                return f"updated_at {down}, {name}"
            case "name":
                return f"{name} {up}"
            case "state":
                return f"{self._by_code_point('standing')} {up}, updated_at DESC, {name}"
            case "launches":
                return f"launches {down}, {name}"
            case _:  # gain
                gain = self._gain(query, values)
                return f"CASE WHEN {gain} IS NULL THEN 1 ELSE 0 END, {gain} {down}, {name}"

    def _gain(self, query: StudyQuery, values: dict[str, object]) -> str:
        """The change with a sign by which more is better; null if it is unknown."""
        change = "change"
        if query.changes:
            cases = []
            for index, (study, found) in enumerate(sorted(query.changes.items())):
                values |= {f"c{index}": study, f"g{index}": found}
                cases.append(f"WHEN :c{index} THEN CAST(:g{index} AS FLOAT)")
            change = f"CASE name {' '.join(cases)} ELSE change END"
        return f"(CASE WHEN maximized = 1 THEN 1 ELSE -1 END) * ({change})"

    def _by_code_point(self, column: str) -> str:
        # PostgreSQL sorts text by the rules of the database's language, and Python does not.
        return column if self._source.dialect == "sqlite" else f'{column} COLLATE "C"'


class TrialList:
    """Reads pages of ``trials``."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def page(self, study: str, query: TrialQuery) -> tuple[list[str], int]:
        """The trials of a page as they are stored, and the number of trials on all pages."""
        terms = ["study = :study"]
        values: dict[str, object] = {"study": study}
        feasible = None if query.feasible is None else int(query.feasible)
        for column, value in (
            ("state" if query.running else CUT_OFF_SQL, query.state),
            ("role", query.role),
            ("feasible", feasible),
            ("cause", query.cause),
        ):
            if value is not None:
                terms.append(f"{column} = :v{len(values)}")
                values[f"v{len(values)}"] = value
        where = f"FROM trials WHERE {' AND '.join(terms)}"
        total = int(self._source.rows(f"SELECT count(*) AS n {where}", **values)[0]["n"])
        way = "DESC" if query.descending else "ASC"
        key = _TRIAL_KEYS[query.order]
        order = f"CASE WHEN {key} IS NULL THEN 1 ELSE 0 END, {key} {way}, number"
        chosen = f"SELECT trial {where} ORDER BY {order} LIMIT :most OFFSET :first"
        rows = self._source.rows(chosen, **values, most=query.limit, first=query.offset)
        return [row["trial"] for row in rows], total


_TRIAL_KEYS: Mapping[str, str] = {
    "number": "number",
    "value": "value",
    "started": "started_at",
    "duration": "(finished_at - started_at)",
}


TRIAL_ORDERS = tuple(_TRIAL_KEYS)


def regex_of(pattern: str) -> str:
    """A pattern with ``*`` and ``?`` for PostgreSQL's regular expressions."""
    parts = {"*": ".*", "?": "."}
    return f"^{''.join(parts.get(character) or re.escape(character) for character in pattern)}$"
