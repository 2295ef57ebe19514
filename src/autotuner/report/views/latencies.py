"""Latencies of one window for plots: histograms and points of the distribution, whatever the number of requests.

The statistics are the stored ones, as in ``show --json``; only what lies between them comes from the request records.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from autotuner.study.base import FrozenModel
from autotuner.study.measurement import Distribution, Measurement
from autotuner.study.objective import SLO

Floats = NDArray[np.float64]

BINS = 48
"""Most bins of a histogram."""
POINTS = 256
"""Points of a distribution, evenly spread over the requests."""
TAIL_POINTS = 128
"""Further points among the slowest requests."""
_TAIL = 0.95
_AGREE = 1e-6
"""Relative difference of two computations of the same statistic."""


class Histogram(FrozenModel):
    """Numbers of values between edges."""

    edges: tuple[float, ...]
    """In seconds, ascending; one more than ``counts``."""
    counts: tuple[int, ...]


class LatencySlo(FrozenModel):
    """An SLO of the study on this latency, in this window."""

    text: str
    statistic: str | None
    """None: a bound on each request, which defines goodput."""
    threshold: float
    """In seconds."""


class LatencyDistribution(FrozenModel):
    """One latency of the window's requests, in seconds."""

    metric: str
    statistics: Distribution
    """As stored with the measurement."""
    agrees: bool
    """Whether the request records give the same statistics; if not, they are not those of the measurement."""
    linear: Histogram
    logarithmic: Histogram | None
    """With bins of equal width on a logarithmic axis; None if a value is 0."""
    values: tuple[float, ...]
    """Points of the distribution, ascending: all values of a small window."""
    shares: tuple[float, ...]
    """Share of the requests that are at most as slow, so that the stored percentiles lie on the curve; censored
    requests, whose latency is unknown, lie above all others."""
    slos: tuple[LatencySlo, ...]


class WindowLatencies(FrozenModel):
    """The latencies of one window."""

    study: str
    trial: int
    window: str
    """Its place in ``show STUDY TRIAL --json``, such as ``measurements.0``."""
    scenario: str
    level: str
    simulated: bool
    missing: str
    """Why there are no latencies, such as that the request records are on another machine; empty if there are."""
    latencies: tuple[LatencyDistribution, ...]


def latency_distribution(
    metric: str, measured: Measurement, values: Floats, censored: int, slos: Sequence[SLO]
) -> LatencyDistribution:
    """Describes one latency of a window.

    Args:
        metric: Its name.
        measured: The window, which has the metric.
        values: The known values in seconds, in any order.
        censored: Number of requests whose value is unknown, larger than all others.
        slos: Those of the study.
    """
    ordered = np.sort(values)
    stored = measured.distributions[metric]
    chosen = _chosen(len(ordered))
    last = len(ordered) + censored - 1
    return LatencyDistribution(
        metric=metric,
        statistics=stored,
        agrees=_agrees(stored, ordered, censored),
        linear=_histogram(ordered, _linear_edges(ordered)),
        logarithmic=_histogram(ordered, _log_edges(ordered)) if len(ordered) and ordered[0] > 0 else None,
        values=tuple(float(ordered[i]) for i in chosen),
        shares=tuple(i / last if last else 1.0 for i in chosen),
        slos=tuple(
            LatencySlo(text=slo.text, statistic=slo.statistic, threshold=slo.threshold)
            for slo in slos
            if _applies(slo, metric, measured)
        ),
    )


def _applies(slo: SLO, metric: str, measured: Measurement) -> bool:
    here = slo.at in {None, measured.level.text} and slo.scenario in {None, measured.scenario}
    return slo.metric == metric and slo.of is None and here


def _chosen(count: int) -> list[int]:
    """Ranks of the points: evenly spread, and more of them in the tail, which SLOs are about."""
    if count <= POINTS + TAIL_POINTS:
        return list(range(count))
    last = count - 1
    even = (round(i * last / (POINTS - 1)) for i in range(POINTS))
    tail = (round(last * (_TAIL + (1 - _TAIL) * i / (TAIL_POINTS - 1))) for i in range(TAIL_POINTS))
    return sorted({*even, *tail})


def _agrees(stored: Distribution, ordered: Floats, censored: int) -> bool:
    """Whether count, least value and median are those of the values."""
    if stored.count != len(ordered) + censored or stored.censored != censored:
        return False
    if not len(ordered):
        return True
    pairs = [(stored.min, float(ordered[0]))]
    middle = (len(ordered) + censored - 1) / 2
    if math.ceil(middle) < len(ordered):
        pairs.append((stored.p50, float(ordered[math.floor(middle)] + ordered[math.ceil(middle)]) / 2))
    return all(one is not None and math.isclose(one, other, rel_tol=_AGREE) for one, other in pairs)


def _linear_edges(ordered: Floats) -> list[float]:
    """Round edges that cover all values; from 0, unless all values are far from it."""
    if not len(ordered):
        return []
    low = float(ordered[0])
    high = float(ordered[-1])
    if low < high / 2:
        low = 0.0
    step = _round_step((high - low) / BINS or abs(high) / BINS or 1e-6)
    first = math.floor(low / step)
    last = max(first + 1, math.floor(high / step) + 1)
    return [float(f"{i * step:.12g}") for i in range(first, last + 1)]


def _log_edges(ordered: Floats) -> list[float]:
    """Edges at the same ratio to one another that cover all values."""
    low = math.log10(float(ordered[0]))
    high = math.log10(float(ordered[-1]))
    per_decade = next((n for n in (40, 20, 10, 5) if (high - low) * n <= BINS - 2), 2)
    first = math.floor(low * per_decade)
    last = math.floor(high * per_decade) + 1
    return [float(10 ** (i / per_decade)) for i in range(first, last + 1)]


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least ``least``."""
    power = 10.0 ** math.floor(math.log10(least))
    return float(next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9)))


def _histogram(ordered: Floats, edges: Sequence[float]) -> Histogram:
    if not edges:
        return Histogram(edges=(), counts=())
    below = np.searchsorted(ordered, edges[1:-1], side="left")
    places = [0, *(int(n) for n in below), len(ordered)]
    return Histogram(edges=tuple(edges), counts=tuple(b - a for a, b in pairwise(places)))
