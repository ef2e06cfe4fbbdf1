"""The migrations, and what they make of a database."""

from __future__ import annotations

import json
import subprocess
import sys
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text
from sqlalchemy.dialects import sqlite

from victor_autotune_plugin.errors import StoreVersionError
from victor_autotune_plugin.storage import Store, create_schema
from victor_autotune_plugin.storage.arm_runs import arm_queries
from victor_autotune_plugin.storage.migrate import MIGRATIONS, upgrade
from victor_autotune_plugin.storage.tables import HEAD, VERSION_TABLE, metadata
from victor_autotune_testing.stored import planned, start


def _structure(store: Store) -> dict[str, Any]:
    """Everything the database knows of our tables."""
    look = inspect(store._connections.session().connection)
    return {
        name: {
            "columns": [{**column, "type": str(column["type"])} for column in look.get_columns(name)],
            "primary key": look.get_pk_constraint(name),
            "unique": sorted(look.get_unique_constraints(name), key=str),
            "indexes": sorted(
                ({**index, "dialect_options": _texts(index)} for index in look.get_indexes(name)),
                key=str,
            ),
            "options": look.get_table_options(name),
        }
        for name in sorted(look.get_table_names())
        if name.startswith("autotune_") and name != VERSION_TABLE
    }


def _texts(index: Any) -> dict[str, str]:
    return {name: str(value) for name, value in index.get("dialect_options", {}).items()}


def test_the_migrated_schema_is_the_one_of_the_metadata(store: Store) -> None:
    connection = store._connections.session().connection
    created, versions = _structure(store), _version_table(connection)
    metadata.drop_all(connection)
    connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
    upgrade(connection)
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
    assert compare_metadata(context, metadata) == []
    assert _structure(store) == created
    assert _version_table(connection) == versions
    assert sorted(created) == sorted(metadata.tables)
    assert len(store._connections.execute(text("SELECT * FROM autotune_store"))) == 1


def _version_table(connection: Connection) -> Any:
    look = inspect(connection)
    columns = [{**column, "type": str(column["type"])} for column in look.get_columns(VERSION_TABLE)]
    return columns, look.get_pk_constraint(VERSION_TABLE)


@pytest.mark.parametrize(
    ("name", "index"),
    [("lost_runs", "ix_autotune_run_running"), ("unscored_runs", "ix_autotune_run_unscored")],
)
def test_the_partial_index_on_what_few_runs_are_is_used(sqlite_store: Store, name: str, index: str) -> None:
    statement = getattr(sqlite_store._connections.statements, name)
    plan = sqlite_store._connections.session().connection.exec_driver_sql(
        "EXPLAIN QUERY PLAN " + statement.sql, (60.0, 60.0)
    )
    assert index in str(plan.all())


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("runs_of", "ix_autotune_run_number"),
        ("runs_after", "ix_autotune_run_number"),
        ("last_number", "ix_autotune_run_number"),
        ("observations", "ix_autotune_run_observed"),
        ("observe_run", "ix_autotune_run_observed"),
        ("untaken", "ix_autotune_run_untaken"),
        ("has_untaken", "ix_autotune_run_untaken"),
        ("is_behind", "ix_autotune_run_number"),
        ("runs_as_control", "ix_autotune_experiment_control"),
        ("runs_as_control", "ix_autotune_run_observed"),
        ("observed_since", "ix_autotune_run_team"),
        ("late_test_runs", "ix_autotune_run_observed"),
        ("record_score", "PRIMARY KEY"),
        ("scores_of", "PRIMARY KEY"),
        ("scored_run", "PRIMARY KEY"),
        ("set_score", "PRIMARY KEY"),
        ("last_runs", "ix_autotune_run_team"),
        ("judged_runs", "ix_autotune_score_judge"),
        ("scorer_cost", "ix_autotune_score_at"),
        ("run_by_id", "PRIMARY KEY"),
        ("runs_by_trace", "ix_autotune_run_trace"),
        ("experiments_that_await", "ix_autotune_experiment_awaiting"),
        ("changed_teams", "ix_autotune_team_revision"),
        ("lease", "PRIMARY KEY"),
        ("changes", "ix_autotune_change_team"),
        ("experiments_of", "ix_autotune_experiment_team"),
        ("pruning.kept_number", "ix_autotune_run_number"),
        ("pruning.kept_start", "COVERING INDEX ix_autotune_run_team"),
        ("pruning.last_number", "ix_autotune_run_number"),
        ("pruning.last_start", "ix_autotune_run_team"),
        ("pruning.candidates", "ix_autotune_run_number"),
        ("pruning.day", "PRIMARY KEY"),
        ("pruning.runs_between", "ix_autotune_run_team"),
    ],
)
def test_no_statement_of_a_run_scans_a_table(sqlite_store: Store, name: str, index: str) -> None:
    statement = attrgetter(name)(sqlite_store._connections.statements)
    places = ("x",) * statement.sql.count("?")
    connection = sqlite_store._connections.session().connection
    found = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement.sql, places)
    steps = [row[-1] for row in found]
    assert not any(step.startswith("SCAN") or "TEMP B-TREE" in step for step in steps), steps
    if not index.startswith(("PRIMARY", "uq_")):
        assert index in str(steps)


def test_a_comparison_of_plans_reads_no_row_of_a_run(sqlite_store: Store) -> None:
    asked = next(iter(arm_queries(["e1", "e2"], with_tokens=False)))
    compiled = asked.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True})
    found = sqlite_store._connections.session().connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}")
    steps = [row[-1] for row in found]
    assert len(steps) == 1
    assert "USING COVERING INDEX ix_autotune_run_observed (experiment_id=?" in steps[0]


def test_head_is_the_newest_migration_and_numbers_only_grow() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_current_head() == HEAD
    revisions = [int(script.revision) for script in scripts.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)


def test_every_migration_can_be_undone(store: Store) -> None:
    from alembic import command

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = store._connections.session().connection
    command.downgrade(config, "base")
    assert _structure(store) == {}


def test_the_version_is_kept_in_a_table_of_our_own(store: Store) -> None:
    found = store._connections.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))
    assert [row.version_num for row in found] == [HEAD]


def test_other_tables_in_a_shared_database_are_left_alone(postgres_url: str, postgres_store: Store) -> None:
    connection = postgres_store._connections.session().connection
    for name in sorted([*metadata.tables, VERSION_TABLE]):
        connection.exec_driver_sql(f"DROP TABLE {name}")
    connection.exec_driver_sql("CREATE TABLE alembic_version (version_num VARCHAR(32))")
    connection.exec_driver_sql("INSERT INTO alembic_version VALUES ('theirs')")
    connection.exec_driver_sql("CREATE TABLE runs (id INTEGER)")
    create_schema(postgres_url)
    with Store.open(postgres_url) as other:
        found = other._connections.session().connection
        assert found.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == ["theirs"]
        names = set(inspect(found).get_table_names())
    assert names == {"alembic_version", "runs", VERSION_TABLE, *metadata.tables}


@pytest.mark.parametrize("version", ["0999", "a_branch_of_the_future"])
def test_a_newer_schema_is_told_with_both_versions_and_left_alone(url: str, store: Store, version: str) -> None:
    with store.transaction() as transaction:
        transaction.start_run(start(), planned())
    store._connections.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '{version}'"))
    before = _structure(store)
    with pytest.raises(StoreVersionError) as caught:
        Store.open(url)
    assert version in caught.value.message
    assert HEAD in caught.value.message
    assert caught.value.hint == "pip install -U victor-autotune-plugin"
    assert _structure(store) == before
    assert store.counts()["runs"] == 1


def test_opening_again_imports_no_alembic_and_the_room_nothing_heavy(sqlite_store: Store, sqlite_url: str) -> None:
    script = f"""
import json, sys
import victor_autotune_plugin.storage as room
before = [name for name in ("sqlalchemy", "psutil", "sqlite3") if name in sys.modules]
room.Store.open({sqlite_url!r}).close()
heavy = ("alembic", "numpy", "psycopg", "victor")
print(json.dumps([before, [name for name in heavy if name in sys.modules]]))
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=root, check=True)
    before, after = json.loads(done.stdout)
    assert before == []
    assert after == []
