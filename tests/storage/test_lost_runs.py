"""Which runs are lost: those of processes that ended or fell silent, wherever they ran."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from attrs import evolve

from victor_autotune_plugin._model.experiment import Assignment
from victor_autotune_plugin._model.process import ProcessId
from victor_autotune_plugin.storage import Store
from victor_autotune_testing.stored import SPEC, finished, pass_time, planned, start

OTHER = ProcessId("other", "another-host", 7, 1.0)


def started_in(store: Store, process: ProcessId, run_id: str = "r1") -> None:
    with store.transaction() as transaction:
        transaction.beat(process)
        transaction.start_run(start(run_id), planned(), process.id)


def lost(store: Store, silent: float = 60.0) -> tuple[str, ...]:
    with store.transaction() as transaction:
        return transaction.mark_lost(silent)


def test_a_run_of_a_process_that_beats_is_not(store: Store) -> None:
    started_in(store, OTHER)
    for _ in range(3):
        pass_time(store, 50.0)
        with store.transaction() as transaction:
            transaction.beat(OTHER)
        assert lost(store) == ()


def test_a_run_of_a_silent_process_of_any_host_is_once(store: Store) -> None:
    started_in(store, OTHER)
    pass_time(store, 50.0)
    assert lost(store) == ()
    pass_time(store, 11.0)
    assert lost(store) == ("r1",)
    assert lost(store) == ()


def test_it_is_lost_after_the_silence_that_is_asked_for(store: Store) -> None:
    started_in(store, OTHER)
    pass_time(store, 100.0)
    assert lost(store, 300.0) == ()
    assert lost(store, 90.0) == ("r1",)


def test_writing_the_start_of_a_run_is_a_sign_of_life(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.start_run(start(), planned())
    assert lost(store) == ()
    pass_time(store, 61.0)
    assert lost(store) == ("r1",)


@pytest.mark.parametrize("year", [-365 * 86400.0, 365 * 86400.0], ids=["behind", "ahead"])
def test_the_clock_of_a_host_that_is_a_year_off_changes_nothing(store: Store, year: float) -> None:
    with store.transaction() as transaction:
        transaction.beat(evolve(OTHER, started_at=time.time() + year))
        transaction.start_run(start(started_at=time.time() + year), planned(), OTHER.id)
    assert lost(store) == ()
    pass_time(store, 61.0)
    assert lost(store) == ("r1",)


def test_two_hosts_that_mark_at_once_mark_each_run_once(store: Store) -> None:
    with store.transaction() as transaction:
        for index in range(40):
            transaction.start_run(start(f"r{index}"), planned(), OTHER.id)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: lost(store), range(8)))
    assert sorted(sum(found, ())) == sorted(f"r{index}" for index in range(40))


def test_a_run_of_a_process_that_ended_is(store: Store) -> None:
    started_in(store, OTHER)
    assert lost(store) == ()
    with store.transaction() as transaction:
        transaction.end_process(OTHER.id)
    assert lost(store) == ("r1",)


def test_a_run_of_a_process_that_never_gave_a_sign_of_life_is(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.start_run(start(), planned(), "from a journal")
    assert lost(store) == ("r1",)


def test_a_lost_run_that_ends_after_all_is_late_and_never_an_observation(store: Store) -> None:
    assigned = planned(assignment=Assignment("e1", "test", "treatment", "0", 0))
    run = finished(arm="treatment", phase="test", stream="0", index=0, cancelled=False)
    with store.transaction() as transaction:
        transaction.start_run(start(), assigned, OTHER.id)
        assert transaction.mark_lost(60.0) == ("r1",)
        assert transaction.finish_run(run, OTHER.id) is True
        assert transaction.number_runs(*SPEC.key, 10) == 0
    assert store.run("r1") == evolve(run, status="late")
    assert store.observations("e1", "test") == []
    assert list(store.finished_runs()) == []
    assert (store.counts()["runs_late"], store.counts()["runs_finished"]) == (1, 0)
    assert lost(store) == ()
