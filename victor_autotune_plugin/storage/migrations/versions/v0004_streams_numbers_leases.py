"""Runs are judged by one process at a time, in the order of their numbers; arms come from streams."""

from __future__ import annotations

import uuid
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_RUNNING: Final = "status = 'running'"
_UNTAKEN: Final = "status = 'finished' AND number IS NULL"


def upgrade() -> None:
    """Add what the redesign needs, and give every finished run its number.

    A run that is still running belongs to a process of an older version, which can't write here any more: it is lost.
    What was judged before counts as judged: new numbers go on behind every number and every order that there is.
    """
    _create_tables()
    op.execute(sa.text("INSERT INTO autotune_store (id, revision) VALUES (:id, 0)").bindparams(id=uuid.uuid4().hex))
    op.add_column("autotune_team", sa.Column("revision", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.add_column("autotune_team", sa.Column("wants_control", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("ix_autotune_team_revision", "autotune_team", ["revision"])
    op.drop_index("ix_autotune_run_running", "autotune_run")
    with op.batch_alter_table("autotune_run") as runs:
        for name in ("host", "pid", "process_started_at"):
            runs.drop_column(name)
        runs.add_column(sa.Column("process", sa.Text, nullable=True))
        runs.add_column(sa.Column("stream", sa.Text, nullable=True))
        runs.add_column(sa.Column("number", sa.BigInteger, nullable=True))
        runs.add_column(sa.Column("grade_until", sa.Double, nullable=True))
    op.execute("UPDATE autotune_run SET status = 'lost' WHERE status = 'running'")
    _number_runs()
    _partial_index("ix_autotune_run_running", ["process"], _RUNNING)
    op.create_index("ix_autotune_run_number", "autotune_run", ["workflow", "team_id", "number"], unique=True)
    _partial_index("ix_autotune_run_untaken", ["workflow", "team_id", "started_at", "run_id"], _UNTAKEN)
    op.drop_table("autotune_assignment")


def downgrade() -> None:
    """Bring the older tables back; which process ran a run, and the units of most assignments, are lost."""
    op.create_table(
        "autotune_assignment",
        _text("experiment_id"),
        _text("phase"),
        sa.Column("position", sa.Integer, nullable=False),
        _text("arm"),
        _text("unit"),
        _text("run_id"),
        sa.PrimaryKeyConstraint("experiment_id", "phase", "position", name="pk_autotune_assignment"),
        sa.UniqueConstraint("experiment_id", "phase", "unit", name="uq_autotune_assignment_unit"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO autotune_assignment (experiment_id, phase, position, arm, unit, run_id) "
        "SELECT experiment_id, phase, position, arm, coalesce(task_key, run_id), run_id FROM autotune_run "
        "WHERE experiment_id IS NOT NULL AND phase IS NOT NULL AND position IS NOT NULL AND arm IS NOT NULL "
        "AND stream IS NULL ORDER BY started_at, run_id ON CONFLICT DO NOTHING"
    )
    for name in ("running", "number", "untaken"):
        op.drop_index(f"ix_autotune_run_{name}", "autotune_run")
    op.execute("UPDATE autotune_run SET status = 'lost' WHERE status IN ('running', 'late')")
    with op.batch_alter_table("autotune_run") as runs:
        for name in ("process", "stream", "number", "grade_until"):
            runs.drop_column(name)
        runs.add_column(sa.Column("host", sa.Text, nullable=False, server_default=""))
        runs.add_column(sa.Column("pid", sa.Integer, nullable=False, server_default=sa.text("0")))
        runs.add_column(sa.Column("process_started_at", sa.Double, nullable=False, server_default=sa.text("0")))
    _partial_index("ix_autotune_run_running", ["host"], _RUNNING)
    op.drop_index("ix_autotune_team_revision", "autotune_team")
    with op.batch_alter_table("autotune_team", table_kwargs={"sqlite_with_rowid": False}) as teams:
        teams.drop_column("revision")
        teams.drop_column("wants_control")
    for name in ("store", "process", "stream", "lease"):
        op.drop_table(f"autotune_{name}")


def _create_tables() -> None:
    op.create_table(
        "autotune_store",
        _text("id"),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_autotune_store"),
    )
    op.create_table(
        "autotune_process",
        _text("id"),
        _text("host"),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("beat_at", sa.Double, nullable=False),
        sa.Column("drained", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("ended", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("id", name="pk_autotune_process"),
    )
    op.create_table(
        "autotune_stream",
        _text("experiment_id"),
        _text("phase"),
        _text("name"),
        sa.Column("next_index", sa.BigInteger, nullable=False),
        sa.Column("process", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("experiment_id", "phase", "name", name="pk_autotune_stream"),
    )
    op.create_table(
        "autotune_lease",
        _text("workflow"),
        _text("team_id"),
        _text("holder"),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("judged", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.PrimaryKeyConstraint("workflow", "team_id", name="pk_autotune_lease"),
    )


def _number_runs() -> None:
    """Number the finished runs of every team in the order of their starts, and note all as judged."""
    op.execute("CREATE TEMPORARY TABLE autotune_numbering (run_id TEXT PRIMARY KEY, number BIGINT)")
    op.execute(
        "INSERT INTO autotune_numbering (run_id, number) "
        "SELECT run_id, row_number() OVER (PARTITION BY workflow, team_id ORDER BY started_at, run_id) "
        "FROM autotune_run WHERE status = 'finished'"
    )
    op.execute(
        "UPDATE autotune_run SET number = "
        "(SELECT n.number FROM autotune_numbering n WHERE n.run_id = autotune_run.run_id) WHERE status = 'finished'"
    )
    op.execute("DROP TABLE autotune_numbering")
    op.execute(
        "INSERT INTO autotune_lease (workflow, team_id, holder, fence, expires_at, judged) "
        "SELECT workflow, team_id, '', 0, 0, "
        "max(CASE WHEN coalesce(observed, 0) > coalesce(number, 0) THEN observed ELSE number END) FROM autotune_run "
        "WHERE number IS NOT NULL OR observed IS NOT NULL GROUP BY workflow, team_id"
    )


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=False)


def _partial_index(name: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, "autotune_run", columns, sqlite_where=condition, postgresql_where=condition)
