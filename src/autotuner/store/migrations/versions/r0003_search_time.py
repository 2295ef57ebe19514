"""The time that a study's search has used is kept, so that a resumed one does not get it twice."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Studies of earlier versions have none: their trials' own times stand for it."""
    op.add_column("studies", sa.Column("search_s", sa.Float))
