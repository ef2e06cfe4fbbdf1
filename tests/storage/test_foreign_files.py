"""A file of another program is refused and left as it is; SQLite is asked, so that its locks stay."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from victor_autotune_plugin.errors import StoreUnavailableError
from victor_autotune_plugin.storage import Store, create_schema


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _foreign(file: Path, mode: str, *, crash: bool) -> None:
    """Let another program make a database, and end well or not."""
    end = "os._exit(0)" if crash else "c.close()"
    script = (
        f"import os, sqlite3; c = sqlite3.connect({str(file)!r}); c.execute('PRAGMA journal_mode={mode}');"
        f"c.execute('CREATE TABLE orders (id)'); c.execute('INSERT INTO orders VALUES (1)'); c.commit(); {end}"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("look_only", [False, True])
@pytest.mark.parametrize(("mode", "crash"), [("delete", False), ("wal", False), ("wal", True)])
def test_a_database_of_another_program_is_refused_untouched(
    tmp_path: Path, mode: str, crash: bool, look_only: bool
) -> None:
    file = tmp_path / "orders.db"
    _foreign(file, mode, crash=crash)
    before = _contents(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="another program") as caught:
            Store.open(f"sqlite:///{file}", look_only=look_only)
        assert caught.value.hint is not None
        assert "Set another store" in caught.value.hint
    with pytest.raises(StoreUnavailableError, match="another program"):
        create_schema(f"sqlite:///{file}")
    assert _contents(tmp_path) == before


def test_a_database_that_another_program_is_writing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "orders.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("CREATE TABLE orders (id)")
        other.commit()
        before = file.read_bytes()
        with pytest.raises(StoreUnavailableError, match="another program"):
            Store.open(f"sqlite:///{file}")
        assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["what?mode=rw#x.db", "per%20cent.db", "with space.db"])
def test_any_name_of_a_file_is_looked_into(tmp_path: Path, name: str) -> None:
    from sqlalchemy import URL

    _foreign(tmp_path / name, "delete", crash=False)
    url = URL.create("sqlite", database=str(tmp_path / name)).render_as_string()
    if "?" in name:
        url = f"sqlite:///{tmp_path}/what%3Fmode%3Drw%23x.db"
    before = _contents(tmp_path)
    with pytest.raises(StoreUnavailableError):
        Store.open(url)
    assert {key: value for key, value in _contents(tmp_path).items() if key in before} == before


def test_an_empty_database_becomes_a_store(tmp_path: Path) -> None:
    file = tmp_path / "empty.db"
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE t (a)")
        other.execute("DROP TABLE t")
        other.commit()
    assert file.stat().st_size > 0
    with Store.open(f"sqlite:///{file}") as store:
        assert store.counts()["runs"] == 0


def test_what_others_keep_in_the_stores_file_is_left_alone(sqlite_store: Store, sqlite_url: str) -> None:
    sqlite_store._connections.execute(text("CREATE TABLE orders (id INTEGER)"))
    with Store.open(sqlite_url) as other:
        assert other._connections.execute(text("SELECT count(*) FROM orders"))[0][0] == 0


@pytest.mark.parametrize("opened_again", ["Store.open(url)", "Store.open(url, look_only=True)", "create_schema(url)"])
def test_committed_rows_survive_a_kill_when_the_store_was_looked_into_while_open(
    tmp_path: Path, sqlite_url: str, opened_again: str
) -> None:
    """Had the file been opened and closed by other means, this process' locks on it would be gone: another process
    that closes the file would take itself for the last one, and remove the log of rows that it does not know.
    """
    script = f"""
        import os, signal, subprocess, sys
        from sqlalchemy import text
        from victor_autotune_plugin.storage import Store, create_schema
        url = {sqlite_url!r}
        store = Store.open(url)
        with store.transaction():
            store._connections.session().execute(text("CREATE TABLE kept (id INTEGER)"))
        {opened_again}
        subprocess.run([sys.executable, "-c", f"import sqlite3; c = sqlite3.connect({{url[10:]!r}});"
            "c.execute('SELECT count(*) FROM kept').fetchall(); c.close()"], check=True)
        for number in range(100):
            with store.transaction():
                store._connections.session().execute(text(f"INSERT INTO kept VALUES ({{number}})"))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as other:
        assert other.execute("SELECT count(*) FROM kept").fetchone() == (100,)


def test_the_trial_above_would_notice(tmp_path: Path) -> None:
    """Shows what the rule is for: a descriptor that is opened and closed takes SQLite's locks along."""
    file = tmp_path / "x.db"
    script = f"""
        import os, signal, sqlite3, subprocess, sys
        store = sqlite3.connect({str(file)!r}, isolation_level=None)
        store.execute("PRAGMA journal_mode=WAL")
        store.execute("CREATE TABLE kept (id)")
        open({str(file)!r}, "rb").close()
        subprocess.run([sys.executable, "-c", "import sqlite3; c = sqlite3.connect({file});"
            "c.execute('SELECT count(*) FROM kept').fetchall(); c.close()".replace("{file}", repr({str(file)!r}))],
            check=True)
        for number in range(100):
            store.execute(f"INSERT INTO kept VALUES ({{number}})")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    with closing(sqlite3.connect(file)) as other:
        assert other.execute("SELECT count(*) FROM kept").fetchone() == (0,)


class TestInTheWay:
    @pytest.mark.parametrize("name", ["autotune.db", "autotune.db-wal", "autotune.db-shm", "autotune.db-journal"])
    @pytest.mark.parametrize("look_only", [False, True])
    def test_a_fifo_is_told_and_not_waited_for(self, tmp_path: Path, name: str, look_only: bool) -> None:
        if name != "autotune.db":
            (tmp_path / "autotune.db").touch()
        os.mkfifo(tmp_path / name)
        with pytest.raises(StoreUnavailableError, match="is not a file"):
            Store.open(f"sqlite:///{tmp_path}/autotune.db", look_only=look_only)

    def test_a_socket_is_told(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import socket

        monkeypatch.chdir(tmp_path)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("autotune.db")
            with pytest.raises(StoreUnavailableError, match="is not a file"):
                Store.open("sqlite:///autotune.db")

    @pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
    def test_a_device_is_told(self, device: str) -> None:
        with pytest.raises(StoreUnavailableError, match="is not a file"):
            Store.open(f"sqlite:///{device}")

    def test_a_link_in_place_of_the_log_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "autotune.db").touch()
        (tmp_path / "autotune.db-wal").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StoreUnavailableError, match="is not a file"):
            Store.open(f"sqlite:///{tmp_path}/autotune.db")
        assert not (tmp_path / "elsewhere").exists()
