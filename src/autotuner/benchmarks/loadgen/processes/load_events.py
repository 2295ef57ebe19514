"""What one of several load processes reports of its requests while the load is on, and what their parent makes of it.

A report holds a handful of numbers per request, not one per token, so that the parent can follow many processes. It
also says until when it is complete: the parent applies what happened in the order of time, across all processes.
"""

from collections.abc import Collection, Iterable, Mapping
from time import monotonic_ns
from typing import Any

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.http.request_loop import Load, backlog_limit
from autotuner.benchmarks.loadgen.processes.lags import ClientLags, ClientLimits

ARRIVED = 0
SENT = 1
FIRST = 2
ENDED = 3

Event = tuple[int, int, int, tuple[Any, ...]]
"""(monotonic ns, index of the request, kind, further values)."""


class EventLog:
    """The child's side: events since the last report.

    Args:
        load: The load of this process.
        first_tokens: Whether to report first tokens before their answers have ended.
    """

    def __init__(self, load: Load, *, first_tokens: bool) -> None:
        self._load = load
        self._events: list[Event] = []
        self._waiting: dict[int, Request] = {}
        self._unsent: list[Request] = []
        self._first_tokens = first_tokens
        self._ended_chunks = 0
        self._lags: list[tuple[int, float]] = []

    def lagged(self, at_ns: int, lag_s: float) -> None:
        """Records how late the event loop woke up."""
        self._lags.append((at_ns, lag_s))

    def arrived(self, request: Request, _in_flight: int) -> None:
        """Records an arrival."""
        arrival = (request.ramp, request.asked_input, request.asked_output)
        self._events.append((request.scheduled_ns, request.index, ARRIVED, arrival))
        if self._first_tokens:
            self._waiting[request.index] = request
            self._unsent.append(request)

    def ended(self, request: Request) -> None:
        """Records an end."""
        chunks = request.chunks
        self._ended_chunks += len(chunks)
        self._waiting.pop(request.index, None)
        times = (chunks[0], chunks[-1]) if chunks else (0, 0)
        values = (request.sent_ns, *times, len(chunks), request.output_tokens, request.error, request.connect_ns)
        self._events.append((request.end_ns, request.index, ENDED, values))

    def report(self) -> dict[str, Any]:
        """A line for the parent."""
        sent = [request for request in self._unsent if request.sent_ns]
        self._unsent = [request for request in self._unsent if not request.sent_ns]
        self._events += ((r.sent_ns, r.index, SENT, (r.sent_ns,)) for r in sent if not r.end_ns)
        answered = [request for request in self._waiting.values() if request.chunks]
        for request in answered:
            self._events.append((request.chunks[0], request.index, FIRST, (request.sent_ns,)))
            del self._waiting[request.index]
        now = monotonic_ns()
        due = self._load.next_ns
        events = self._events
        self._events = []
        lags = self._lags
        self._lags = []
        return {
            "kind": "events",
            # An arrival that is due but not sent yet will be reported with the time at which it was due.
            "until_ns": now if due is None else min(now, due - 1),
            "chunks": self._ended_chunks + self._load.chunks,
            "events": events,
            "lags": lags,
        }


class MergedLoad:
    """The parent's side: the load of all processes, as :class:`Window` watches that of one.

    Args:
        workers: Number of processes.
        limits: When their lags count.
    """

    def __init__(self, workers: int, limits: ClientLimits | None = None) -> None:
        self.lags = ClientLags(limits or ClientLimits())
        self.ended: list[Request] = []
        self.in_flight_at: dict[int, int | None] = {}
        """Requests in flight when a request arrived, where a level is tested."""
        self.on_arrived: Any = lambda _request, _in_flight: None
        self.on_ended: Any = lambda _request: None
        self._running: dict[int, Request] = {}
        self._pending: list[Event] = []
        self._until = [0] * workers
        self._chunks = [0] * workers
        self._ended_chunks = 0
        self.applied_ns = 0
        """Everything that happened until then is known."""
        self.hold_ns: int | None = None
        """Nothing later is applied yet."""

    @property
    def in_flight(self) -> Collection[Request]:
        """See :class:`~autotuner.benchmarks.loadgen.window.WatchedLoad`."""
        return self._running.values()

    @property
    def chunks(self) -> int:
        """See :class:`~autotuner.benchmarks.loadgen.window.WatchedLoad`."""
        return sum(self._chunks) - self._ended_chunks

    @property
    def backlog_limit(self) -> int:
        """See :class:`~autotuner.benchmarks.loadgen.window.WatchedLoad`."""
        return backlog_limit(len(self._running))

    def take(self, worker: int, report: Mapping[str, Any]) -> None:
        """Adds a report, and applies what is now known of all processes."""
        self._until[worker] = report["until_ns"]
        self._chunks[worker] = report["chunks"]
        self._pending += (tuple(event) for event in report["events"])
        for at, lag in report["lags"]:
            self.lags.loop.add(at, lag)
        self.apply()

    def finish(self, worker: int) -> None:
        """There will be no further report of a process."""
        self._until[worker] = monotonic_ns()
        self.apply()

    def apply(self) -> None:
        """Applies the events up to the time until when all processes have reported."""
        until = min(self._until) if self.hold_ns is None else min(*self._until, self.hold_ns)
        # By time and then by index, the order in which a certificate is checked.
        self._pending.sort(key=lambda event: event[:3])
        count = 0
        for at, index, kind, values in self._pending:
            if at > until:
                break
            count += 1
            self._happened(at, index, kind, values)
        del self._pending[:count]
        self.applied_ns = max(self.applied_ns, until)

    def _happened(self, at: int, index: int, kind: int, values: tuple[Any, ...]) -> None:
        if kind == ARRIVED:
            ramp, asked_input, asked_output = values
            request = Request(index, b"", asked_input, asked_output, keep_text=False)
            request.scheduled_ns = at
            request.ramp = ramp
            self.on_arrived(request, len(self._running))
            self.in_flight_at[index] = request.in_flight
            self._running[index] = request
            return
        request = self._running[index]
        request.sent_ns = values[0]
        if kind != ENDED:
            request.chunks = [at] if kind == FIRST else request.chunks
            return
        _, first, last, count, request.output_tokens, request.error, request.connect_ns = values
        request.end_ns = at
        # Only the first, the last and the number are known here, and nothing else matters here.
        request.chunks = [first, *[last] * (count - 1)] if count else []
        self._ended_chunks += count
        del self._running[index]
        self.ended.append(request)
        self.on_ended(request)
        if request.in_flight is None:
            request.chunks = []  # nobody asks any more


def merged_quantile(lags: Iterable[Iterable[float]], share: float) -> float:
    """A quantile of the values of all processes; 0 if there are none."""
    pooled = sorted(lag for part in lags for lag in part)
    return pooled[int(len(pooled) * share)] if pooled else 0.0
