"""The index of a team's runs holds their environment, so that a store of years is listed without reading its runs."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_NAME = "ix_autotune_run_team"
_COLUMNS = ("workflow", "team_id", "started_at", "run_id")


def upgrade() -> None:
    """Make the index once more; a million runs take some seconds."""
    _make(*_COLUMNS, "environment")


def downgrade() -> None:
    """Make it as it was."""
    _make(*_COLUMNS)


def _make(*columns: str) -> None:
    op.drop_index(_NAME, "autotune_run")
    op.create_index(_NAME, "autotune_run", list(columns))
