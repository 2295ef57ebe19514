"""Runs the application until it is interrupted."""

import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn

import autotuner
from autotuner.errors import AutotunerError, UsageError
from autotuner.server.app import create_app

_GRACE_S = 5
"""Time for requests to end after an interrupt; streams of events never end by themselves."""


def serve(
    tuner: autotuner.Autotuner,
    *,
    host: str,
    port: int,
    names: Sequence[str] = (),
    on_ready: Callable[[str], object] = lambda _: None,
) -> None:
    """Serves the API until SIGINT or SIGTERM.

    Args:
        tuner: Client of the store.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        names: Further host names under which clients reach the server.
        on_ready: Called with the server's URL once the port is open.

    Raises:
        UsageError: If the address is not a loopback one and no token exists yet.
        AutotunerError: If the port cannot be opened.
    """
    if not _is_loopback(host) and not any(token.revoked_at is None for token in tuner.access().tokens()):
        remedy = "create a token first: autotuner token create NAME"
        raise UsageError.at("--host", "other machines could reach the server, and no token exists", remedy=remedy)
    listening = _listening(host, port)
    with listening:
        shown = f"[{host}]" if ":" in host else host
        app = create_app(tuner, hosts=[host, *names])
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE_S
        )
        on_ready(f"http://{shown}:{listening.getsockname()[1]}")
        with _ending_cleanly():
            uvicorn.Server(config).run(sockets=[listening])


@contextmanager
def _ending_cleanly() -> Iterator[None]:
    """After its end, uvicorn raises the signal again that ended it; for a server, that is not an error."""
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise AutotunerError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", remedy="choose another --port"
        ) from None
