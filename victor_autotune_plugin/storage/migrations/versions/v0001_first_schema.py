"""The first schema."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "autotune_team",
        _text("workflow"),
        _text("team_id"),
        _integer("version"),
        _text("plan"),
        _text("fingerprint", nullable=True),
        _text("spec", nullable=True),
        _text("experiment_id", nullable=True),
        _flag("paused"),
        _number("updated_at"),
        sa.PrimaryKeyConstraint("workflow", "team_id", name="pk_autotune_team"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "autotune_experiment",
        _text("id"),
        _text("workflow"),
        _text("team_id"),
        _text("fingerprint"),
        _text("strategy"),
        _text("description"),
        _text("control"),
        _text("treatment"),
        _text("seed"),
        _text("assignment_version"),
        _text("policy"),
        _text("watch_policy"),
        _text("status"),
        _number("created_at"),
        _number("decided_at", nullable=True),
        _number("promoted_at", nullable=True),
        _number("ended_at", nullable=True),
        _text("verdict", nullable=True),
        _text("watch_verdict", nullable=True),
        _text("code_version"),
        sa.PrimaryKeyConstraint("id", name="pk_autotune_experiment"),
    )
    op.create_index("ix_autotune_experiment_team", "autotune_experiment", ["workflow", "team_id", "created_at", "id"])
    op.create_table(
        "autotune_assignment",
        _text("experiment_id"),
        _text("phase"),
        _integer("position"),
        _text("arm"),
        _text("unit"),
        _text("run_id"),
        sa.PrimaryKeyConstraint("experiment_id", "phase", "position", name="pk_autotune_assignment"),
        sa.UniqueConstraint("experiment_id", "phase", "unit", name="uq_autotune_assignment_unit"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "autotune_observation",
        _integer("number"),
        _text("experiment_id"),
        _text("phase"),
        _text("run_id"),
        _integer("position"),
        _text("arm"),
        _number("duration_seconds"),
        _flag("success"),
        _number("score"),
        _number("cost_usd", nullable=True),
        _integer("tool_calls"),
        _flag("timed_out"),
        _text("task_key", nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_autotune_observation"),
        sa.UniqueConstraint("run_id", name="uq_autotune_observation_run"),
    )
    op.create_index("ix_autotune_observation_phase", "autotune_observation", ["experiment_id", "phase", "number"])
    op.create_table(
        "autotune_run",
        _text("run_id"),
        _text("workflow"),
        _text("team_id"),
        _text("status"),
        _number("started_at"),
        _text("host"),
        _integer("pid"),
        _number("process_started_at"),
        _text("spec"),
        _text("entry"),
        _text("parent_id", nullable=True),
        _text("task_key", nullable=True),
        _text("mode"),
        _text("plan_asked"),
        _text("experiment_id", nullable=True),
        _text("arm", nullable=True),
        _text("phase", nullable=True),
        _integer("position", nullable=True),
        _number("duration_seconds", nullable=True),
        _flag("success", nullable=True),
        _number("score", nullable=True),
        _text("plan_used", nullable=True),
        _flag("timed_out", nullable=True),
        _flag("cancelled", nullable=True),
        _text("error_class", nullable=True),
        _number("cost_usd", nullable=True),
        _text("members", nullable=True),
        _text("tokens", nullable=True),
        sa.PrimaryKeyConstraint("run_id", name="pk_autotune_run"),
    )
    op.create_index("ix_autotune_run_started", "autotune_run", ["started_at", "run_id"])
    op.create_index("ix_autotune_run_team", "autotune_run", ["workflow", "team_id", "started_at", "run_id"])
    op.create_index(
        "ix_autotune_run_running",
        "autotune_run",
        ["host"],
        sqlite_where=sa.text("status = 'running'"),
        postgresql_where=sa.text("status = 'running'"),
    )
    op.create_table(
        "autotune_change",
        _integer("id"),
        _number("at"),
        _text("workflow"),
        _text("team_id"),
        _text("action"),
        _text("actor"),
        _text("reason"),
        _text("experiment_id", nullable=True),
        _text("plan_before"),
        _text("plan_after"),
        _text("rollback_plan", nullable=True),
        _number("improvement_percent", nullable=True),
        _text("evidence"),
        sa.PrimaryKeyConstraint("id", name="pk_autotune_change"),
    )
    op.create_index("ix_autotune_change_team", "autotune_change", ["workflow", "team_id", "id"])
    op.create_table(
        "autotune_fault",
        _text("place"),
        _text("error_class"),
        _text("error"),
        _integer("times"),
        _number("first_at"),
        _number("last_at"),
        sa.PrimaryKeyConstraint("place", "error_class", name="pk_autotune_fault"),
    )


def downgrade() -> None:
    """Remove the tables."""
    for name in ("fault", "change", "run", "observation", "assignment", "experiment", "team"):
        op.drop_table(f"autotune_{name}")


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _number(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Double, nullable=nullable)


def _integer(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Integer, nullable=nullable)


def _flag(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    return sa.Column(name, sa.Boolean, nullable=nullable)
