"""Hard SLOs as statements about shares of requests or about means, which is what a level is tested for."""

from collections.abc import Sequence

from autotuner.errors import Problem, UsageError
from autotuner.study.capacity.level_test import CapacityBound
from autotuner.study.metric import OF_CAPACITY
from autotuner.study.objective import SLO, Comparison

_LATENCIES = ("ttft", "ttft_scheduled", "tpot", "e2e_latency", "e2e_latency_scheduled")
_SUCCESS = "success_rate"


def limits_of(slos: Sequence[SLO]) -> tuple[SLO, ...]:
    """The SLOs of a study that limit a capacity; one on the capacity itself is judged afterwards."""
    return tuple(slo for slo in slos if slo.metric not in OF_CAPACITY)


def bounds_of(slos: Sequence[SLO], min_success_rate: float, *, where: str = "slos") -> tuple[CapacityBound, ...]:
    """The bounds of all hard SLOs, and that of the success rate.

    Args:
        slos: SLOs; soft ones do not limit the capacity.
        min_success_rate: Least share of successful requests, between 0 and 1.
        where: Place of the SLOs in the user's input, for problems.

    Raises:
        UsageError: If there is no hard SLO, or one cannot be tested request by request.
    """
    found = [_bound(slo) for slo in slos if slo.hard]
    problems = [problem for problem in found if isinstance(problem, Problem)]
    if not found:
        remedy = "add one, e.g. p99 ttft <= 500ms"
        problems.append(Problem(where=where, why="capacity needs at least one hard SLO", remedy=remedy))
    if problems:
        raise UsageError(problems)
    bounds = [bound for bound in found if isinstance(bound, CapacityBound)]
    if not any(bound.metric == _SUCCESS for bound in bounds):
        bounds.append(_success(f"{_SUCCESS} >= {min_success_rate:g}", min_success_rate))
    return tuple(bounds)


def _success(text: str, least: float) -> CapacityBound:
    # A rate of 1 cannot be shown by any number of requests; one failure in a thousand is the strictest that can.
    return CapacityBound(slo=text, metric=_SUCCESS, limit=0.0, allowed=min(max(1 - least, 0.001), 0.999))


def _bound(slo: SLO) -> CapacityBound | Problem:
    if slo.of:
        why = "a capacity search tests SLOs on all requests"
        return Problem(where="slos", value=slo.text, why=why, remedy=f'remove "of {slo.of}", or measure fixed levels')
    if slo.metric == _SUCCESS and slo.comparison is Comparison.GE:
        return _success(slo.text, slo.threshold)
    if slo.metric in _LATENCIES and slo.comparison is Comparison.LE:
        if slo.statistic == "mean":
            return CapacityBound(slo=slo.text, metric=slo.metric, limit=slo.threshold)
        if slo.statistic is not None and slo.statistic.startswith("p"):
            allowed = round(1 - float(slo.statistic[1:]) / 100, 9)
            return CapacityBound(slo=slo.text, metric=slo.metric, limit=slo.threshold, allowed=allowed)
    why = "cannot be tested request by request, which capacity needs"
    remedy = "use a percentile or the mean of ttft, tpot or e2e_latency, or success_rate"
    return Problem(where="slos", value=slo.text, why=why, remedy=remedy)
