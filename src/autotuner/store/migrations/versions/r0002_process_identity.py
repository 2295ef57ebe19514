"""Identity of owners: that of their process, instead of a wall-clock time."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the identity. Owners of earlier versions have none; their heartbeat shows whether they run."""
    op.add_column("owners", sa.Column("process", sa.String(255)))
