"""A PostgreSQL that stops answering: whatever it is asked ends with a clear error, by the client's own deadline.

The deadlines here are short and nothing measures how long they took: without one each of these tests would hang.
"""

from __future__ import annotations

import itertools
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from sqlalchemy import text

from victor_autotune_plugin.errors import StoreBusyError, StoreError, StoreUnavailableError
from victor_autotune_plugin.storage import Store

psycopg = pytest.importorskip("psycopg")

SHORT = 0.3


def _backend(store: Store) -> psutil.Process:
    pid = store._connections.session()._driver.info.backend_pid
    return psutil.Process(pid)


@contextmanager
def _stopped(*processes: psutil.Process) -> Iterator[None]:
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@pytest.fixture
def impatient(postgres_url: str) -> Iterator[Store]:
    with Store.open(postgres_url, deadline_seconds=SHORT) as store:
        yield store


@contextmanager
def _silent() -> Iterator[str]:
    """The URL of an address that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"postgresql+psycopg://me:secret@127.0.0.1:{server.getsockname()[1]}/runs?sslmode=disable"


def test_a_silent_address_is_told_with_the_deadline() -> None:
    with _silent() as url, pytest.raises(StoreUnavailableError, match=r"no answer within 0\.3 s") as caught:
        Store.open(url, deadline_seconds=SHORT)
    assert "secret" not in str(caught.value)
    assert caught.value.hint is not None
    assert "Start the server" in caught.value.hint


def test_several_silent_addresses_share_one_deadline() -> None:
    with _silent() as url, pytest.raises(StoreUnavailableError, match="no answer"):
        Store.open(url.replace("127.0.0.1:", "127.0.0.1,127.0.0.1:"), deadline_seconds=SHORT)


def test_a_silent_first_host_does_not_hide_the_second(postgres_url: str) -> None:
    import sqlalchemy

    parts = sqlalchemy.make_url(postgres_url)
    folder = parts.query["host"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = parts.set(query={**parts.query, "host": f"127.0.0.1,{folder}", "port": f"{port},5432"})
        with Store.open(url.render_as_string(hide_password=False), deadline_seconds=2.0) as store:
            assert store.counts()["runs"] == 0


def test_a_stopped_server_ends_a_read(impatient: Store) -> None:
    with _stopped(_backend(impatient)), pytest.raises(StoreUnavailableError, match=r"no answer within 0\.3 s"):
        impatient.counts()
    assert impatient.counts()["runs"] == 0


def test_a_stopped_server_ends_the_beginning_of_a_transaction(impatient: Store) -> None:
    with (
        _stopped(_backend(impatient)),
        pytest.raises(StoreUnavailableError, match="no answer"),
        impatient.transaction(),
    ):
        pytest.fail("entered")


def test_a_stopped_server_ends_a_statement_and_the_transaction_with_it(impatient: Store) -> None:
    backend = _backend(impatient)
    with pytest.raises(StoreUnavailableError, match="no answer"), impatient.transaction(), _stopped(backend):
        impatient._connections.session().execute(text("SELECT 1"))
    with impatient.transaction():
        pass


def test_a_stopped_server_ends_a_commit(impatient: Store) -> None:
    backend = _backend(impatient)
    session = impatient._connections.begin()
    with _stopped(backend), pytest.raises(StoreUnavailableError, match="no answer"):
        session.commit()
    impatient._connections.rollback(session)
    assert impatient._connections.session() is not session


def test_a_whole_server_that_is_stopped_and_goes_on(impatient: Store) -> None:
    backend = _backend(impatient)
    server = backend.parent()
    assert server is not None
    with _stopped(server, backend):
        for _ in range(2):  # the session there is, and a new one
            with pytest.raises(StoreUnavailableError, match="no answer"):
                impatient.counts()
    assert impatient.counts()["runs"] == 0


def test_a_killed_session_is_opened_again(impatient: Store) -> None:
    backend = _backend(impatient)
    backend.terminate()
    psutil.wait_procs([backend], timeout=10)
    assert impatient.counts()["runs"] == 0


def test_a_half_open_connection(impatient: Store) -> None:
    """The other end went away without a word: nothing comes, and what is sent is not refused."""
    mine, other = socket.socketpair()
    with mine, other:
        driver = impatient._connections.session()._driver
        os.dup2(mine.fileno(), driver.fileno())
        with pytest.raises(StoreUnavailableError, match="no answer"):
            impatient.counts()
    assert impatient.counts()["runs"] == 0


def test_a_query_that_takes_too_long_is_ended_by_the_server_and_the_session_is_kept(impatient: Store) -> None:
    session = impatient._connections.session()
    with pytest.raises(StoreUnavailableError, match="took too long"), impatient.transaction():
        session.execute(text("SELECT pg_sleep(30)"))
    assert impatient._connections.session() is session


def test_a_lock_may_be_waited_for_longer_than_an_answer(postgres_url: str, impatient: Store) -> None:
    with impatient.transaction():
        impatient._connections.session().execute(text("LOCK TABLE autotune_team IN ACCESS EXCLUSIVE MODE"))
        patient = Store.open(postgres_url, busy_timeout_seconds=1.0, deadline_seconds=SHORT)
        with patient, pytest.raises(StoreBusyError, match="locked"), patient.transaction():
            patient._connections.session().execute(text("SELECT count(*) FROM autotune_team"))


def test_the_wait_goes_by_the_clock_that_is_handed_in() -> None:
    from victor_autotune_plugin.storage.deadline import DeadlineError, connect

    ticks = itertools.count(0.0, 3.0)
    with _silent() as url, pytest.raises(DeadlineError, match="within 5 s"):
        connect({"conninfo": url.replace("+psycopg", "")}, 5.0, lambda: next(ticks))


def test_ctrl_c_closes_the_connection_and_waits_for_nothing(impatient: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from victor_autotune_plugin.storage import deadline

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    session = impatient._connections.session()
    with monkeypatch.context() as patch:
        patch.setattr(deadline, "_wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            impatient.counts()
    assert session.is_closed
    assert impatient.counts()["runs"] == 0


class TestNoStateOfASession:
    """What a pooler asks for that gives each transaction another connection to the server."""

    def test_settings_count_inside_a_transaction_only(self, impatient: Store) -> None:
        def settings() -> list[str]:
            names = ("lock_timeout", "statement_timeout", "search_path", "default_transaction_isolation")
            execute = impatient._connections.session().execute
            return [execute(text(f"SHOW {name}"))[0][0] for name in names]

        before = settings()
        with impatient.transaction():
            assert settings()[:2] == ["200ms", "360ms"]
        assert settings() == before
        assert before[:2] == ["0", "0"]

    @pytest.mark.parametrize("is_pooled", [True, False])
    def test_statements_are_prepared_only_where_no_pooler_is_between(
        self, impatient: Store, monkeypatch: pytest.MonkeyPatch, is_pooled: bool
    ) -> None:
        from victor_autotune_plugin.storage.deadline import DeadlineConnection

        if is_pooled:  # it gives the client a key of its own, to cancel with
            monkeypatch.setattr(DeadlineConnection, "server_process", lambda _: 0)
        impatient.close()
        for _ in range(10):
            with impatient.transaction() as transaction:
                transaction.team("w", "t")
        found = impatient._connections.session().execute(text("SELECT statement FROM pg_prepared_statements"))
        assert bool(found) is not is_pooled

    def test_nothing_is_set_or_locked_in_the_session(self, impatient: Store) -> None:
        for _ in range(10):
            impatient.counts()
            with impatient.transaction() as transaction:
                transaction.team("w", "t")
        execute = impatient._connections.session().execute
        assert execute(text("SELECT * FROM pg_locks WHERE locktype = 'advisory'")) == []
        assert execute(text("SELECT name FROM pg_settings WHERE source = 'session'")) == []

    def test_a_failed_transaction_leaves_a_session_that_can_be_used(self, impatient: Store) -> None:
        with pytest.raises(StoreError), impatient.transaction():
            impatient._connections.session().execute(text("SELECT 1 / 0"))
        assert impatient.counts()["runs"] == 0
