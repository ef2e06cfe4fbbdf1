"""Runs and teams have a data flow, and an experiment says what allows its change."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COLUMNS: Final = (("autotune_run", "flow"), ("autotune_lease", "flow"), ("autotune_experiment", "allowed_by"))


def upgrade() -> None:
    """Add the columns. Of earlier runs nothing is known, so every team starts with an unknown data flow."""
    for table, name in _COLUMNS:
        op.add_column(table, sa.Column(name, sa.Text, nullable=True))


def downgrade() -> None:
    """Take the columns away."""
    for table, name in _COLUMNS:
        op.drop_column(table, name)
