"""The quantities that are modeled, and their observed values in the windows of trials."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from autotuner.scoring.values import metric_value
from autotuner.search.model import scales
from autotuner.search.model.encoding import Array, Index, Units
from autotuner.study.measurement import Measurement
from autotuner.study.metric import METRICS, OF_CAPACITY, Direction
from autotuner.study.objective import SLO, Comparison
from autotuner.study.search.goals import Goals, Place


class Key(NamedTuple):
    """A metric in one statistic, of all requests or of a part of the load."""

    metric: str
    statistic: str | None = None
    of: str | None = None


_PER_REQUEST: Mapping[str, Callable[[Place], float]] = {
    "request_throughput": lambda _: 1.0,
    "output_throughput": lambda place: place.output_tokens or 1.0,
    "output_throughput_per_gpu": lambda place: place.output_tokens or 1.0,
    "input_throughput": lambda place: place.input_tokens or 1.0,
    "total_throughput": lambda place: (place.input_tokens or 0.0) + (place.output_tokens or 0.0),
}
"""What each request contributes to a rate that follows from TTFT and TPOT when the number in flight is fixed."""
_WIDEST = 7.0
"""Values are clipped to a factor of about 1000 around the others, so that an outlier does not flatten the rest."""


@dataclass(frozen=True)
class Quantity:
    """One modeled quantity. Its own logarithm is modeled, or what it adds to that of ``base``."""

    key: Key
    base: Key | None = None
    """The mean that a statistic is a multiple of."""
    derived: bool = False
    """Whether it follows from the means of TTFT and TPOT by Little's law, and only the remainder is modeled."""
    center: float | None = None
    """Expected logarithm at a medium load; None if unknown."""
    factor: float = 1.0
    """Factor of all scales."""
    per_load: float = 0.0
    """Expected change per doubling of the load."""
    per_gpus: float = 0.0
    """Expected change per doubling of the GPUs."""
    per_release: float = 0.0
    """Expected change per newer release of the engine."""

    def expected(self, units: Units, at: Index, places: Index) -> Array:
        """What is expected to differ between some levels of some units, without predictions."""
        found: Array = self.per_load * units.loads[at, places] + self.per_gpus * units.gpus[at]
        return found + self.per_release * units.ages[at]

    @property
    def relative(self) -> bool:
        """Whether it is modeled relative to another quantity, so that the bounds of a study say nothing about it."""
        return self.base is not None or self.derived

    @property
    def predicted(self) -> bool:
        """Whether a forecast of the metric is a forecast of this quantity."""
        return not self.relative and self.key.of is None


TTFT = Key("ttft", "mean")
TPOT = Key("tpot", "mean")


def named(goals: Goals) -> tuple[Key, ...]:
    """The metrics that objectives and SLOs name, each once; SLOs on single requests define goodput only."""
    keys = [Key(o.metric, o.statistic) for o in goals.objectives]
    keys += [Key(s.metric, s.statistic, s.of) for s in goals.slos if not s.bounds_each_request]
    return tuple(dict.fromkeys(keys))


def quantities(goals: Goals) -> tuple[Quantity, ...]:
    """Quantities that determine all objectives and SLOs, each after those that it builds on."""
    closed = bool(goals.places) and all(p.in_flight and p.output_tokens for p in goals.places)
    found: dict[Key, Quantity] = {}
    for key in named(goals):
        derived = closed and key.of is None and key.metric in _PER_REQUEST
        tail = METRICS[key.metric].distribution and key.statistic != "mean"
        needed = [TTFT, TPOT] if derived else [key._replace(statistic="mean")] if tail else []
        for base in needed:
            found.setdefault(base, _direct(base, goals))
        if derived:
            found[key] = Quantity(key, derived=True, center=0.0, factor=scales.DERIVED_FACTOR)
        elif tail:
            factor = scales.TAIL_FACTORS.get(key.metric, scales.OTHER_TAIL_FACTOR)
            found[key] = Quantity(key, base=needed[0], center=_tail(key), factor=factor)
        else:
            found.setdefault(key, _direct(key, goals))
    return tuple(found.values())


def _direct(key: Key, goals: Goals) -> Quantity:
    metric = METRICS[key.metric]
    rising = metric.better is Direction.MAX and key.metric not in OF_CAPACITY | {"success_rate"}
    return Quantity(
        key,
        center=anchor(key, goals.slos),
        factor=scales.FACTORS.get(key.metric, 1.0),
        per_load=scales.LATENCY_PER_LOAD if metric.distribution else scales.RATE_PER_LOAD if rising else 0.0,
        per_gpus=scales.TPOT_PER_GPUS if key.metric in {"tpot", "itl", "itl_token"} else 0.0,
        per_release=_per_release(key.metric),
    )


def _per_release(metric: str) -> float:
    if metric == "success_rate":
        return 0.0
    return scales.PER_RELEASE if METRICS[metric].better is Direction.MIN else -scales.PER_RELEASE


def anchor(key: Key, slos: Sequence[SLO]) -> float | None:
    """Users set bounds near what is possible, so a bound says what to expect of a metric; None without one."""
    about = [s for s in slos if (s.metric, s.of) == (key.metric, key.of)]
    bounds = [s for s in about if s.threshold > 0 and not s.bounds_each_request]
    if bounds:
        return min(math.log(s.threshold) - _tail(Key(s.metric, s.statistic)) for s in bounds)
    if key.metric == "ttft" and (below := anchor(key._replace(metric="tpot"), slos)) is not None:
        return below + scales.TTFT_OVER_TPOT
    return None


def _tail(key: Key) -> float:
    expected = scales.TAILS.get(key.statistic or "mean", 0.0)
    return expected * (scales.TPOT_TAIL if key.metric == "tpot" else 1.0)


def observed(quantity: Quantity, window: Measurement, place: Place, gpus: int) -> float | None:
    """The modeled logarithm in a window; None if it was not measured, or its latencies do not count."""
    return logarithm(quantity, lambda key: _logarithm(key, window), place, gpus)


def logarithm(quantity: Quantity, measured: Callable[[Key], float | None], place: Place, gpus: int) -> float | None:
    """The modeled logarithm, from those of the metrics in a window; None if they are not all known."""
    value = measured(quantity.key)
    if value is None:
        return None
    if quantity.base is not None:
        base = measured(quantity.base)
        return None if base is None else value - base
    if not quantity.derived:
        return value
    ttft = measured(TTFT)
    tpot = measured(TPOT)
    if ttft is None or tpot is None:
        return None
    return value - derived(quantity.key, place, math.exp(ttft), math.exp(tpot), gpus)


def derived(key: Key, place: Place, ttft_s: float, tpot_s: float, gpus: int) -> float:
    """Logarithm of a rate in a closed loop, by Little's law."""
    seconds = ttft_s + tpot_s * max((place.output_tokens or 1.0) - 1, 0.0)
    return math.log(max(rate_factor(key, place, gpus), 1e-300)) - math.log(max(seconds, 1e-12))


def rate_factor(key: Key, place: Place, gpus: int) -> float:
    """What a rate is, times the seconds that a request takes."""
    return (place.in_flight or 1) * _PER_REQUEST[key.metric](place) / rate_share(key, gpus)


def rate_share(key: Key, gpus: int) -> int:
    """What a rate is divided by: the GPUs if it is a rate of each of them."""
    return max(gpus, 1) if key.metric == "output_throughput_per_gpu" else 1


def _logarithm(key: Key, window: Measurement) -> float | None:
    if window.overloaded and METRICS[key.metric].distribution:
        return None  # it grows with the window's length
    value = metric_value(window.of(key.of), key.metric, key.statistic)
    return math.log(value) if value is not None and value > 0 else None


def clipped(values: Sequence[float]) -> list[float]:
    """The values, at most a factor of about 1000 from their median."""
    if not values:
        return []
    middle = sorted(values)[len(values) // 2]
    return [min(max(v, middle - _WIDEST), middle + _WIDEST) for v in values]


def shortfall_sign(slo: SLO) -> int:
    """1 if values above the threshold miss the SLO, -1 if those below do."""
    return 1 if slo.comparison is Comparison.LE else -1
