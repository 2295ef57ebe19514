"""Evaluation of an SLO: which value of the windows counts, and whether it misses the threshold."""

from collections.abc import Sequence

from autotuner.scoring.values import metric_value
from autotuner.study.measurement import Measurement, SelfCheck
from autotuner.study.metric import METRICS, Unit
from autotuner.study.objective import SLO, Comparison


def slo_value(slo: SLO, measurements: Sequence[Measurement]) -> float | None:
    """The worst value over all windows that the SLO applies to; see :func:`worst_value`."""
    windows = [m for m in measurements if slo.at in {None, m.level.text} and slo.scenario in {None, m.scenario}]
    return worst_value(slo, windows)


def worst_value(slo: SLO, windows: Sequence[Measurement]) -> float | None:
    """The worst value over the windows.

    Returns:
        None if one of them was not measured, or if the SLO is only met because a window was overloaded: its latencies
        grow with its length, so a sufficiently short window would meet any SLO.
    """
    values = [metric_value(m.of(slo.of), slo.metric, slo.statistic) for m in windows]
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    worst = max(known) if slo.comparison is Comparison.LE else min(known)
    overloaded = METRICS[slo.metric].distribution and any(m.overloaded for m in windows)
    return None if overloaded and not missed(slo, worst) else worst


def missed(slo: SLO, value: float | None) -> bool:
    """Whether a value misses the threshold; an unknown value always does."""
    if value is None:
        return True
    return value > slo.threshold if slo.comparison is Comparison.LE else value < slo.threshold


def clients_fault(slo: SLO, value: float, windows: Sequence[Measurement]) -> bool:
    """Whether the load generator, and not the server, may have made a value miss the threshold.

    A load generator that cannot keep up sends and reads late, each by as much as its event loop lags, and sends less
    than it should. It makes no requests fail. A TPOT is the time between two moments of reading, divided by the number
    of gaps between tokens, and so is what a lag adds to it.
    """
    if slo.metric == "success_rate" or not windows:
        return False
    for m in windows:
        own = metric_value(m.of(slo.of), slo.metric, slo.statistic)
        if own is None or (missed(slo, own) and not m.self_check.client_limited):
            return False
    if METRICS[slo.metric].unit is not Unit.SECONDS:
        return True
    return not missed(slo, value - max(_late_s(slo.metric, m.self_check) for m in windows))


def _late_s(metric: str, check: SelfCheck) -> float:
    """What the load generator may have added to a latency."""
    if metric == "tpot" and check.tpot_lag_s is not None:
        return 2 * check.tpot_lag_s
    return 2 * check.loop_lag_p99_s + check.send_lag_p99_s
