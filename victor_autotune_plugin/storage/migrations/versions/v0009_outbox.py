"""Notices wait in the store until a webhook has taken them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the outbox. It starts empty: what happened before is not told."""
    op.create_table(
        "autotune_outbox",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("notice", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("due_at", sa.Double, nullable=False),
        sa.Column("sent_at", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_autotune_outbox"),
    )
    op.create_index("ix_autotune_outbox_notice", "autotune_outbox", ["environment", "target", "id"], unique=True)


def downgrade() -> None:
    """Take the outbox away, with what waits in it."""
    op.drop_table("autotune_outbox")
