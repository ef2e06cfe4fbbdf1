"""Teams of one name in two environments share nothing; a person may look at all, and pause all."""

from __future__ import annotations

from attrs import evolve

from victor_autotune_plugin._model.experiment import Change
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin.storage import Store
from victor_autotune_testing.stored import SPEC, experiment, finished

KEY = SPEC.key


def finished_in(store: Store, run_id: str, environment: str, at: float = 100.0) -> None:
    with store.transaction() as transaction:
        run = finished(run_id, started_at=at, experiment_id=None, arm=None, environment=environment)
        transaction.finish_run(run)


def test_state_history_experiments_and_runs_are_of_one_environment(store: Store) -> None:
    staging, live = store.of("staging"), store.of("live")
    for one, plan in ((staging, TeamPlan(formation="parallel")), (live, TeamPlan(tool_budget=3))):
        name = one.environment or ""
        with one.transaction() as transaction:
            state = transaction.team(*KEY)
            assert (state.version, state.environment) == (0, name)
            transaction.save_team(evolve(state, plan=plan))
            transaction.save_experiment(experiment(f"e-{name}", environment=name))
            transaction.add_change(Change(None, 5.0, *KEY, "promoted", "auto", name, environment=name))
        finished_in(one, f"r-{name}", name)
    for one, plan in ((staging, TeamPlan(formation="parallel")), (live, TeamPlan(tool_budget=3))):
        name = one.environment or ""
        state = one.team(*KEY)
        assert state is not None
        assert (state.plan, state.environment) == (plan, name)
        assert [run.run_id for run in one.runs()] == [f"r-{name}"]
        assert [change.reason for change in one.changes()] == [name]
        assert [found.id for found in one.experiments()] == [f"e-{name}"]
        with one.reading() as transaction:
            assert [found.environment for found in transaction.changed_teams(-1)] == [name]
            assert [found.id for found in transaction.experiments_of(*KEY)] == [f"e-{name}"]
            assert [change.reason for change in transaction.changes_of(*KEY)] == [name]


def test_each_environment_numbers_and_judges_its_own_runs(store: Store) -> None:
    for number in range(3):
        finished_in(store, f"s{number}", "staging", 100.0 + number)
    finished_in(store, "l0", "live")
    staging, live = store.of("staging"), store.of("live")
    with staging.transaction() as transaction:
        assert transaction.untaken([KEY]) == [KEY]
        assert transaction.number_runs(*KEY, 10) == 3
        first = transaction.take_lease(*KEY, "one judge", 5.0)
    with live.transaction() as transaction:
        second = transaction.take_lease(*KEY, "another judge", 5.0)
        assert transaction.number_runs(*KEY, 10) == 1
        assert [(run.run_id, run.number) for run in transaction.runs_after(*KEY, 0, 10)] == [("l0", 1)]
    assert first is not None
    assert second is not None


def test_a_person_may_look_at_all_of_them(store: Store) -> None:
    for number, environment in enumerate(("default", "staging", "staging")):
        finished_in(store, f"r{number}", environment, 100.0 + number)
    everywhere = store.of(None)
    assert {run.run_id for run in everywhere.runs()} == {"r0", "r1", "r2"}
    assert everywhere.environments() == {"default": 1, "staging": 1}
    assert everywhere.last_seen() == {KEY: 102.0}
    assert store.of("default").last_seen() == {KEY: 100.0}


def test_a_pause_of_all_is_of_the_whole_store_and_noticed_by_its_revision(store: Store) -> None:
    before = store.identity()
    with store.of("staging").transaction() as transaction:
        assert transaction.pause_all(True)
    paused = store.identity()
    assert (before.paused, paused.paused) == (False, True)
    assert paused.revision > before.revision
    with store.transaction() as transaction:
        assert not transaction.pause_all(True)
    assert store.identity() == paused
    with store.transaction() as transaction:
        assert transaction.pause_all(False)
    assert store.identity().paused is False
