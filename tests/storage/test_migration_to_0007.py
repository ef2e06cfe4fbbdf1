"""A store of schema 0006 becomes one of 0007: open tests end, and plans that were live are verified."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from attrs import evolve
from sqlalchemy import text

from victor_autotune_plugin._model.assignment import ASSIGNMENT_VERSION
from victor_autotune_plugin._model.experiment import Assignment, Experiment, TeamState
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.policy import Policy, WatchPolicy
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.former_states import REASON
from victor_autotune_plugin.storage.migrate import MIGRATIONS
from victor_autotune_testing.stored import SPEC, TUNED, experiment, finished, observation, planned, start

KEY = SPEC.key
PRINT = SPEC.fingerprint()
PASSED = {"status": "passed"}

Migrate = Callable[[Callable[[Store], None]], Store]


@pytest.fixture
def migrated(url: str) -> Migrate:
    """Fill a store, take its tables back to 0006 with the states of 0.1, and open it again."""

    def run(fill: Callable[[Store], None]) -> Store:
        with Store.open(url) as store:
            fill(store)
            session = store._connections.session()
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = session.connection
            command.downgrade(config, "0006")
            for row in session.execute(text("SELECT id, watch_policy FROM autotune_experiment")):
                policy = json.loads(row.watch_policy)
                for name in ("rule", "quiet_runs", "max_pairs"):
                    del policy[name]
                session.execute(
                    text("UPDATE autotune_experiment SET watch_policy = :policy WHERE id = :id").bindparams(
                        policy=json.dumps(policy), id=row.id
                    )
                )
        return Store.open(url)

    return run


def save(store: Store, *experiments: Experiment, **state: Any) -> None:
    with store.transaction() as transaction:
        for one in experiments:
            transaction.save_experiment(one)
        if state:
            of = {"fingerprint": PRINT, **state}
            transaction.save_team(evolve(transaction.team(*KEY), **of))


def proven(experiment_id: str = "e1", **changes: Any) -> Experiment:
    """One that 0.1 called `watched`; as `superseded` it called it `settled`."""
    of = {"decided_at": 5.0, "promoted_at": 5.0, "verdict": PASSED, "prices": None}
    watch = WatchPolicy(metric="cost", holdback=0.1, success_drop=0.07, p95_rise=0.9, alpha=0.01, max_runs=20)
    return experiment(experiment_id, **{"status": "proven", "watch_policy": watch, **of, **changes})


def observed(store: Store, phase: Any, arms: str, prefix: str, experiment_id: str = "e1") -> None:
    """Observe runs, `c` of the control and `t` of the treatment."""
    with store.transaction() as transaction:
        for index, arm in enumerate(arms):
            named = {"c": "control", "t": "treatment"}[arm]
            one = observation(f"{prefix}{index}", index=index, arm=named, stream="0")
            transaction.add_observation(experiment_id, phase, one)


def team_of(store: Store) -> TeamState:
    found = store.team(*KEY)
    assert found is not None
    return found


def states(store: Store) -> dict[str, str]:
    return {one.id: one.status for one in store.experiments()}


def test_an_open_test_ends_and_the_history_says_why(migrated: Migrate) -> None:
    def fill(store: Store) -> None:
        save(store, experiment(status="testing"), experiment_id="e1", plan=EMPTY_PLAN)

    with migrated(fill) as store:
        (ended,) = store.experiments()
        (told,) = store.changes()
        assert (ended.status, ended.ended_at, ended.verdict) == ("aborted", told.at, None)
        assert ended.ended_at is not None
        assert (ended.watch_policy.rule, ended.watch_policy.holdback) == ("reference", 0.1)
        assert (told.action, told.actor, told.reason, told.experiment_id) == ("aborted", "auto", REASON, "e1")
        assert (told.plan_before, told.plan_after, told.by) == (EMPTY_PLAN, EMPTY_PLAN, None)
        state = team_of(store)
        assert (state.experiment_id, state.live_id, state.revision) == (None, None, store.identity().revision)
        with store.reading() as transaction:
            assert transaction.changed_teams(state.revision - 1) == [state]


def test_a_draft_awaits_approval_by_the_rules_of_today(migrated: Migrate) -> None:
    former = experiment("e1", status="draft", policy=Policy(rule="pocock", alpha=0.03), assignment_version="old")
    other = experiment("e2", status="draft", policy=Policy(rule="e_logs"))
    with migrated(lambda store: save(store, former, other, paused=True)) as store:
        asked, second = store.experiment("e1"), store.experiment("e2")
        assert asked == evolve(
            former,
            status="awaits_approval",
            policy=Policy(rule="signed_rank", alpha=0.03),
            watch_policy=WatchPolicy(),
            assignment_version=ASSIGNMENT_VERSION,
        )
        assert second is not None
        assert second.policy == Policy(rule="e_logs")
        assert {one.id for one in store.experiments_that_await()} == {"e1", "e2"}
        with store.transaction() as transaction:
            transaction.save_experiment(evolve(asked, status="canary"))


def test_a_watched_plan_that_is_live_is_verified_by_an_experiment_of_its_own(migrated: Migrate) -> None:
    before = proven(allowed_by="score", task_effects={"task-1": 0.5})

    def fill(store: Store) -> None:
        save(store, before, experiment_id="e1", plan=TUNED)
        observed(store, "test", "cttc", "test")
        observed(store, "watch", "ttct", "watch")

    with migrated(fill) as store:
        proof, live = store.experiment("e1"), store.experiment("e1-live")
        assert proof is not None
        assert live is not None
        assert proof.ended_at is not None
        reference = WatchPolicy(
            **{**before.watch_policy.to_dict(), "rule": "reference", "quiet_runs": 10_000, "max_pairs": 30}
        )
        assert proof == evolve(before, status="superseded", ended_at=proof.ended_at, watch_policy=reference)
        kept = ["test0", "test1", "test2", "test3", "watch0", "watch1", "watch3"]
        assert live == evolve(
            before,
            id="e1-live",
            proven_by="e1",
            assignment_version=ASSIGNMENT_VERSION,
            watch_policy=WatchPolicy(metric="cost", success_drop=0.07, p95_rise=0.9),
            decided_at=None,
            verdict=None,
            reference=tuple(
                observation(run_id, index=index, arm=arm, models="")
                for index, (run_id, arm) in enumerate(
                    zip(kept, ("control", "treatment", "treatment", "control", *["treatment"] * 3), strict=True)
                )
            ),
        )
        state = team_of(store)
        assert (state.live_id, state.experiment_id, state.plan) == ("e1-live", None, TUNED)
        assert state.revision == store.identity().revision > 1
        assert store.changes() == []


def test_it_goes_on_as_any_other(migrated: Migrate) -> None:
    def fill(store: Store) -> None:
        save(store, proven(), experiment_id="e1", plan=TUNED)

    with migrated(fill) as store, store.transaction() as transaction:
        live = transaction.experiment("e1-live")
        assert live is not None
        assert [one.id for one in transaction.open_experiments(["e1", "e1-live"])] == ["e1-live"]
        assert transaction.take_stream(live.id, "watch", block=50) == ("0", 0)
        transaction.save_experiment(evolve(live, status="reverifying", rounds=1))
        transaction.save_team(evolve(transaction.team(*KEY), paused=True))


def test_the_last_runs_are_kept_and_no_more(migrated: Migrate) -> None:
    def fill(store: Store) -> None:
        save(store, proven(), experiment_id="e1", plan=TUNED)
        observed(store, "test", "ct" * 120, "test")
        observed(store, "watch", "t" * 150, "watch")

    with migrated(fill) as store:
        live = store.experiment("e1-live")
        assert live is not None
        plan = [one.run_id for one in live.reference if one.arm == "treatment"]
        control = [one.run_id for one in live.reference if one.arm == "control"]
        assert plan == [*(f"test{index}" for index in range(141, 240, 2)), *(f"watch{index}" for index in range(150))]
        assert control == [f"test{index}" for index in range(40, 240, 2)]
        assert [one.index for one in live.reference] == list(range(300))


def test_of_several_settled_ones_the_last_whose_plan_is_live_is_verified(migrated: Migrate) -> None:
    other = TeamPlan(tool_budget=3)

    def fill(store: Store) -> None:
        save(
            store,
            proven("a", status="superseded", promoted_at=1.0, ended_at=2.0),
            proven("b", status="superseded", promoted_at=3.0, ended_at=4.0),
            proven("c", status="superseded", promoted_at=5.0, ended_at=6.0, treatment=other),
            proven("d", status="superseded", promoted_at=7.0, ended_at=8.0, fingerprint="another"),
            proven("e", status="rolled_back", promoted_at=9.0, ended_at=9.5),
            plan=TUNED,
        )

    with migrated(fill) as store:
        expected = {**dict.fromkeys("abcd", "superseded"), "e": "rolled_back", "b-live": "proven"}
        assert states(store) == expected
        assert team_of(store).live_id == "b-live"
        ends = {one.id: one.ended_at for one in store.experiments()}
        assert ends == {"a": 2.0, "b": 4.0, "c": 6.0, "d": 8.0, "e": 9.5, "b-live": None}
        assert {one.watch_policy.rule for one in store.experiments() if one.id != "b-live"} == {"reference"}


def test_a_live_plan_under_which_another_change_was_tested_is_verified_and_the_test_ends(migrated: Migrate) -> None:
    def fill(store: Store) -> None:
        settled = proven("a", status="superseded", promoted_at=1.0, ended_at=2.0)
        test = experiment("b", status="testing", control=TUNED, treatment=TeamPlan(tool_budget=3))
        save(store, settled, test, experiment_id="b", plan=TUNED)

    with migrated(fill) as store:
        assert states(store) == {"a": "superseded", "b": "aborted", "a-live": "proven"}
        assert (team_of(store).experiment_id, team_of(store).live_id) == (None, "a-live")
        (told,) = store.changes()
        assert (told.experiment_id, told.plan_before, told.plan_after) == ("b", TUNED, TUNED)


@pytest.mark.parametrize("state", [{"plan": TeamPlan(tool_budget=3)}, {"plan": TUNED, "fingerprint": "another"}])
def test_a_plan_that_is_live_no_more_is_verified_by_nothing(migrated: Migrate, state: dict[str, Any]) -> None:
    with migrated(lambda store: save(store, proven(), experiment_id="e1", **state)) as store:
        assert states(store) == {"e1": "superseded"}
        found = team_of(store)
        assert (found.experiment_id, found.live_id, found.plan) == (None, None, state["plan"])


def test_a_plan_that_a_person_applied_is_compared_with_the_runs_that_its_watch_had(migrated: Migrate) -> None:
    earlier = tuple(observation(f"old{index}", index=index, arm="control") for index in range(3))
    applied = proven(decided_at=None, verdict=None, reference=earlier, allowed_by="person")

    def fill(store: Store) -> None:
        save(store, applied, experiment_id="e1", plan=TUNED)
        observed(store, "watch", "tct", "watch")

    with migrated(fill) as store:
        live = store.experiment("e1-live")
        assert live is not None
        assert [one.run_id for one in live.reference] == ["old0", "old1", "old2", "watch0", "watch2"]
        assert [one.arm for one in live.reference] == [*["control"] * 3, *["treatment"] * 2]
        assert (live.allowed_by, live.is_untested, live.proven_by) == ("person", True, "e1")


def test_what_went_missing_before_is_not_observed_afterwards(migrated: Migrate) -> None:
    def fill(store: Store) -> None:
        save(store, experiment(status="testing"), experiment_id="e1")
        with store.transaction() as transaction:
            for run_id in ("lost", "late"):
                place = planned(assignment=Assignment("e1", "test", "treatment", "0", 0))
                transaction.start_run(start(run_id), place, "gone")
            transaction.mark_lost()
            transaction.finish_run(finished("late", phase="test", index=0, stream="0"), "gone")

    with migrated(fill) as store:
        with store.transaction() as transaction:
            assert transaction.untaken([KEY]) == []
            assert transaction.number_runs(*KEY, 10) == 0
        assert store.observations("e1", "test") == []


def test_teams_of_every_environment_are_renewed(migrated: Migrate) -> None:
    def fill(store: Store) -> None:
        for environment in ("default", "staging"):
            with store.of(environment).transaction() as transaction:
                transaction.save_experiment(proven(f"e-{environment}", environment=environment))
                of = {"plan": TUNED, "fingerprint": PRINT, "experiment_id": f"e-{environment}"}
                transaction.save_team(evolve(transaction.team(*KEY), **of))

    with migrated(fill) as store:
        assert {state.environment: state.live_id for state in store.teams()} == {
            "default": "e-default-live",
            "staging": "e-staging-live",
        }
        assert {one.environment for one in store.of("staging").experiments()} == {"staging"}


def test_an_empty_store_stays_empty(migrated: Migrate) -> None:
    with migrated(lambda store: None) as store:
        assert not any(store.counts().values())
        assert store.identity().revision == 0
