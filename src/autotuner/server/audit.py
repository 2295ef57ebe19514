"""An entry in the store for every write that a known client requested, also if it was refused."""

import logging

from anyio import CancelScope
from anyio.to_thread import run_sync
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from autotuner import Access, Token
from autotuner.errors import AutotunerError

logger = logging.getLogger(__name__)

_SHOWN = 200
"""Characters of a path in the log."""
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_ONLY_CHECKS = frozenset({"validate_study", "plan_study", "check_target", "check_study"})
"""Routes that change nothing, though their requests have bodies. The web UI calls the first two while a user types."""


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
            action = getattr(scope.get("route"), "name", scope["method"].lower())
            if isinstance(caller, Token) and action not in _ONLY_CHECKS:
                with CancelScope(shield=True):  # a client that hangs up must not prevent the entry
                    await self._record(caller, action, scope["path"], status)

    async def _record(self, caller: Token, action: str, path: str, status: int) -> None:
        logger.info("%s by %s (%s): %s %s", action, caller.name, caller.id, path[:_SHOWN], status)
        try:
            await run_sync(self._access.record, caller, action, path, status)
        except AutotunerError as error:  # the response is already sent
            logger.error("the audit has no entry for %s by %s (%s): %s", action, caller.name, caller.id, error)
