"""One keep-alive HTTP connection: the innermost loop of the load generator.

A raw ``asyncio.Protocol`` reads the clock once per read, before any parsing, and parses inline; deferring the parsing
lengthens the tail of the measured latencies instead of shortening it.
"""

import asyncio
from collections.abc import Callable
from time import monotonic_ns
from typing import cast

from httptools import HttpParserError, HttpResponseParser

from autotuner.benchmarks.loadgen.http.request import Request
from autotuner.benchmarks.loadgen.http.sse import SseParser
from autotuner.benchmarks.loadgen.http.whole_answer import WholeAnswer
from autotuner.net.faults import KEPT_BYTES, Answer, answer_fault

Ended = Callable[["Connection", Request], None]

STALE = "stale"
"""Error of a request on an idle connection that the server had already closed; it is retried once on a new one."""

CLOSED_EARLY = "the server closed the connection before its response began"

_KEPT_HEADERS = frozenset({b"content-type", b"content-encoding", b"location", b"retry-after"})
"""Headers that help to diagnose a response that is not a stream."""


class Connection(asyncio.Protocol):
    """A connection that carries one request at a time.

    Args:
        ended: Called once per request, when its response is complete or has failed.
        lost: Called when an idle connection is closed.
    """

    def __init__(self, ended: Ended, lost: Callable[["Connection"], None]) -> None:
        self._ended = ended
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser = HttpResponseParser(self)
        self._sse = SseParser()
        self.request: Request | None = None
        self._now = 0
        self._status = 0
        self._complete = False
        self._body = b""
        self._headers: dict[str, str] = {}
        self._streaming = False
        """Whether the current response has delivered an event."""
        self._keep_alive = False
        self.usable = False
        self.used = 0
        """Requests sent so far."""
        self.connect_ns = 0
        """Time to open the connection, TLS handshake included, in nanoseconds."""

    def send(self, request: Request) -> None:
        """Writes a request; its latency is measured from just before the write."""
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
        """Closes the connection without waiting for unsent data."""
        self.usable = False
        if self._transport is not None:
            self._transport.abort()

    def detach(self) -> Request | None:
        """Removes the current request, so that ``ended`` is not called for it."""
        request = self.request
        self.request = None
        return request

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if transport.get_extra_info("sslcontext") is None:
            # Otherwise uvloop writes only after all callbacks that are due, e.g. after the other requests of a burst.
            cast("asyncio.Transport", transport).set_write_buffer_limits(high=0)
        self._transport = cast("asyncio.Transport", transport)  # uvloop's transport is not a subclass
        self.usable = True

    def data_received(self, data: bytes) -> None:
        self._now = monotonic_ns()
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._reject(f"not HTTP: {error}")
            return
        if self._complete:
            self._complete = False
            self._finish()

    def connection_lost(self, exc: Exception | None) -> None:
        self.usable = False
        request = self.detach()
        if request is None:
            self._lost(self)
            return
        request.end_ns = monotonic_ns()
        if self._status == 0:
            request.fail("cut_stream" if self.used == 1 else STALE, CLOSED_EARLY)
        else:
            self._conclude(request, complete=False)
        self._ended(self, request)

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() in _KEPT_HEADERS:
            self._headers[name.lower().decode()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        request = self.request
        if request is None:
            return
        if not self._streaming:
            self._keep_start(body)
        if self._status != 200:
            return
        if isinstance(request, WholeAnswer):
            request.receive(body)
            return
        # One whole event per read is by far the most frequent case and needs no parser.
        if self._sse.idle and body.startswith(b"data: ") and body.find(b"\n") == len(body) - 2 and body[-1] == 10:
            self._streaming = True
            request.event(b"", body[6:-2], self._now)
        else:
            for kind, data in self._sse.feed(body):
                self._streaming = True
                request.event(kind, data, self._now)

    def on_message_complete(self) -> None:
        if self._status >= 200:  # not an interim response such as 100 Continue
            self._complete = True
            # The parser knows this only now; once it has been fed, its answer is about the next response.
            self._keep_alive = self._parser.should_keep_alive()

    def _reject(self, why: str) -> None:
        request = self.detach()
        self.abort()
        if request is not None:
            request.end_ns = self._now
            request.fail("bad_response", why)
            self._ended(self, request)

    def _finish(self) -> None:
        request = self.detach()
        if not self._sse.idle:
            self._sse = SseParser()
        if not self._keep_alive:
            self.usable = False
        if request is None:
            return
        request.end_ns = self._now
        self._conclude(request, complete=True)
        self._ended(self, request)

    def _conclude(self, request: Request, *, complete: bool) -> None:
        if self._streaming or (not request.streams and self._status == 200):
            request.close(complete=complete)
            return
        fault = answer_fault(Answer(self._status, self._headers, self._body), asked_stream=request.streams)
        if fault is not None:
            request.fail(fault.kind, fault.message)
        else:
            request.close(complete=complete)

    def _keep_start(self, body: bytes) -> None:
        """Keeps the beginning of the body, to diagnose a response that is not a stream."""
        if len(self._body) < KEPT_BYTES:
            self._body = (self._body + body)[:KEPT_BYTES]
