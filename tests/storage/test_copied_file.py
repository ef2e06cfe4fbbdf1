"""A copy of the file of a closed store holds everything, without the files beside it."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

from victor_autotune_plugin.storage import Store
from victor_autotune_testing.stored import finished


def _file(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def _write(store: Store, *names: str) -> None:
    for name in names:
        with store.transaction() as transaction:
            transaction.finish_run(finished(name))


def _copied(url: str, to: Path) -> set[str]:
    """Copy the file alone, and return the ids of the runs in the copy."""
    shutil.copy(_file(url), to)
    with Store.open(f"sqlite:///{to}", look_only=True) as copy:
        return {run.run_id for run in copy.runs()}


def test_all_is_in_the_file_after_the_close(sqlite_url: str, tmp_path: Path) -> None:
    store = Store.open(sqlite_url)
    _write(store, "a", "b")
    thread = threading.Thread(target=_write, args=(store, "c"))
    thread.start()
    thread.join()
    store.close()
    assert _copied(sqlite_url, tmp_path / "copy.db") == {"a", "b", "c"}


def test_also_where_another_process_has_it_open_and_does_nothing(sqlite_url: str, tmp_path: Path) -> None:
    store = Store.open(sqlite_url)
    _write(store, "a")
    script = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('SELECT * FROM autotune_run').fetchall()"
    script += "; print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(_file(sqlite_url))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        _write(store, "b")
        store.close()
        assert _copied(sqlite_url, tmp_path / "copy.db") == {"a", "b"}
        other.communicate("")


def test_a_reader_in_the_middle_is_not_waited_for_and_nothing_is_lost(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    _write(store, "a")
    reader = sqlite3.connect(_file(sqlite_url), isolation_level=None)
    reader.execute("BEGIN")
    assert len(reader.execute("SELECT * FROM autotune_run").fetchall()) == 1
    _write(store, "b")
    began = time.monotonic()
    store.close()
    assert time.monotonic() - began < 1.0
    assert len(reader.execute("SELECT * FROM autotune_run").fetchall()) == 1
    reader.close()
    with Store.open(sqlite_url) as again:
        assert {run.run_id for run in again.runs()} == {"a", "b"}


def test_one_that_only_looks_leaves_the_files_as_they_are(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    _write(store, "a")
    log = Path(f"{_file(sqlite_url)}-wal")
    before = log.stat().st_size
    with Store.open(sqlite_url, look_only=True) as looking:
        assert looking.counts()["runs"] == 1
    assert log.stat().st_size == before > 0
    store.close()
