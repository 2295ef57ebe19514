"""The load on the server: a fixed number of requests in flight (closed loop) or arrivals on a schedule (open loop).

The open loop does not limit the requests in flight: a slow server faces a growing queue, as it would in production. No
request is skipped or deliberately delayed; a delay on our side shows up in the send lag.
"""

import asyncio
import errno
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from time import monotonic_ns
from urllib.parse import urlsplit

from autotuner.benchmarks.loadgen.http.alarm import Alarm
from autotuner.benchmarks.loadgen.http.connection import CLOSED_EARLY, STALE, Connection
from autotuner.benchmarks.loadgen.http.descriptors import descriptor_limit
from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.http.tunnel import check_usable, connect_through, proxy_address
from autotuner.net.faults import CONNECT, TLS, exception_fault
from autotuner.net.target import DIRECT, Access
from autotuner.net.tls import tls_context

MakeRequest = Callable[[], Request]

FAIL_PAUSE_S = 0.1
"""Pause of a closed loop before it replaces a failed request, so that it does not flood a dead server."""
CONNECT_TIMEOUT_S = 10.0
_SWEEP_S = 0.05
_PREPARE_BATCH = 64
"""Connections opened at the same time."""
_BACKLOG_SLACK = 8


def backlog_limit(in_flight: int) -> int:
    """Requests in flight that would mean a clear growth of the backlog compared to so many."""
    return 2 * in_flight + _BACKLOG_SLACK


def host_of(url: str) -> str:
    """Value of the ``Host`` header for a URL."""
    return urlsplit(url).netloc.rpartition("@")[2]


class Connections:
    """Pool of connections to one server; opens a new one if none is idle.

    Args:
        url: Base URL of the server.
        ended: Called when a request has ended, with its connection.
        access: Proxy, certificates and path prefix.

    Raises:
        ValueError: The URL or the proxy is not usable.
    """

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
        self.host = host_of(url)
        self._ended = ended
        self.file_limit: int | None = None
        """The limit on open files, if a connection could not be opened because of it."""
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> Connection:
        """Opens a connection. Raises ``OSError`` or ``TimeoutError``."""
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
        """Opens connections ahead of the load; failures are ignored, since ``send`` dials again."""
        for first in range(0, count, _PREPARE_BATCH):
            attempts = (self.open() for _ in range(min(_PREPARE_BATCH, count - first)))
            opened = await asyncio.gather(*attempts, return_exceptions=True)
            self._idle.extend(c for c in opened if isinstance(c, Connection))
            for error in opened:
                if isinstance(error, OSError):
                    self._note_file_limit(error)

    def send(self, request: Request) -> None:
        """Sends now on an idle connection, or on a new one as soon as it is open."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                self._send_on(connection, request)
                return
        self._spawn(self._dial(request))

    def release(self, connection: Connection) -> None:
        """Returns a connection to the pool after its response."""
        if connection.usable:
            self._idle.append(connection)
        else:
            self._all.discard(connection)
            connection.abort()

    def drop(self, connection: Connection) -> None:
        """Closes a connection and removes it from the pool."""
        self._all.discard(connection)
        connection.abort()

    def by_request(self) -> dict[Request, Connection]:
        """The connection of each request in flight."""
        return {c.request: c for c in self._all if c.request is not None}

    async def close(self) -> None:
        """Closes all connections and cancels attempts to open more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in self._all:
            connection.detach()
            connection.abort()
        self._all.clear()
        self._idle.clear()
        await asyncio.sleep(0)  # lets the transports run their connection_lost

    def _send_on(self, connection: Connection, request: Request) -> None:
        if connection.used == 0:
            request.connect_ns = connection.connect_ns
        connection.send(request)

    async def _dial(self, request: Request) -> None:
        try:
            connection = await self.open()
        except (OSError, TimeoutError) as error:
            if request.error is not None:
                return  # timed out while connecting
            request.end_ns = monotonic_ns()
            request.sent_ns = request.sent_ns or request.end_ns
            self._note_file_limit(error)
            fault = exception_fault(error)
            request.fail(TLS if fault.kind == TLS else CONNECT, fault.message)
            self._ended(Connection(self._ended, self._lost), request)
            return
        if request.error is None:
            self._send_on(connection, request)
        else:
            self._idle.append(connection)

    def _note_file_limit(self, error: Exception) -> None:
        if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
            self.file_limit = descriptor_limit()

    def _lost(self, connection: Connection) -> None:
        self._all.discard(connection)

    def _spawn(self, work: "asyncio._CoroutineLike[None]") -> None:
        # Called from protocol callbacks, which no task group encloses; :meth:`close` awaits these tasks instead.
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class Load:
    """Sends requests until stopped, and keeps all that have ended.

    Args:
        url: Base URL of the server.
        make: Creates the next request.
        timeout_s: Time limit of a request, in seconds.
        access: Proxy, certificates and path prefix.
    """

    def __init__(self, url: str, make: MakeRequest, *, timeout_s: float, access: Access = DIRECT) -> None:
        self.make = make
        self._timeout_ns = round(timeout_s * 1e9)
        self.connections = Connections(url, self._on_ended, access)
        self.in_flight: set[Request] = set()
        self.ended: list[Request] = []
        self.on_ended: Callable[[Request], None] = lambda _: None
        self.on_arrived: Callable[[Request, int], None] = lambda _request, _in_flight: None
        self._closed_loop = False
        self._follow: Callable[[Request], None] = self._replace
        """What a closed loop does when a request has ended."""
        self._stopped = False
        self._schedule: list[int] = []
        self._sent = 0
        self._timers: set[asyncio.TimerHandle] = set()
        self._alarm: Alarm | None = None
        self._sweeping = False
        self._loop = asyncio.get_running_loop()

    # starting the load

    def start_closed(self, in_flight: int, spread_s: float, first: Callable[[int], Request]) -> None:
        """Starts a closed loop.

        Args:
            in_flight: Requests to keep in flight.
            spread_s: Time over which the first requests are spread, in seconds.
            first: Creates the first request of a slot.
        """
        self._closed_loop = True
        for slot in range(in_flight):
            self.call_later(spread_s * slot / in_flight, lambda slot=slot: self._launch(first(slot)))  # type: ignore[misc]
        self._sweep()

    def start_users(self, follow: Callable[[Request], None]) -> None:
        """Starts a closed loop without requests; ``follow`` is called when one that was sent has ended."""
        self._closed_loop = True
        self._follow = follow
        self._sweep()

    def start_open(self, schedule_ns: list[int]) -> None:
        """Starts an open loop that sends one request at each of these ascending monotonic times (ns)."""
        self._schedule = schedule_ns
        self._sweep()
        self._arrive()

    def send(self, request: Request) -> None:
        """Sends a single request now."""
        self._launch(request)
        if not self._sweeping:
            self._sweep()

    def scheduled_between(self, begin_ns: int, end_ns: int) -> int:
        """Arrivals scheduled between two monotonic times (ns); 0 for a closed loop."""
        return bisect_left(self._schedule, end_ns) - bisect_left(self._schedule, begin_ns)

    def stop(self) -> None:
        """Stops sending; requests in flight continue."""
        self._stopped = True

    @property
    def next_ns(self) -> int | None:
        """When the next request of an open loop is due, in monotonic nanoseconds; None if there is none."""
        return self._schedule[self._sent] if self._sent < len(self._schedule) and not self._stopped else None

    @property
    def chunks(self) -> int:
        """Chunks with tokens received by the requests in flight."""
        return sum(len(r.chunks) for r in self.in_flight)

    @property
    def backlog_limit(self) -> int:
        """Requests in flight that would mean a clear growth of the backlog compared to now."""
        return backlog_limit(len(self.in_flight))

    async def drain(self, begin_ns: int, end_ns: int, drain_s: float, backlog_limit: int) -> None:
        """Waits after the window for the outcomes that it still needs, then stops watching the remaining requests.

        Open loop: waits until every request scheduled in the window has ended. Arrivals continue meanwhile, because
        the window's last requests would look faster on a server that empties. They stop above ``backlog_limit``
        requests in flight, so that an overloaded server can recover before the next window. Closed loop: waits until
        every request has ended or received a chunk since the window's end. A request that has not by then timed out.

        Args:
            begin_ns: Start of the window, in monotonic nanoseconds.
            end_ns: End of the window.
            drain_s: Longest wait, in seconds.
            backlog_limit: Requests in flight above which no more are sent.
        """
        await self.settle(begin_ns, end_ns, drain_s, backlog_limit)
        self.leave(end_ns, drain_s)

    async def settle(self, begin_ns: int, end_ns: int, drain_s: float, backlog_limit: int) -> None:
        """The first part of :meth:`drain`: waits; an open loop goes on sending."""
        limit = monotonic_ns() + round(drain_s * 1e9)
        if self._closed_loop:
            self.stop()

        def awaited(request: Request) -> bool:
            if self._closed_loop:
                return _silent_since(request, end_ns)
            return begin_ns <= request.scheduled_ns < end_ns

        due = bisect_left(self._schedule, end_ns)

        def unsent() -> bool:
            return self._sent < due and not self._stopped  # the window's last requests may be due but not sent yet

        while monotonic_ns() < limit and (unsent() or any(awaited(r) for r in self.in_flight)):
            if len(self.in_flight) > backlog_limit:
                self.stop()
            await asyncio.sleep(0.01)

    def leave(self, end_ns: int, drain_s: float) -> None:
        """The second part of :meth:`drain`: stops sending, and watching the remaining requests."""
        self.stop()
        now = monotonic_ns()
        carriers = self.connections.by_request()
        for request in list(self.in_flight):
            # Nobody can tell a slow answer in one piece from none: its latency is unknown, and it has not failed.
            if request.streams and request.scheduled_ns < end_ns and _silent_since(request, end_ns):
                request.fail("timeout", f"no data in the {drain_s:g} s after the window")
            self._stop_watching(request, now, carriers)

    def cut(self) -> None:
        """Stops sending and watching; requests in flight are neither successes nor failures."""
        self.stop()
        now = monotonic_ns()
        carriers = self.connections.by_request()
        for request in list(self.in_flight):
            self._stop_watching(request, now, carriers)

    async def close(self) -> None:
        """Stops sending and closes all connections."""
        self.stop()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        if self._alarm is not None:
            self._alarm.close()
            self._alarm = None
        await self.connections.close()

    # the life of a request

    def _launch(self, request: Request) -> None:
        if self._stopped:
            return
        if not request.scheduled_ns:
            request.scheduled_ns = monotonic_ns()
        self.on_arrived(request, len(self.in_flight))
        self.in_flight.add(request)
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
            request.fail("cut_stream", CLOSED_EARLY)
        self.connections.release(connection)
        self._count(request)
        if self._closed_loop and not self._stopped:
            self._follow(request)

    def _replace(self, request: Request) -> None:
        """Sends another request in place of one that has ended."""
        if request.error in (None, "timeout"):
            self._launch(self.make())
        else:
            self.call_later(FAIL_PAUSE_S, lambda: self._launch(self.make()))

    def _count(self, request: Request) -> None:
        self.in_flight.discard(request)
        self.ended.append(request)
        self.on_ended(request)

    def _arrive(self) -> None:
        now = monotonic_ns()
        due = bisect_right(self._schedule, now, lo=self._sent)
        while self._sent < due and not self._stopped:
            request = self.make()
            request.scheduled_ns = self._schedule[self._sent]
            self._sent += 1
            self._launch(request)
        if self._sent < len(self._schedule) and not self._stopped:
            if self._alarm is None:
                self._alarm = Alarm(self._arrive)
            self._alarm.set(self._schedule[self._sent])

    def _sweep(self) -> None:
        """Fails requests that exceed the time limit; one sweep is cheaper than a timer per request."""
        self._sweeping = True
        now = monotonic_ns()
        late = [r for r in self.in_flight if now - (r.sent_ns or r.scheduled_ns) > self._timeout_ns]
        carriers = self.connections.by_request() if late else {}
        for request in late:
            request.fail("timeout", f"no complete response within {self._timeout_ns / 1e9:g} s")
            self._stop_watching(request, now, carriers)
            if self._closed_loop and not self._stopped:
                self._follow(request)
        self.call_later(_SWEEP_S, self._sweep)

    def _stop_watching(self, request: Request, now: int, carriers: dict[Request, Connection]) -> None:
        carrier = carriers.get(request)
        if carrier is not None:
            carrier.detach()
            self.connections.drop(carrier)
        request.end_ns = now
        request.sent_ns = request.sent_ns or request.scheduled_ns
        self._count(request)

    def call_later(self, delay_s: float, work: Callable[[], None]) -> None:
        """Does something after a delay in seconds, unless the load has been closed by then."""

        def fire() -> None:
            self._timers.discard(timer)
            work()

        timer = self._loop.call_later(delay_s, fire)
        self._timers.add(timer)


def _silent_since(request: Request, since_ns: int) -> bool:
    return not request.chunks or request.chunks[-1] < since_ns
