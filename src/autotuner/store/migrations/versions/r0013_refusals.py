"""Workers that cannot run a queued study, so that they leave it to others."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column."""
    op.add_column("queue", sa.Column("refusals", sa.Text))
