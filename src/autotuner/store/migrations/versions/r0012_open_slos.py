"""Trials whose SLOs are left open are no longer stored as feasible."""

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ROWS = 500
"""Trials that are read at once: each has all of its measurements."""


def upgrade() -> None:
    """Clears the column of trials that are not done, were cut, or may not be ranked."""
    db = op.get_bind()
    for study in db.execute(sa.text("SELECT name FROM studies")).scalars().all():
        _clear(db, study)


def _clear(db: sa.Connection, study: str) -> None:
    query = sa.text(
        "SELECT number, trial FROM trials WHERE study = :study AND number > :after AND feasible IS NOT NULL "
        "ORDER BY number LIMIT :most"
    )
    update = sa.text("UPDATE trials SET feasible = NULL WHERE study = :study AND number = :number")
    after = -1
    while rows := db.execute(query, {"study": study, "after": after, "most": _ROWS}).all():
        open_ones = [{"study": study, "number": number} for number, text in rows if _is_open(_mapping(text))]
        if open_ones:
            db.execute(update, open_ones)
        after = rows[-1].number


def _is_open(trial: Mapping[str, Any]) -> bool:
    if trial.get("state") != "done":
        return True
    verdict = trial.get("verdict")
    if not isinstance(verdict, dict) or verdict.get("feasible") is not True:
        return False
    return trial.get("cut") is not None or verdict.get("rankable") is False


def _mapping(text: str | None) -> dict[str, Any]:
    """The object in a column; empty if the row is damaged, which must not prevent the migration."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
