"""An entry in the store for every write that a known client requested, also if it was refused."""

import logging

from anyio.to_thread import run_sync
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autotuner import Access, Token

logger = logging.getLogger(__name__)

_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Audit:
    """ASGI middleware. Routes leave the caller's token in ``request.state.caller``."""

    def __init__(self, app: ASGIApp, *, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http" or scope["method"] in _READS:
            await self._app(scope, receive, send)
            return
        status = 500

        async def noting_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        finally:
            caller = scope.get("state", {}).get("caller")
            if isinstance(caller, Token):
                action = getattr(scope.get("route"), "name", scope["method"].lower())
                await run_sync(self._access.record, caller, action, scope["path"], status)
                logger.info("%s by token %s: %s %s", action, caller.id, scope["path"], status)
