"""Which runs are lost: those of this host whose process is dead."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from victor_autotune_plugin.storage import Store, connections
from victor_autotune_testing.stored import finished, planned, start


@pytest.fixture
def other() -> subprocess.Popen[bytes]:
    """A living process of ours."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.communicate(b"\n")


def _start_in(store: Store, monkeypatch: pytest.MonkeyPatch, pid: int, started_at: float, host: str = "") -> None:
    where = {"host": host or connections.host(), "pid": pid, "process_started_at": started_at}
    with monkeypatch.context() as patch:
        patch.setattr("victor_autotune_plugin.storage.transaction.this_process", lambda: where)
        with store.transaction() as transaction:
            transaction.start_run(start(), planned())


def test_a_run_of_a_living_process_is_not(
    store: Store, monkeypatch: pytest.MonkeyPatch, other: subprocess.Popen[bytes]
) -> None:
    _start_in(store, monkeypatch, other.pid, psutil.Process(other.pid).create_time())
    assert store.mark_lost_runs() == ()


def test_a_run_of_a_dead_process_whose_id_lives_again_is(
    store: Store, monkeypatch: pytest.MonkeyPatch, other: subprocess.Popen[bytes]
) -> None:
    _start_in(store, monkeypatch, other.pid, psutil.Process(other.pid).create_time() - 30.0)
    assert store.mark_lost_runs() == ("r1",)


def test_a_run_of_an_earlier_process_with_our_own_id_is(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container that is started again gives its first process the same id, within a second."""
    _start_in(store, monkeypatch, os.getpid(), psutil.Process().create_time() - 0.5)
    assert store.mark_lost_runs() == ("r1",)


def test_a_run_of_another_host_is_not_ours_to_judge(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _start_in(store, monkeypatch, 2**22 + 1, 1.0, host="elsewhere")
    assert store.mark_lost_runs() == ()


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    started_at = psutil.Process(child.pid).create_time()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not connections.is_alive(child.pid, started_at)
    child.wait()
    assert not connections.is_alive(child.pid, started_at)


def test_a_process_that_may_not_be_looked_at_counts_as_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(pid: int) -> None:
        raise psutil.AccessDenied(pid)

    connections.this_process()
    monkeypatch.setattr(psutil, "Process", denied)
    assert connections.is_alive(1, 0.0)


def test_a_lost_run_that_ends_nevertheless_is_finished(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    _start_in(store, monkeypatch, 2**22 + 1, 1.0)
    assert store.mark_lost_runs() == ("r1",)
    with store.transaction() as transaction:
        assert transaction.finish_run(finished()) is True
    assert list(store.finished_runs()) == [finished()]
    assert store.mark_lost_runs() == ()
