"""The standing of studies in SQL, as :attr:`autotuner.report.overview.StudyOverview.standing` says it of one."""

from collections.abc import Collection, Sequence

from autotuner.study.trial import TrialState

OPEN_SQL = ", ".join(f"'{state}'" for state in TrialState if state.open)
"""States of trials that have not ended."""
CUT_OFF_SQL = f"CASE WHEN state IN ({OPEN_SQL}) THEN 'void' ELSE state END"
"""The state of a trial whose study no living process runs; see :func:`autotuner.tuning.run_liveness.cut_off`."""


def standing_sql(living: Collection[str], values: dict[str, object]) -> str:
    """The standing of a row ``s`` of ``studies``, beside its row ``q`` of ``queue`` if it waits there.

    Args:
        living: Owners that are alive: their studies are running.
        values: Parameters of the statement; those of the expression are added.
    """
    return (
        f"CASE WHEN {runs_sql(living, values)} THEN s.state WHEN q.study IS NOT NULL THEN 'queued' "
        "WHEN s.state = 'running' THEN 'cut off' ELSE s.state END"
    )


def state_sql(living: Collection[str], values: dict[str, object]) -> str:
    """The state of a row ``s`` of ``studies`` for readers, as
    :func:`autotuner.tuning.run_liveness.state_as_it_stands` says it; arguments as in :func:`standing_sql`."""
    return f"CASE WHEN s.state <> 'running' OR {runs_sql(living, values)} THEN s.state ELSE 'cut off' END"


def runs_sql(living: Collection[str], values: dict[str, object]) -> str:
    """Whether a living process runs the study of a row ``s`` of ``studies``; arguments as in :func:`standing_sql`."""
    return f"s.owner_id IN ({placed('o', sorted(living), values)})" if living else "1 = 0"


def placed(prefix: str, items: Sequence[object], values: dict[str, object]) -> str:
    """Parameters for the items, which are added to the values."""
    values |= {f"{prefix}{index}": item for index, item in enumerate(items)}
    return ", ".join(f":{prefix}{index}" for index in range(len(items)))
