"""Tokens of the server's clients, and the audit of what they changed."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time

from pydantic import Field

from autotuner.errors import NotFoundError, UsageError
from autotuner.store import Store
from autotuner.store.access import TOUCH_S
from autotuner.store.records import AuditEntry, Token, TokenScope
from autotuner.study.base import FrozenModel

_PREFIX = "atk"
"""Begins every token, so that scanners for leaked secrets can find it."""
_FORM = re.compile(rf"{_PREFIX}_([0-9a-f]{{12}})_([0-9A-Za-z_-]{{43}})")
_SESSION_FORM = re.compile(r"ats_([0-9a-z]{1,12}\.[0-9a-f]{12})_([0-9A-Za-z_-]{43})")
"""A browser session. Its id begins with that of the token that opened it, so that both can be revoked together."""
_AT_THE_TERMINAL = "serve"
"""Takes the place of that id in sessions of people who have the code that the server printed."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,62}")
_DAY_S = 86_400.0
_MOST_DAYS = 3_650
_SESSION_S = 7 * _DAY_S
_LISTED_S = 30 * _DAY_S
"""How long a session is listed after its end, for those who read the audit."""


class NewToken(FrozenModel):
    """A token that was just created."""

    token: Token
    secret: str = Field(repr=False)
    """The value to send as ``Authorization: Bearer ...``, or as the cookie of a session. It cannot be shown again."""


class Access:
    """Tokens of one store, and the audit of what they were used for. Create it with :meth:`Autotuner.access`."""

    def __init__(self, store: str | None) -> None:
        """Uses the store at a SQLAlchemy URL; None: ``$AUTOTUNER_STORE``, else SQLite under ``$AUTOTUNER_HOME``."""
        self._url = store

    def create(self, name: str, scope: str = "read", *, days: int | None = None) -> NewToken:
        """Create a token. Its secret is returned once; only a digest is stored.

        Args:
            name: What the token is for: up to 63 letters, digits, spaces and ``._-``, a letter or digit first.
            scope: ``read``, ``write`` or ``admin``; each includes those before it.
            days: Days until it expires; None: never.

        Returns:
            The token and its secret.

        Raises:
            UsageError: If the name, the scope or the number of days is wrong.

        Example:
            >>> made = autotuner.open().access().create("ci", "read", days=30)
            >>> made.secret.startswith("atk_")
            True
        """
        if not _NAME.fullmatch(name):
            remedy = "use letters, digits, spaces, '.', '_' and '-', at most 63, a letter or digit first"
            raise UsageError.at("name", "is not a valid name of a token", value=name, remedy=remedy)
        if scope not in set(TokenScope):
            raise UsageError.at("scope", "unknown scope", value=scope, remedy=f"use {', '.join(TokenScope)}")
        if days is not None and not 1 <= days <= _MOST_DAYS:
            raise UsageError.at("days", "is out of range", value=str(days), remedy=f"use 1 to {_MOST_DAYS}")
        identity = secrets.token_hex(6)
        secret = secrets.token_urlsafe(32)
        now = time.time()
        expires_at = None if days is None else now + days * _DAY_S
        token = Token(id=identity, name=name, scope=TokenScope(scope), created_at=now, expires_at=expires_at)
        with Store.open(self._url) as store:
            store.tokens.add(token, _digest(secret))
        return NewToken(token=token, secret=f"{_PREFIX}_{identity}_{secret}")

    def open_session(self, token: Token | None) -> NewToken:
        """Create a session for a browser: a token of its own. It allows the same as the token that opened it, ends with
        that one, and lasts at most a week.

        Args:
            token: The token that the person at the browser has shown; None: they read the server's output, so they can
                use the store, and may do everything.

        Returns:
            The session and its secret, which no request but that of a browser's cookie may use.

        Raises:
            StoreError: If the store cannot be written.

        Example:
            >>> access = autotuner.open().access()
            >>> session = access.open_session(access.create("dashboard").token)
            >>> session.token.scope.value
            'read'
        """
        now = time.time()
        ends = now + _SESSION_S
        opened = Token(
            id=f"{token.id if token else _AT_THE_TERMINAL}.{secrets.token_hex(6)}",
            name=f"browser session of {token.name}" if token else "browser session",
            scope=token.scope if token else TokenScope.ADMIN,
            created_at=now,
            expires_at=min(ends, token.expires_at) if token and token.expires_at is not None else ends,
        )
        secret = secrets.token_urlsafe(32)
        with Store.open(self._url) as store:
            store.tokens.forget_sessions(now - _LISTED_S)
            store.tokens.add(opened, _digest(secret))
            stored = store.tokens.get(token.id) if token else None
            if stored is not None and not stored[0].valid(now):  # revoked while its session was opened
                store.tokens.revoke(opened.id, now)
        return NewToken(token=opened, secret=f"ats_{opened.id}_{secret}")

    def tokens(self) -> list[Token]:
        """All tokens, in the order in which they were created; expired and revoked ones included.

        Returns:
            The tokens, without their secrets.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> access = autotuner.open().access()
            >>> _ = access.create("ci")
            >>> [token.name for token in access.tokens()]
            ['ci']
        """
        if not Store.exists(self._url):
            return []
        with Store.open(self._url) as store:
            return store.tokens.all()

    def revoke(self, identity: str) -> None:
        """Revoke a token, and the browser sessions that it opened. Requests that use them are refused from now on.

        Args:
            identity: Id of the token or session.

        Raises:
            UsageError: If no token has this id, or it is revoked already.

        Example:
            >>> made = autotuner.open().access().create("laptop")
            >>> autotuner.open().access().revoke(made.token.id)
        """
        now = time.time()
        with Store.open(self._url) as store:
            if store.tokens.revoke(identity, now):
                store.tokens.revoke_sessions(identity, now)
                return
            if store.tokens.get(identity) is not None:
                raise UsageError.at("id", "is revoked already", value=identity)
        remedy = "autotuner token list shows all ids"
        raise NotFoundError.at("id", "there is no token with this id", value=identity, remedy=remedy)

    def check(self, secret: str) -> Token | None:
        """The token that a client sent, if it is accepted.

        Args:
            secret: The value after ``Bearer``.

        Returns:
            The token; None if it is malformed, unknown, expired or revoked. Which of these is not said, since it would
            help to guess.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> autotuner.open().access().check("atk_000000000000_wrong") is None
            True
        """
        return self._accepted(_FORM.fullmatch(secret))

    def check_session(self, secret: str) -> Token | None:
        """The session of a browser, if it is accepted.

        Args:
            secret: The value of its cookie.

        Returns:
            The session; None if the value is malformed or unknown, or the session has ended.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> access = autotuner.open().access()
            >>> session = access.open_session(None)
            >>> access.check_session(session.secret) == session.token
            True
            >>> access.check(session.secret) is None
            True
        """
        return self._accepted(_SESSION_FORM.fullmatch(secret))

    def _accepted(self, found: re.Match[str] | None) -> Token | None:
        if found is None or not Store.exists(self._url):
            return None
        now = time.time()
        with Store.open(self._url) as store:
            stored = store.tokens.get(found[1])
            if stored is None:
                return None
            token, digest = stored
            if not hmac.compare_digest(digest, _digest(found[2])) or not token.valid(now):
                return None
            if token.used_at is None or now - token.used_at > TOUCH_S:
                store.tokens.touch(token.id, now)
            return token

    def still_valid(self, identity: str) -> bool:
        """Whether a token that was accepted before would still be.

        Args:
            identity: Id of the token.

        Returns:
            False if it was revoked or has expired since.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> access = autotuner.open().access()
            >>> access.still_valid(access.create("dashboard").token.id)
            True
        """
        if not Store.exists(self._url):
            return False
        with Store.open(self._url) as store:
            stored = store.tokens.get(identity)
            return stored is not None and stored[0].valid(time.time())

    def record(self, token: Token, action: str, target: str, status: int) -> None:
        """Add an entry to the audit.

        Args:
            token: Whose request it was.
            action: What was requested, such as ``stop_study``.
            target: What it was applied to.
            status: HTTP status of the response.

        Raises:
            StoreError: If the store cannot be written.

        Example:
            >>> access = autotuner.open().access()
            >>> access.record(access.create("laptop", "write").token, "stop_study", "chat-8b", 200)
        """
        entry = AuditEntry(
            at=time.time(), caller=token.id, name=token.name, action=action, target=target[:1000], status=status
        )
        with Store.open(self._url) as store:
            store.audit.add(entry)

    def audit(self, count: int = 100) -> list[AuditEntry]:
        """The newest entries of the audit, newest first.

        Args:
            count: Maximum number of entries.

        Returns:
            The entries; empty if there is no store yet.

        Raises:
            StoreError: If the store cannot be read.

        Example:
            >>> autotuner.open().access().audit(1)
            []
        """
        if not Store.exists(self._url):
            return []
        with Store.open(self._url) as store:
            return store.audit.last(count)


def _digest(secret: str) -> str:
    # The secret has 256 random bits, so it cannot be guessed from a fast digest; a slow one would cost every request.
    return hashlib.sha256(secret.encode()).hexdigest()
