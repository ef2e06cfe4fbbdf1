"""Which runs are lost: those of processes that ended or fell silent, wherever they ran."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

from victor_autotune_plugin._model.experiment import Assignment
from victor_autotune_plugin._model.process import ProcessId
from victor_autotune_plugin._model.run import PlannedRun
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.journal import EndEntry, Journal, StartEntry, read
from victor_autotune_testing.stored import SPEC, finished, missing, pass_time, planned, start

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


ASSIGNED = planned(assignment=Assignment("e1", "test", "treatment", "0", 0))
RUN = finished(arm="treatment", phase="test", stream="0", index=0, cancelled=False)


def lost_from_its_arm(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.start_run(start(), ASSIGNED, OTHER.id)
    assert lost(store) == ("r1",)


def test_what_a_journal_tells_of_a_lost_run_is_the_same(store: Store, tmp_path: Path) -> None:
    """Its start was drained when its process had died, and its end with the next journal."""
    journal = Journal(tmp_path / "journal", OTHER)
    journal.append([StartEntry(start(), ASSIGNED, OTHER.id), EndEntry(RUN, 30.0)])
    first, second = (entry for _, entry in read(journal.path))
    assert isinstance(first, StartEntry)
    assert isinstance(second, EndEntry)
    with store.transaction() as transaction:
        transaction.start_run(first.start, first.planned, first.process)
        assert transaction.mark_lost() == ("r1",)
        assert transaction.number_runs(*SPEC.key, 10) == 1
    before = store.observations("e1", "test")
    with store.transaction() as transaction:
        assert transaction.finish_run(second.run, OTHER.id, second.grade_seconds) is True
        assert transaction.number_runs(*SPEC.key, 10) == 0
    assert store.observations("e1", "test") == before == [missing(stream="0", order=1)]
    assert judged(store) == [("r1", "late", 1)]
    journal.close()


def numbered(store: Store) -> int:
    with store.transaction() as transaction:
        return transaction.number_runs(*SPEC.key, 10)


def judged(store: Store) -> list[tuple[str, str, int | None]]:
    with store.reading() as transaction:
        return [(run.run_id, run.status, run.number) for run in transaction.runs_after(*SPEC.key, 0, 10)]


def history(store: Store) -> list[str]:
    with store.reading() as transaction:
        found = [run.run_id for run in transaction.runs_of(*SPEC.key, 10)]
    assert found == [run.run_id for run in store.finished_runs()]
    return found


def test_a_run_that_was_lost_from_an_arm_is_numbered_and_observed_as_missing(store: Store) -> None:
    lost_from_its_arm(store)
    with store.transaction() as transaction:
        assert transaction.untaken([SPEC.key]) == [SPEC.key]
        assert transaction.number_runs(*SPEC.key, 10) == 1
        assert transaction.untaken([SPEC.key]) == []
        assert transaction.number_runs(*SPEC.key, 10) == 0
    assert store.observations("e1", "test") == [missing(stream="0", order=1)]
    assert judged(store) == [("r1", "lost", 1)]
    assert history(store) == []


def test_a_run_that_ends_after_it_was_numbered_as_lost_stays_missing_and_gets_its_figures(store: Store) -> None:
    lost_from_its_arm(store)
    assert numbered(store) == 1
    with store.transaction() as transaction:
        assert transaction.finish_run(evolve(RUN, task_key="another", index=9), OTHER.id) is True
        assert transaction.finish_run(RUN, OTHER.id) is False
    assert numbered(store) == 0
    assert store.run("r1") == evolve(RUN, status="late")
    assert store.observations("e1", "test") == [missing(stream="0", order=1)]
    assert judged(store) == [("r1", "late", 1)]
    assert history(store) == []
    with store.transaction() as transaction:
        assert transaction.price_run("r1", 1.0) is False


def test_a_run_that_is_late_before_it_was_numbered_is_missing_too(store: Store) -> None:
    lost_from_its_arm(store)
    with store.transaction() as transaction:
        assert transaction.finish_run(RUN, OTHER.id) is True
    assert numbered(store) == 1
    assert store.run("r1") == evolve(RUN, status="late")
    assert store.observations("e1", "test") == [missing(stream="0", order=1)]
    assert history(store) == []
    assert (store.counts()["runs_late"], store.counts()["runs_finished"]) == (1, 0)
    assert lost(store) == ()


def test_a_run_that_was_cancelled_is_observed_as_missing_and_stays_in_the_history(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.start_run(start(), ASSIGNED, OTHER.id)
        transaction.finish_run(evolve(RUN, cancelled=True), OTHER.id)
    assert numbered(store) == 1
    assert store.observations("e1", "test") == [missing(how="cancelled", stream="0", order=1)]
    assert store.run("r1") == evolve(RUN, cancelled=True)
    assert history(store) == ["r1"]


@pytest.mark.parametrize("ends", [False, True])
def test_a_lost_run_without_an_arm_is_numbered_by_nobody(store: Store, ends: bool) -> None:
    with store.transaction() as transaction:
        transaction.start_run(start(), PlannedRun(), OTHER.id)
    assert lost(store) == ("r1",)
    if ends:
        with store.transaction() as transaction:
            transaction.finish_run(finished(experiment_id=None, arm=None), OTHER.id)
    assert numbered(store) == 0
    assert judged(store) == []


def test_what_went_missing_has_its_place_among_the_others(store: Store) -> None:
    with store.transaction() as transaction:
        for index, run_id in enumerate(("a", "b", "c")):
            place = planned(assignment=Assignment("e1", "test", "control", "0", index))
            transaction.start_run(start(run_id, started_at=float(index)), place, OTHER.id)
        for index, run_id in ((0, "a"), (2, "c")):
            run = finished(run_id, arm="control", phase="test", stream="0", index=index, cancelled=False)
            transaction.finish_run(evolve(run, started_at=float(index)), OTHER.id)
    assert lost(store) == ("b",)
    assert numbered(store) == 3
    found = [(one.run_id, one.order, one.index, one.missing) for one in store.observations("e1", "test")]
    assert found == [("a", 1, 0, ""), ("b", 2, 1, "lost"), ("c", 3, 2, "")]
    assert history(store) == ["c", "a"]
