"""One kept-alive connection: the innermost loop of the load generator.

A raw ``asyncio.Protocol`` reads the clock once per read, before anything is parsed, and parses inline; putting the
parsing off makes the tail of the latencies worse, not better.
"""

import asyncio
from collections.abc import Callable
from time import monotonic_ns
from typing import cast

from httptools import HttpParserError, HttpResponseParser

from autotuner.benchmarks.loadgen.request import Request
from autotuner.benchmarks.loadgen.sse import SseParser
from autotuner.net.faults import KEPT_BYTES, Answer, of_answer

Ended = Callable[["Connection", Request], None]

STALE = "stale"
"""Error of a request on a connection that the server had closed meanwhile; to be sent once more on a new one."""

_TELLING = frozenset({b"content-type", b"content-encoding", b"location", b"retry-after"})
"""Headers that tell what an answer is that holds no stream."""


class Connection(asyncio.Protocol):
    """Carries one request at a time. ``ended`` is called once per request, when its answer is over; ``lost`` when an
    idle connection ends."""

    def __init__(self, ended: Ended, lost: Callable[["Connection"], None]) -> None:
        self._ended = ended
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._sse = SseParser()
        self.request: Request | None = None
        self._now = 0
        self._status = 0
        self._over = False
        self._body = b""
        self._headers: dict[str, str] = {}
        self._streaming = False
        """An event came."""
        self.usable = False
        self.used = 0
        """Requests sent so far."""
        self.connect_ns = 0

    def send(self, request: Request) -> None:
        """Writes a request; its clock starts just before."""
        if self._transport is None:
            raise RuntimeError("not connected")
        self.request = request
        self._status = 0
        self._body = b""
        self._headers = {}
        self._streaming = False
        self.used += 1
        payload = request.payload
        request.sent_ns = request.sent_ns or monotonic_ns()
        self._transport.write(payload)

    def abort(self) -> None:
        """Ends the connection at once."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def take(self) -> Request | None:
        """Takes the request away from the connection: nobody will hear of it through ``ended``."""
        request = self.request
        self.request = None
        return request

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class, no subclass of it
        self.usable = True

    def data_received(self, data: bytes) -> None:
        self._now = monotonic_ns()
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._broken(f"not HTTP: {error}")
            return
        if self._over:
            self._over = False
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        request = self.take()
        if request is None:
            self._lost(self)
            return
        request.end_ns = monotonic_ns()
        if self._status == 0:
            request.fail("cut_stream" if self.used == 1 else STALE, "closed before an answer began")
        else:
            self._judge(request, complete=False)
        self._ended(self, request)

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in _TELLING:
            self._headers[name.lower().decode()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        request = self.request
        if request is None:
            return
        if not self._streaming:
            self._begin(body)
        if self._status != 200:
            return
        if self._sse.idle and body.startswith(b"data: ") and body.find(b"\n") == len(body) - 2 and body[-1] == 10:
            self._streaming = True
            request.event(b"", body[6:-2], self._now)
        else:
            for kind, data in self._sse.feed(body):
                self._streaming = True
                request.event(kind, data, self._now)

    def on_message_complete(self) -> None:
        if self._status >= 200:
            self._over = True

    def _broken(self, why: str) -> None:
        request = self.take()
        self.abort()
        if request is not None:
            request.end_ns = self._now
            request.fail("bad_response", why)
            self._ended(self, request)

    def _finish(self) -> None:
        request = self.take()
        if not self._sse.idle:
            self._sse = SseParser()
        if not self._parser.should_keep_alive():
            self.usable = False
        if request is None:
            return
        request.end_ns = self._now
        self._judge(request, complete=True)
        self._ended(self, request)

    def _judge(self, request: Request, *, complete: bool) -> None:
        if self._streaming:
            request.close(complete=complete)
            return
        fault = of_answer(Answer(self._status, self._headers, self._body), asked_stream=True)
        if fault is not None:
            request.fail(fault.kind, fault.message)
        else:
            request.close(complete=complete)

    def _begin(self, body: bytes) -> None:
        """Keeps the beginning of an answer, which tells what it is where it holds no stream."""
        if len(self._body) < KEPT_BYTES:
            self._body = (self._body + body)[:KEPT_BYTES]
