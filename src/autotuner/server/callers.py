"""Who sends a request, and what they may do."""

import time
from collections.abc import Callable
from typing import Annotated

from anyio.to_thread import run_sync
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

import autotuner
from autotuner import Token, TokenScope
from autotuner.server.problems import RefusedError
from autotuner.server.sign_in import from_own_page, session_secret

_bearer = HTTPBearer(auto_error=False, description="A token of `autotuner token create`; browsers send a cookie.")


async def tuner(request: Request) -> autotuner.Autotuner:
    """The client of the server's store."""
    found: autotuner.Autotuner = request.app.state.tuner
    return found


Tuner = Annotated[autotuner.Autotuner, Depends(tuner)]


async def studies(request: Request) -> autotuner.StudyReader:
    """The reader of the server's store, which remembers what it has read."""
    found: autotuner.StudyReader = request.app.state.studies
    return found


class TokenChecks:
    """Whether tokens that were accepted are still valid, for responses that take long. Many readers may have one token,
    so it is looked up once for all of them."""

    CHECK_S = 2.0
    """Time between two checks of a token; it may be revoked or expire."""

    def __init__(self, access: autotuner.Access, clock: Callable[[], float] = time.monotonic) -> None:
        self._access = access
        self._clock = clock
        self._checked: dict[str, tuple[float, bool]] = {}

    async def still_valid(self, identity: str) -> bool:
        """Whether the token was valid at the last check. A new identity counts as just checked."""
        now = self._clock()
        at, valid = self._checked.setdefault(identity, (now, True))
        if now - at < self.CHECK_S:
            return valid
        self._checked[identity] = (now, valid)  # other readers do not check it meanwhile
        valid = await run_sync(self._access.still_valid, identity)
        self._checked[identity] = (now, valid)
        return valid


Studies = Annotated[autotuner.StudyReader, Depends(studies)]


def _caller(
    request: Request, tuner: Tuner, given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> Token:
    access = tuner.access()
    session = session_secret(request) if given is None else None
    if given is not None:
        token = access.check(given.credentials)
    else:
        token = access.check_session(session) if session is not None else None
    if token is None:
        sent = "no token was sent" if session is None else "the session has ended"
        why = sent if given is None else "the token is not valid"
        hint = "create one with: autotuner token create NAME" if session is None else "sign in again"
        raise RefusedError(401, why, hint, {"WWW-Authenticate": "Bearer"})
    request.state.caller = token
    if session is not None and not from_own_page(request):
        raise HTTPException(403, "a session may only be used by pages of this server")
    return token


Caller = Annotated[Token, Depends(_caller)]


def reader(caller: Caller) -> Token:
    """Any valid token."""
    return _with_scope(caller, TokenScope.READ)


def writer(caller: Caller) -> Token:
    """A token that may change studies."""
    return _with_scope(caller, TokenScope.WRITE)


def admin(caller: Caller) -> Token:
    """A token that may manage tokens."""
    return _with_scope(caller, TokenScope.ADMIN)


def _with_scope(caller: Token, needed: TokenScope) -> Token:
    if not caller.scope.includes(needed):
        raise HTTPException(403, f'this needs a token with the scope "{needed}"; this one has "{caller.scope}"')
    return caller


Reader = Annotated[Token, Depends(reader)]
Writer = Annotated[Token, Depends(writer)]
Admin = Annotated[Token, Depends(admin)]
