"""Owners are told apart by their process's identity, not by a time of the wall clock."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Owners of earlier versions have none: their heartbeat decides."""
    op.add_column("owners", sa.Column("process", sa.String(255)))
