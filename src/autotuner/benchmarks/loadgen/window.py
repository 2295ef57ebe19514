"""The measured window: its start, its end, and the progress lines in between."""

import asyncio
from collections.abc import Collection
from time import monotonic, monotonic_ns, process_time, time
from typing import Any, Protocol

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.level_watch import LevelWatch
from autotuner.benchmarks.loadgen.output_lines import Emit
from autotuner.benchmarks.loadgen.processes.lags import ClientLags, send_lag
from autotuner.benchmarks.loadgen.spec import WorkerSpec
from autotuner.benchmarks.loadgen.window_end import Observations, WindowGoal

_PROGRESS_S = 0.5
_LAG_TICK_S = 0.01
_TICKS = 40
"""Samples of the chunk count within the shortest window."""


class WatchedLoad(Protocol):
    """What the end of a window is decided by: the load of this process, or that of several."""

    @property
    def in_flight(self) -> Collection[Request]:
        """Requests in flight."""

    @property
    def ended(self) -> Collection[Request]:
        """Requests that have ended."""

    @property
    def chunks(self) -> int:
        """Chunks with tokens received by the requests in flight."""

    @property
    def backlog_limit(self) -> int:
        """Requests in flight that would mean a clear growth of the backlog compared to now."""


class Window:
    """A window that opens when the load is up, is extended until it is steady and has enough requests in spite of lags
    of the load generator, and may leave its start out.

    Args:
        spec: The window.
        load: The load.
        emit: Writes an output line.
        watch: Decides about the end of a level that is tested.
        lags: Those of the processes that send the load; None: this process sends it.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        load: WatchedLoad,
        emit: Emit,
        watch: LevelWatch | None = None,
        lags: ClientLags | None = None,
    ) -> None:
        self._spec = spec
        self._watch = watch
        self._load = load
        self._emit = emit
        self.goal = WindowGoal(
            duration=spec.duration_s,
            longest=max(spec.duration_s, spec.max_duration_s),
            fewest=spec.fewest_requests,
            wanted=spec.wanted_requests,
        )
        self.begin_ns = self.end_ns = 0
        self.begin_epoch = 0.0
        self.left_out_s = 0.0
        """Load between the opening and the start of the window, in seconds, which had not settled."""
        self.left_out_lagged = False
        """Whether the load generator lagged in it."""
        self.backlog_limit = 0
        """Requests in flight that would mean a clear growth of the backlog since the opening."""
        self.lags = ClientLags(spec.client_limits) if lags is None else lags
        self._sends = lags is None
        self.cpu_cores = 0.0
        """CPU time of this process per second of the window."""
        self._cpu_s = 0.0
        self._opened_ns = self._failed = self._done = self._ended_chunks = 0
        self._base = 0
        self._observed = Observations()
        self._full = asyncio.Event()
        self._total_s = spec.duration_s
        self._due_s = spec.duration_s
        """When the window ends or is extended, in seconds after the opening."""

    def opens_at(self, begin_ns: int) -> None:
        """Says when a replay's window will begin, before its first request is sent."""
        if self._watch is not None:
            self._watch.open_at(begin_ns)

    def ended(self, request: Request) -> None:
        """Counts a request that has ended."""
        self._ended_chunks += len(request.chunks)
        if not self._opened_ns or self.end_ns:
            return
        self._done += 1
        self.lags.sends.add(*send_lag(request))
        self._failed += request.error is not None
        if request.error is None and request.chunks and not request.ramp:
            self._observed.ended(self._at(request.end_ns), (request.chunks[0] - request.sent_ns) / 1e9)
        if self._watch is None and self._spec.requests is not None and self._done >= self._spec.requests:
            self.end_ns = monotonic_ns()
            self._full.set()

    async def run(self, begin_ns: int | None = None, *, on_schedule: bool = False) -> None:
        """Opens the window, waits for its end, closes it.

        Args:
            begin_ns: When it began, if that is not now.
            on_schedule: Whether it ends when it is due, not when this process wakes up: the number of scheduled
                arrivals in it then does not depend on how late that is.
        """
        opened_epoch = time()
        self._cpu_s = process_time()
        chunks = self._chunks()
        self._base = chunks
        self._opened_ns = self.begin_ns = begin_ns or monotonic_ns()
        self.backlog_limit = self._load.backlog_limit
        self._mark("begin", self._opened_ns)
        async with asyncio.TaskGroup() as group:
            watchers = [
                group.create_task(work)
                for work in (self._sample_lag(), self._report_progress(chunks), self._sample_chunks(chunks))
            ]
            begin = await self._wait_for_end()
            due_ns = self._opened_ns + round(self._due_s * 1e9)
            refuted = self._watch is not None and self._watch.failed  # which ends a replay before it is due
            self.end_ns = self.end_ns or (due_ns if on_schedule and not refuted else monotonic_ns())
            self.cpu_cores = (process_time() - self._cpu_s) / (max(1, self.end_ns - self._opened_ns) / 1e9)
            for watcher in watchers:
                watcher.cancel()
        self.left_out_s = begin
        self.begin_ns = self._opened_ns + round(begin * 1e9)
        self.begin_epoch = opened_epoch + begin
        self._mark("end", self.end_ns)

    async def _wait_for_end(self) -> float:
        """Waits until the window may end; returns where it starts, in seconds after the opening."""
        if self._watch is not None:
            self._watch.open()
            await self._watch.wait(self.goal.longest)
            return 0.0
        while True:
            try:
                async with asyncio.timeout(self._due_s - self._now()):
                    await self._full.wait()
                return 0.0
            except TimeoutError:
                pass
            if self._spec.replay is not None or self._spec.stages:
                return 0.0
            # A longer window helps neither with a growing backlog nor with a server that fails every request.
            overloaded = self._spec.rate is not None and len(self._load.in_flight) > self.backlog_limit
            if overloaded or self._failed == self._done > 0:
                return 0.0
            now = self._now()
            self._observed.tick(now, self._chunks() - self._base)
            begin = self.goal.begin(self._observed, now, self._spoiled)
            if begin is not None:
                self.left_out_lagged = begin > 0 and self._spoiled(0.0)
                return begin
            self._total_s = self.goal.longest
            self._due_s = min(self.goal.longest, self._due_s + self.goal.step)

    def _spoiled(self, start_s: float) -> bool:
        """Whether lags spoil a window that begins then and ends now. A process that lacks a faster processor all the
        time gains nothing from more of it."""
        lacks_cpu = process_time() - self._cpu_s > self.lags.limits.cpu_cores * self._now()
        if self._sends and lacks_cpu:
            return False
        begin_ns = self._opened_ns + round(start_s * 1e9)
        return self.lags.exceed(begin_ns, self._observed.latency(start_s), tuple(self._load.in_flight))

    def _at(self, moment_ns: int) -> float:
        return (moment_ns - self._opened_ns) / 1e9

    def _now(self) -> float:
        return self._at(monotonic_ns())

    def _chunks(self) -> int:
        return self._ended_chunks + self._load.chunks

    def _mark(self, state: str, now: int) -> None:
        self._emit({"kind": "window", "state": state, "monotonic_ns": now, "epoch_s": time()})

    def _report(self, line: dict[str, Any]) -> None:
        try:
            self._emit(line)
        except BrokenPipeError:  # the reader is gone; the mark at the window's end raises again, outside this task
            self._full.set()

    async def _sample_lag(self) -> None:
        while self._sends:
            due = monotonic() + _LAG_TICK_S
            await asyncio.sleep(_LAG_TICK_S)
            self.lags.loop.add(monotonic_ns(), monotonic() - due)

    async def _sample_chunks(self, chunks: int) -> None:
        while True:
            await asyncio.sleep(self._spec.duration_s / _TICKS)
            self._observed.tick(self._now(), self._chunks() - chunks)

    async def _report_progress(self, chunks: int) -> None:
        while not self._full.is_set():
            self._report(
                {
                    "kind": "progress",
                    "elapsed_s": self._now(),
                    "total_s": self._total_s,
                    "completed": self._done - self._failed,
                    "failed": self._failed,
                    "chunks": self._chunks() - chunks if self._spec.stream else None,
                }
            )
            await asyncio.sleep(_PROGRESS_S)
