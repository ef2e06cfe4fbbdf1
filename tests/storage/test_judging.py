"""What judges rely on: numbers, leases, streams of arms, revisions, and drained journals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from victor_autotune_plugin._model.experiment import Assignment
from victor_autotune_plugin._model.process import ProcessId
from victor_autotune_plugin.errors import LeaseLostError
from victor_autotune_plugin.storage import Store
from victor_autotune_testing.stored import SPEC, experiment, finished, planned, start

KEY = SPEC.key


class Clock:
    """A clock that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def ended(store: Store, run_id: str, **changes: object) -> None:
    with store.transaction() as transaction:
        transaction.finish_run(finished(run_id, cancelled=False, phase="test", stream="0", **changes))


def test_runs_are_numbered_as_they_are_taken_whatever_the_clocks_say(store: Store) -> None:
    ended(store, "a", index=0, started_at=5e9)
    with store.transaction() as transaction:
        assert transaction.number_runs(*KEY, 10) == 1
    ended(store, "b", index=1, started_at=1.0)
    with store.transaction() as transaction:
        assert transaction.untaken([KEY, ("other", "team")]) == [KEY]
        assert transaction.number_runs(*KEY, 10) == 1
        assert transaction.untaken([KEY]) == []
        assert [run.run_id for run in transaction.runs_after(*KEY, 0, 10)] == ["a", "b"]
        assert [run.run_id for run in transaction.runs_after(*KEY, 1, 10)] == ["b"]
        assert [run.run_id for run in transaction.runs_of(*KEY, 10)] == ["b", "a"]
        assert [run.run_id for run in transaction.runs_of(*KEY, 10, up_to=1)] == ["a"]
        assert [one.run_id for one in transaction.observations("e1", "test", 0, up_to=1)] == ["a"]
        assert [one.run_id for one in transaction.observations("e1", "test", 1)] == ["b"]


def test_a_run_whose_grade_is_awaited_is_numbered_when_it_has_come_or_no_longer_comes() -> None:
    clock = Clock()
    store = Store.in_memory(clock)
    with store.transaction() as transaction:
        for index, run_id in enumerate(("graded", "forgotten")):
            run = finished(run_id, cancelled=False, phase="test", stream="0", index=index)
            transaction.finish_run(run, None, 30.0)
        assert transaction.number_runs(*KEY, 10) == 0
        transaction.grade_run("graded", 0.25, 0.5)
        assert transaction.number_runs(*KEY, 10) == 1
        (run,) = transaction.runs_after(*KEY, 0, 10)
        assert (run.run_id, run.score, run.cost_usd) == ("graded", 0.25, 0.5)
    clock.now += 31.0
    with store.transaction() as transaction:
        assert transaction.number_runs(*KEY, 10) == 1
        assert transaction.grade_run("forgotten", 1.0, None) is False


def test_two_that_number_at_once_give_each_run_one_number(store: Store) -> None:
    for index in range(60):
        ended(store, f"r{index}", index=index)

    def number(_: int) -> int:
        with store.transaction() as transaction:
            return transaction.number_runs(*KEY, 7)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(number, range(16))) == 60
    with store.transaction() as transaction:
        numbers = [run.number for run in transaction.runs_after(*KEY, 0, 100)]
    assert numbers == list(range(1, 61))


def test_a_lease_is_held_by_one_and_taken_over_when_it_has_expired() -> None:
    clock = Clock()
    store = Store.in_memory(clock)
    with store.transaction() as transaction:
        first = transaction.take_lease(*KEY, "a", 5.0)
        assert first is not None
        assert transaction.take_lease(*KEY, "b", 5.0) is None
        assert transaction.take_lease(*KEY, "a", 5.0) == first
        transaction.save_judged(*KEY, 17)
    clock.now += 5.1
    with store.transaction() as transaction:
        second = transaction.take_lease(*KEY, "b", 5.0)
        assert second is not None
        assert second.fence > first.fence
        assert second.judged == 17
        transaction.check_lease(*KEY, "b", second.fence)
        with pytest.raises(LeaseLostError):
            transaction.check_lease(*KEY, "a", first.fence)
        transaction.give_back_lease(*KEY, "b", second.fence)
        third = transaction.take_lease(*KEY, "a", 5.0)
        assert third is not None
        assert third.fence > second.fence


def test_a_hundred_processes_of_one_run_each_fill_the_blocks_of_one(store: Store, url: str) -> None:
    with store.transaction() as transaction:
        transaction.save_experiment(experiment())
    places = []
    for number in range(100):
        with Store.open(url, process=ProcessId(f"p{number}", "host", number, 1.0)) as own:
            with own.transaction() as transaction:
                places.append(transaction.take_stream("e1", "test", block=2))
            with own.transaction() as transaction:
                name, index = places[-1]
                transaction.give_back_stream("e1", "test", name, index + 1)
    assert places == [("0", index) for index in range(100)]


def test_the_stream_of_a_dead_process_goes_on_at_its_next_block() -> None:
    clock = Clock()
    store = Store.in_memory(clock, process=ProcessId("mine", "host", 1, 1.0))
    assigned = planned(assignment=Assignment("e1", "test", "treatment", "0", 0))
    with store.transaction() as transaction:
        transaction.save_experiment(experiment())
        assert transaction.take_stream("e1", "test", block=2) == ("0", 0)
        transaction.start_run(start(), assigned)
        assert transaction.take_stream("e1", "test", block=2)[0] == "1"
    clock.now += 61.0
    with store.transaction() as transaction:
        assert transaction.take_stream("e1", "test", block=2) == ("0", 2)


def test_revisions_tell_what_changed(store: Store) -> None:
    before = store.identity()
    with store.transaction() as transaction:
        saved = transaction.save_team(transaction.team(*KEY))
    after = store.identity()
    assert after.id == before.id
    assert after.revision == saved.revision > before.revision
    with store.reading() as transaction:
        assert [state.key for state in transaction.changed_teams(before.revision)] == [KEY]
        assert transaction.changed_teams(after.revision) == []


def test_lines_of_a_journal_that_are_stored_never_become_fewer(store: Store) -> None:
    with store.transaction() as transaction:
        assert transaction.drained("p") == 0
        transaction.set_drained("p", 7)
        transaction.set_drained("p", 3)
        assert transaction.drained("p") == 7


def test_reading_waits_for_no_writer(store: Store, url: str) -> None:
    with Store.open(url) as other, store.transaction() as transaction:
        transaction.save_team(transaction.team(*KEY))
        with other.reading() as reading:
            assert reading.team(*KEY).version == 0
