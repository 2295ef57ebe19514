"""Signing in with a browser: one-time codes, the cookie of a session, and the limit of attempts."""

import hashlib
import secrets
import time
from collections import deque
from collections.abc import Callable
from threading import Lock

from fastapi import Request, Response

CODE_S = 15 * 60.0
"""How long a code is accepted: it stays in terminals and logs."""
MOST_FAILURES = 10
"""Failed attempts within :data:`WITHIN_S` after which further ones are refused unread."""
WITHIN_S = 60.0
_COOKIE = "autotuner_session"
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


class Codes:
    """One-time codes of one server process. Only their digests are kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = dict[bytes, float]()
        self._lock = Lock()

    def create(self) -> str:
        """A new code, accepted once within the next quarter of an hour."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._until[_digest(code)] = self._clock() + CODE_S
        return code

    def redeem(self, code: str) -> bool:
        """Whether the code is accepted, which it is once."""
        with self._lock:
            until = self._until.pop(_digest(code), None)
        return until is not None and self._clock() < until


class Attempts:
    """Failed attempts to sign in, of all clients together: behind a proxy they have one address."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = deque[float](maxlen=MOST_FAILURES)
        self._lock = Lock()

    def wait_s(self) -> float:
        """Seconds until another attempt is read; 0: now."""
        with self._lock:
            if len(self._failures) < MOST_FAILURES:
                return 0.0
            return max(0.0, self._failures[0] + WITHIN_S - self._clock())

    def failed(self) -> None:
        """Counts a failure."""
        with self._lock:
            self._failures.append(self._clock())


def session_secret(request: Request) -> str | None:
    """The value of the session's cookie; None if the request has none."""
    return request.cookies.get(_name(request))


def set_cookie(request: Request, response: Response, secret: str, seconds: float) -> None:
    """Gives the browser a session. Scripts cannot read it, and pages of other sites cannot send it."""
    response.set_cookie(
        _name(request), secret, max_age=int(seconds), httponly=True, samesite="strict", secure=_is_https(request)
    )


def remove_cookie(request: Request, response: Response) -> None:
    """Takes it back."""
    response.delete_cookie(_name(request), httponly=True, samesite="strict", secure=_is_https(request))


def from_own_page(request: Request) -> bool:
    """Whether a page of this server sent the request, or it changes nothing.

    A browser adds its cookie to requests of other pages too, such as one of another port of this machine. The guard has
    refused those with a foreign ``Origin``, but not those without any.
    """
    if request.method in _READS:
        return True
    return "origin" in request.headers or request.headers.get("sec-fetch-site") == "same-origin"


def _name(request: Request) -> str:
    # Cookies do not know ports: two servers of one machine would sign each other's users out.
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"{_COOKIE}_{port}" if port.isdecimal() else _COOKIE


def _is_https(request: Request) -> bool:
    # A proxy may speak HTTPS to the browser and HTTP to this server.
    return request.url.scheme == "https" or request.headers.get("origin", "").startswith("https:")


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
