"""Runs the application until it is interrupted."""

import errno
import ipaddress
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

import autotuner
from autotuner.errors import AutotunerError, UsageError
from autotuner.server.app import create_app
from autotuner.server.garbage import Garbage

_GRACE_S = 5
"""Time for requests to end after an interrupt."""
_TURN_S = 0.001
"""Longest turn of a thread when others wait, instead of Python's 5 ms."""
_NAME = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+")
_PORT = (errno.EADDRINUSE, errno.EACCES)
"""Errors of the port, not of the address."""


def serve(
    tuner: autotuner.Autotuner,
    *,
    host: str,
    port: int,
    names: Sequence[str] = (),
    roots: Sequence[Path] = (),
    on_ready: Callable[[str, str], object] = lambda *_: None,
) -> None:
    """Serves the API until SIGINT or SIGTERM.

    Args:
        tuner: Client of the store.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        names: Further host names under which clients reach the server.
        roots: Folders whose files clients may name in studies.
        on_ready: Called with the server's URL, and a code with which one browser can sign in, once the port is open.

    Raises:
        UsageError: If the address is not a loopback one and no token exists yet, or a name is not a host name.
        AutotunerError: If the port cannot be opened.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise UsageError.at(
                "--host-name", "is not a host name", value=name, remedy="give it without scheme and port"
            )
    if not _is_loopback(host) and not any(token.valid(time.time()) for token in tuner.access().tokens()):
        remedy = "create a token first: autotuner token create NAME"
        raise UsageError.at("--host", "other machines could reach the server, and no valid token exists", remedy=remedy)
    listening = _listening(host, port)
    with listening:
        app = create_app(tuner, hosts=[host, *names], roots=roots)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE_S
        )
        server = _Server(config, app)
        with _ending_cleanly(server):
            prepare(app)
            on_ready(f"http://{_shown(host, names)}:{listening.getsockname()[1]}", app.state.codes.create())
            garbage = Garbage(lambda: (app.state.feed.readers, app.state.metrics.requests.answered))
            with garbage.collected_rarely(), taking_turns():
                server.run(sockets=[listening])


def _shown(host: str, names: Sequence[str]) -> str:
    """The name for browsers: every interface has no address of its own."""
    if is_every_interface(host):
        host = names[0] if names else "::1" if ":" in host else "127.0.0.1"
    return f"[{host}]" if ":" in host else host


class _Server(uvicorn.Server):
    """Ends the streams of events when it ends, which would otherwise last until the grace time is over."""

    def __init__(self, config: uvicorn.Config, app: FastAPI) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.state.feed.close()
        await super().shutdown(sockets)


@contextmanager
def _ending_cleanly(server: uvicorn.Server) -> Iterator[None]:
    """After its end, uvicorn raises the signal again that ended it; for a server, that is not an error. A signal that
    arrives before uvicorn handles signals must end the server too."""

    def end(*_: Any) -> None:
        server.should_exit = True

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def prepare(app: FastAPI) -> None:
    """Does now what FastAPI leaves to the first request, for which the event loop would stop: the routes of each router
    are built when a path is compared with them."""
    for route in app.routes:
        route.matches({"type": "http", "method": "GET", "path": "/", "headers": []})


@contextmanager
def taking_turns() -> Iterator[None]:
    """Lets the event loop run sooner while threads compute: each thread holds the interpreter's lock for a whole turn,
    and the loop needs the lock several times per request."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_TURN_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_every_interface(host: str) -> bool:
    """Whether an address stands for all of the machine's, so that no browser can use it."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        remedy = "choose another --port" if getattr(error, "errno", 0) in _PORT else "choose another --host"
        raise AutotunerError(f"cannot listen on {host}:{port}: {why}", remedy=remedy) from None
