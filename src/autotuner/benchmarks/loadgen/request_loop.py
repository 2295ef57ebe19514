"""Keeps the asked load on the server: a fixed number in flight (closed loop) or arrivals on a schedule (open loop).

The open loop has no cap on requests in flight: a slow server meets a growing queue, as in life. Nothing is ever
skipped or sent late on purpose, and what was sent late by us shows up in the send lag.
"""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from time import monotonic_ns
from urllib.parse import urlsplit

from autotuner.benchmarks.loadgen.connection import STALE, Connection
from autotuner.benchmarks.loadgen.request import Request
from autotuner.benchmarks.loadgen.tunnel import check_usable, connect_through, proxy_address
from autotuner.net.faults import CONNECT, TLS, of_exception
from autotuner.net.target import DIRECT, Access
from autotuner.net.tls import tls_context

MakeRequest = Callable[[], Request]

FAIL_PAUSE_S = 0.1
"""A closed loop waits so long before it replaces a failed request: a dead server is not hammered."""
CONNECT_TIMEOUT_S = 10.0
_SWEEP_S = 0.05
_SPARE = 8
_CROWD = 8


class Connections:
    """Idle connections to one server, and new ones when none is idle."""

    def __init__(self, url: str, ended: Callable[[Connection, Request], None], access: Access = DIRECT) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http(s) URL: {url}")
        self._secure = None
        if parts.scheme == "https":
            self._secure = tls_context(access.ca_file, insecure=access.insecure)
        self._proxy = access.proxy
        if self._proxy is not None:
            check_usable(self._proxy)
        self._name = parts.hostname
        self._port = parts.port or (443 if self._secure else 80)
        self.host = parts.netloc.rpartition("@")[2]
        self._ended = ended
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> Connection:
        """A new connection. Raises ``OSError`` or ``TimeoutError``."""
        begun = monotonic_ns()
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            connection = await self._connected()
        connection.connect_ns = monotonic_ns() - begun
        self._all.add(connection)
        return connection

    async def _connected(self) -> Connection:
        def make() -> Connection:
            return Connection(self._ended, self._lost)

        if self._proxy is not None and self._secure is not None:
            return await connect_through(self._proxy, make, self._name, self._port, self._secure)
        address = (self._name, self._port) if self._proxy is None else proxy_address(self._proxy)
        _, connection = await asyncio.get_running_loop().create_connection(make, *address, ssl=self._secure)
        return connection

    async def prepare(self, count: int) -> None:
        """Opens connections ahead; those that fail are tried again when they are needed."""
        for first in range(0, count, 64):
            opened = await asyncio.gather(*(self.open() for _ in range(min(64, count - first))), return_exceptions=True)
            self._idle.extend(c for c in opened if isinstance(c, Connection))

    def send(self, request: Request) -> None:
        """Sends on an idle connection at once, or on a new one as soon as it stands."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                self._on(connection, request)
                return
        self._spawn(self._dial(request))

    def back(self, connection: Connection) -> None:
        """A connection whose answer is over."""
        if connection.usable:
            self._idle.append(connection)
        else:
            self._all.discard(connection)
            connection.abort()

    def drop(self, connection: Connection) -> None:
        """Ends a connection that no longer counts."""
        self._all.discard(connection)
        connection.abort()

    def carrying(self) -> dict[Request, Connection]:
        """Which connection carries which request."""
        return {c.request: c for c in self._all if c.request is not None}

    async def close(self) -> None:
        """Ends all connections and waits for attempts under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._all:
            connection.take()
            connection.abort()
        self._all.clear()
        self._idle.clear()
        await asyncio.sleep(0)

    def _on(self, connection: Connection, request: Request) -> None:
        if connection.used == 0:
            request.connect_ns = connection.connect_ns
        connection.send(request)

    async def _dial(self, request: Request) -> None:
        try:
            connection = await self.open()
        except (OSError, TimeoutError) as error:
            if request.error is not None:
                return  # timed out meanwhile
            request.end_ns = monotonic_ns()
            request.sent_ns = request.sent_ns or request.end_ns
            fault = of_exception(error)
            request.fail(TLS if fault.kind == TLS else CONNECT, fault.message)
            self._ended(Connection(self._ended, self._lost), request)
            return
        if request.error is None:
            self._on(connection, request)
        else:
            self._idle.append(connection)

    def _lost(self, connection: Connection) -> None:
        self._all.discard(connection)

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        # Called from protocol callbacks, which have no task group around them: :meth:`close` waits for these instead.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Load:
    """Sends requests until told to stop, and keeps every one that ended."""

    def __init__(self, url: str, make: MakeRequest, *, timeout_s: float, access: Access = DIRECT) -> None:
        self._make = make
        self._timeout_ns = round(timeout_s * 1e9)
        self.connections = Connections(url, self._on_ended, access)
        self.flying: set[Request] = set()
        self.ended: list[Request] = []
        self.on_ended: Callable[[Request], None] = lambda _: None
        self._closed_loop = False
        self._stopped = False
        self._schedule: list[int] = []
        self._sent = 0
        self._timers: set[asyncio.TimerHandle] = set()
        self._sweeping = False
        self._loop = asyncio.get_running_loop()

    # the two loops

    def start_closed(self, in_flight: int, spread_s: float, first: Callable[[int], Request]) -> None:
        """Begins a closed loop: its first requests are spread over ``spread_s``."""
        self._closed_loop = True
        for slot in range(in_flight):
            self._later(spread_s * slot / in_flight, lambda slot=slot: self._launch(first(slot)))  # type: ignore[misc]
        self._sweep()

    def start_open(self, schedule_ns: list[int]) -> None:
        """Begins an open loop: one request at each of these monotonic times, growing."""
        self._schedule = schedule_ns
        self._sweep()
        self._arrive()

    def send(self, request: Request) -> None:
        """Sends one request now, as a loop of its own."""
        self._launch(request)
        if not self._sweeping:
            self._sweep()

    def scheduled_between(self, begin_ns: int, end_ns: int) -> int:
        """Arrivals that the schedule of an open loop holds in a span."""
        return bisect_left(self._schedule, end_ns) - bisect_left(self._schedule, begin_ns)

    def stop(self) -> None:
        """Sends nothing more; what flies goes on."""
        self._stopped = True

    @property
    def chunks(self) -> int:
        """Chunks with tokens so far, for progress."""
        return sum(len(r.chunks) for r in self.flying)

    @property
    def crowded(self) -> int:
        """Requests in flight above which a backlog has clearly grown since now."""
        return 2 * len(self.flying) + _CROWD

    async def drain(self, begin_ns: int, end_ns: int, drain_s: float, crowd: int) -> None:
        """Waits, at most ``drain_s``, for what the window still has to know, then takes off what still flies.

        Open loop: every request that was scheduled in the window has ended. Arrivals go on meanwhile, because the last
        requests of the window would look faster on a server that empties; with more than ``crowd`` in flight they end,
        so that an overloaded server is not buried for the next window. Closed loop: every request has ended or shown a
        sign of life. What has shown none in the end has timed out.
        """
        limit = monotonic_ns() + round(drain_s * 1e9)
        if self._closed_loop:
            self.stop()

        def awaited(request: Request) -> bool:
            if self._closed_loop:
                return _lifeless(request, end_ns)
            return begin_ns <= request.scheduled_ns < end_ns

        while monotonic_ns() < limit and any(awaited(r) for r in self.flying):
            if len(self.flying) > crowd:
                self.stop()
            await asyncio.sleep(0.01)
        self.stop()
        now = monotonic_ns()
        carriers = self.connections.carrying()
        for request in list(self.flying):
            if request.scheduled_ns < end_ns and _lifeless(request, end_ns):
                request.fail("timeout", f"no sign of life in the {drain_s:g} s after the window")
            self._take_off(request, now, carriers)

    async def close(self) -> None:
        """Ends everything."""
        self.stop()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        await self.connections.close()

    # what happens to requests

    def _launch(self, request: Request) -> None:
        if self._stopped:
            return
        if not request.scheduled_ns:
            request.scheduled_ns = monotonic_ns()
        self.flying.add(request)
        self.connections.send(request)

    def _on_ended(self, connection: Connection, request: Request) -> None:
        if request.error == STALE:
            request.error = None
            request.detail = ""
            if not request.retried:
                request.retried = True
                self.connections.drop(connection)
                self.connections.send(request)
                return
            request.fail("cut_stream", "closed before an answer began")
        self.connections.back(connection)
        self._count(request)
        if self._closed_loop and not self._stopped:
            if request.error is None:
                self._launch(self._make())
            else:
                self._later(FAIL_PAUSE_S, lambda: self._launch(self._make()))

    def _count(self, request: Request) -> None:
        self.flying.discard(request)
        self.ended.append(request)
        self.on_ended(request)

    def _arrive(self) -> None:
        now = monotonic_ns()
        due = bisect_right(self._schedule, now, lo=self._sent)
        while self._sent < due and not self._stopped:
            request = self._make()
            request.scheduled_ns = self._schedule[self._sent]
            self._sent += 1
            self._launch(request)
        if self._sent < len(self._schedule) and not self._stopped:
            self._later(max(0.0, (self._schedule[self._sent] - monotonic_ns()) / 1e9), self._arrive)

    def _sweep(self) -> None:
        """Finds requests that are out of time; cheaper than a timer for each."""
        self._sweeping = True
        now = monotonic_ns()
        late = [r for r in self.flying if now - r.scheduled_ns > self._timeout_ns and _out(r, now, self._timeout_ns)]
        carriers = self.connections.carrying() if late else {}
        for request in late:
            request.fail("timeout", f"no complete answer in {self._timeout_ns / 1e9:g} s")
            self._take_off(request, now, carriers)
            if self._closed_loop and not self._stopped:
                self._launch(self._make())
        self._later(_SWEEP_S, self._sweep)

    def _take_off(self, request: Request, now: int, carriers: dict[Request, Connection]) -> None:
        carrier = carriers.get(request)
        if carrier is not None:
            carrier.take()
            self.connections.drop(carrier)
        request.end_ns = now
        request.sent_ns = request.sent_ns or request.scheduled_ns
        self._count(request)

    def _later(self, delay_s: float, work: Callable[[], None]) -> None:
        def fire() -> None:
            self._timers.discard(timer)
            work()

        timer = self._loop.call_later(delay_s, fire)
        self._timers.add(timer)


def _lifeless(request: Request, since_ns: int) -> bool:
    return not request.chunks or request.chunks[-1] < since_ns


def _out(request: Request, now: int, timeout_ns: int) -> bool:
    return now - (request.sent_ns or request.scheduled_ns) > timeout_ns
