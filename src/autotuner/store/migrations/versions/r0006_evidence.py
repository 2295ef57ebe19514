"""Columns for what was known when a study began, and for what earlier studies had measured by then."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns. What earlier versions knew at the beginning of a study was not stored."""
    op.add_column("studies", sa.Column("beginning", sa.Text))
    op.add_column("studies", sa.Column("evidence", sa.Text))
