"""Number and duration of requests, by route."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT"})
_OTHER = "other"
"""Stands for methods and paths that the server does not have, whose number clients decide."""
_STREAM = b"text/event-stream"


class RequestCounts:
    """The metrics of requests."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.answered = 0
        self._requests = Counter(
            "autotuner_http_requests_total",
            "Requests that this server has answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self._durations = Histogram(
            "autotuner_http_request_duration_seconds",
            "Time until a request was answered; without streams of events.",
            ("method", "route"),
            registry=registry,
        )

    def add(self, scope: Scope, status: int, seconds: float | None) -> None:
        """Counts a request; one without a duration is a stream."""
        self.answered += 1
        method = scope["method"] if scope["method"] in _METHODS else _OTHER
        route = getattr(scope.get("route"), "path", _OTHER)
        self._requests.labels(method, route, str(status)).inc()
        if seconds is not None:
            self._durations.labels(method, route).observe(seconds)


class RequestMetrics:
    """ASGI middleware that counts all requests, also those that are refused."""

    def __init__(self, app: ASGIApp, *, counts: RequestCounts) -> None:
        self._app = app
        self._counts = counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        streamed = False

        async def noting_send(message: Message) -> None:
            nonlocal status, streamed
            if message["type"] == "http.response.start":
                status = message["status"]
                streamed = any(
                    name.lower() == b"content-type" and value.startswith(_STREAM)
                    for name, value in message.get("headers", ())
                )
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        finally:
            self._counts.add(scope, status, None if streamed else time.perf_counter() - started)
