"""Column for the facts that a study's numbers depend on, which decide whether it may resume."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column and fills it from the events in which earlier versions stored the facts."""
    op.add_column("studies", sa.Column("world", sa.Text))
    db = op.get_bind()
    names = db.execute(sa.text("SELECT name FROM studies")).scalars().all()
    for name in names:
        if facts := _facts(db, name):
            update = sa.text("UPDATE studies SET world = :world WHERE name = :name")
            db.execute(update, {"world": json.dumps(facts, ensure_ascii=False), "name": name})


def _facts(db: sa.Connection, study: str) -> dict[str, Any]:
    started, started_at = _last(db, study, "study_started")
    later, later_at = _last(db, study, "world")
    found: dict[str, Any] = {}
    if base := started.get("base_version"):  # the only fact of the first versions
        found["runtime"] = {"state": base}
    found |= started.get("world") or {}
    if later_at > started_at:
        found |= later.get("facts") or {}
    return {name: fact for name, fact in found.items() if isinstance(fact, dict)}


def _last(db: sa.Connection, study: str, kind: str) -> tuple[dict[str, Any], int]:
    """Data and seq of the newest event of that kind."""
    query = sa.text("SELECT data, seq FROM events WHERE study = :study AND kind = :kind ORDER BY seq DESC LIMIT 1")
    row = db.execute(query, {"study": study, "kind": kind}).first()
    if row is None:
        return {}, 0
    data = json.loads(row.data)
    return (data if isinstance(data, dict) else {}), row.seq
