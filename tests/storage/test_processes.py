"""Several processes, threads and event loops at once, forks, and kills."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from attrs import evolve

from victor_autotune_plugin.errors import StoreUnavailableError
from victor_autotune_plugin.storage import Store
from victor_autotune_testing import workers
from victor_autotune_testing.stored import SPEC, experiment, planned, start


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with Store.open(url, busy_timeout_seconds=workers.PATIENCE_SECONDS) as store:
        yield store


def _prepare(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.save_experiment(experiment())
        transaction.save_team(evolve(transaction.team(*SPEC.key), experiment_id="e1"))


def _assert_nothing_is_lost(store: Store, runs: int) -> None:
    with store.transaction() as transaction:
        while transaction.number_runs(*SPEC.key, 100):
            pass
    counts = store.counts()
    assert (counts["runs_finished"], counts["observations"]) == (runs, runs)
    observed = store.observations("e1", "test")
    assert len({(one.stream, one.index) for one in observed}) == runs
    assert all(one.arm == workers.arm_of(one.stream, one.index) for one in observed)
    assert [one.order for one in observed] == sorted({one.order for one in observed})
    places = Counter((one.stream, one.index // 2) for one in observed)
    assert sum(number == 2 for number in places.values()) >= 0.45 * runs - 1  # pairs that are complete
    team = store.team(*SPEC.key)
    assert team is not None
    assert team.version == runs + 1
    assert team.updated_at == float(runs)


@pytest.mark.parametrize(("processes", "runs"), [(8, 100)])
@pytest.mark.slow
def test_eight_processes_at_once_lose_nothing_and_see_no_lock_error(
    store: Store, url: str, processes: int, runs: int
) -> None:
    _prepare(store)
    answers = workers.in_processes(workers.run_many, url, processes=processes, runs=runs)
    assert answers == [list(range(runs))] * processes
    _assert_nothing_is_lost(store, processes * runs)


def test_several_processes_may_create_the_store_at_the_same_moment(url: str) -> None:
    assert workers.in_processes(workers.open_once, url, processes=6) == [[0]] * 6


def test_threads_share_a_store(store: Store) -> None:
    _prepare(store)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda number: workers.one_run(store, f"r{number}"), range(240)))
    _assert_nothing_is_lost(store, 240)


def test_event_loops_of_several_threads_share_a_store(store: Store) -> None:
    _prepare(store)

    async def team_run(run_id: str) -> None:
        await asyncio.sleep(0)
        workers.one_run(store, run_id)

    async def many(loop: int) -> None:
        await asyncio.gather(*(team_run(f"{loop}-{number}") for number in range(40)))

    threads = [threading.Thread(target=lambda loop=loop: asyncio.run(many(loop))) for loop in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    _assert_nothing_is_lost(store, 120)


async def test_a_transaction_kept_across_an_await_is_told_to_the_next_one(store: Store) -> None:
    inside, leave = asyncio.Event(), asyncio.Event()

    async def wrong() -> None:
        with store.transaction():
            inside.set()
            await leave.wait()

    task = asyncio.create_task(wrong())
    await inside.wait()
    with pytest.raises(RuntimeError, match="never await"), store.transaction():
        pytest.fail("entered")
    leave.set()
    await task


def test_threads_that_end_leave_no_connection_behind(store: Store) -> None:
    for _ in range(20):
        thread = threading.Thread(target=store.counts)
        thread.start()
        thread.join()
    assert len(store._connections._sessions) == 1


def test_a_forked_child_and_its_parent_both_go_on(store: Store) -> None:
    _prepare(store)
    workers.one_run(store, "before")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for number in range(20):
                workers.one_run(store, f"child-{number}")
            status = 0
        finally:
            os._exit(status)
    for number in range(20):
        workers.one_run(store, f"parent-{number}")
    assert os.waitpid(child, 0)[1] == 0
    workers.one_run(store, "after")
    _assert_nothing_is_lost(store, 42)


def test_a_fork_inside_a_transaction_does_the_parent_no_harm(store: Store) -> None:
    """On SQLite the child would believe that it holds its parent's locks, so it must not touch the file."""
    _prepare(store)
    refuses = store._connections.target.backend == "sqlite"
    with store.transaction() as transaction:
        transaction.start_run(start("open"), planned())
        child = os.fork()
        if child == 0:
            status = 1
            try:
                store.close()
                try:
                    status = 0 if store.counts()["runs"] == 0 and not refuses else 2
                except StoreUnavailableError as error:
                    status = 0 if refuses and "forked" in str(error) else 3
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        transaction.start_run(start("still open"), planned())
    assert store.counts()["runs"] == 2


def test_a_child_keeps_its_log_when_its_parent_closes(sqlite_store: Store) -> None:
    """The last process to close a file removes its write-ahead log; a child that inherited locks is overlooked."""
    _prepare(sqlite_store)
    workers.one_run(sqlite_store, "before")
    to_child, from_child = multiprocessing.Pipe(), multiprocessing.Pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            workers.one_run(sqlite_store, "child-1")
            from_child[1].send("open")
            to_child[0].recv()
            workers.one_run(sqlite_store, "child-2")
            status = 0
        finally:
            os._exit(status)
    assert from_child[0].recv() == "open"
    sqlite_store.close()
    workers.one_run(sqlite_store, "parent-1")
    sqlite_store.close()
    to_child[1].send("go on")
    assert os.waitpid(child, 0)[1] == 0
    _assert_nothing_is_lost(sqlite_store, 4)


def test_a_kill_before_the_commit_leaves_no_trace_and_no_lock(store: Store, url: str) -> None:
    workers.in_processes(workers.die_in_a_transaction, url, processes=1)
    with store.transaction() as transaction:
        transaction.start_run(start("mine"), planned())
    assert [run.run_id for run in store.runs()] == ["mine"]


def test_runs_of_a_killed_process_are_marked_as_lost_once(store: Store, url: str) -> None:
    workers.in_processes(workers.start_and_die, url, processes=2, runs=2)
    with store.transaction() as transaction:
        transaction.start_run(start("mine"), planned())
        assert transaction.mark_lost(60.0) == ()  # they have only just fallen silent
    with store.transaction() as transaction:
        transaction.beat()
        assert sorted(transaction.mark_lost(0.0) + transaction.mark_lost(0.0)) in (
            ["mine", "p0-0", "p0-1", "p1-0", "p1-1"],
            ["p0-0", "p0-1", "p1-0", "p1-1"],
        )
    assert store.counts()["runs_lost"] >= 4
    record = store.run("p0-0")
    assert record is not None
    assert (record.status, record.run_id, record.plan_asked) == ("lost", "p0-0", planned().plan)
