"""Checks of every request before it reaches a route (host, origin, size), and the headers of every response."""

import asyncio
import logging
import re
from collections.abc import Collection

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import autotuner
from autotuner.server.problems import of_status

logger = logging.getLogger(__name__)

MOST_BYTES = 1 << 20
"""Largest body of a request: that of a study file."""
_TOO_LARGE = f"the body is larger than {MOST_BYTES} bytes"
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
_VERSION = (b"autotuner-version", autotuner.__version__.encode())
"""Lets pages that were loaded before an update notice it. Unknown callers get it from no route, either."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]*)?")
"""A name or address, and a port. Nothing else of a URL belongs into the header, though parsers of URLs accept more."""


class Guard:
    """ASGI middleware.

    The ``Host`` header must name this server, or a web page could reach it under a name of its own that resolves to
    this machine (DNS rebinding). A request with an ``Origin`` must come from a page of this server.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        """Accepts requests to these host names, beside those of the loopback interface."""
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts if host) | _LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict[str, list[str]]()
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))

        started = False

        async def guarded_send(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                known = "caller" in scope.get("state", ())
                message["headers"] = [*message.get("headers", ()), *_HEADERS, *([_VERSION] if known else [])]
            await send(message)

        refusal = self._refusal(headers)
        if refusal is not None:
            status, why, hint = refusal
            logger.warning("%s %s refused: %s", scope["method"], scope["path"], why)
            await of_status(status, why, hint)(scope, receive, guarded_send)
            return
        try:
            await self._app(scope, _limited(receive), guarded_send)
        except asyncio.CancelledError:
            # The server ends, and this request took longer than its grace time.
            logger.warning("%s %s was cut off: the server ends", scope["method"], scope["path"])
            if not started:
                await of_status(503, "the server ends", "send the request again")(scope, receive, guarded_send)

    def _refusal(self, headers: dict[str, list[str]]) -> tuple[int, str, str] | None:
        # One header each: which of several counts would depend on who reads them.
        host = ",".join(headers.get("host", ())).lower()
        if _name_of(host) not in self._hosts:
            return 421, "the Host header does not name this server", "start it with --host-name NAME to accept a name"
        origin = ",".join(headers["origin"]).lower() if "origin" in headers else None
        if origin is not None and origin not in {f"http://{host}", f"https://{host}"}:  # https: that of a proxy
            return 403, "requests from other web pages are not accepted", "send no Origin header, or this server's"
        length = headers.get("content-length", ["0"])[-1]
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return 413, _TOO_LARGE, ""
        return None


def _name_of(host: str) -> str:
    found = _HOST.fullmatch(host)
    return (found[1] or found[2]) if found is not None else ""


def _limited(receive: Receive) -> Receive:
    """The same messages, until their bodies exceed the limit: a body may come in pieces without a length."""
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > MOST_BYTES:
                raise HTTPException(413, _TOO_LARGE)
        return message

    return limited
