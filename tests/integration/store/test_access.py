"""Tokens and the audit in the database: SQLite and PostgreSQL."""

from pathlib import Path

import autotuner
from autotuner.store import Store
from autotuner.store.records import AuditEntry, Token, TokenScope

TOKEN = Token(id="0123456789ab", name="ci", scope=TokenScope.WRITE, created_at=1.0, expires_at=100.0)


def test_a_token_is_stored_with_its_digest(store: Store) -> None:
    store.tokens.add(TOKEN, "d" * 64)
    assert store.tokens.all() == [TOKEN]
    assert store.tokens.get(TOKEN.id) == (TOKEN, "d" * 64)
    assert store.tokens.get("unknown") is None


def test_use_is_recorded_once_a_minute(store: Store) -> None:
    store.tokens.add(TOKEN, "d" * 64)
    for now, known in ((10.0, 10.0), (69.0, 10.0), (71.0, 71.0)):
        store.tokens.touch(TOKEN.id, now)
        assert store.tokens.all()[0].used_at == known


def test_a_token_is_revoked_once(store: Store) -> None:
    store.tokens.add(TOKEN, "d" * 64)
    assert store.tokens.revoke(TOKEN.id, 5.0)
    assert not store.tokens.revoke(TOKEN.id, 6.0)
    assert not store.tokens.revoke("unknown", 6.0)
    assert store.tokens.all()[0].revoked_at == 5.0


def test_the_audit_returns_the_newest_entries_first(store: Store) -> None:
    entries = [
        AuditEntry(at=float(i), caller=TOKEN.id, name="ci", action="stop", target=f"study {i}", status=202)
        for i in range(3)
    ]
    for entry in entries:
        store.audit.add(entry)
    assert store.audit.last(2) == [entries[2], entries[1]]


def test_no_secret_reaches_the_disk(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/autotuner.db"
    made = autotuner.open(url).access().create("ci")
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert made.token.id.encode() in written
    secret = made.secret.split("_", 2)[2]  # may contain "_" itself
    assert secret.encode() not in written
