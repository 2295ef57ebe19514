"""HTTP/1.1 server for many streams on little CPU: an ``asyncio.Protocol`` with httptools and one write per token.

A web framework would need about as much CPU time per chunk as a load generator has for a whole token; clients would
measure the framework instead of the simulated engine.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import cast

import httptools
import orjson

MAX_BODY_BYTES = 64 << 20
_STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


@dataclass
class HttpRequest:
    """One complete request."""

    method: str
    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    keep_alive: bool = True


class Responder:
    """Sends the response of one request. ``on_closed`` is called if the client disconnects before the end."""

    def __init__(self, connection: "_Connection", *, keep_alive: bool) -> None:
        self._connection = connection
        self._keep_alive = keep_alive
        self.on_closed: Callable[[], None] = lambda: None
        self.finished = False

    def send(self, status: int, body: bytes, content_type: str = "application/json") -> None:
        """Sends a complete response."""
        reason = HTTPStatus(status).phrase
        close = "" if self._keep_alive else "connection: close\r\n"
        head = (
            f"HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n{close}\r\n"
        )
        self._connection.write(head.encode() + body)
        self._end()

    def send_json(self, data: object, status: int = 200) -> None:
        """Sends a complete response in JSON."""
        self.send(status, orjson.dumps(data))

    def begin_stream(self) -> None:
        """Sends the headers of an event stream."""
        self._connection.write(_STREAM)

    def event(self, data: bytes) -> None:
        """Sends one event in a single write."""
        self._connection.write(b"%x\r\ndata: %b\n\n\r\n" % (len(data) + 8, data))

    def end_stream(self, last: bytes = b"[DONE]") -> None:
        """Sends the last event and ends the stream."""
        self._connection.write(b"%x\r\ndata: %b\n\n\r\n0\r\n\r\n" % (len(last) + 8, last))
        self._end()

    def _end(self) -> None:
        self.finished = True
        self._connection.answered(keep_alive=self._keep_alive)


Handler = Callable[[HttpRequest, Responder], None]


class _Connection(asyncio.Protocol):
    """One client connection. Pipelined requests wait for the responses to earlier ones."""

    def __init__(self, handler: Handler, open_connections: "set[_Connection]") -> None:
        self._handler = handler
        self._open = open_connections
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._queue: list[HttpRequest] = []
        self._current: Responder | None = None
        self._url = b""
        self._headers = dict[str, str]()
        self._body = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the client connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the client disconnected."""
        self._open.discard(self)
        current = self._current
        self._transport = None
        self._current = None
        if current is not None and not current.finished:
            current.on_closed()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes arrived."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.close()
        except httptools.HttpParserError:
            self.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.close()

    def on_message_begin(self) -> None:
        """httptools: a request begins."""
        self._url = b""
        self._headers = {}
        self._body = bytearray()

    def on_url(self, url: bytes) -> None:
        """httptools: a part of the URL."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """httptools: a header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """httptools: the body follows."""
        if self._headers.get("expect", "").lower() == "100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """httptools: a part of the body."""
        self._body += body
        if len(self._body) > MAX_BODY_BYTES:
            self.write(b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.close()

    def on_message_complete(self) -> None:
        """httptools: the request is complete."""
        path = self._url.decode("latin-1").partition("?")[0]
        method = self._parser.get_method().decode()
        keep = self._parser.should_keep_alive()
        self._queue.append(HttpRequest(method, path, bytes(self._body), self._headers, keep))
        if self._current is None:
            self._next()

    def _next(self) -> None:
        while self._queue and self._current is None and self._transport is not None:
            request = self._queue.pop(0)
            self._current = responder = Responder(self, keep_alive=request.keep_alive)
            self._handler(request, responder)

    def answered(self, *, keep_alive: bool) -> None:
        """The response to the current request is complete."""
        self._current = None
        if not keep_alive:
            self.close()
        elif self._queue:
            # Not directly: a long pipeline would recurse once per request.
            asyncio.get_running_loop().call_soon(self._next)

    def write(self, data: bytes) -> None:
        """Sends bytes if the client is still connected."""
        if self._transport is not None:
            self._transport.write(data)

    def close(self) -> None:
        """Closes the connection once everything is sent."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Closes the connection immediately."""
        if self._transport is not None:
            self._transport.abort()


class HttpServer:
    """A listening server that closes all connections when it is closed."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens and returns the port; raises ``OSError`` if the address is not available."""
        loop = asyncio.get_running_loop()
        make = lambda: _Connection(self._handler, self._connections)  # noqa: E731
        self._server = await loop.create_server(make, host, port, backlog=4096)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stops listening and closes all connections."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.sleep(0)
