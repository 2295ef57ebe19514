"""Checks of every request before it reaches a route (host, origin, size), and the headers of every response."""

import logging
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """ASGI middleware.

    The ``Host`` header must name this server, or a web page could reach it under a name of its own that resolves to
    this machine (DNS rebinding). A request with an ``Origin`` must come from a page of this server.
    """

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        """Accepts requests to these host names, beside those of the loopback interface."""
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts) | _LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        refusal = self._refusal(headers)
        if refusal is not None:
            status, why, hint = refusal
            logger.warning("%s %s refused: %s", scope["method"], scope["path"], why)
            await of_status(status, why, hint)(scope, receive, guarded_send)
            return
        await self._app(scope, _limited(receive), guarded_send)

    def _refusal(self, headers: dict[str, str]) -> tuple[int, str, str] | None:
        host = headers.get("host", "")
        if _name_of(f"//{host}") not in self._hosts:
            return 421, "the Host header does not name this server", "start it with --host-name NAME to accept a name"
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            return 403, "requests from other web pages are not accepted", "send no Origin header, or this server's"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > MOST_BYTES:
            return 413, _TOO_LARGE, ""
        return None


def _name_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


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
