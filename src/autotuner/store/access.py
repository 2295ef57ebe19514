"""Tokens of the server's clients, and the audit of what they changed."""

from sqlalchemy import delete, insert, or_, update

from autotuner.store.database import Database
from autotuner.store.records import AuditEntry, Token
from autotuner.store.rows import storable
from autotuner.store.tables import audit, tokens

_SELECT = "SELECT id, name, scope, created_at, expires_at, used_at, revoked_at FROM tokens"
TOUCH_S = 60.0
"""Time between two updates of ``used_at``, so that reading does not write with every request."""


class TokenTable:
    """Tokens. Only a digest of the secret is stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, token: Token, digest: str) -> None:
        """Stores a new token with the digest of its secret."""
        values = {**token.model_dump(mode="json"), "name": storable(token.name), "digest": digest}
        with self._database.writing() as db:
            db.execute(insert(tokens).values(**values))

    def all(self) -> list[Token]:
        """All tokens, revoked ones included, in the order in which they were created."""
        return [Token.model_validate(row) for row in self._database.rows(f"{_SELECT} ORDER BY created_at, id")]

    def get(self, identity: str) -> tuple[Token, str] | None:
        """A token and the digest of its secret; None if there is none with this id."""
        query = _SELECT.replace("SELECT ", "SELECT digest, ", 1) + " WHERE id = :id"
        rows = self._database.rows(query, id=storable(identity))
        if not rows:
            return None
        digest = str(rows[0].pop("digest"))
        return Token.model_validate(rows[0]), digest

    def touch(self, identity: str, now: float) -> None:
        """Records that a token was used, at most once a minute."""
        stale = or_(tokens.c.used_at.is_(None), tokens.c.used_at < now - TOUCH_S)
        with self._database.writing() as db:
            db.execute(update(tokens).where((tokens.c.id == identity) & stale).values(used_at=now))

    def revoke(self, identity: str, now: float) -> bool:
        """Revokes a token. False if there is none with this id, or it was revoked before."""
        living = (tokens.c.id == identity) & tokens.c.revoked_at.is_(None)
        with self._database.writing() as db:
            return db.execute(update(tokens).where(living).values(revoked_at=now)).rowcount == 1

    def revoke_sessions(self, identity: str, now: float) -> None:
        """Revokes the browser sessions that a token opened; their ids begin with its own and a dot."""
        living = tokens.c.id.startswith(f"{identity}.", autoescape=True) & tokens.c.revoked_at.is_(None)
        with self._database.writing() as db:
            db.execute(update(tokens).where(living).values(revoked_at=now))

    def forget_sessions(self, before: float) -> None:
        """Removes browser sessions that expired before that time. Tokens of other clients are kept forever."""
        with self._database.writing() as db:
            db.execute(delete(tokens).where(tokens.c.id.contains(".") & (tokens.c.expires_at < before)))


class AuditLog:
    """Append-only record of writes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, entry: AuditEntry) -> None:
        """Adds an entry, without secrets."""
        with self._database.writing() as db:
            db.execute(insert(audit).values(**self._database.clean(entry.model_dump(mode="json"))))

    def last(self, count: int) -> list[AuditEntry]:
        """The newest entries, newest first."""
        query = "SELECT at, caller, name, action, target, status FROM audit ORDER BY seq DESC LIMIT :count"
        return [AuditEntry.model_validate(row) for row in self._database.rows(query, count=count)]
