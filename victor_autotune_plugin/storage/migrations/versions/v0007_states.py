"""Experiments have the states of today, live plans are verified, and runs that went missing are observed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

from victor_autotune_plugin.storage.former_states import REASON, last_live, renewed, verifying

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_TEAM: Final = ("environment", "workflow", "team_id")
_ADDED: Final = {
    "autotune_team": ("live_id",),
    "autotune_experiment": ("promotion", "asks_for", "rounds", "proven_by", "control_id", "bad_before"),
    "autotune_run": ("missing", "models"),
    "autotune_change": ("by",),
}
_NOT_NULL: Final = {"promotion": (sa.Text, "'proof'"), "rounds": (sa.Integer, "0")}
_UNTAKEN: Final = (
    "(number IS NULL AND (status = 'finished' "
    "OR (status IN ('lost', 'late') AND arm IS NOT NULL AND process IS NOT NULL)))"
)
_AWAITING: Final = (
    "(status IN ('awaits_approval', 'awaits_promotion') "
    "OR (asks_for IS NOT NULL AND status IN ('canary', 'testing', 'probation')))"
)
_JSON: Final = (
    *("control", "treatment", "policy", "watch_policy", "verdict", "watch_verdict", "task_effects", "reference"),
    "prices",
)
_OBSERVATION: Final = (
    *("arm", "duration_seconds", "success", "score", "cost_usd", "tool_calls", "timed_out", "task_key", "run_id"),
)


def upgrade() -> None:
    """Add the columns, end what is open, and give every live plan that a test proved an experiment that verifies it."""
    for table, names in _ADDED.items():
        for name in names:
            kind, default = _NOT_NULL.get(name, (sa.Text, None))
            server_default = None if default is None else sa.text(default)
            op.add_column(table, sa.Column(name, kind, nullable=default is None, server_default=server_default))
    op.drop_column("autotune_team", "wants_control")
    for name in ("number", "untaken"):
        op.drop_index(f"ix_autotune_run_{name}", "autotune_run")
    _index("run", "number", *_TEAM, "number", where="number IS NOT NULL", unique=True)
    _index("run", "untaken", *_TEAM, "started_at", "run_id", where=_UNTAKEN)
    _index("experiment", "awaiting", "environment", "created_at", "id", where=_AWAITING)
    _index("experiment", "control", "control_id", where="control_id IS NOT NULL")
    # What went missing before was judged without it, and stays so.
    op.execute("UPDATE autotune_run SET process = NULL WHERE status IN ('lost', 'late')")
    _renew(op.get_bind(), time.time())


def downgrade() -> None:
    """Take the columns and what only they tell away: tests run again, and plans are watched by the rule of today."""
    op.execute("UPDATE autotune_team SET experiment_id = live_id WHERE experiment_id IS NULL")
    for former, states in {
        "draft": ("awaits_approval",),
        "running": ("canary", "testing", "probation", "awaits_promotion"),
        "watched": ("proven", "reverifying"),
        "settled": ("superseded",),
    }.items():
        now = ", ".join(f"'{state}'" for state in states)
        op.execute(f"UPDATE autotune_experiment SET status = '{former}' WHERE status IN ({now})")
    # They had no order, and no figures.
    op.execute("UPDATE autotune_run SET number = NULL WHERE status IN ('lost', 'late')")
    op.execute("DELETE FROM autotune_run WHERE missing IS NOT NULL AND status = 'observed'")
    op.execute("UPDATE autotune_run SET observed = NULL WHERE missing IS NOT NULL")
    for table, name in (("run", "number"), ("run", "untaken"), ("experiment", "awaiting"), ("experiment", "control")):
        op.drop_index(f"ix_autotune_{table}_{name}", f"autotune_{table}")
    op.create_index("ix_autotune_run_number", "autotune_run", [*_TEAM, "number"], unique=True)
    _index(
        "run",
        "untaken",
        *("workflow", "team_id", "started_at", "run_id"),
        where="status = 'finished' AND number IS NULL",
    )
    wants_control = sa.Column("wants_control", sa.Boolean, nullable=False, server_default=sa.false())
    op.add_column("autotune_team", wants_control)
    for table, names in _ADDED.items():
        for name in names:
            op.drop_column(table, name)


def _index(table: str, name: str, *columns: str, where: str, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(
        f"ix_autotune_{table}_{name}",
        f"autotune_{table}",
        [*columns],
        unique=unique,
        sqlite_where=condition,
        postgresql_where=condition,
    )


def _renew(connection: sa.Connection, at: float) -> None:
    """Bring every experiment to the states of today, team by team."""
    teams = {_key(team): team for team in _rows(connection, "SELECT * FROM autotune_team")}
    keys = {_key(row) for row in _rows(connection, f"SELECT DISTINCT {', '.join(_TEAM)} FROM autotune_experiment")}
    of_team = " AND ".join(f"{name} = :{name}" for name in _TEAM)
    for key in sorted(keys):
        of = dict(zip(_TEAM, key, strict=True))
        found = _rows(connection, f"SELECT * FROM autotune_experiment WHERE {of_team} ORDER BY created_at, id", of)
        experiments = []
        for row in found:
            before = {**row, **{name: json.loads(row[name]) for name in _JSON if row[name] is not None}}
            after = renewed(before, at)
            _update(connection, after)
            experiments.append(after)
            if before["status"] == "running":
                _tell(connection, after, at)
        team = teams.get(key)
        if team is not None:
            _renew_team(connection, team, experiments)


def _update(connection: sa.Connection, experiment: dict[str, Any]) -> None:
    names = ("status", "ended_at", "policy", "watch_policy", "assignment_version")
    _write(
        connection,
        f"UPDATE autotune_experiment SET {', '.join(f'{name} = :{name}' for name in names)} WHERE id = :id",
        {"id": experiment["id"], **_texts({name: experiment[name] for name in names})},
    )


def _tell(connection: sa.Connection, experiment: dict[str, Any], at: float) -> None:
    """Write into the history that a test ended."""
    plan = json.dumps(experiment["control"], separators=(",", ":"))
    values = {
        **{name: experiment[name] for name in _TEAM},
        "at": at,
        "reason": REASON,
        "experiment_id": experiment["id"],
        "plan": plan,
    }
    _write(
        connection,
        "INSERT INTO autotune_change (at, environment, workflow, team_id, action, actor, reason, experiment_id, "
        "plan_before, plan_after, evidence) VALUES (:at, :environment, :workflow, :team_id, 'aborted', 'auto', "
        ":reason, :experiment_id, :plan, :plan, '{}')",
        values,
    )


def _renew_team(connection: sa.Connection, team: dict[str, Any], experiments: list[dict[str, Any]]) -> None:
    live = last_live(experiments, json.loads(team["plan"]), team["fingerprint"])
    live_id = None if live is None else _verify(connection, live)
    ended = {one["id"] for one in experiments if one["ended_at"] is not None}
    if live_id is None and team["experiment_id"] not in ended:
        return
    kept = None if team["experiment_id"] in ended else team["experiment_id"]
    connection.execute(sa.text("UPDATE autotune_store SET revision = revision + 1"))
    of_team = " AND ".join(f"{name} = :{name}" for name in _TEAM)
    _write(
        connection,
        "UPDATE autotune_team SET live_id = :live_id, experiment_id = :experiment_id, "
        f"revision = (SELECT revision FROM autotune_store) WHERE {of_team}",
        {"live_id": live_id, "experiment_id": kept, **{name: team[name] for name in _TEAM}},
    )


def _verify(connection: sa.Connection, live: Mapping[str, Any]) -> str:
    """Insert the experiment that verifies a live plan, and return its id."""
    phases = [[*_observations(connection, live["id"], phase)] for phase in ("test", "watch")]
    made = verifying(live, *phases)
    values = _texts(made)
    names = ", ".join(values)
    _write(
        connection,
        f"INSERT INTO autotune_experiment ({names}) VALUES ({', '.join(f':{name}' for name in values)})",
        values,
    )
    made_id: str = made["id"]
    return made_id


def _observations(connection: sa.Connection, experiment_id: str, phase: str) -> Iterator[dict[str, Any]]:
    rows = _rows(
        connection,
        f"SELECT position, observed, {', '.join(_OBSERVATION)} FROM autotune_run "
        "WHERE experiment_id = :id AND phase = :phase AND observed IS NOT NULL ORDER BY observed",
        {"id": experiment_id, "phase": phase},
    )
    for row in rows:
        flags = {name: bool(row[name]) for name in ("success", "timed_out")}
        values = {name: row[name] for name in _OBSERVATION} | flags
        yield {"index": row["position"], "order": row["observed"], **values}


def _texts(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value, separators=(",", ":"), ensure_ascii=False)
        if name in _JSON and value is not None
        else value
        for name, value in values.items()
    }


def _key(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(row[name] for name in _TEAM)


def _rows(connection: sa.Connection, query: str, values: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(sa.text(query), values or {}).mappings()]


def _write(connection: sa.Connection, statement: str, values: dict[str, Any]) -> None:
    connection.execute(sa.text(statement), values)
