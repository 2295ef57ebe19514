"""Columns by which lists of studies and trials are filtered and sorted, and indexes for what lists count and follow."""

import json
import math
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ROWS = 500
"""Trials that are read at once: each has all of its measurements."""


def upgrade() -> None:
    """Adds the columns, fills them from what is stored as JSON, and adds the indexes."""
    op.add_column("studies", sa.Column("engines", sa.Text))
    op.add_column("studies", sa.Column("maximized", sa.Integer))
    op.add_column("studies", sa.Column("ending", sa.String(64)))
    op.add_column("studies", sa.Column("change", sa.Float))
    op.add_column("trials", sa.Column("role", sa.String(16)))
    op.add_column("trials", sa.Column("feasible", sa.Integer))
    op.add_column("trials", sa.Column("value", sa.Float))
    op.add_column("trials", sa.Column("cause", sa.String(64)))
    op.add_column("trials", sa.Column("started_at", sa.Float))
    op.add_column("trials", sa.Column("finished_at", sa.Float))
    db = op.get_bind()
    _fill_studies(db)
    for study in db.execute(sa.text("SELECT name FROM studies")).scalars().all():
        _fill_trials(db, study)
    op.drop_index("ix_trials_state", "trials")
    op.create_index("ix_trials_state", "trials", ["state", "feasible", "cause"])
    op.create_index("ix_trials_study", "trials", ["study", "state"])
    proposed = sa.text("kind = 'trial_proposed'")
    op.create_index("ix_events_proposed", "events", ["study", "seq"], sqlite_where=proposed, postgresql_where=proposed)


def _fill_studies(db: sa.Connection) -> None:
    query = sa.text("SELECT name, spec, summary FROM studies")
    update = sa.text(
        "UPDATE studies SET engines = :engines, maximized = :maximized, ending = :ending, change = :change "
        "WHERE name = :name"
    )
    for name, spec_text, summary_text in db.execute(query).all():
        spec = _mapping(spec_text)
        entries = [_at(entry, "engine", "kind") for entry in _list(spec.get("engines"))]
        kinds = [kind for kind in (entries or [_at(spec, "engine", "kind")]) if isinstance(kind, str)]
        first = next(iter(_list(spec.get("objectives"))), None)
        direction = _at(first, "direction")
        answer = _at(_mapping(summary_text), "answer")
        values = {
            "name": name,
            "engines": f",{','.join(dict.fromkeys(kinds))}," if kinds else None,
            "maximized": int(direction == "max") if direction is not None else None,
            "ending": _at(answer, "ending"),
            "change": _finite(_at(answer, "change")),
        }
        db.execute(update, values)


def _fill_trials(db: sa.Connection, study: str) -> None:
    query = sa.text(
        "SELECT number, trial FROM trials WHERE study = :study AND number > :after ORDER BY number LIMIT :most"
    )
    update = sa.text(
        "UPDATE trials SET role = :role, feasible = :feasible, value = :value, cause = :cause, "
        "started_at = :started_at, finished_at = :finished_at WHERE study = :study AND number = :number"
    )
    after = -1
    while rows := db.execute(query, {"study": study, "after": after, "most": _ROWS}).all():
        db.execute(update, [{"study": study, "number": number, **_columns(_mapping(text))} for number, text in rows])
        after = rows[-1].number


def _columns(trial: Mapping[str, Any]) -> dict[str, object]:
    feasible = _at(trial, "verdict", "feasible")
    objectives = _list(_at(trial, "verdict", "objectives"))
    return {
        "role": trial.get("role"),
        "feasible": int(feasible) if isinstance(feasible, bool) else None,
        "value": _finite(objectives[0]) if objectives else None,
        "cause": _at(trial, "failure", "cause"),
        "started_at": _finite(trial.get("started_at")),
        "finished_at": _finite(trial.get("finished_at")),
    }


def _mapping(text: str | None) -> dict[str, Any]:
    """The object in a column; empty if the row is damaged, which must not prevent the migration."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _at(data: object, *path: str) -> Any:
    for key in path:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _finite(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]
