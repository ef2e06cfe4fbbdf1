"""Forks: a child never closes what its parent opened, makes its own, and a fork waits for nobody for long."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from victor_autotune_plugin.errors import StoreUnavailableError
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.session import Session


def _note(store: Store, where: str) -> None:
    with store.transaction() as transaction:
        transaction.record_fault(where, "ValueError: x", 1.0)


def _noted(store: Store) -> list[str]:
    return sorted(fault.where for fault in store.faults())


def _in_child(work: Callable[[], bool]) -> bool:
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    return os.waitpid(child, 0)[1] == 0


@contextmanager
def _a_thread_with(store: Store, *, in_transaction: bool) -> Iterator[threading.Event]:
    """Let another thread have a session, and a transaction in it or not, until the block or the event ends it."""
    there, leave = threading.Event(), threading.Event()

    def work() -> None:
        if in_transaction:
            with store.transaction() as transaction:
                transaction.record_fault("thread", "ValueError: x", 1.0)
                there.set()
                leave.wait(30)
        else:
            store.counts()
            there.set()
            leave.wait(30)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert there.wait(30)
    try:
        yield leave
    finally:
        leave.set()
        thread.join(30)


def test_idle_sessions_of_other_threads_are_closed_and_both_go_on(store: Store) -> None:
    with _a_thread_with(store, in_transaction=False):

        def work() -> bool:
            _note(store, "child")
            return True

        assert _in_child(work)
        _note(store, "parent")
    assert _noted(store) == ["child", "parent"]


def test_a_fork_into_the_transaction_of_another_thread_does_not_wait_for_its_end(store: Store) -> None:
    """That thread ends its transaction only after the fork, so a fork that waited for it would never come back."""
    refuses = store._connections.target.backend == "sqlite"

    def work() -> bool:
        try:
            return _noted(store) == [] and not refuses
        except StoreUnavailableError as error:
            return refuses and "forked in the middle of a transaction" in str(error)

    with _a_thread_with(store, in_transaction=True):
        assert _in_child(work)
    assert _noted(store) == ["thread"]


def test_a_fork_while_the_lock_is_waited_for_does_not_wait_along(sqlite_url: str) -> None:
    with Store.open(sqlite_url, busy_timeout_seconds=30.0) as store:
        waiting = threading.Event()

        def work() -> None:
            waiting.set()
            _note(store, "thread")

        with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            assert waiting.wait(30)
            assert _in_child(lambda: True)
            other.execute("ROLLBACK")
            thread.join(30)
        assert _noted(store) == ["thread"]


@pytest.mark.parametrize("reads", [1, 2])
def test_a_session_that_a_fork_closes_before_it_is_ready_is_opened_again(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, reads: int
) -> None:
    """The fork of another thread falls between two statements of opening; here it is told to close them all."""
    _note(sqlite_store, "before")
    original, read = Session.read, []

    def closed_meanwhile(session: Session, sql: str) -> list[Any]:
        read.append(sql)
        if len(read) == reads:
            sqlite_store._connections.close_before_fork()
        return original(session, sql)

    sqlite_store.close()
    monkeypatch.setattr(Session, "read", closed_meanwhile)
    _note(sqlite_store, "after")
    assert len(read) > reads
    assert _noted(sqlite_store) == ["after", "before"]


def test_a_child_leaves_its_parents_session_to_the_server_alone(postgres_store: Store) -> None:
    store = postgres_store
    session = store._connections.session()
    server = session._driver.info.backend_pid

    def work() -> bool:
        own = store._connections.session()
        store.close()
        return bool(own._driver.info.backend_pid != server) if not own.is_closed else own is not session

    assert _in_child(work)
    assert store._connections.session() is session
    assert store.counts()["runs"] == 0


@pytest.mark.parametrize("generations", [3])
def test_children_of_children_write_too(store: Store, generations: int) -> None:
    def work(left: int) -> bool:
        _note(store, f"generation {left}")
        return left == 0 or _in_child(lambda: work(left - 1))

    assert work(generations)
    assert len(_noted(store)) == generations + 1
