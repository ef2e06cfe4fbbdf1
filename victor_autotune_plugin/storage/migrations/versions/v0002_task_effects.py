"""What is known of the tasks before a test is kept with the experiment."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; it is null for the experiments that there are, which knew of no task."""
    op.add_column("autotune_experiment", sa.Column("task_effects", sa.Text, nullable=True))


def downgrade() -> None:
    """Remove the column."""
    op.drop_column("autotune_experiment", "task_effects")
