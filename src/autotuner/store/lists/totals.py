"""Numbers of studies, trials, workers and leases, counted by the database: what monitoring asks for every few seconds.

As in :mod:`autotuner.store.queries`, statements use ``:name`` parameters, and nothing here imports SQLAlchemy.
"""

from collections.abc import Collection, Mapping

from autotuner.store.lists.no_worker import why_no_worker
from autotuner.store.lists.standing import OPEN_SQL, runs_sql, standing_sql
from autotuner.store.queries import QueueQueries, Source, WorkerQueries
from autotuner.store.rows import Row
from autotuner.study.base import FrozenModel

LISTED_S = 3_600.0
"""How long a worker that died is counted after its last heartbeat."""
_MOST_WORKERS = 200

_COUNTS = """\
SELECT 'study' AS what, {standing} AS name, '' AS cause, count(*) AS n, 0.0 AS since
FROM studies s LEFT JOIN queue q ON q.study = s.name AND q.state = 'queued'
GROUP BY 2
UNION ALL SELECT 'trial', state, coalesce(cause, ''), count(*), 0.0 FROM trials
    WHERE state NOT IN ({open}) GROUP BY state, feasible, cause
UNION ALL SELECT 'trial', CASE WHEN {runs} THEN t.state ELSE 'void' END, '', count(*), 0.0
    FROM trials t JOIN studies s ON s.name = t.study WHERE t.state IN ({open}) GROUP BY 2
UNION ALL SELECT 'queue', '', '', count(*), coalesce(min(submitted_at), :now) FROM queue WHERE state = 'queued'
UNION ALL SELECT 'lease', CASE
    WHEN substr(resource, 1, 4) = 'gpu:' THEN 'gpu' WHEN substr(resource, 1, 5) = 'port:' THEN 'port' ELSE 'other' END,
    '', count(*), 0.0 FROM leases GROUP BY 2
UNION ALL SELECT 'message', state, '', count(*), 0.0 FROM deliveries GROUP BY state
"""
"""Trials that have ended are grouped by the columns of an index, so that their rows are not read."""
_WORKERS = """\
SELECT w.id, w.host, w.state, w.at_most, w.lease_s, w.heartbeat_at,
    (SELECT count(*) FROM queue q WHERE q.worker_id = w.id) AS studies
FROM workers w WHERE w.state <> 'ended' AND w.heartbeat_at > :since ORDER BY w.heartbeat_at DESC, w.id LIMIT :most
"""


class TrialTotal(FrozenModel):
    """How many trials are in a state."""

    state: str
    cause: str
    """Cause of their failure; empty if they have none."""
    count: int


class WorkerTotal(FrozenModel):
    """A worker that is alive, or that died within the last hour."""

    id: str
    host: str
    state: str
    """``running``, ``draining`` or ``lost`` (silent for longer than its lease)."""
    silent_s: float
    """Seconds since its last heartbeat, by the database's clock."""
    at_most: int
    """Studies that it runs at the same time at most."""
    studies: int
    """Studies that it runs."""


class StoreTotals(FrozenModel):
    """What is in a store, in numbers."""

    studies: Mapping[str, int]
    """By standing, as :attr:`autotuner.StudyOverview.standing`."""
    trials: tuple[TrialTotal, ...]
    queued: int
    """Studies that wait for a worker."""
    oldest_queued_s: float
    """How long the oldest of them has waited."""
    queued_without_worker: int = 0
    """How many of them no worker that is running can run."""
    workers: tuple[WorkerTotal, ...]
    leases: Mapping[str, int]
    """By kind: ``gpu``, ``port``."""
    messages: Mapping[str, int]
    """Messages for webhooks by :class:`autotuner.DeliveryState`; those that have ended, as long as they are kept."""


def read_totals(source: Source, *, living: Collection[str]) -> StoreTotals:
    """Counts everything.

    Args:
        source: The database.
        living: Owners that are alive: their studies are running.
    """
    now = source.clock()
    values: dict[str, object] = {"now": now}
    counts = _COUNTS.format(standing=standing_sql(living, values), runs=runs_sql(living, values), open=OPEN_SQL)
    rows = source.rows(counts, **values)
    (queue,) = (row for row in rows if row["what"] == "queue")
    workers = source.rows(_WORKERS, since=now - LISTED_S, most=_MOST_WORKERS)
    return StoreTotals(
        studies=_by_name(rows, "study"),
        trials=_trials(rows),
        queued=int(queue["n"]),
        oldest_queued_s=max(0.0, now - float(queue["since"])),
        queued_without_worker=_without_worker(source, now) if queue["n"] else 0,
        workers=tuple(_worker(row, now) for row in workers),
        leases=_by_name(rows, "lease"),
        messages=_by_name(rows, "message"),
    )


def _without_worker(source: Source, now: float) -> int:
    workers = WorkerQueries(source).all()
    waiting = (entry for entry in QueueQueries(source).all() if entry.position is not None)
    return sum(bool(why_no_worker(entry, workers, now)) for entry in waiting)


def _by_name(rows: list[Row], what: str) -> dict[str, int]:
    return {row["name"]: int(row["n"]) for row in rows if row["what"] == what}


def _trials(rows: list[Row]) -> tuple[TrialTotal, ...]:
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        if row["what"] == "trial":
            key = (row["name"], row["cause"])
            counts[key] = counts.get(key, 0) + int(row["n"])
    return tuple(TrialTotal(state=state, cause=cause, count=n) for (state, cause), n in sorted(counts.items()))


def _worker(row: Row, now: float) -> WorkerTotal:
    silent_s = max(0.0, now - row["heartbeat_at"])
    return WorkerTotal(
        id=row["id"],
        host=row["host"],
        state="lost" if silent_s > row["lease_s"] else row["state"],
        silent_s=silent_s,
        at_most=row["at_most"],
        studies=int(row["studies"]),
    )
