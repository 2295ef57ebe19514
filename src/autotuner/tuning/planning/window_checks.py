"""Checks of whether windows can be long enough for the percentiles that the study uses."""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from autotuner.benchmarks.measuring.traces.trace_part import Part, read_part
from autotuner.errors import UsageError
from autotuner.study.base import number_text
from autotuner.study.check import Check
from autotuner.study.metric import METRICS, fewest_samples
from autotuner.study.objective import SLO, Objective, metric_text, of_text
from autotuner.study.spec import StudySpec
from autotuner.study.workload import CapacityLoad, LoadLevel, LoadUnit, RequestRate, Stages, Workload

_GAPS = ("itl", "itl_token")
"""Pooled over the gaps of all answers, so that a few requests are enough."""


def window_checks(spec: StudySpec) -> list[Check]:
    """How long windows may become, and which percentiles they cannot support."""
    for level in spec.workload.levels:
        if isinstance(level, CapacityLoad):
            replays = list(_replays(spec.workload))
            return [Check.ok("capacity", _budget(level, replays)), *_short_replays(spec, replays)]
    found = [_bound(spec.workload)]
    for what, statistic, levels in _percentiles(spec):
        fewest = fewest_samples(statistic)
        for level in levels:
            most = _most_requests(spec.workload, level)
            if most is not None and most < fewest:
                there = f"windows at {level.text} have at most {most} requests"
                detail = f"{what} needs at least {fewest:,} requests; {there}"
                remedy = _remedy(spec.workload, level, statistic, fewest)
                found.append(Check.warn("window", detail, remedy=remedy))
        if any(_most_requests(spec.workload, level) is None for level in levels):
            detail = f"{what} needs at least {fewest:,} finished requests in a window, or it is marked as unsure"
            found.append(Check.ok("window", detail))
    return found


def _replays(workload: Workload) -> Iterator[Part]:
    for scenario in workload.scenarios:
        if scenario.trace:
            with suppress(UsageError):  # the preflight says what is wrong with the file
                yield read_part(scenario.trace)


def _short_replays(spec: StudySpec, replays: Sequence[Part]) -> Iterator[Check]:
    for what, statistic, _ in _percentiles(spec):
        fewest = fewest_samples(statistic)
        most = min((found.requests for found in replays), default=fewest)
        if most < fewest:
            detail = f"a replay of {most:,} requests is too short for {what}; at least {fewest:,} are needed"
            yield Check.warn("capacity", detail, remedy="replay more of the trace")


def _budget(level: CapacityLoad, replays: Sequence[Part]) -> str:
    ends = f"within {level.precision * 100:g}%"
    if level.unit is not LoadUnit.SPEED:
        ends += f" at {level.confidence * 100:g}% confidence"
    if replays:
        most = max(found.requests for found in replays)
        longest = max(found.span_s for found in replays)
        ends += f", each level a replay of {most:,} requests in {longest:,.0f} s at the recorded speed"
    budget = f"at most {level.max_requests:,} requests and {number_text(level.max_duration_s)} s a launch"
    return f"{ends}, {budget}; a configuration that holds no more than the best one ends early"


def _bound(workload: Workload) -> Check:
    if any(scenario.trace for scenario in workload.scenarios):
        early = "" if workload.requests is None else f"; ends early after {workload.requests} requests"
        return Check.ok("window", f"the time range of each trace at each speed{early}")
    if all(isinstance(level, Stages) for level in workload.levels):
        lengths = sorted({level.duration_s for level in workload.levels if isinstance(level, Stages)})
        return Check.ok("window", f"the stages of each load: {', '.join(map(number_text, lengths))} s")
    parts = [f"{number_text(workload.duration_s)} s"]
    if workload.longest_s > workload.duration_s:
        parts.append(
            f"up to {number_text(workload.longest_s)} s until it is steady and at least {workload.fewest} requests "
            "have finished"
        )
    if workload.requests is not None:
        parts.append(f"ends early after {workload.requests} requests")
    return Check.ok("window", "; ".join(parts))


def _percentiles(spec: StudySpec) -> Iterator[tuple[str, str, list[LoadLevel]]]:
    """(text, statistic, load levels) of each percentile in an objective or SLO."""
    goals: list[Objective | SLO] = [*spec.objectives, *spec.slos]
    seen = set()
    for goal in goals:
        statistic = goal.statistic or ""
        if not statistic.startswith("p") or not METRICS[goal.metric].distribution or goal.metric in _GAPS:
            continue
        what = metric_text(goal.metric, statistic) + of_text(goal.of if isinstance(goal, SLO) else None)
        if (what, goal.at) not in seen:
            seen.add((what, goal.at))
            levels = [level for level in spec.workload.levels if goal.at in (None, level.text)]
            yield what, statistic, levels


def _most_requests(workload: Workload, level: LoadLevel) -> int | None:
    """Most requests that a window can contain; None if that depends on the server."""
    offered = round(level.rate * workload.longest_s) if isinstance(level, RequestRate) else None
    offered = level.requests if isinstance(level, Stages) else offered
    known = [n for n in (offered, workload.requests) if n is not None]
    return min(known) if known else None


def _remedy(workload: Workload, level: LoadLevel, statistic: str, fewest: int) -> str:
    ways = []
    if workload.requests is not None and workload.requests < fewest:
        ways.append(f"set workload.requests to {fewest} or remove it")
    if isinstance(level, RequestRate) and round(level.rate * workload.longest_s) < fewest:
        ways.append(f"set workload.max_duration to {number_text(round(fewest / level.rate + 0.5))}s or more")
    lower = [s for s in ("p95", "p90", "p50") if fewest_samples(s) < fewest]
    if lower and statistic != lower[0]:
        ways.append(f"or bound the {lower[0]}")
    return ", ".join(ways)
