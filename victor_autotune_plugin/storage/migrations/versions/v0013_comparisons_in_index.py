"""The index of an experiment's runs holds what a comparison of its plans asks, so that the runs need not be read."""

from __future__ import annotations

from alembic import op
from sqlalchemy import text

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_NAME = "ix_autotune_run_observed"
_COLUMNS = ("experiment_id", "observed")
_FIGURES = (
    *("phase", "arm", "stream", "position", "missing", "started_at"),
    *("duration_seconds", "success", "score", "cost_usd"),
)


def upgrade() -> None:
    """Make the index once more; a million runs take some seconds."""
    _make(*_COLUMNS, *_FIGURES)


def downgrade() -> None:
    """Make it as it was."""
    _make(*_COLUMNS)


def _make(*columns: str) -> None:
    op.drop_index(_NAME, "autotune_run")
    where = text("observed IS NOT NULL")
    op.create_index(_NAME, "autotune_run", list(columns), sqlite_where=where, postgresql_where=where)
