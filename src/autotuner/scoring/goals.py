"""Columns of a result table: every objective and SLO, with the load level it applies to."""

from collections.abc import Sequence
from dataclasses import dataclass

from autotuner.study.objective import SLO, Objective


@dataclass(frozen=True)
class Goal:
    """One figure of a result: that of an objective, of an SLO, or of both."""

    metric: str
    statistic: str | None
    at: str | None
    scenario: str | None
    objective: int | None = None
    """Index into the study's objectives."""
    slo: int | None = None
    """Index into the study's SLOs."""
    of: str | None = None
    """Part of the load that it is about; None: all requests."""


def goals(objectives: Sequence[Objective], slos: Sequence[SLO]) -> tuple[Goal, ...]:
    """Objectives in order, then SLOs. SLOs on single requests (no statistic) count in goodput and have no column."""
    found: dict[tuple[str, str | None, str | None, str | None, str | None], Goal] = {}
    for index, objective in enumerate(objectives):
        place = (objective.metric, objective.statistic, objective.at, objective.scenario)
        found[(*place, None)] = Goal(*place, objective=index)
    for index, slo in enumerate(slos):
        if slo.bounds_each_request:
            continue
        place = (slo.metric, slo.statistic, slo.at, slo.scenario)
        known = found.get((*place, slo.of))
        if known is None:
            found[(*place, slo.of)] = Goal(*place, slo=index, of=slo.of)
        elif known.slo is None:
            found[(*place, slo.of)] = Goal(*place, objective=known.objective, slo=index)
        else:  # a lower and an upper bound on the same figure
            found[(*place[:3], f"{place[3]} #{index}", slo.of)] = Goal(*place, slo=index, of=slo.of)
    return tuple(found.values())
