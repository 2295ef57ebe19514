"""A scripted HTTP server for tests, with TLS if it gets a certificate, which also works as a proxy."""

import json
import select
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

STREAM = (
    b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
    b'data: {"choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]}\n\n'
    b'data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}\n\n'
    b"data: [DONE]\n\n"
)
"""A complete stream of two tokens."""
MODELS = {"data": [{"id": "m", "owned_by": "test"}]}


@dataclass(frozen=True)
class Asked:
    """One request as received."""

    method: str
    target: str
    """The target of the request line: a path, or a whole URL for a proxy."""
    headers: Mapping[str, str]
    body: bytes = field(default=b"", repr=False)

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """A scripted response."""

    status: int = 200
    body: bytes | Iterator[bytes] = b""
    """Complete, or an iterator of pieces; then closing the connection ends the response."""
    headers: Mapping[str, str] = field(default_factory=dict)


def json_reply(content: Any, status: int = 200, **headers: str) -> Reply:
    """A response in JSON."""
    return Reply(status, json.dumps(content).encode(), {"Content-Type": "application/json", **headers})


def openai(asked: Asked) -> Reply:
    """A well-behaved server with one model: lists it on GET, and streams on POST."""
    if asked.method == "GET":
        return json_reply(MODELS)
    return Reply(200, STREAM, {"Content-Type": "text/event-stream"})


class ScriptedServer(ThreadingHTTPServer):
    """Responds with ``reply`` and records the requests. ``CONNECT`` opens a tunnel, as in a proxy."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, reply: Callable[[Asked], Reply], certificate: Path | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, 0), _Handler)
        self.reply = reply
        self.asked: list[Asked] = []
        self.tunnels: dict[str, str] = {}
        """Addresses that the proxy uses for host names."""
        self._secure: ssl.SSLContext | None = None
        if certificate is not None:
            self._secure = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._secure.load_cert_chain(certificate)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http{'s' if certificate else ''}://{shown}:{self.server_port}"

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Runs in the connection's thread, so that a handshake that never ends blocks no other connection."""
        try:
            if self._secure is not None:
                request = self._secure.wrap_socket(request, server_side=True)
            super().finish_request(request, client_address)
        except (ssl.SSLError, ConnectionError):
            pass  # a client that does not trust us, or left
        finally:
            request.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # otherwise the body waits 40 ms for the acknowledgment of the headers
    server: ScriptedServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = Asked(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
        self.server.asked.append(asked)
        reply = self.server.reply(asked)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if isinstance(reply.body, bytes):
            self.send_header("Content-Length", str(len(reply.body)))
        else:
            self.close_connection = True
        self.end_headers()
        for piece in (reply.body,) if isinstance(reply.body, bytes) else reply.body:
            self.wfile.write(piece)

    do_POST = do_GET  # noqa: N815 - the name that the library looks for

    def do_CONNECT(self) -> None:
        asked = Asked("CONNECT", self.path, {k.lower(): v for k, v in self.headers.items()})
        self.server.asked.append(asked)
        host, _, port = self.path.rpartition(":")
        name = host.strip("[]")
        with socket.create_connection((self.server.tunnels.get(name, name), int(port))) as far:
            self.send_response(200)
            self.end_headers()
            _relay(self.connection, far)
        self.close_connection = True


def _relay(near: socket.socket, far: socket.socket) -> None:
    while True:
        for ready in select.select([near, far], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            (far if ready is near else near).sendall(data)


@contextmanager
def scripted_server(
    reply: Callable[[Asked], Reply] = openai, *, host: str = "127.0.0.1", certificate: Path | None = None
) -> Iterator[ScriptedServer]:
    """Runs a server for the duration of the block; ``certificate`` is a PEM file with the key."""
    with ScriptedServer(host, reply, certificate) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
