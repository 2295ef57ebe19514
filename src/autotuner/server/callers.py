"""Who sends a request, and what they may do."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.exceptions import HTTPException

import autotuner
from autotuner import Token, TokenScope
from autotuner.server.sign_in import from_own_page, session_secret

_bearer = HTTPBearer(auto_error=False, description="A token of `autotuner token create`; browsers send a cookie.")


def tuner(request: Request) -> autotuner.Autotuner:
    """The client of the server's store."""
    found: autotuner.Autotuner = request.app.state.tuner
    return found


Tuner = Annotated[autotuner.Autotuner, Depends(tuner)]


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
        raise HTTPException(401, f"{why}; create one with: autotuner token create NAME", {"WWW-Authenticate": "Bearer"})
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
