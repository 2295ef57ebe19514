"""Decision when a window may end: it is steady and has enough finished requests, or its time is up.

Often only the start of a window is not steady, for example while an engine compiles kernels for its first batches.
Therefore windows without their start are considered too: later load replaces an unsettled start instead of diluting
it. The same holds for a moment at which the load generator itself lagged: more load dilutes it, or replaces the start
that contains it. Latencies never decide what is left out. Pure Python, because the load generator must start quickly.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import median

FEWEST = 8
"""Finished requests below which steadiness cannot be judged."""
_RATE_DRIFT = 0.10
_TTFT_DRIFT = 0.25
_TTFT_FLOOR_S = 0.005
_SAMPLE = 200


def rates_drift(first: float, second: float, requests: int) -> bool:
    """Whether the tokens of two halves differ by more than chance explains, which depends on the number of requests."""
    allowed = max(_RATE_DRIFT, 3 / sqrt(requests))
    return abs(second - first) > allowed * (first + second) / 2


def latencies_drift(early: float, late: float, requests: int) -> bool:
    """Whether the median latencies of two halves (seconds) differ by more than chance explains."""
    allowed = max(_TTFT_DRIFT, 4 / sqrt(requests))
    return abs(late - early) > max(_TTFT_FLOOR_S, allowed * (early + late) / 2)


@dataclass
class Observations:
    """Progress of the load since the window opened. Times in seconds, ascending."""

    ticks: list[float] = field(default_factory=lambda: [0.0])
    chunks: list[int] = field(default_factory=lambda: [0])
    """Chunks with tokens received until each tick."""
    ends: list[float] = field(default_factory=list)
    ttfts: list[float] = field(default_factory=list)
    """TTFT of each success, in the order of ``ends``."""

    def tick(self, at: float, chunks: int) -> None:
        """Records how many chunks have been received."""
        self.ticks.append(at)
        self.chunks.append(chunks)

    def ended(self, at: float, ttft: float) -> None:
        """Records a success."""
        self.ends.append(at)
        self.ttfts.append(ttft)

    def finished(self, begin: float) -> int:
        """Successes since ``begin``."""
        return len(self.ends) - bisect_left(self.ends, begin)

    def latency(self, begin: float) -> float | None:
        """Median TTFT of the successes since ``begin``; None if there are none."""
        found = _sampled(self.ttfts[bisect_left(self.ends, begin) :])
        return median(found) if found else None

    def steady(self, begin: float, end: float) -> bool:
        """Whether the halves of a span agree; False if too few requests have ended to judge."""
        requests = self.finished(begin)
        if requests < FEWEST:
            return False
        middle = (begin + end) / 2
        before, between, after = (self._chunks_at(at) for at in (begin, middle, end))
        if rates_drift(between - before, after - between, requests):
            return False
        first = bisect_left(self.ends, begin)
        half = bisect_left(self.ends, middle)
        early = _sampled(self.ttfts[first:half])
        late = _sampled(self.ttfts[half:])
        return not (early and late and latencies_drift(median(early), median(late), requests))

    def _chunks_at(self, at: float) -> float:
        right = min(max(1, bisect_left(self.ticks, at)), len(self.ticks) - 1)
        span = self.ticks[right] - self.ticks[right - 1]
        share = min(1.0, max(0.0, (at - self.ticks[right - 1]) / span)) if span > 0 else 1.0
        return self.chunks[right - 1] + share * (self.chunks[right] - self.chunks[right - 1])


@dataclass(frozen=True)
class WindowGoal:
    """Length and content that a window should have. Times in seconds."""

    duration: float
    longest: float
    fewest: int
    """Finished requests below which the window is too thin."""
    wanted: int
    """Finished requests that the requested percentiles need."""

    @property
    def step(self) -> float:
        """Time between two decisions about an extended window."""
        return self.duration / 4

    def needed(self, observed: Observations, now: float) -> int:
        """Finished requests to wait for; a percentile that even the longest window cannot support is not awaited."""
        reachable = len(observed.ends) / now * self.longest if now > 0 else 0.0
        return max(self.fewest, self.wanted if reachable >= self.wanted else 0)

    def begin(
        self, observed: Observations, now: float, spoiled: Callable[[float], bool] = lambda _: False
    ) -> float | None:
        """Chooses where a window that ends now begins.

        Of all sufficiently long spans that end now, it is the longest steady one with enough requests in which the load
        generator kept up. When the time is up, it is the longest such span with the minimum of requests, or else one
        in which the load generator lagged, or else the whole span.

        Args:
            observed: Progress of the load until now.
            now: Seconds after the opening.
            spoiled: Whether lags of the load generator spoil a span that begins then and ends now.

        Returns:
            Seconds after the opening, or None if the window must continue.
        """
        over = now >= self.longest - self.step / 2
        if not over and now < self.duration - 1e-9:
            return None
        needed = self.needed(observed, now)
        starts = self._starts(now)
        sound = [start for start in starts if not spoiled(start)]
        choices = [(sound, needed)]
        if over:
            choices += [(sound, self.fewest), (starts, needed), (starts, self.fewest)]
        for candidates, fewest in choices:
            for start in candidates:
                # A study may ask for fewer requests than a judgment of steadiness needs.
                judged = len(observed.ends) >= FEWEST
                if observed.finished(start) >= fewest and (not judged or observed.steady(start, now)):
                    return start
        return 0.0 if over else None

    def _starts(self, now: float) -> list[float]:
        count = max(0, int((now - self.duration) / self.step + 1e-6))
        return [k * self.step for k in range(count + 1)]


def _sampled(values: Sequence[float]) -> Sequence[float]:
    """A few hundred evenly spaced values: enough for a median, and fast, because the load continues meanwhile."""
    return values[:: max(1, len(values) // _SAMPLE)]
