"""The order of an observation is kept in its run, and a harmful test is called failed in the history, too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_FIGURES = (
    *("experiment_id", "phase", "position", "arm", "duration_seconds", "success", "score", "cost_usd", "tool_calls"),
    *("timed_out", "task_key"),
)
"""What an observation repeated of its run."""


def upgrade() -> None:
    """Move the observations into their runs.

    A verdict rests on what was observed, so where a run and its observation differ, the observation's figures stay. A
    run that the store never saw, as when its experiment was imported without it, gets a row of status `observed`.
    """
    op.add_column("autotune_run", sa.Column("tool_calls", sa.Integer, nullable=True))
    op.add_column("autotune_run", sa.Column("observed", sa.Integer, nullable=True))
    op.create_index(
        "ix_autotune_run_observed",
        "autotune_run",
        ["experiment_id", "observed"],
        sqlite_where=sa.text("observed IS NOT NULL"),
        postgresql_where=sa.text("observed IS NOT NULL"),
    )
    names = ", ".join(_FIGURES)
    values = ", ".join(f"o.{name}" for name in _FIGURES)
    replaced = ", ".join(f"{name} = excluded.{name}" for name in (*_FIGURES, "observed"))
    op.execute(
        "INSERT INTO autotune_run (run_id, workflow, team_id, status, started_at, host, pid, process_started_at, "
        f"spec, entry, mode, plan_asked, observed, {names}) "
        "SELECT o.run_id, coalesce(e.workflow, ''), coalesce(e.team_id, ''), 'observed', 0, '', 0, 0, "
        f"'', '', '', '', o.number, {values} "
        "FROM autotune_observation o LEFT JOIN autotune_experiment e ON e.id = o.experiment_id "
        "WHERE true "  # else SQLite takes ON CONFLICT for the condition of the join
        f"ON CONFLICT (run_id) DO UPDATE SET {replaced}"
    )
    op.drop_table("autotune_observation")
    op.execute("UPDATE autotune_change SET action = 'failed' WHERE action = 'rejected'")


def downgrade() -> None:
    """Copy the observations out of their runs again."""
    op.execute("UPDATE autotune_change SET action = 'rejected' WHERE action = 'failed'")
    op.create_table(
        "autotune_observation",
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("experiment_id", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("position", sa.Integer, nullable=False),
        sa.Column("arm", sa.Text, nullable=False),
        sa.Column("duration_seconds", sa.Double, nullable=False),
        sa.Column("success", sa.Boolean, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("cost_usd", sa.Double, nullable=True),
        sa.Column("tool_calls", sa.Integer, nullable=False),
        sa.Column("timed_out", sa.Boolean, nullable=False),
        sa.Column("task_key", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_autotune_observation"),
        sa.UniqueConstraint("run_id", name="uq_autotune_observation_run"),
    )
    op.create_index("ix_autotune_observation_phase", "autotune_observation", ["experiment_id", "phase", "number"])
    names = ", ".join(("run_id", *_FIGURES))
    # Orders are unique within an experiment only, and this table's are unique in all.
    op.execute(
        f"INSERT INTO autotune_observation ({names}) SELECT {names} FROM autotune_run "
        "WHERE observed IS NOT NULL ORDER BY observed, run_id"
    )
    op.execute("DELETE FROM autotune_run WHERE status = 'observed'")
    op.drop_index("ix_autotune_run_observed", "autotune_run")
    op.drop_column("autotune_run", "observed")
    op.drop_column("autotune_run", "tool_calls")
