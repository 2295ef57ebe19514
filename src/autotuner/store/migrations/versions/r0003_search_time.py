"""Time that the search of a study has used, so that a resumed one does not get it twice."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the time. For studies of earlier versions it is computed from the times of their trials."""
    op.add_column("studies", sa.Column("search_s", sa.Float))
