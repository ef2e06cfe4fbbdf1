"""Stores that are only looked at, schemas of other versions, and tables that a person creates."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from sqlalchemy import inspect, text

from victor_autotune_plugin.errors import StoreUnavailableError, StoreVersionError
from victor_autotune_plugin.storage import SchemaChange, Store, create_schema
from victor_autotune_plugin.storage.tables import HEAD, VERSION_TABLE

COMMAND = "victor autotune init --database"


def test_a_missing_file_is_told_and_not_created(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailableError, match="no store yet") as caught:
        Store.open(f"sqlite:///{tmp_path}/.victor/autotune.db", look_only=True)
    assert caught.value.hint is not None
    assert COMMAND in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_told_and_left_empty(tmp_path: Path) -> None:
    file = tmp_path / "autotune.db"
    file.touch()
    with pytest.raises(StoreUnavailableError, match="no tables of the plugin"):
        Store.open(f"sqlite:///{file}", look_only=True)
    assert file.stat().st_size == 0
    assert [path.name for path in tmp_path.iterdir()] == ["autotune.db"]


def test_what_is_there_can_be_read(url: str, store: Store) -> None:
    with store.transaction() as transaction:
        transaction.record_fault("here", "ValueError: x", 1.0)
    with Store.open(url, look_only=True) as looking:
        assert [fault.where for fault in looking.faults()] == ["here"]


def test_an_older_schema_is_told_and_left_as_it_is(url: str, store: Store) -> None:
    store._connections.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0001'"))
    with pytest.raises(StoreVersionError, match=f"0001.*{HEAD}") as caught:
        Store.open(url, look_only=True)
    assert caught.value.hint is not None
    assert COMMAND in caught.value.hint
    assert store._connections.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))[0][0] == "0001"


@pytest.mark.parametrize("look_only", [False, True])
def test_a_newer_schema_is_told_at_once(url: str, store: Store, look_only: bool) -> None:
    store._connections.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0999'"))
    with pytest.raises(StoreVersionError, match="0999") as caught:
        Store.open(url, look_only=look_only)
    assert caught.value.hint == "pip install -U victor-autotune-plugin"


def test_a_store_migrated_by_a_newer_version_while_it_is_open_is_told(store: Store) -> None:
    """The statement fails first; what is tried next says why, so that teams run as configured from here on."""
    with store.transaction() as transaction:
        transaction.record_fault("here", "ValueError: x", 1.0)
        execute = store._connections.session().execute
        execute(text("ALTER TABLE autotune_fault RENAME TO autotune_fault_now"))
        execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0999'"))
    with pytest.raises(StoreUnavailableError):
        store.faults()
    for _ in range(2):
        with pytest.raises(StoreVersionError, match="0999"):
            store.faults()
        with pytest.raises(StoreVersionError, match="0999"), store.transaction():
            pytest.fail("entered")


def test_the_check_costs_two_statements(store: Store, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from victor_autotune_plugin.storage.session import Session

    said: list[str] = []
    read = Session.read

    def listening(self: Session, sql: str) -> object:
        said.append(sql)
        return read(self, sql)

    monkeypatch.setattr(Session, "read", listening)
    Store.open(url).close()
    assert len(said) == 2


class TestCreatingTheTables:
    def test_a_shared_database_gets_them_from_a_person_only(self, postgres_url: str) -> None:
        _drop_all(postgres_url)
        for look_only in (False, True):
            with pytest.raises(StoreUnavailableError, match="no tables of the plugin") as caught:
                Store.open(postgres_url, look_only=look_only)
            assert caught.value.hint == f"Create them once: {COMMAND}"
        assert create_schema(postgres_url) == SchemaChange(None, HEAD)
        assert create_schema(postgres_url) == SchemaChange(HEAD, HEAD)
        with Store.open(postgres_url) as store:
            assert store.counts()["runs"] == 0

    def test_a_file_gets_them_from_a_person_or_a_team(self, sqlite_url: str) -> None:
        assert create_schema(sqlite_url) == SchemaChange(None, HEAD)
        assert create_schema(sqlite_url) == SchemaChange(HEAD, HEAD)
        file = Path(sqlite_url.removeprefix("sqlite:///"))
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with Store.open(sqlite_url, look_only=True) as store:
            assert store.counts()["runs"] == 0


def _drop_all(url: str) -> None:
    with Store.open(url) as store:
        connection = store._connections.session().connection
        for name in inspect(connection).get_table_names():
            connection.exec_driver_sql(f"DROP TABLE {name}")
