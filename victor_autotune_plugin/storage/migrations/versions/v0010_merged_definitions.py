"""A team may be known by more than one definition: those that have taken a live plan over are told in its terms."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add where their fingerprints are kept."""
    op.add_column("autotune_team", sa.Column("merged", sa.Text, nullable=True))


def downgrade() -> None:
    """Take that away, and the lines of the history that the version before has no word for."""
    op.execute("DELETE FROM autotune_change WHERE action = 'merged'")
    op.drop_column("autotune_team", "merged")
