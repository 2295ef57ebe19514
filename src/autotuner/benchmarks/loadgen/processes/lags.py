"""Lags of the load generator itself: how large they are, and whether they spoil a span of the window.

One moment without a processor spoils a short window, but neither a longer one nor the part after that moment. Pure
Python, because the load generator must start quickly.
"""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass

from autotuner.benchmarks.loadgen.http.request import Request


@dataclass(frozen=True)
class ClientLimits:
    """Limits that the load generator itself checks while it measures; the defaults of all."""

    lag_s: float = 0.010
    """p99 of the event loop's lag and of the send lag that is always tolerated, in seconds."""
    lag_share: float = 0.1
    """The same as a share of the median latency."""
    cpu_cores: float = 0.9
    """Maximum CPU usage of a process, which has a single thread."""


def allowed_lag_s(lag_s: float, lag_share: float, latency_s: float | None) -> float:
    """The largest p99 of a lag that is tolerated at a median latency (TTFT of a stream); None: it is unknown."""
    return max(lag_s, lag_share * (latency_s or 0.0))


def send_lag(request: Request) -> tuple[int, float]:
    """When a request was sent (monotonic ns), and by how many seconds too late, connection setup aside."""
    return request.sent_ns, max(0, request.sent_ns - request.scheduled_ns - request.connect_ns) / 1e9


class Lags:
    """Lags of one kind, each with the time (monotonic ns) at which it ended.

    Args:
        floor_s: Lags up to this are always tolerated.
    """

    def __init__(self, floor_s: float) -> None:
        self._floor_s = floor_s
        self._known: list[tuple[int, float]] = []
        self._late: list[tuple[int, float]] = []

    def add(self, at_ns: int, lag_s: float) -> None:
        """Records a lag; nearly in the order of time."""
        insort(self._known, (at_ns, lag_s))
        if lag_s > self._floor_s:
            self._late.append((at_ns, lag_s))

    def since(self, begin_ns: int) -> list[float]:
        """The lags since then, in seconds."""
        return [lag for _, lag in self._known[bisect_left(self._known, (begin_ns, 0.0)) :]]

    def exceed(self, begin_ns: int, allowed_s: float, more: Sequence[tuple[int, float]] = ()) -> bool:
        """Whether the p99 of the lags since then exceeds a limit. Fast, because the load continues meanwhile.

        Args:
            begin_ns: Start of the span.
            allowed_s: The limit, not below the floor.
            more: Further lags.
        """
        recent = [lag for at, lag in more if at >= begin_ns]
        count = len(self._known) - bisect_left(self._known, (begin_ns, 0.0)) + len(recent)
        late = sum(at >= begin_ns and lag > allowed_s for at, lag in self._late)
        late += sum(lag > allowed_s for lag in recent)
        return late > max(0, count - 1) // 100


class ClientLags:
    """Lags of the load generator since its window opened.

    Args:
        limits: When they count.
    """

    def __init__(self, limits: ClientLimits) -> None:
        self.limits = limits
        self.loop = Lags(limits.lag_s)
        """How late the event loop woke up."""
        self.sends = Lags(limits.lag_s)
        """How late requests were sent."""

    def exceed(self, begin_ns: int, latency_s: float | None, sending: Sequence[Request] = ()) -> bool:
        """Whether a window that begins then and ends now measures the load generator rather than the server.

        Args:
            begin_ns: Start of the window.
            latency_s: Median latency in it (TTFT of a stream); None if it is unknown.
            sending: Requests in flight.
        """
        allowed = allowed_lag_s(self.limits.lag_s, self.limits.lag_share, latency_s)
        sent = [send_lag(request) for request in sending if request.sent_ns]
        return self.loop.exceed(begin_ns, allowed) or self.sends.exceed(begin_ns, allowed, sent)
