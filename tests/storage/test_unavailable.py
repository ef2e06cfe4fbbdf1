# ruff: noqa: PT012 - a transaction that fails needs several statements
"""Everything that can be wrong with a store: each a clear error with the place and the hint."""

from __future__ import annotations

import os
import sqlite3
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from victor_autotune_plugin._model.experiment import TeamState
from victor_autotune_plugin.errors import StoreBusyError, StoreError, StoreUnavailableError
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.location import without_secrets
from victor_autotune_testing.stored import experiment, finished, planned, start


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".victor" / "autotune.db"


def _fails(url: str, message: str, hint: str) -> StoreUnavailableError:
    with pytest.raises(StoreUnavailableError) as caught:
        Store.open(url)
    error = caught.value
    assert type(error) in (StoreUnavailableError, StoreBusyError)
    assert message in error.message
    assert error.hint is not None
    assert hint in error.hint
    assert error.where is not None
    return error


def test_a_folder_in_place_of_the_file(file: Path, sqlite_url: str) -> None:
    file.mkdir(parents=True)
    assert _fails(sqlite_url, "is a folder", f"mv {file}").where == sqlite_url


def test_a_fifo_in_place_of_the_file(file: Path, sqlite_url: str) -> None:
    file.parent.mkdir()
    os.mkfifo(file)
    _fails(sqlite_url, "is not a file", f"mv {file}")


def test_a_file_in_place_of_the_folder(file: Path, sqlite_url: str) -> None:
    file.parent.write_text("")
    _fails(sqlite_url, "can't be created", "a folder that you may write to")


def test_a_dangling_link_in_place_of_the_file(file: Path, sqlite_url: str) -> None:
    file.parent.mkdir()
    file.symlink_to(file.parent / "gone" / "x.db")
    _fails(sqlite_url, "is not a file", f"mv {file}")


def test_a_file_that_is_no_database(file: Path, sqlite_url: str) -> None:
    file.parent.mkdir()
    file.write_text("to be or not to be, that is the question" * 100)
    _fails(sqlite_url, "not a whole database", f"mv {file} {file}.broken")
    assert "question" in file.read_text()


@pytest.mark.parametrize("keep", [4096, 20_000])
def test_a_truncated_database(file: Path, sqlite_url: str, keep: int) -> None:
    with Store.open(sqlite_url) as store, store.transaction() as transaction:
        for index in range(100):
            transaction.finish_run(finished(f"r{index}"))
    os.truncate(file, keep)
    with pytest.raises(StoreUnavailableError, match="not a whole database"), Store.open(sqlite_url) as store:
        list(store.runs())


def test_a_database_with_garbage_inside(file: Path, sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store, store.transaction() as transaction:
        for index in range(100):
            transaction.finish_run(finished(f"r{index}"))
    with file.open("r+b") as raw:
        raw.seek(4096)
        raw.write(os.urandom(file.stat().st_size - 4096))
    with pytest.raises(StoreUnavailableError) as caught, Store.open(sqlite_url) as store:
        list(store.runs())
    assert caught.value.hint is not None
    assert f"mv {file}" in caught.value.hint


def test_tables_that_somebody_removed(sqlite_store: Store) -> None:
    sqlite_store._connections.execute(text("DROP TABLE autotune_run"))
    with pytest.raises(StoreUnavailableError, match="no such table"), sqlite_store.transaction() as transaction:
        transaction.start_run(start(), planned())


def test_a_read_only_store_can_be_read_and_says_so_when_written(file: Path, sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store, store.transaction() as transaction:
        transaction.start_run(start(), planned())
    with Store.open(f"sqlite:///file:{file}?mode=ro&uri=true") as store:
        assert store.counts()["runs"] == 1
        with pytest.raises(StoreUnavailableError, match="read-only") as caught, store.transaction() as transaction:
            transaction.start_run(start("r2"), planned())
        assert store.counts()["runs"] == 1
    assert caught.value.hint is not None
    assert "right to write" in caught.value.hint


def test_a_file_that_only_others_may_write(sqlite_url: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    _fails(sqlite_url, "Permission denied", str(file.parent))


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_only_others_may_write(sqlite_url: str, file: Path) -> None:
    file.parent.mkdir(mode=0o500)
    _fails(sqlite_url, "Permission denied", str(file.parent))


def test_a_full_disk_leaves_the_store_as_it_was(sqlite_store: Store) -> None:
    with sqlite_store.transaction() as transaction:
        transaction.start_run(start("kept"), planned())
    connection = sqlite_store._connections.session().connection
    pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 2}")
    with (
        pytest.raises(StoreUnavailableError, match="the disk is full") as caught,
        sqlite_store.transaction() as transaction,
    ):
        for index in range(1000):
            transaction.finish_run(finished(f"r{index}"))
    assert caught.value.hint is not None
    assert "Free space" in caught.value.hint
    sqlite_store._connections.session().connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    with sqlite_store.transaction() as transaction:
        transaction.start_run(start("after"), planned())
    assert {run.run_id for run in sqlite_store.runs()} == {"kept", "after"}


def test_a_transaction_that_failed_keeps_nothing_even_if_the_failure_is_swallowed(store: Store) -> None:
    """PostgreSQL drops it all, SQLite some of it: both must say so, and both must keep nothing."""
    with store.transaction() as transaction:
        transaction.save_experiment(experiment())
    with pytest.raises(StoreError, match="failed before"), store.transaction() as transaction:
        transaction.start_run(start(), planned())
        with pytest.raises(StoreError, match="refuses the data"):
            transaction.save_team(TeamState(None, "t"))  # type: ignore[arg-type]
        with pytest.raises(StoreError, match="failed before"):
            transaction.start_run(start("r2"), planned())
    assert store.counts()["runs"] == 0


def test_a_file_locked_by_another_program(sqlite_store: Store, file: Path) -> None:
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    locked = r"locked by another process for 0\.2 s"
    with pytest.raises(StoreBusyError, match=locked) as caught, sqlite_store.transaction():
        pytest.fail("entered")
    assert caught.value.hint is not None
    assert f"fuser {file}" in caught.value.hint
    assert sqlite_store.counts()["runs"] == 0
    other.execute("COMMIT")
    other.close()
    with sqlite_store.transaction() as transaction:
        transaction.start_run(start(), planned())
    assert sqlite_store.counts()["runs"] == 1


def test_a_file_locked_while_it_is_opened(sqlite_url: str, file: Path) -> None:
    Store.open(sqlite_url).close()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("PRAGMA journal_mode=DELETE")
    other.execute("BEGIN EXCLUSIVE")
    _fails(sqlite_url, "locked", "fuser")
    other.close()


def test_data_that_a_database_can_not_hold(store: Store) -> None:
    for wrong in ("lone \ud800 surrogate", None):
        with pytest.raises(StoreError, match="refuses the data") as caught, store.transaction() as transaction:
            transaction.start_run(start(run_id=wrong), planned())
        assert not isinstance(caught.value, StoreUnavailableError)
    assert store.counts()["runs"] == 0


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "not a database URL"),
        ("autotune.db", "not a database URL"),
        ("postgresql//user:secret@host/db", "not a database URL"),
        ("postgresql+psycopg://user:secret@host:port/db", "not a database URL"),
        ("mysql://user:secret@host/db", "does not know 'mysql'"),
        ("postgresql+asyncpg://user:secret@host/db", "does not know 'postgresql+asyncpg'"),
        ("sqlite+aiosqlite:///x.db", "does not know"),
        ("sqlite://", "in memory"),
        ("sqlite:///:memory:", "in memory"),
        ("sqlite:///file:x?mode=memory&cache=shared&uri=true", "in memory"),
    ],
)
def test_a_url_that_can_not_be_used(url: str, message: str) -> None:
    error = _fails(url, message, "sqlite:////path")
    assert "secret" not in str(error)


def test_a_missing_driver_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = _fails("postgresql://me:secret@localhost/db", "driver", "pip install 'victor-autotune-plugin[postgres]'")
    assert error.where == "postgresql://me:***@localhost/db"


def test_a_server_that_does_not_answer() -> None:
    pytest.importorskip("psycopg")
    error = _fails("postgresql+psycopg://me:secret@127.0.0.1:1/db", "can't be reached", "Start the server")
    assert "secret" not in str(error)


def test_a_database_that_does_not_exist(postgres_server: str) -> None:
    url = make_url(postgres_server).set(database="autotune_nowhere")
    _fails(url.render_as_string(hide_password=False), "autotune_nowhere", "database")


def test_a_server_that_was_restarted_is_connected_again(postgres_store: Store, postgres_server: str) -> None:
    store = postgres_store
    _end_sessions(store, postgres_server)
    with store.transaction() as transaction:
        transaction.start_run(start(), planned())
    _end_sessions(store, postgres_server)
    assert store.counts()["runs"] == 1


def test_a_server_lost_in_a_transaction_loses_the_transaction_only(postgres_store: Store, postgres_server: str) -> None:
    store = postgres_store
    with pytest.raises(StoreUnavailableError, match="can't be reached"), store.transaction() as transaction:
        transaction.start_run(start("lost"), planned())
        _end_sessions(store, postgres_server)
        transaction.start_run(start("lost too"), planned())
    with store.transaction() as transaction:
        transaction.start_run(start("kept"), planned())
    assert [run.run_id for run in store.runs()] == ["kept"]


def _end_sessions(store: Store, server: str) -> None:
    import psycopg

    pid = store._connections.session()._driver.info.backend_pid
    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        assert connection.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,)).fetchone() == (True,)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+psycopg://me:p%40ss@host:5432/db", "postgresql+psycopg://me:***@host:5432/db"),
        ("postgresql://me:p@ss/word@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@host/db", "postgresql://me@host/db"),
        ("postgresql://host/db?user=me&password=secret&x=1", "postgresql://host/db?user=me&password=***&x=1"),
        ("postgresql//me:secret@host/db", "postgresql//me:***@host/db"),
        ("me:secret@host/db", "me:***@host/db"),
        ("sqlite:////home/me/.victor/autotune.db", "sqlite:////home/me/.victor/autotune.db"),
    ],
)
def test_no_password_is_ever_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown


class TestFiles:
    def test_the_file_and_its_log_are_for_the_owner_only(self, sqlite_store: Store, file: Path) -> None:
        with sqlite_store.transaction() as transaction:
            transaction.start_run(start(), planned())
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
        assert modes == dict.fromkeys(("autotune.db", "autotune.db-wal", "autotune.db-shm"), 0o600)

    def test_folders_that_were_missing_are_for_the_owner_only(self, tmp_path: Path) -> None:
        before = stat.S_IMODE(tmp_path.stat().st_mode)
        with Store.open(f"sqlite:///{tmp_path}/a/b/c.db"):
            modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b")]
        assert modes == [0o700, 0o700]
        assert stat.S_IMODE(tmp_path.stat().st_mode) == before

    def test_a_wide_umask_opens_nothing(self, sqlite_url: str, file: Path) -> None:
        before = os.umask(0)
        try:
            with Store.open(sqlite_url):
                assert stat.S_IMODE(file.stat().st_mode) == 0o600
                assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        finally:
            os.umask(before)

    def test_a_closed_store_leaves_a_single_whole_file(self, sqlite_url: str, file: Path) -> None:
        with Store.open(sqlite_url) as store, store.transaction() as transaction:
            transaction.start_run(start(), planned())
        assert [path.name for path in file.parent.iterdir()] == ["autotune.db"]

    def test_a_closed_store_can_be_used_again(self, store: Store) -> None:
        store.close()
        store.close()
        with store.transaction() as transaction:
            transaction.start_run(start(), planned())
        assert store.counts()["runs"] == 1

    def test_a_relative_path_stays_where_it_was(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        with Store.open("sqlite:///here.db") as store:
            (tmp_path / "elsewhere").mkdir()
            monkeypatch.chdir(tmp_path / "elsewhere")
            store.close()
            assert store.counts()["runs"] == 0
        assert [path.name for path in tmp_path.glob("**/*.db")] == ["here.db"]

    @pytest.mark.parametrize("name", ["with space", "quest?on", "per%20cent", "ü", "a#b&c"])
    def test_any_folder_name_works_in_a_url(self, tmp_path: Path, name: str) -> None:
        from victor_autotune_plugin.storage import default_url

        (tmp_path / name).mkdir()
        with Store.open(default_url(tmp_path / name)):
            assert (tmp_path / name / ".victor" / "autotune.db").is_file()

    @pytest.mark.parametrize("remove", [Path.unlink, lambda file: file.rename(file.with_name("old.db"))])
    def test_a_file_removed_under_a_running_process_is_made_anew(
        self, sqlite_store: Store, file: Path, remove: Callable[[Path], None]
    ) -> None:
        """Else a process would go on writing into a file that nobody can see."""
        with sqlite_store.transaction() as transaction:
            transaction.start_run(start("before"), planned())
        remove(file)
        for path in file.parent.glob("autotune.db-*"):
            path.unlink()
        with sqlite_store.transaction() as transaction:
            transaction.start_run(start("after"), planned())
        with sqlite3.connect(file) as other:
            assert other.execute("SELECT run_id FROM autotune_run").fetchall() == [("after",)]
        other.close()
