"""American spelling of the GPU utilization in measurements."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Renames the key in stored trials."""
    rename = "UPDATE trials SET trial = REPLACE(trial, '\"utilisation\":', '\"utilization\":')"  # codespell:ignore
    op.execute(sa.text(rename))
