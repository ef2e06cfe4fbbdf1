"""Observations of several experiments, in order: what a live plan is verified by, and what a team's tests cost."""

from __future__ import annotations

import pytest
from attrs import evolve

from victor_autotune_plugin._model.assignment import OF_TEST
from victor_autotune_plugin._model.experiment import STATES, TESTED, Assignment, Phase
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.tables import AWAITING
from victor_autotune_testing.stored import SPEC, experiment, finished, missing, observation, pass_time, planned, start

KEY = SPEC.key
LIVE = experiment("live", status="proven")


def run(run_id: str, experiment_id: str, phase: Phase, arm: str, index: int = 0, **changes: object) -> TeamRun:
    place = {"experiment_id": experiment_id, "phase": phase, "arm": arm, "index": index, "stream": "canary:0"}
    return finished(run_id, cancelled=False, **{**place, **changes})


def judged(store: Store, *runs: TeamRun) -> None:
    """Let runs end and be numbered, one after the other."""
    for one in runs:
        with store.transaction() as transaction:
            transaction.finish_run(one)
            assert transaction.number_runs(*one.spec.key, 10) == 1


@pytest.fixture
def live(store: Store) -> Store:
    """A store with a live plan that is the control of two tests, and one that another plan is the control of."""
    with store.transaction() as transaction:
        transaction.save_experiment(LIVE)
        for name, control in (("first", "live"), ("second", "live"), ("third", "another"), ("fourth", None)):
            transaction.save_experiment(experiment(name, control_id=control))
    judged(
        store,
        run("a", "live", "watch", "treatment"),
        run("b", "first", "test", "control", 1),
        run("c", "first", "test", "treatment", 2),
        run("d", "live", "watch", "control", 1),
        run("e", "third", "test", "control"),
        run("f", "second", "test", "control", 3, stream="0"),
        run("g", "live", "test", "control"),
        run("h", "fourth", "test", "control"),
        run("i", "live", "watch", "treatment", 2),
        run("j", "first", "watch", "control", 9),
    )
    return store


def test_a_live_plan_is_observed_by_its_watch_and_as_the_control_of_later_tests(live: Store) -> None:
    with live.reading() as transaction:
        found = transaction.live_observations("live")
    assert [(one.run_id, one.arm, one.stream, one.index) for one in found] == [
        ("a", "treatment", "canary:0", 0),
        ("b", "treatment", f"{OF_TEST}first:canary:0", 1),
        ("d", "control", "canary:0", 1),
        ("f", "treatment", f"{OF_TEST}second:0", 3),
        ("i", "treatment", "canary:0", 2),
    ]
    with live.reading() as transaction:
        orders = [one.order for one in found]
        assert orders == sorted({one.number for one in transaction.runs_of(*KEY, 10)} & {*orders})
        for index, order in enumerate(orders):
            assert transaction.live_observations("live", order) == found[index + 1 :]
            assert transaction.live_observations("live", up_to=order) == found[: index + 1]
        assert transaction.live_observations("nobody") == []
    assert live.live_observations("live") == found
    assert live.live_observations("live", up_to=orders[1]) == found[:2]


def test_a_run_of_the_control_that_went_missing_is_observed_too(live: Store) -> None:
    with live.transaction() as transaction:
        place = planned(assignment=Assignment("first", "test", "control", "0", 4))
        transaction.start_run(start("lost", task_key=None), place, "gone")
        assert transaction.mark_lost() == ("lost",)
        assert transaction.number_runs(*KEY, 10) == 1
        found = transaction.live_observations("live")[-1]
    assert found == missing("lost", index=4, order=found.order, stream=f"{OF_TEST}first:0", task_key=None)


def test_runs_of_a_control_are_numbered_behind_what_its_experiment_has_seen(store: Store) -> None:
    """As after an import, which brings orders of another store with it."""
    with store.transaction() as transaction:
        transaction.save_experiment(LIVE)
        transaction.save_experiment(experiment("test", control_id="live"))
        transaction.add_observation("live", "watch", observation("imported", order=700))
    judged(store, run("new", "test", "test", "control"))
    assert [(one.run_id, one.order) for one in store.live_observations("live")] == [("imported", 700), ("new", 701)]


def test_what_the_tests_of_a_team_observed_since_a_time_is_given_with_its_experiment(store: Store) -> None:
    other = evolve(SPEC, team_id="other")
    judged(
        store,
        run("before", "e1", "test", "control", started_at=99.5),
        run("newest", "e1", "test", "control", started_at=300.0),
        run("watched", "e2", "watch", "treatment", started_at=100.0),
        run("elsewhere", "e1", "test", "control", spec=other, started_at=200.0),
        evolve(run("cancelled", "e1", "test", "treatment", started_at=200.0), cancelled=True),
        finished("outside", experiment_id=None, arm=None, started_at=200.0),
    )
    with store.transaction() as transaction:
        transaction.finish_run(run("not judged", "e1", "test", "control", started_at=200.0))
    with store.reading() as transaction:
        found = transaction.test_runs_since(*KEY, 100.0)
        everything = transaction.observations("e1", "test")
        assert transaction.test_runs_since(*KEY, 300.5) == []
    assert [(name, one.run_id) for name, one in found] == [("e1", "newest"), ("e1", "cancelled")]
    assert {one.order for _, one in found} < {one.order for one in everything}
    assert all(one in everything for _, one in found)


def test_environments_have_tests_of_their_own(store: Store) -> None:
    with store.of("staging").transaction() as transaction:
        transaction.finish_run(run("there", "e1", "test", "control", environment="staging"))
        assert transaction.number_runs(*KEY, 10) == 1
        assert len(transaction.test_runs_since(*KEY, 0.0)) == 1
    with store.reading() as transaction:
        assert transaction.test_runs_since(*KEY, 0.0) == []


def test_who_is_awaited_is_what_the_states_say() -> None:
    awaiting = {name for name, state in STATES.items() if state.awaits_person}
    assert {*AWAITING.split("'")[1::2]} == awaiting | {*TESTED}


def test_a_process_that_died_in_a_stage_leaves_its_runs_as_missing(store: Store) -> None:
    with store.transaction() as transaction:
        transaction.save_experiment(experiment(status="canary"))
        name, index = transaction.take_stream("e1", "test", block=4, stage="canary")
        place = planned(assignment=Assignment("e1", "test", "treatment", name, index))
        transaction.start_run(start(task_key=None), place)
    pass_time(store, 61.0)
    with store.transaction() as transaction:
        assert transaction.mark_lost() == ("r1",)
        assert transaction.number_runs(*KEY, 10) == 1
        assert transaction.take_stream("e1", "test", block=4, stage="canary") == ("canary:0", 4)
    assert store.observations("e1", "test") == [missing(stream="canary:0", order=1, task_key=None)]
