"""When a window may end: it is steady and holds enough finished requests, or its time is up.

The start of a window can be the part that is not steady, e.g. while an engine still compiles for its first batches. So
not only the whole window is looked at but also what remains without its start: later load replaces an unsettled start
instead of diluting it. Pure Python, because the load generator must start quickly.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import sqrt
from statistics import median

FEWEST = 8
"""Finished requests below which nothing can be said of steadiness."""
_RATE_DRIFT = 0.10
_TTFT_DRIFT = 0.25
_TTFT_FLOOR_S = 0.005
_SAMPLE = 200


def rates_drift(first: float, second: float, requests: int) -> bool:
    """Whether the tokens of two halves differ by more than chance explains; the allowance grows with few requests."""
    allowed = max(_RATE_DRIFT, 3 / sqrt(requests))
    return abs(second - first) > allowed * (first + second) / 2


def latencies_drift(early: float, late: float, requests: int) -> bool:
    """Whether the median latencies of two halves, in seconds, differ by more than chance explains."""
    allowed = max(_TTFT_DRIFT, 4 / sqrt(requests))
    return abs(late - early) > max(_TTFT_FLOOR_S, allowed * (early + late) / 2)


@dataclass
class Seen:
    """What the load generator has seen since the window opened. Times in seconds, growing."""

    ticks: list[float] = field(default_factory=lambda: [0.0])
    chunks: list[int] = field(default_factory=lambda: [0])
    """Chunks with tokens so far, at each tick."""
    ends: list[float] = field(default_factory=list)
    ttfts: list[float] = field(default_factory=list)
    """Of each success, in the order of their ends."""

    def tick(self, at: float, chunks: int) -> None:
        """Notes how many chunks have come so far."""
        self.ticks.append(at)
        self.chunks.append(chunks)

    def ended(self, at: float, ttft: float) -> None:
        """Notes a success."""
        self.ends.append(at)
        self.ttfts.append(ttft)

    def finished(self, begin: float) -> int:
        """Successes since ``begin``."""
        return len(self.ends) - bisect_left(self.ends, begin)

    def steady(self, begin: float, end: float) -> bool:
        """Whether the halves of a span agree; False where too few requests have ended to tell."""
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
class Aim:
    """What a window should be. Times in seconds."""

    duration: float
    longest: float
    fewest: int
    """Finished requests without which the window is too thin."""
    wanted: int
    """Finished requests that the percentiles asked for need."""

    @property
    def step(self) -> float:
        """Time between two looks at a window that goes on."""
        return self.duration / 4

    def needed(self, seen: Seen, now: float) -> int:
        """Finished requests to wait for: a percentile that the longest window could not carry is not waited for."""
        reachable = len(seen.ends) / now * self.longest if now > 0 else 0.0
        return max(self.fewest, self.wanted if reachable >= self.wanted else 0)

    def begin(self, seen: Seen, now: float) -> float | None:
        """Where the window begins that may end now, in seconds from its opening; None: it goes on.

        Of all spans that reach to now and are long enough, the longest steady one that holds enough requests. When the
        time is up, the longest steady one, else all of it.
        """
        if now >= self.longest - self.step / 2:
            enough = [self.needed(seen, now), self.fewest]
        elif now < self.duration - 1e-9:
            return None
        else:
            enough = [self.needed(seen, now)]
        starts = self._starts(now)
        for fewest in enough:
            for start in starts:
                if seen.finished(start) >= fewest and seen.steady(start, now):
                    return start
        # Fewer requests than steadiness can be judged by may still be all that were asked for.
        if seen.finished(0.0) >= enough[0] and len(seen.ends) < FEWEST:
            return 0.0
        return 0.0 if len(enough) > 1 else None

    def _starts(self, now: float) -> list[float]:
        count = max(0, int((now - self.duration) / self.step + 1e-6))
        return [k * self.step for k in range(count + 1)]


def _sampled(values: Sequence[float]) -> Sequence[float]:
    """At most some hundred of the values, evenly spaced: enough for a median, and quick, since the load goes on."""
    return values[:: max(1, len(values) // _SAMPLE)]
