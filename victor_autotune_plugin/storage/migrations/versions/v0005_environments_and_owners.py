"""Runs have an environment and owners of knobs; ad-hoc teams of one name are told apart by their members."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import sqlalchemy as sa
from alembic import op

from victor_autotune_plugin._model.converter import from_plain
from victor_autotune_plugin._model.plan import ADHOC_WORKFLOW, TeamSpec, adhoc_team_id

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_TABLES: Final = ("autotune_run", "autotune_experiment", "autotune_change")
_OF_EXPERIMENTS: Final = ("reference", "prices")
_KEYED: Final = ("autotune_team", "autotune_lease")
"""Tables whose primary key is the team."""


def upgrade() -> None:
    """Add the columns, and name ad-hoc teams by their members: rows of a name go to the member set that ran last."""
    op.add_column("autotune_store", sa.Column("paused", sa.Boolean, nullable=False, server_default=sa.false()))
    for table in _TABLES:
        op.add_column(table, _environment())
    op.add_column("autotune_run", sa.Column("owners", sa.Text, nullable=True))
    for name in _OF_EXPERIMENTS:
        op.add_column("autotune_experiment", sa.Column(name, sa.Text, nullable=True))
    op.drop_index("ix_autotune_run_number", "autotune_run")
    op.create_index(
        "ix_autotune_run_number", "autotune_run", ["environment", "workflow", "team_id", "number"], unique=True
    )
    _make_keyed_tables(["environment", "workflow", "team_id"])
    connection = op.get_bind()
    for team_id, members in list(_adhoc_teams(connection)):
        _rename(connection, team_id, adhoc_team_id(team_id, members))


def downgrade() -> None:
    """Take the columns away, with all that is of another environment than the default one."""
    for table in (*_TABLES, *_KEYED):
        op.execute(f"DELETE FROM {table} WHERE environment <> 'default'")
    op.drop_index("ix_autotune_run_number", "autotune_run")
    for table in _TABLES:
        op.drop_column(table, "environment")
    op.drop_column("autotune_run", "owners")
    for name in _OF_EXPERIMENTS:
        op.drop_column("autotune_experiment", name)
    op.drop_column("autotune_store", "paused")
    op.create_index("ix_autotune_run_number", "autotune_run", ["workflow", "team_id", "number"], unique=True)
    _make_keyed_tables(["workflow", "team_id"])


def _make_keyed_tables(key: list[str]) -> None:
    """Make the tables again with another primary key, which SQLite can't change."""
    team = [
        *(_text("workflow"), _text("team_id"), sa.Column("version", sa.Integer, nullable=False), _text("plan")),
        *(sa.Column(name, sa.Text, nullable=True) for name in ("fingerprint", "spec", "experiment_id")),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("updated_at", sa.Double, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        sa.Column("wants_control", sa.Boolean, nullable=False, server_default=sa.false()),
    ]
    lease = [
        *(_text("workflow"), _text("team_id"), _text("holder"), sa.Column("fence", sa.BigInteger, nullable=False)),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("judged", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    ]
    op.drop_index("ix_autotune_team_revision", "autotune_team")
    for table, columns in zip(_KEYED, (team, lease), strict=True):
        names = ", ".join(column.name for column in columns)
        op.execute(f"CREATE TEMPORARY TABLE autotune_moved AS SELECT {names} FROM {table}")
        op.drop_table(table)
        if "environment" in key:
            columns.insert(0, _environment())
        constraint = sa.PrimaryKeyConstraint(*key, name=f"pk_{table}")
        op.create_table(table, *columns, constraint, sqlite_with_rowid=table != "autotune_team")
        op.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM autotune_moved")
        op.execute("DROP TABLE autotune_moved")
    op.create_index("ix_autotune_team_revision", "autotune_team", [*key[:-2], "revision"])


def _adhoc_teams(connection: sa.Connection) -> Iterator[tuple[str, list[str]]]:
    """Give each ad-hoc team with the ids of the members that ran last, or that it was last seen with."""
    of = {"workflow": ADHOC_WORKFLOW}
    known = "SELECT team_id FROM autotune_run WHERE workflow = :workflow UNION " + (
        "SELECT team_id FROM autotune_team WHERE workflow = :workflow"
    )
    for (team_id,) in connection.execute(sa.text(known), of).fetchall():
        found = (
            connection.execute(
                sa.text(
                    "SELECT spec FROM autotune_run WHERE workflow = :workflow AND team_id = :team_id AND spec <> '' "
                    "ORDER BY started_at DESC, run_id DESC LIMIT 1"
                ),
                {**of, "team_id": team_id},
            ).fetchone()
            or connection.execute(
                sa.text("SELECT spec FROM autotune_team WHERE workflow = :workflow AND team_id = :team_id"),
                {**of, "team_id": team_id},
            ).fetchone()
        )
        if found is not None and found[0]:
            yield team_id, [member["id"] for member in json.loads(found[0])["members"]]


def _rename(connection: sa.Connection, team_id: str, new_id: str) -> None:
    """Give a team another id everywhere, in its definitions and their fingerprints, too."""
    if new_id == team_id:
        return
    of = {"workflow": ADHOC_WORKFLOW, "team_id": team_id, "new_id": new_id}
    where = "WHERE workflow = :workflow AND team_id = :team_id"
    for table in ("autotune_run", "autotune_team"):
        specs = connection.execute(sa.text(f"SELECT DISTINCT spec FROM {table} {where} AND spec <> ''"), of).fetchall()
        for (text,) in specs:
            before = json.loads(text)
            after = {**before, "team_id": new_id}
            new = json.dumps(after, separators=(",", ":"), ensure_ascii=False)
            values = {**of, "old": text, "new": new}
            connection.execute(sa.text(f"UPDATE {table} SET spec = :new {where} AND spec = :old"), values)
            prints = {"old": _fingerprint(before), "new": _fingerprint(after), **of}
            for holder in ("autotune_team", "autotune_experiment"):
                connection.execute(
                    sa.text(f"UPDATE {holder} SET fingerprint = :new {where} AND fingerprint = :old"), prints
                )
    for table in (*_TABLES, *_KEYED):
        connection.execute(sa.text(f"UPDATE {table} SET team_id = :new_id {where}"), of)


def _fingerprint(spec: dict[str, Any]) -> str:
    return from_plain(TeamSpec, spec).fingerprint()


def _environment() -> sa.Column[str]:
    return sa.Column("environment", sa.Text, nullable=False, server_default=sa.text("'default'"))


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text, nullable=False)
