"""Verdict on a trial from its measurements: violations of SLOs with their size, and the values of the objectives.

Every level counts. A value that was not measured (absent, not finite, or a percentile among requests that had not
ended) never meets an SLO: it is a violation with ``value`` None and ``relative`` 1.0, like a latency at twice its
threshold. The same holds for a latency of an overloaded window: it grows with the window's length, so a sufficiently
short window would meet any SLO. Its rates remain valid, because they show the server's capacity.

A capacity search without a certified load is different: its SLOs hold at some lower load, so they are not violated, but
the trial cannot be ranked. What is known is an upper bound of the capacity.

A latency or rate that misses an SLO while the load generator could not keep up is a doubtful violation, if its own
delays may be why: such a trial is infeasible, but does not show that its configuration is.

So are levels that were left out because those before them had decided the trial: they violate nothing, and the trial
cannot be ranked. A worst latency so far, or a lowest success rate, bounds that over all levels.
"""

import math
from collections.abc import Collection, Iterator, Sequence

from autotuner.scoring.slo import clients_fault, missed, worst_value
from autotuner.scoring.values import metric_value, success_rate
from autotuner.study.measurement import Measurement
from autotuner.study.metric import METRICS, Direction
from autotuner.study.objective import SLO, Objective, metric_text, of_text
from autotuner.study.verdict import Verdict, Violation
from autotuner.study.workload import LoadLevel

UNMEASURED = 1.0
"""Relative violation of an SLO whose metric was not measured."""

Place = tuple[str, str]
"""(scenario text, level text)."""


def score(
    measurements: Sequence[Measurement],
    objectives: Sequence[Objective],
    slos: Sequence[SLO],
    *,
    min_success_rate: float,
    expected: Sequence[tuple[str, LoadLevel]],
    left: Collection[Place] = (),
    cut: str = "",
) -> Verdict:
    """Judges a trial.

    Args:
        measurements: Its measurements.
        objectives: The study's objectives.
        slos: The study's SLOs. Those on a per-request metric without a statistic only define goodput and are skipped.
        min_success_rate: Minimum share of successful requests, from 0 to 1.
        expected: (scenario text, level) of all required measurements; a missing one is a hard violation.
        left: Places among these that are not measured yet, or were left out; they violate nothing.
        cut: Why they were left out; empty if they are still to be measured.
    """
    measured = _by_place(measurements)
    places = list(dict.fromkeys([*((s, level.text) for s, level in expected), *measured]))
    by_slo = [(slo, list(_slo_violations(slo, measured, places, left))) for slo in slos]
    violations = [
        *_success_violations(measured, [p for p in places if p not in left], min_success_rate),
        *(v for _, found in by_slo for v in found),
    ]
    values = tuple(_objective_value(o, measured, places) for o in objectives)
    open_ = [p for p in places if p in left]
    bounds = [
        None if v is not None else _bound_so_far(o, measured, places, open_) if open_ else _bound(o, measurements)
        for o, v in zip(objectives, values, strict=True)
    ]
    reasons = (*_reasons(measurements, objectives, values, cut or _not_yet(open_)), *([cut] if cut else []))
    overloaded = tuple(f"{m.scenario} {m.level.text}" for m in measurements if m.overloaded)
    overloads = tuple(f"overloaded at {place}" for place in overloaded)
    return Verdict(
        feasible=not any(v.hard for v in violations),
        objectives=values,
        penalty=math.fsum(slo.weight * v.relative for slo, found in by_slo if not slo.hard for v in found),
        total_violation=math.fsum(v.relative for v in violations if v.hard),
        violations=tuple(violations),
        uncertainty=tuple(
            None if v is None else _uncertainty(o, v, measured, places) for o, v in zip(objectives, values, strict=True)
        ),
        unsure=tuple(dict.fromkeys(_unsure(measurements, [*objectives, *slos]))),
        overloaded=overloaded,
        bounds=tuple(bounds) if any(b is not None for b in bounds) else (),
        cut=bool(cut) or any(m.cut for m in measurements),
        rankable=not reasons,
        reasons=(*overloads, *reasons),
    )


def _by_place(measurements: Sequence[Measurement]) -> dict[Place, list[Measurement]]:
    found: dict[Place, list[Measurement]] = {}
    for m in measurements:
        found.setdefault((m.scenario, m.level.text), []).append(m)
    return found


def _steady_value(m: Measurement, metric: str, statistic: str | None) -> float | None:
    """The value of a metric; None for a latency of an overloaded window."""
    if m.overloaded and METRICS[metric].distribution:
        return None
    return metric_value(m, metric, statistic)


def _success_violations(
    measured: dict[Place, list[Measurement]], places: Sequence[Place], limit: float
) -> Iterator[Violation]:
    for place in places:
        found = measured.get(place, [])
        if any(m.undecided for m in found):
            continue
        values = [success_rate(m) for m in found]
        if not values:
            yield _violation("success_rate", place, None, limit, UNMEASURED, hard=True)
        elif min(values) < limit:
            yield _violation("success_rate", place, min(values), limit, (limit - min(values)) / limit, hard=True)


def _slo_violations(
    slo: SLO, measured: dict[Place, list[Measurement]], places: Sequence[Place], left: Collection[Place]
) -> Iterator[Violation]:
    if slo.bounds_each_request:
        return
    wanted = _selected(places, slo.scenario, slo.at) or [(slo.scenario or "every scenario", slo.at or "every level")]
    for place in wanted:
        if place in left:
            continue
        found = measured.get(place, [])
        value = _known_bound(slo, found) if any(m.undecided for m in found) else worst_value(slo, found)
        if value is None and any(m.undecided for m in found):
            continue
        if value is None:
            yield _violation(slo.text, place, None, slo.threshold, UNMEASURED, hard=slo.hard)
        elif missed(slo, value):
            relative = abs(value - slo.threshold) / (abs(slo.threshold) or 1.0)
            violation = _violation(slo.text, place, value, slo.threshold, relative, hard=slo.hard)
            yield violation.replaced(doubtful=True) if clients_fault(slo, value, found) else violation


def _known_bound(slo: SLO, undecided: Sequence[Measurement]) -> float | None:
    """The upper bound of an unmeasured metric, if it is enough to tell that an SLO is missed."""
    known = [m.bounds[slo.metric] for m in undecided if slo.metric in m.bounds]
    return min((bound for bound in known if missed(slo, bound)), default=None)


def _violation(
    slo: str, place: Place, value: float | None, threshold: float, relative: float, *, hard: bool
) -> Violation:
    return Violation(slo=slo, where=" ".join(place), value=value, threshold=threshold, relative=relative, hard=hard)


def _selected(places: Sequence[Place], scenario: str | None, at: str | None) -> list[Place]:
    return [p for p in places if (scenario is None or p[0] == scenario) and (at is None or p[1] == at)]


def _objective_value(
    objective: Objective, measured: dict[Place, list[Measurement]], places: Sequence[Place]
) -> float | None:
    """The objective's value over all selected places; None if one of them was not measured."""
    values: list[float] = []
    for place in _selected(places, objective.scenario, objective.at):
        found = [_steady_value(m, objective.metric, objective.statistic) for m in measured.get(place, [])]
        known = [v for v in found if v is not None]
        if not known or len(known) < len(found):
            return None
        values += known
    if not values:
        return None
    if objective.metric == "success_rate":
        return min(values)
    if METRICS[objective.metric].better is Direction.MIN:
        return max(values)
    if min(values) <= 0:
        return 0.0
    if len(values) == 1:
        return values[0]  # not through its logarithm, so that it is exactly what was measured
    return math.exp(math.fsum(sorted(math.log(v) for v in values)) / len(values))


def _bound(objective: Objective, measurements: Sequence[Measurement]) -> float | None:
    """The value that an unmeasured objective does not exceed; known only where one measurement decides it."""
    return measurements[0].bounds.get(objective.metric) if len(measurements) == 1 else None


def _bound_so_far(
    objective: Objective, measured: dict[Place, list[Measurement]], places: Sequence[Place], left: Sequence[Place]
) -> float | None:
    """The value that an objective is not better than, whatever the places left show; None if they decide it."""
    metric = METRICS[objective.metric]
    selected = _selected(places, objective.scenario, objective.at)
    if objective.direction is not metric.better or (metric.better is Direction.MAX and metric.name != "success_rate"):
        return None  # a mean of rates may still rise by any amount
    return _objective_value(objective, measured, [p for p in selected if p not in left])


def _not_yet(left: Sequence[Place]) -> str:
    return f"{len(left)} levels are not measured yet" if left else ""


def _uncertainty(
    objective: Objective, value: float, measured: dict[Place, list[Measurement]], places: Sequence[Place]
) -> float | None:
    """Relative half-width of the objective's 95% interval; None if that of a window is unknown."""
    name = metric_text(objective.metric, objective.statistic)
    windows = [m for place in _selected(places, objective.scenario, objective.at) for m in measured.get(place, [])]
    parts = [m.uncertainty.get(name) for m in windows]
    if not parts or any(p is None for p in parts):
        return None
    known = [p for p in parts if p is not None]
    if METRICS[objective.metric].better is Direction.MAX and objective.metric != "success_rate":
        return math.sqrt(math.fsum(p * p for p in known)) / len(known)  # geometric mean of independent windows
    worst = [
        u
        for m, u in zip(windows, known, strict=True)
        if metric_value(m, objective.metric, objective.statistic) == value
    ]
    return max(worst or known)


def _unsure(measurements: Sequence[Measurement], goals: Sequence[Objective | SLO]) -> Iterator[str]:
    """Figures that are judged by a percentile which its sample does not support."""
    for goal in goals:
        for m in measurements:
            here = goal.at in (None, m.level.text) and goal.scenario in (None, m.scenario)
            of = goal.of if isinstance(goal, SLO) else None
            own = m.of(of)
            if here and not own.carries(goal.metric, goal.statistic):
                count = own.distributions[goal.metric].count
                yield f"{metric_text(goal.metric, goal.statistic)}{of_text(of)} of {count} requests"


def _reasons(
    measurements: Sequence[Measurement],
    objectives: Sequence[Objective],
    values: Sequence[float | None],
    left_out: str,
) -> tuple[str, ...]:
    """Why this trial cannot be ranked, besides levels that were left out; empty if it can."""
    limited = [
        f"the load generator could not keep up at {m.scenario} {m.level.text}"
        + (f": {'; '.join(m.self_check.reasons)}" if m.self_check.reasons else "")
        for m in measurements
        if m.self_check.client_limited
    ]
    thin = [f"too thin at {m.scenario} {m.level.text}: {'; '.join(m.thin)}" for m in measurements if m.thin]
    undecided = [f"{m.scenario}: {m.undecided}" for m in measurements if m.undecided]
    over = any(m.overloaded for m in measurements)
    unknown = [
        f"{o.text} {'has no steady value under overload' if over else 'was not measured'}"
        for o, v in zip(objectives, values, strict=True)
        if v is None and not undecided and not left_out
    ]
    return (*limited, *thin, *undecided, *unknown)
