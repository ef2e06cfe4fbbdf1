"""Which runs are lost: those of processes that ended or fell silent, wherever they ran."""

from __future__ import annotations

from attrs import evolve

from victor_autotune_plugin._model.experiment import Assignment
from victor_autotune_plugin._model.process import ProcessId
from victor_autotune_plugin.storage import Store
from victor_autotune_testing.stored import SPEC, finished, planned, start

OTHER = ProcessId("other", "another-host", 7, 1.0)


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def started_in(store: Store, process: ProcessId, run_id: str = "r1") -> None:
    with store.transaction() as transaction:
        transaction.beat(process)
        transaction.start_run(start(run_id), planned(), process.id)


def lost(store: Store, silent: float = 60.0) -> tuple[str, ...]:
    with store.transaction() as transaction:
        return transaction.mark_lost(silent)


def test_a_run_of_a_process_that_beats_is_not() -> None:
    clock = Clock()
    store = Store.in_memory(clock)
    started_in(store, OTHER)
    for _ in range(5):
        clock.now += 50.0
        with store.transaction() as transaction:
            transaction.beat(OTHER)
        assert lost(store) == ()


def test_a_run_of_a_silent_process_of_any_host_is_once() -> None:
    clock = Clock()
    store = Store.in_memory(clock)
    started_in(store, OTHER)
    clock.now += 59.0
    assert lost(store) == ()
    clock.now += 2.0
    assert lost(store) == ("r1",)
    assert lost(store) == ()


def test_the_clock_of_a_host_that_is_a_year_ahead_changes_nothing() -> None:
    store = Store.in_memory(Clock())
    started_in(store, evolve(OTHER, started_at=4e9))
    assert lost(store) == ()


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
