"""Database tables. Models are stored as JSON text beside the columns that queries need.

A change here needs a migration under ``migrations/versions``; a test compares the two.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_SEQUENCE = BigInteger().with_variant(Integer, "sqlite")
"""SQLite only numbers rows automatically for INTEGER primary keys."""

_PROPOSED = text("kind = 'trial_proposed'")
"""Events that lists of studies read: the newest one says how many launches are left."""

owners = Table(
    "owners",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started", Float, nullable=False),
    Column("heartbeat_at", Float, nullable=False),
    Column("process", String(255)),
    Column("ended_at", Float),
    Column("lease_s", Float),
)

studies = Table(
    "studies",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("spec", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("summary", Text),
    Column("owner_id", String(64)),
    Column("stop_requested", Integer, nullable=False),
    Column("search_s", Float),
    Column("world", Text),
    Column("beginning", Text),
    Column("evidence", Text),
    Column("draft", Text),
    Column("engines", Text),
    Column("deployers", Text),
    Column("maximized", Integer),
    Column("ending", String(64)),
    Column("change", Float),
    Column("created_at", Float, nullable=False),
    Column("updated_at", Float, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("study", String(63), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False),
    Column("owner_id", String(64), nullable=False),
    Column("trial", Text, nullable=False),
    Column("role", String(16)),
    Column("feasible", Integer),
    Column("value", Float),
    Column("cause", String(64)),
    Column("started_at", Float),
    Column("finished_at", Float),
    ForeignKeyConstraint(["study"], ["studies.name"], ondelete="CASCADE"),
    Index("ix_trials_state", "state", "feasible", "cause"),
    Index("ix_trials_study", "study", "state"),
)

events = Table(
    "events",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("study", String(63), nullable=False),
    Column("trial", Integer),
    Column("at", Float, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("data", Text, nullable=False),
    ForeignKeyConstraint(["study"], ["studies.name"], ondelete="CASCADE"),
    Index("ix_events_study", "study", "seq"),
    Index("ix_events_proposed", "study", "seq", sqlite_where=_PROPOSED, postgresql_where=_PROPOSED),
    sqlite_autoincrement=True,
)

leases = Table(
    "leases",
    metadata,
    Column("resource", String(255), primary_key=True),
    Column("owner_id", String(64), nullable=False),
    Column("study", String(63), nullable=False),
    Column("trial", Integer, nullable=False),
    Column("acquired_at", Float, nullable=False),
    Index("ix_leases_owner_id", "owner_id"),
)

queue = Table(
    "queue",
    metadata,
    Column("study", String(63), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("labels", Text, nullable=False),
    Column("spec", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("named", Integer, nullable=False),
    Column("submitted_at", Float, nullable=False),
    Column("submitted_by", String(255), nullable=False),
    Column("worker_id", String(64)),
    Column("taken_at", Float),
    Column("attempts", Integer, nullable=False),
    Column("progress", Integer, nullable=False),
    Column("refusals", Text),
    ForeignKeyConstraint(["study"], ["studies.name"], ondelete="CASCADE"),
)

workers = Table(
    "workers",
    metadata,
    Column("id", String(64), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("process", String(255), nullable=False),
    Column("labels", Text, nullable=False),
    Column("at_most", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("version", String(64), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("heartbeat_at", Float, nullable=False),
    Column("lease_s", Float, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("scope", String(16), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("used_at", Float),
    Column("revoked_at", Float),
)

audit = Table(
    "audit",
    metadata,
    Column("seq", _SEQUENCE, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("caller", String(32), nullable=False),
    Column("name", String(63), nullable=False),
    Column("action", String(32), nullable=False),
    Column("target", Text, nullable=False),
    Column("status", Integer, nullable=False),
    sqlite_autoincrement=True,
)

presets = Table(
    "presets",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("engine", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("updated_at", Float, nullable=False),
    Column("updated_by", Text, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(63), nullable=False),
    Column("form", String(16), nullable=False),
    Column("events", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("url_source", Text, nullable=False),
    Column("secret_source", Text, nullable=False),
    Column("created_at", Float, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", String(40), primary_key=True),
    Column("webhook_id", String(32), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("at", Float, nullable=False),
    Column("data", Text, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Float, nullable=False),
    Column("claimed_by", String(32)),
    Column("claimed_until", Float),
    Column("tried_at", Float),
    Column("status", Integer),
    Column("error", Text),
    ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], ondelete="CASCADE"),
    Index("ix_deliveries_state", "state", "next_at"),
    Index("ix_deliveries_webhook_id", "webhook_id", "tried_at"),
)
