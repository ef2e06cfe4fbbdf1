"""Old runs may go, and leave the totals of their days; from a store of an earlier version only on a person's word."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the totals, and the mark that runs may go, which only a new store has from the start."""
    op.add_column("autotune_store", sa.Column("may_prune", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_table(
        "autotune_day",
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("workflow", sa.Text, nullable=False),
        sa.Column("team_id", sa.Text, nullable=False),
        sa.Column("date", sa.Text, nullable=False),
        sa.Column("first_at", sa.Double, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
        sa.Column("runs", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.BigInteger, nullable=False),
        sa.Column("succeeded", sa.BigInteger, nullable=False),
        sa.Column("timed_out", sa.BigInteger, nullable=False),
        sa.Column("cancelled", sa.BigInteger, nullable=False),
        sa.Column("lost", sa.BigInteger, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("durations", sa.Text, nullable=False),
        sa.Column("tool_calls", sa.BigInteger, nullable=False),
        sa.Column("input_tokens", sa.BigInteger, nullable=False),
        sa.Column("output_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_usd", sa.Double, nullable=False),
        sa.Column("priced", sa.BigInteger, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("scored", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("environment", "workflow", "team_id", "date", name="pk_autotune_day"),
    )


def downgrade() -> None:
    """Take both away; the runs that went stay away."""
    op.drop_table("autotune_day")
    op.drop_column("autotune_store", "may_prune")
