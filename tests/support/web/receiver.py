"""A receiver of webhooks: a real HTTP server that notes what it gets."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """One request."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    raw: bytes
    """All bytes of it, as far as the server keeps them."""


@dataclass
class Receiver:
    """What arrived, and how it answers."""

    url: str = ""
    requests: list[Received] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    """Statuses of the next responses; 200 when there are none left."""
    location: str = ""
    """Where responses redirect to."""
    go_on: threading.Event = field(default_factory=threading.Event)
    """Responses wait for it."""
    at_once: int = 0
    """Most requests of one message that were open at the same time."""
    open: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a free port of this machine."""
    receiver = Receiver()
    receiver.go_on.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            head = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
            raw = self.raw_requestline + head.encode() + body
            identity = self.headers["webhook-id"]
            with receiver.lock:
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.requests.append(Received(self.path, headers, body, raw))
                receiver.open[identity] = receiver.open.get(identity, 0) + 1
                receiver.at_once = max(receiver.at_once, receiver.open[identity])
                status = receiver.statuses.pop(0) if receiver.statuses else 200
            receiver.go_on.wait(60)
            with receiver.lock:
                receiver.open[identity] -= 1
            self.send_response(status)
            if receiver.location:
                self.send_header("Location", receiver.location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            receiver.go_on.set()
            server.shutdown()
            thread.join()
