"""Streams of events whose readers have left."""

import logging

from anyio import BrokenResourceError
from starlette.types import ASGIApp, Receive, Scope, Send

logger = logging.getLogger(__name__)


class LeftStreams:
    """ASGI middleware. A browser that leaves a page closes its stream; if an event is on its way then, FastAPI raises
    the error of its own channel, which is not a defect of the server."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        try:
            await self._app(scope, receive, send)
        except* BrokenResourceError:
            logger.debug("the reader of %s has left", scope.get("path"))
