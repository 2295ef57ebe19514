"""First tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates owners, studies, trials, events and leases."""
    op.create_table(
        "owners",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started", sa.Float, nullable=False),
        sa.Column("heartbeat_at", sa.Float, nullable=False),
        sa.Column("ended_at", sa.Float),
    )
    op.create_table(
        "studies",
        sa.Column("name", sa.String(63), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("spec", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("summary", sa.Text),
        sa.Column("owner_id", sa.String(64)),
        sa.Column("stop_requested", sa.Integer, nullable=False),
        sa.Column("created_at", sa.Float, nullable=False),
        sa.Column("updated_at", sa.Float, nullable=False),
    )
    op.create_table(
        "trials",
        sa.Column("study", sa.String(63), primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("owner_id", sa.String(64), nullable=False),
        sa.Column("trial", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["study"], ["studies.name"], name="fk_trials_study", ondelete="CASCADE"),
    )
    op.create_index("ix_trials_state", "trials", ["state"])
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("study", sa.String(63), nullable=False),
        sa.Column("trial", sa.Integer),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sa.ForeignKeyConstraint(["study"], ["studies.name"], name="fk_events_study", ondelete="CASCADE"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_events_study", "events", ["study", "seq"])
    op.create_table(
        "leases",
        sa.Column("resource", sa.String(255), primary_key=True),
        sa.Column("owner_id", sa.String(64), nullable=False),
        sa.Column("study", sa.String(63), nullable=False),
        sa.Column("trial", sa.Integer, nullable=False),
        sa.Column("acquired_at", sa.Float, nullable=False),
    )
    op.create_index("ix_leases_owner_id", "leases", ["owner_id"])
