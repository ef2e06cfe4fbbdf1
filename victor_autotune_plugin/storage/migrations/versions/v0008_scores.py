"""What members say of their success is no score any more; runs have scores, and experiments the scorers that decide."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ADDED: Final = (
    ("autotune_run", "score", sa.Double),
    ("autotune_run", "trace_id", sa.Text),
    ("autotune_run", "gates", sa.Text),
    ("autotune_run", "score_until", sa.Double),
    ("autotune_team", "gates", sa.Text),
    ("autotune_experiment", "gates", sa.Text),
    ("autotune_experiment", "decided_order", sa.BigInteger),
)

_PARTIAL: Final = (
    ("ix_autotune_run_unscored", "autotune_run", ["process"], "(score_until IS NOT NULL AND number IS NULL)"),
    ("ix_autotune_run_trace", "autotune_run", ["trace_id", "run_id"], "trace_id IS NOT NULL"),
    ("ix_autotune_score_judge", "autotune_score", ["name", "judge", "at", "run_id"], "(judge <> '')"),
)


def upgrade() -> None:
    """Give the share of successful members its name, and add what scores need. No run so far has a score."""
    op.execute("ALTER TABLE autotune_run RENAME COLUMN score TO member_success_share")
    for table, name, kind in _ADDED:
        op.add_column(table, sa.Column(name, kind, nullable=True))
    op.create_table(
        "autotune_score",
        sa.Column("run_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.Double, nullable=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("judge", sa.Text, nullable=False),
        sa.Column("cost_usd", sa.Double, nullable=True),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=True),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_autotune_score"),
    )
    op.create_index("ix_autotune_score_at", "autotune_score", ["at"])
    for name, table, columns, where in _PARTIAL:
        op.create_index(name, table, columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    _change_references(lambda run: {"member_success_share" if name == "score" else name: run[name] for name in run})
    _renew_fingerprints()


def downgrade() -> None:
    """Take the scores away, and what the history says of judges."""
    op.execute("DELETE FROM autotune_change WHERE action IN ('judge_trusted', 'judge_distrusted')")
    op.drop_table("autotune_score")
    for name, table, _, _ in _PARTIAL:
        if table == "autotune_run":
            op.drop_index(name, table)
    for table, name, _ in _ADDED:
        op.drop_column(table, name)
    op.execute("ALTER TABLE autotune_run RENAME COLUMN member_success_share TO score")
    _change_references(_without_score)


def _without_score(run: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run as the version before has it: with the share of its members, or else its success, as its score."""
    share = run.get("member_success_share")
    kept = {name: value for name, value in run.items() if name != "member_success_share"}
    return {**kept, "score": float(run["success"]) if share is None else share}


def _change_references(changed: Callable[[Mapping[str, Any]], dict[str, Any]]) -> None:
    """Change the runs that experiments bring along."""
    connection = op.get_bind()
    query = sa.text("SELECT id, reference FROM autotune_experiment WHERE reference IS NOT NULL")
    for row in connection.execute(query).mappings().all():
        runs = [changed(run) for run in json.loads(row["reference"])]
        text = json.dumps(runs, separators=(",", ":"), ensure_ascii=False)
        update = sa.text("UPDATE autotune_experiment SET reference = :text WHERE id = :id")
        connection.execute(update, {"text": text, "id": row["id"]})


def _renew_fingerprints() -> None:
    """Give teams the fingerprint that all processes compute: one used to depend on how a whole timeout was written."""
    connection = op.get_bind()
    query = sa.text(
        "SELECT environment, workflow, team_id, spec, fingerprint FROM autotune_team WHERE spec IS NOT NULL"
    )
    for row in connection.execute(query).mappings().all():
        spec = json.loads(row["spec"])
        seconds = spec.get("timeout_seconds")
        if not isinstance(seconds, int | float) or seconds != int(seconds):
            continue
        before = _digest({**spec, "timeout_seconds": int(seconds)})
        if row["fingerprint"] != before:
            continue
        values = {**row, "before": before, "after": _digest({**spec, "timeout_seconds": float(seconds)})}
        of_team = "environment = :environment AND workflow = :workflow AND team_id = :team_id"
        renamed = "SET fingerprint = :after WHERE fingerprint = :before AND"
        for table in ("autotune_team", "autotune_experiment"):
            connection.execute(sa.text(f"UPDATE {table} {renamed} {of_team}"), values)
        flow = f"UPDATE autotune_lease SET flow = replace(flow, :before, :after) WHERE flow IS NOT NULL AND {of_team}"
        connection.execute(sa.text(flow), values)


def _digest(spec: dict[str, Any]) -> str:
    text = json.dumps(spec, sort_keys=True, separators=(",", ":"))
    digest: str = hashlib.sha256(text.encode()).hexdigest()
    return digest[:16]
