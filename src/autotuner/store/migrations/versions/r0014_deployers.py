"""Deployers of studies, so that what runs launched is listed without reading every study."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column, and fills it from the stored studies."""
    op.add_column("studies", sa.Column("deployers", sa.Text))
    db = op.get_bind()
    update = sa.text("UPDATE studies SET deployers = :deployers WHERE name = :name")
    for name in db.execute(sa.text("SELECT name FROM studies")).scalars().all():
        spec = db.execute(sa.text("SELECT spec FROM studies WHERE name = :name"), {"name": name}).scalar_one()
        deployers = _deployers(spec)
        if deployers:
            text = json.dumps(deployers, ensure_ascii=False)
            db.execute(update, {"name": name, "deployers": text})


def _deployers(text: str) -> list[Any]:
    """The deployers in the JSON of a study; none if the row is damaged, which must not prevent the migration."""
    try:
        spec = json.loads(text)
        return [engine["deploy"] for engine in spec.get("engines") or ()] or [spec["deploy"]]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []
