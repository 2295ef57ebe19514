"""Choice of the speeds at which a trace is replayed: higher or lower until the capacity is bracketed, then bisect.

The first step up doubles the speed, further ones multiply it by four, and each step down halves it.

A replay costs all of its requests unless it is refuted early, and its verdict has no error rate. So there are no levels
that only explore, and each one halves what is left of the bracket (in the logarithm), whichever way it comes out.
"""

from dataclasses import dataclass, field
from math import sqrt

from autotuner.capacity.level import LevelState, Patience
from autotuner.capacity.level_result import LevelResult, failed, highest_certified, is_monotone, lowest_refuted
from autotuner.capacity.search import Limits, Missing, Plan

REPLAY_METHOD = 1
"""Version of the rules below, as :data:`autotuner.capacity.search.METHOD` is of those for other loads."""
_FIRST_UP = 2.0
_UP = 4.0
"""Factor between further speeds as long as none is refuted: one far above the capacity is refuted by few requests, and
each one below it costs a whole replay."""
_DOWN = 2.0
"""The same as long as none is certified: half of the speed takes twice as long."""
_COLD = 300
"""Requests that a server may need to warm up."""
_DIGITS = 5


@dataclass
class ReplaySearch:
    """The speeds of one server, chosen one at a time; :meth:`next_level` and :meth:`add` take turns.

    Args:
        limits: Precision, range and budget; error rates do not apply.
        start: The first speed.
        replayed: Requests of one replay.
        required: A speed that the server must hold. It is tested first, and the search ends if it is refuted.
    """

    limits: Limits
    start: float
    replayed: int
    required: float | None = None
    results: list[LevelResult] = field(default_factory=list)
    client_limited: bool = False
    uncounted: int = 0
    """Requests of replays that the load generator limited: they say nothing about the server, and were paid for."""

    @property
    def spent(self) -> int:
        """Requests of all replays."""
        return self.uncounted + sum(result.requests for result in self.results)

    @property
    def _counted(self) -> list[LevelResult]:
        """The levels without a first one that failed at once and was repeated: a cold server fails at any speed."""
        return self.results[1:] if len(self.results) > 1 and self._failed_at_once else self.results

    @property
    def _unsure(self) -> bool:
        """Whether the only level so far may have failed because the server was cold."""
        return len(self.results) == 1 and self._failed_at_once

    @property
    def _failed_at_once(self) -> bool:
        return bool(self.results) and failed(self.results[0]) and self.results[0].requests < _COLD

    @property
    def cut(self) -> bool:
        """Whether the required speed was refuted, by a server that was warm."""
        return not self._unsure and any(failed(one) and one.load == self.required for one in self._counted)

    @property
    def certified(self) -> float | None:
        """The highest certified speed."""
        return highest_certified(self._counted)

    @property
    def refuted(self) -> float | None:
        """The lowest refuted speed above the certified one."""
        return lowest_refuted(self._counted, self.certified)

    @property
    def monotone(self) -> bool:
        """Whether every refuted speed is above every certified one."""
        return is_monotone(self._counted, self.certified)

    @property
    def precise(self) -> bool:
        """Whether the bracket is within the precision."""
        low = self.certified
        high = self.refuted
        return low is not None and high is not None and self._close(low, high)

    def next_level(self) -> Plan | None:
        """The next speed, or None when the bracket is precise or nothing more can be learned."""
        if self.cut or self.precise or self.client_limited or len(self.results) >= self.limits.max_levels:
            return None
        # Only a replay that can be completed: of a part, nothing would be known. The first one is run in any case.
        if self.spent and self.spent + self.replayed > self.limits.max_requests:
            return None
        speed = self._choose()
        return None if speed is None else Plan(speed, Patience(self.replayed), certify=0.0, refute=0.0)

    def add(self, result: LevelResult) -> None:
        """Records a level."""
        self.results.append(result)

    def missing(self) -> tuple[Missing | None, Missing | None]:
        """Why the certified and the refuted end are missing; None for an end that is there."""
        if self.cut:
            return Missing.CUT, None
        reason = self._reason
        low = high = None
        if self.certified is None:
            met_nowhere = any(failed(one) and one.load <= self.limits.low for one in self._counted)
            low = Missing.NEVER_MET if met_nowhere and not self._unsure else reason
        if self.refuted is None:
            highest = self.certified is not None and self.certified >= self.limits.high
            high = Missing.NEVER_SATURATED if highest else reason
        return low, high

    @property
    def _reason(self) -> Missing:
        """Why the search ended, where no speed outside of its range would have been next."""
        if self.client_limited:
            return Missing.CLIENT_LIMITED
        # Every speed that is left is ruled out by a replay whose outcome is unknown.
        return Missing.UNDECIDED if self._choose() is None else Missing.BUDGET

    def _choose(self) -> float | None:
        if not self.results:
            # The required speed is not rounded: the search is cut only if exactly this one is refuted.
            return self._inside(_rounded(self.start) if self.required is None else self.required)
        if self._unsure:
            return self.results[0].load
        low = self.certified
        # A replay whose outcome is unknown bounds the next speed like a bad one, and proves nothing.
        bad = [one.load for one in self._counted if one.state is not LevelState.CERTIFIED and one.load > (low or 0.0)]
        if low is None:
            lowest = min(bad)
            return self._outside(_rounded(lowest / _DOWN), lowest)
        if not bad:
            return self._outside(_rounded(low * (_FIRST_UP if len(self._counted) == 1 else _UP)), low)
        high = min(bad)
        return None if self._close(low, high) else _rounded(sqrt(low * high))

    def _outside(self, speed: float, last: float) -> float | None:
        inside = self._inside(speed)
        return None if inside == last else inside

    def _inside(self, speed: float) -> float:
        return min(max(speed, self.limits.low), self.limits.high)

    def _close(self, low: float, high: float) -> bool:
        # Rounding a speed may move the ends apart by a little more than the precision.
        return high <= low * (1 + self.limits.precision) * (1 + 10.0 ** (1 - _DIGITS))


def _rounded(speed: float) -> float:
    """A speed that can be written down: five digits are far below any precision that two replays agree on."""
    return float(f"{speed:.{_DIGITS}g}")
