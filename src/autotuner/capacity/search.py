"""Choice of the levels: bracket the capacity, narrow it by the fitted curve, certify below it and refute above."""

from dataclasses import dataclass, field
from math import log
from statistics import median

from autotuner.capacity.clusters import LENGTHY, dispersions_at
from autotuner.capacity.cost import requests_to_decide
from autotuner.capacity.curve import Estimate, estimate
from autotuner.capacity.level import LevelState, Patience
from autotuner.capacity.level_result import (
    LevelResult,
    Missing,
    dispersion_of,
    failed,
    highest_certified,
    is_monotone,
    lowest_refuted,
    promising,
    tempered,
    used,
    weighted,
)
from autotuner.capacity.loads import ROUNDING, next_above
from autotuner.capacity.observation import ShareCount

__all__ = ["METHOD", "CapacitySearch", "LevelResult", "Limits", "Missing", "Plan"]

METHOD = 7
"""Version of the rules below; stored with a result, because a certificate is verified by repeating its search."""
_LIKELY = 0.3
"""Log evidence at which an exploring level is left: about 60 requests without a miss at p99."""
_LIKELY_NEAR = 0.6
"""The same where the estimate of the capacity is narrower than ``_FAR``; good is hard to tell from bad there."""
_FAR = 1.5
_EXPLORE = 300
"""Fewest requests of an exploring level that is not decided earlier."""
COLD = 240
"""Requests after which a server has warmed up: compiled its kernels, filled its caches."""
_SPENT = 4
"""Later levels may take a part of all requests so far: what was not clear then will not be clear in fewer now."""
_NEAR_LEVELS = 5
"""Levels close to the capacity after which it is time to decide, however wide the estimate."""
_NARROW = 1.2
"""Width of the estimate, relative to the precision, from which on levels are there to decide."""
_BELOW_CAPACITY = 0.6
"""Part of the bracket below the estimated capacity. Above it misses multiply, so less distance is needed there."""
_EXPECTED = 0.5
"""Part of the error rate that is left which a level may use for what the curve expects of it."""
_UNEXPECTED = 0.05
"""The same for the opposite, and for levels that only explore."""
_REQUIRED_REQUESTS = 2_000
"""Requests of the required load at most. A server that is about as good as required is not decided in fewer; its search
then goes on."""
_RESERVE = 1.2
"""Requests that are kept for a level far below the capacity, relative to those expected to certify it."""
_CAUTIOUS = ((2.0, 1.6), (4.0, 1.2))
"""Factors by which the first level to be certified is placed lower, by the requests that are left, in reserves: the
curve may be wrong about the capacity, and with few requests left, one wrong guess leaves nothing certified."""
_UNSEEN_DISPERSION = 3.0
"""Dispersion of short levels, as long as no lengthy one has shown it."""
_INNER = 0.3
"""Part of a bracket (in the logarithm) at either end in which no level is placed: a curve fitted to two levels knows
little."""
_SAME = 0.004
"""Relative distance of two loads below which they are one level."""
_COMPARED = 0.5
"""Part of the requests for a server that is only compared with a required load."""
_BETTER = 1.04
"""Least estimated capacity, relative to the required load, with which it is worth showing that this load is held."""
_NEARLY = 1.05
"""How far the estimated capacity may be above the load that is one precision above a certified one."""
_CLEAR = 1.02
"""Least distance of a level from the estimated capacity, as a factor, from which it can be decided in good time."""
_CLEAR_PART = 0.2
"""The same as a part of the precision (in the logarithm): a wide bracket has room for levels that are decided soon."""
_BESIDE = 0.97
"""Factor on a load that was measured while the server may have been cold."""
_STEP = 2.0
"""Factor between levels as long as the capacity is not bracketed."""


@dataclass(frozen=True)
class Limits:
    """What bounds a search. Loads are in requests per second, or in flight."""

    precision: float = 0.1
    low: float = 0.0
    high: float = float("inf")
    max_requests: int = 20_000
    whole: bool = False
    """Loads are whole numbers: requests in flight."""
    max_levels: int = 40
    alpha: float = 0.05
    """Error rate of the answer, of which each level has a part."""


@dataclass(frozen=True)
class Plan:
    """The next level."""

    load: float
    patience: Patience
    certify: float
    """Error rate of certifying it, in parts of the whole one."""
    refute: float
    dispersions: tuple[float, ...] = ()
    """Least dispersion of each bound if the level is bad."""


@dataclass
class CapacitySearch:
    """The levels of one server, chosen one at a time; :meth:`next_level` and :meth:`add` take turns.

    Args:
        limits: Precision, range and budget.
        start: The first load.
        required: A load that the server must hold to be of interest, such as one above that of the best configuration.
            It is tested first. The search ends if it is refuted, if a load just above it is refuted and the estimated
            capacity is below it, or, without a narrow bracket, once the certified load is close to the capacity.
    """

    limits: Limits
    start: float
    required: float | None = None
    results: list[LevelResult] = field(default_factory=list)
    client_limited: bool = False
    predicted: tuple[float | None, ...] = ()
    """The capacity by each bound that the server's twin predicts; None for a bound that it does not."""
    _plan: Plan | None = None
    _left: dict[bool, float] = field(default_factory=lambda: {True: 1.0, False: 1.0})
    """Part of the error rate that is left, of certifying and of refuting."""

    @property
    def spent(self) -> int:
        """Requests of all levels."""
        return sum(result.requests for result in self.results)

    @property
    def cut(self) -> bool:
        """Whether the server was not shown to hold the required load, and cannot hold much more."""
        return self._refuted_required or (self._doubtful and self.refuted is not None)

    @property
    def _refuted_required(self) -> bool:
        """Whether the required load was refuted, by a server that was warm."""
        return any(failed(result) and result.load == self.required for result in self.results[self._cold :])

    @property
    def _cold(self) -> int:
        """Number of leading levels that show nothing: a cold server fails at any load."""
        served = 0
        for index, result in enumerate(self.results):
            served += result.requests
            if promising(result) or served >= COLD:
                return index
        return len(self.results)

    @property
    def _left_requests(self) -> int:
        most = self.limits.max_requests
        return (most if self.required is None else round(most * _COMPARED)) - self.spent

    @property
    def _doubtful(self) -> bool:
        """Whether the server holds little more than the required load at best, which would take long to decide."""
        if self.required is None or self.certified is not None or self._cold == len(self.results):
            return False
        if self._left_requests <= 0:
            return True
        near = self.refuted is not None and self.refuted <= self._above(self._above(self.required)) * (1 + ROUNDING)
        return near and self.capacity_estimate().median < self.required * _CLEAR

    @property
    def _enough(self) -> bool:
        """Whether the certified load is close to the capacity; a comparison needs no narrow bracket."""
        if self.required is None or self.certified is None:
            return False
        return self.capacity_estimate().median <= self._above(self.certified) * _NEARLY

    @property
    def certified(self) -> float | None:
        """The highest certified load."""
        return highest_certified(self.results)

    @property
    def refuted(self) -> float | None:
        """The lowest refuted load above the certified one."""
        return lowest_refuted(self._counted, self.certified)

    @property
    def _counted(self) -> list[LevelResult]:
        """The levels without those of a cold server, if there are others."""
        return self.results[self._cold :] or self.results

    @property
    def monotone(self) -> bool:
        """Whether every refuted load is above every certified one."""
        return is_monotone(self._counted, self.certified)

    @property
    def precise(self) -> bool:
        """Whether the bracket is within the precision."""
        low = self.certified
        high = self.refuted
        return low is not None and high is not None and high <= self._above(low) * (1 + ROUNDING)

    def next_level(self, affordable: int | None = None) -> Plan | None:
        """The next level, or None when the bracket is precise or nothing more can be learned.

        Args:
            affordable: Requests for which there is time; None if there is enough.
        """
        left = self._left_requests
        if affordable is not None:
            left = min(left, affordable)
        if self.required is not None and self._cold == len(self.results):
            patience = Patience(min(_REQUIRED_REQUESTS, left), _LIKELY_NEAR)
            certify, refute = (_UNEXPECTED * part for part in (self._left[True], self._left[False]))
            self._plan = Plan(self.required, patience, certify, refute)
            return self._plan
        ended = self._refuted_required or self._doubtful or self._enough or self.precise
        if ended or left <= 0 or self.client_limited or len(self.results) >= self.limits.max_levels:
            return None
        load, deciding = self._choose()
        lower = self._short_of(left)
        load = load if lower is None else lower
        if load is None:
            return None
        deciding = deciding or lower is not None
        self._plan = self._planned(load, left, deciding=deciding)
        return self._plan

    def _planned(self, load: float, left: int, *, deciding: bool) -> Plan:
        certify, refute = (_UNEXPECTED * part for part in (self._left[True], self._left[False]))
        floors = dispersions_at(load, self.results)
        if not deciding:
            far = len(self._counted) < 2 or self.capacity_estimate().width > _FAR
            most = min(left, max(_EXPLORE, self.spent // _SPENT))
            patience = Patience(most, _LIKELY if far else _LIKELY_NEAR, near=not far)
            return Plan(load, patience, certify, refute, floors)
        # What the server can certainly take is worth more than a narrow bracket: something is kept to certify it.
        reserve = self._reserve()
        most = left if self.certified is not None or left < 2 * reserve else round(min(left - reserve, left / 2))
        if load <= self._likely_capacity():
            return Plan(load, Patience(most), _EXPECTED * self._left[True], refute, floors)
        return Plan(load, Patience(most), certify, _EXPECTED * self._left[False], floors)

    def _reserve(self) -> float:
        """Requests for which something can be certified, far enough below the capacity."""
        error = self.limits.alpha * self._left[True] * _EXPECTED
        dispersions = dispersions_at(self.capacity_estimate().median / _CAUTIOUS[0][1], self.results)
        predicted = self.predicted or (None,) * len(dispersions)
        bounds = zip(self.results[0].observations, dispersions, predicted, strict=True)
        found = [
            requests_to_decide(0.0, one.allowed, error, max(dispersion if twin is None else 1.0, _UNSEEN_DISPERSION))
            for one, dispersion, twin in bounds
            if isinstance(one, ShareCount)
        ]
        return _RESERVE * max(found, default=_EXPLORE)

    def _short_of(self, left: int) -> float | None:
        """A load to certify before anything else, where few requests are left and nothing is certified."""
        good = [result.load for result in self._counted if promising(result)]
        if self.certified is not None or not good:
            return None
        if self.required is not None and len(good) < len(self._counted):
            # Holding the required load is what matters, and easier to show than a load close to the capacity.
            better = self.capacity_estimate().median > self.required * _BETTER
            return self._free(self.required, True) if better else None
        reserve = self._reserve()
        factor = next((factor for reserves, factor in _CAUTIOUS if left < reserves * reserve), None)
        if factor is None:
            return None
        return self._free(max(min(max(good), self.capacity_estimate().median / factor), self.required or 0.0))

    def add(self, result: LevelResult) -> None:
        """Records a level."""
        self.results.append(result)
        plan = self._plan
        self._plan = None
        if plan is not None:
            certified = result.state is LevelState.CERTIFIED
            refuted = result.state is LevelState.REFUTED
            self._left[True] -= used(plan.certify, result.below, decided=certified)
            self._left[False] -= used(plan.refute, result.above, decided=refuted)

    def missing(self) -> tuple[Missing | None, Missing | None]:
        """Why the certified and the refuted end are missing; None for an end that is there."""
        if self.cut:
            return Missing.CUT, None
        limits = self.limits
        reason = Missing.CLIENT_LIMITED if self.client_limited else Missing.BUDGET
        low = high = None
        if self.certified is None:
            met_nowhere = any(failed(result) and result.load <= self._rounded(limits.low) for result in self.results)
            low = Missing.NEVER_MET if met_nowhere else reason
        if self.refuted is None:
            low_enough = self.certified is not None and self.certified >= limits.high * (1 - _SAME)
            high = Missing.NEVER_SATURATED if low_enough else Missing.ENOUGH if self._enough else reason
        return low, high

    def capacity_estimate(self) -> Estimate:
        """Where the twin or else the curve has the capacity: the lowest of the bounds' estimates."""
        bounds = range(len(self.results[0].observations))
        return min((self._estimate(index) for index in bounds), key=lambda one: one.median)

    def _estimate(self, index: int) -> Estimate:
        predicted = self.predicted[index] if self.predicted else None
        if predicted is not None:
            return Estimate(predicted, predicted, predicted)
        typical = self._typical_dispersion(index)
        observations = [tempered(result, index, typical) for result in self._counted]
        rough = estimate(observations)
        # No curve is a straight line from a tenth of the capacity to its fourfold, so that levels close to it decide.
        return estimate([weighted(one, log(one.load / rough.median)) for one in observations])

    def _typical_dispersion(self, index: int) -> float:
        """Dispersion at the levels with enough requests to see it; short levels show only a part."""
        found = [dispersion_of(result, index) for result in self._counted if result.requests >= LENGTHY]
        return median(found) if found else _UNSEEN_DISPERSION

    def _choose(self) -> tuple[float | None, bool]:
        """The next load, and whether it is there to be decided."""
        if not self.results:
            return self._inside(self.start), False
        good = [result.load for result in self._counted if promising(result)]
        bad = [result.load for result in self._counted if not promising(result)]
        if self.required is not None and not good and len(self._counted) == 1:
            # The required load looks too high. If one step above is refuted, the search ends.
            return self._inside(self._above(self.required)), True
        if not bad:
            return self._outwards(max(good) * _STEP, max(good))
        if not good:
            return self._outwards(min(bad) / _STEP, min(bad))
        return self._between(max(good), min(bad))

    def _between(self, good: float, bad: float) -> tuple[float | None, bool]:
        """The next load, once the capacity is bracketed by levels that lean one way or the other."""
        found = self.capacity_estimate()
        if found.median in self.predicted:  # by a twin, which has seen more than the curve shows
            load = max(self._deciding(found.median), self.required or 0.0)
            return self._free(load, self.refuted is not None and load < self.refuted), True
        if good < bad and bad > good * (1 + self.limits.precision):
            inner = (good * (bad / good) ** _INNER, bad * (good / bad) ** _INNER)
            return self._free(min(max(found.median, inner[0]), inner[1])), False
        near = sum(abs(log(result.load / found.median)) < log(1 + self.limits.precision) for result in self._counted)
        if good > bad and found.width > 1 + self.limits.precision * _NARROW and near < _NEAR_LEVELS:
            return self._free(found.median), False
        load = max(self._deciding(self._likely_capacity()), self.required or 0.0)
        # Moving towards the end that is there keeps the bracket precise.
        upwards = self.refuted is not None and load < self.refuted
        return self._free(load, upwards), True

    def _likely_capacity(self) -> float:
        """The estimated capacity, but between the levels that look good and bad: no curve follows a cliff."""
        found = self.capacity_estimate().median
        good = [result.load for result in self._counted if promising(result)]
        bad = [result.load for result in self._counted if not promising(result)]
        if found in self.predicted or not good or not bad:
            return found
        low, high = sorted((max(good), min(bad)))
        return min(max(found, low), high)

    def _deciding(self, capacity: float) -> float:
        """The load that is missing from the bracket: one step from the end that is there, if that can be decided."""
        low = self.certified
        high = self.refuted
        clear = max(_CLEAR, (1 + self.limits.precision) ** _CLEAR_PART)
        if low is not None and self._above(low) >= capacity * clear:
            return self._above(low)
        if high is not None and self._below(high) <= capacity / clear:
            return self._below(high)
        return capacity * float((1 + self.limits.precision) ** (1 - _BELOW_CAPACITY))

    def _outwards(self, load: float, last: float) -> tuple[float | None, bool]:
        """A load outside of those measured; the end of the range is there to be decided."""
        inside = self._inside(load)
        limited = inside != self._rounded(load)
        if len(self._counted) < len(self.results) and abs(inside / self.results[0].load - 1) <= _SAME:
            inside = self._inside(load * _BESIDE)
        if abs(inside / last - 1) > _SAME:
            return inside, limited
        decided = any(result.state is not LevelState.OPEN and result.load == last for result in self.results)
        return (None, False) if decided else (last, True)

    def _free(self, load: float, upwards: bool = False) -> float | None:
        """The load, moved away from levels that were measured before: a second test of one would double its error."""
        inside = self._inside(load)
        taken = [result for result in self.results if result.state is not LevelState.OPEN or result.requests > _EXPLORE]
        for shift in (0.0, 0.01, -0.01, 0.02, -0.02, 0.03, -0.03):
            moved = self._inside(inside * (1 + (shift if upwards else -shift)))
            if all(abs(moved / result.load - 1) > _SAME for result in taken):
                return moved
        return None

    def _above(self, low: float) -> float:
        return next_above(low, self.limits.precision, whole=self.limits.whole)

    def _below(self, high: float) -> float:
        return high / (1 + self.limits.precision)

    def _inside(self, load: float) -> float:
        return self._rounded(min(max(load, self.limits.low), self.limits.high))

    def _rounded(self, load: float) -> float:
        return float(max(1, round(load))) if self.limits.whole else load
