"""Browser sessions: sign in and out."""

import math
import time

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

import autotuner
from autotuner import TokenScope
from autotuner.errors import UsageError
from autotuner.server import sign_in as signing
from autotuner.server.callers import Caller, Tuner
from autotuner.server.sign_in import Attempts, Codes

router = APIRouter(prefix="/api/v1/session", tags=["session"])


class SignIn(BaseModel):
    """What a person at a browser shows: one of the two."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(default="", max_length=200, description="The one-time code that `autotuner serve` printed.")
    token: str = Field(default="", max_length=200, description="A token of `autotuner token create`.")


class Session(BaseModel):
    """The session of a browser."""

    name: str = Field(examples=["browser session of dashboard"])
    scope: TokenScope
    expires_at: float | None = Field(examples=[1764364000.0], description="Seconds since the epoch.")
    version: str = Field(description="Version of the server.")


@router.get("", summary="The caller's session")
def show_session(caller: Caller) -> Session:
    """What the session, or the token, allows."""
    return _of(caller)


@router.post("", summary="Sign in with a browser", status_code=201)
def sign_in(request: Request, response: Response, tuner: Tuner, shown: SignIn) -> Session:
    """Needs no token. Sets a cookie that only pages of this server can send. Status 401 if the code or token is not
    accepted, 429 after many failures."""
    attempts: Attempts = request.app.state.attempts
    wait_s = attempts.wait_s()
    if wait_s:
        seconds = math.ceil(wait_s)
        raise HTTPException(429, f"too many failed attempts; try again in {seconds} s", {"Retry-After": str(seconds)})
    if bool(shown.code) is bool(shown.token):
        raise UsageError.at("body", "needs either a code or a token")
    codes: Codes = request.app.state.codes
    access = tuner.access()
    token = access.check(shown.token.strip()) if shown.token else None
    if token is None and not (shown.code and codes.redeem(shown.code.strip())):
        attempts.failed()
        raise HTTPException(401, _REFUSED[bool(shown.code)])
    made = access.open_session(token)
    request.state.caller = made.token
    signing.set_cookie(request, response, made.secret, (made.token.expires_at or 0.0) - time.time())
    return _of(made.token)


@router.delete("", summary="Sign out", status_code=204)
def sign_out(request: Request, response: Response, tuner: Tuner, caller: Caller) -> None:
    """Ends the session. Status 422 for a token, which is revoked instead."""
    if signing.session_secret(request) is None or not caller.of_session:
        raise UsageError.at("session", "the request has none", remedy=f"DELETE /api/v1/tokens/{caller.id} ends a token")
    tuner.access().revoke(caller.id)
    signing.remove_cookie(request, response)


_REFUSED = {
    True: "the code is wrong, was used already or has expired; a restart of autotuner serve prints another one, or "
    "use a token: autotuner token create NAME",
    False: "the token is not valid; create one with: autotuner token create NAME",
}


def _of(caller: autotuner.Token) -> Session:
    return Session(name=caller.name, scope=caller.scope, expires_at=caller.expires_at, version=autotuner.__version__)
