"""From state to state: canary, probation, approval, proof, verification, and what bounds the bad runs on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.experiment import STATES, Experiment
from victor_autotune_plugin._model.optimization import (
    OptimizationPriority,
    OptimizationSuggestion,
    OptimizationType,
)
from victor_autotune_plugin._model.plan import EMPTY_PLAN, MemberSpec, TeamPlan
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation, no_difference

PARALLEL = TeamPlan(formation="parallel")


@pytest.fixture(autouse=True)
def no_faults() -> Iterator[None]:
    """Nothing may go wrong behind the scenes in these tests."""
    yield
    assert failsafe.seen() == ()


class Start:
    """Makes simulated teams and closes them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._teams: list[Simulation] = []

    def __call__(self, **settings: Any) -> Simulation:
        team = Simulation(self._folder / str(len(self._teams)), in_memory=True, **settings)
        self._teams.append(team)
        return team

    def close(self) -> None:
        for team in self._teams:
            team.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    made = Start(tmp_path)
    yield made
    made.close()


def latest(team: Simulation) -> Experiment:
    return team.experiments()[0]


def run_until_status(team: Simulation, status: str, most: int = 400) -> Experiment:
    for _ in range(most):
        if team.experiments() and latest(team).status == status:
            return latest(team)
        team.run()
    raise AssertionError(f"no experiment became {status}: {[one.status for one in team.experiments()]}")


def test_a_test_begins_with_one_treatment_in_four_and_goes_on_with_halves(start: Start) -> None:
    team = start(truth=no_difference)
    team.run_until("started")
    assert latest(team).status == "canary"
    canary = []
    while latest(team).status == "canary":
        canary.append(team.run())
    assert {(run.stream or "").partition(":")[0] for run in canary} == {"canary"}
    assert all(Counter(run.arm for run in canary[n : n + 4])["treatment"] == 1 for n in (0, 4))
    assert Counter(run.arm for run in canary)["treatment"] == 3
    assert latest(team).status == "testing"
    halves = [team.run() for _ in range(10)]
    assert Counter(run.arm for run in halves) == {"control": 5, "treatment": 5}


def test_a_plan_six_times_slower_costs_few_runs(start: Start) -> None:
    costs = []
    for seed in range(9):
        team = start(truth=lambda plan, members: sum(members) * (6 if plan.formation else 1), seed=seed)
        team.run_until("failed", 60)
        costs.append(sum(run.arm == "treatment" for run in team.store.finished_runs(*SPEC.key, limit=1000)))
    assert sorted(costs)[4] <= 4
    assert max(costs) <= 8


def test_what_the_data_flow_keeps_goes_live_on_probation_and_is_proven_there(start: Start) -> None:
    team = start(scored=False)
    change = team.run_until("probation")
    assert team.state().plan == PARALLEL
    assert latest(team).status == "probation"
    assert (change.plan_before, change.plan_after, change.rollback_plan) == (EMPTY_PLAN, PARALLEL, EMPTY_PLAN)
    arms = Counter(team.run().arm for _ in range(20))
    assert arms["treatment"] == pytest.approx(14, abs=2)
    team.run_until("promoted")
    assert latest(team).status == "proven"
    assert team.state().live_id == latest(team).id
    assert team.state().experiment_id is None


def test_a_plan_on_probation_that_does_harm_goes(start: Start) -> None:
    team = start(scored=False)
    team.run_until("probation")
    team.truth = lambda plan, members: by_formation(plan, members) * (8 if plan.formation else 1)
    for _ in range(40):
        team.run()
        if latest(team).has_ended:
            break
    assert latest(team).status in ("failed", "rolled_back")  # by the test, or by the bad runs of the week
    assert (team.state().plan, team.state().live_id) == (EMPTY_PLAN, None)


def test_a_plan_on_probation_that_turns_out_slower_goes(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("victor_autotune_plugin.experiment.judge.is_futile", lambda *_: False)  # which is later, mostly
    team = start(scored=False, **{"experiment.min_runs_per_arm": 60})
    team.run_until("probation")
    team.truth = lambda plan, members: sum(members) * (1.2 if plan.formation else 1)
    ended = team.run_until("inconclusive")
    assert "likely to be better after" in ended.reason
    assert (latest(team).verdict or {})["effect"] > 0  # by which its runs count as spent on a worse plan
    assert (team.state().plan, team.state().live_id) == (EMPTY_PLAN, None)


def test_a_person_can_ask_for_proof_before_anything_goes_live(start: Start) -> None:
    team = start(scored=False, promotion="proof", **{"experiment.success_margin": 0.3})
    run_until_status(team, "proven")
    actions = [change.action for change in team.changes()]
    assert actions.index("promoted") >= 0
    if "probation" in actions:  # proven faster, while success is still to be proven
        probation = next(change for change in team.changes() if change.action == "probation")
        assert probation.evidence["may_go_live"]


def test_a_change_of_the_work_never_goes_on_probation(start: Start) -> None:
    team = start()
    team.flow = None
    team.run_until("promoted")
    assert latest(team).allowed_by == "score"
    assert "probation" not in [change.action for change in team.changes()]


# --- approval


def test_a_person_approves_the_start_and_the_promotion_and_the_history_names_them(start: Start) -> None:
    team = start(mode="approve")
    team.run_until("awaits_approval")
    waiting = latest(team)
    assert STATES[waiting.status].awaits_person
    assert team.run().arm is None
    started = team.runtime.manual.approve(*SPEC.key, experiment_id=waiting.id, by="Ada")
    assert (started.action, started.actor, started.by) == ("started", "person", "Ada")
    team.run_until("awaits_promotion")
    assert team.state().plan == EMPTY_PLAN
    plans = {team.start()[1].plan for _ in range(5)}
    assert plans == {PARALLEL}  # the slower arm has no more runs
    promoted = team.runtime.manual.approve(*SPEC.key, by="Ada")
    assert (promoted.action, promoted.by, team.state().plan) == ("promoted", "Ada", PARALLEL)
    assert promoted.improvement_percent is not None
    assert promoted.improvement_percent > 5


def test_what_a_person_rejects_does_not_come_back_at_once(start: Start) -> None:
    team = start(mode="approve")
    team.run_until("awaits_approval")
    rejected = team.runtime.manual.reject(*SPEC.key, by="Ada", reason="Not this week.")
    assert (rejected.action, rejected.reason, rejected.by) == ("rejected", "Not this week.", "Ada")
    before = len(team.experiments())
    for _ in range(20):
        team.run()
    assert len(team.experiments()) == before


def test_a_rejected_promotion_leaves_the_team_as_it_was(start: Start) -> None:
    team = start(mode="approve")
    team.run_until("awaits_approval")
    team.runtime.manual.approve(*SPEC.key, by="Ada")
    team.run_until("awaits_promotion")
    team.runtime.manual.reject(*SPEC.key, by="Ada")
    assert team.state().plan == EMPTY_PLAN
    assert team.run().plan_asked == EMPTY_PLAN


def test_only_the_change_that_was_shown_is_approved(start: Start) -> None:
    team = start(mode="approve")
    with pytest.raises(AutotuneError, match="awaits a person"):
        team.runtime.manual.approve(*SPEC.key, by="Ada")
    team.run_until("awaits_approval")
    with pytest.raises(AutotuneError, match="another"):
        team.runtime.manual.approve(*SPEC.key, experiment_id="another", by="Ada")
    team.spec = evolve(SPEC, members=[*SPEC.members, MemberSpec("e", "researcher")])
    team.run()
    with pytest.raises(AutotuneError, match=r"changed since|awaits a person"):
        team.runtime.manual.approve(*SPEC.key, by="Ada")


def test_probation_is_asked_for_while_the_test_goes_on(start: Start) -> None:
    team = start(mode="approve", scored=False, **{"experiment.min_history": 12})
    team.run_until("awaits_approval")
    team.runtime.manual.approve(*SPEC.key, by="Ada")
    for _ in range(200):
        team.run()
        if latest(team).asks_for is not None:
            break
    assert (latest(team).asks_for, latest(team).status) == ("probation", "testing")
    assert team.run().arm is not None
    team.runtime.manual.approve(*SPEC.key, by="Ada")
    assert (latest(team).status, latest(team).asks_for, team.state().plan) == ("probation", None, PARALLEL)


# --- bad runs


def test_bad_runs_of_a_week_are_bounded(start: Start) -> None:
    team = start(truth=no_difference, **{"limits.max_bad_runs_per_week": 3, "experiment.success_margin": 0.9})
    team.run_until("started")
    bad = 0
    for _ in range(200):
        event, planned = team.start()
        worse = planned.plan == PARALLEL
        bad += worse
        run = team.finish(event, planned, success=not worse, member_success_share=0.0 if worse else 1.0)
        if latest(team).has_ended:
            break
        assert run
    assert latest(team).has_ended
    assert bad <= 5
    actions = [change.action for change in team.changes()]
    for _ in range(30):
        team.run()
    assert [change.action for change in team.changes()] == actions  # nothing is tested while the week goes on


def test_runs_that_die_are_counted_by_arm_and_end_the_test(start: Start) -> None:
    team = start(truth=no_difference, **{"limits.max_bad_runs_per_week": 1000})
    team.run_until("started")
    died = 0
    for _ in range(120):
        event, planned = team.start()
        if planned.plan == PARALLEL and died < 60:
            died += 1
            with team.store.transaction() as transaction:
                transaction.start_run(event, planned, "a process that died")
                transaction.mark_lost(0.0)
            team.stepped.clock.now += 1.0
            continue
        team.finish(event, planned)
        if latest(team).has_ended:
            break
    assert latest(team).status == "failed"
    assert died <= 8
    verdict = latest(team).verdict
    assert verdict is not None
    assert verdict["missing"]["treatment"] >= 2


# --- for as long as it lives


def test_a_plan_that_turns_bad_long_after_its_proof_is_verified_again_and_goes(start: Start) -> None:
    team = start()
    team.run_until("promoted")
    for _ in range(200):
        team.run()
    assert latest(team).status == "proven"
    team.truth = lambda plan, members: by_formation(plan, members) * (12 if plan.formation else 1)
    team.run_until("reverifying", 60)
    assert team.state().plan == PARALLEL
    arms = Counter(team.run().arm for _ in range(8))
    assert arms == {"control": 4, "treatment": 4}
    change = team.run_until("rolled_back", 80)
    assert (team.state().plan, team.state().live_id, change.actor) == (EMPTY_PLAN, None, "auto")


def test_what_slows_both_plans_down_leaves_the_better_one(start: Start) -> None:
    team = start()
    team.run_until("promoted")
    for _ in range(30):
        team.run()
    team.truth = lambda plan, members: 2.5 * by_formation(plan, members)
    for _ in range(200):
        team.run()
    assert team.state().plan == PARALLEL
    assert latest(team).is_verified


def test_a_holdback_stays_on_the_plan_before(start: Start) -> None:
    team = start(**{"watch.holdback": 0.02})
    team.run_until("promoted")
    arms = Counter(team.run().arm for _ in range(100))
    assert arms["control"] == 2
    none = start(**{"watch.holdback": 0.0})
    none.run_until("promoted")
    assert Counter(none.run().arm for _ in range(30))["control"] == 0


def test_a_test_on_top_of_a_proven_plan_takes_its_place_when_it_passes(start: Start) -> None:
    team = start()
    team.run_until("promoted")
    first = latest(team)
    second = TeamPlan(formation="consensus")
    team.truth = lambda plan, members: by_formation(plan, members) * (0.4 if plan.formation == "consensus" else 1)
    start_by_hand(team, second)
    assert latest(team).control_id == first.id
    team.run_until("promoted")
    statuses = {one.id: one.status for one in team.experiments()}
    assert statuses == {first.id: "superseded", latest(team).id: "proven"}
    team.runtime.manual.roll_back(*SPEC.key)
    assert team.state().plan == PARALLEL
    for _ in range(3):
        team.run()
    again = latest(team)
    assert (again.status, again.treatment, again.proven_by) == ("proven", PARALLEL, first.id)
    assert team.state().live_id == again.id


def test_a_live_plan_is_verified_while_something_is_tested_over_it(start: Start) -> None:
    team = start()
    team.run_until("promoted")
    for _ in range(30):
        team.run()
    start_by_hand(team, TeamPlan(formation="consensus"))
    team.run()
    assert latest(team).is_tested
    team.truth = lambda plan, members: by_formation(plan, members) * (12 if plan.formation else 1)
    team.run_until("reverifying", 200)
    assert latest(team).status == "aborted"
    team.run_until("rolled_back", 80)
    assert team.state().plan == EMPTY_PLAN


def start_by_hand(team: Simulation, plan: TeamPlan) -> None:
    suggestion = OptimizationSuggestion(
        type=OptimizationType.FORMATION_SELECTION,
        priority=OptimizationPriority.HIGH,
        description=f"Try {plan.formation}.",
        current_config={"formation": "sequential"},
        suggested_config={"formation": plan.formation},
        expected_improvement=20.0,
        confidence=0.9,
        risk_level=0.2,
    )
    team.runtime.manual.start_test(SPEC.key, suggestion, team.runtime.settings(SPEC), {})


def test_everything_replays_bit_for_bit(start: Start) -> None:
    team = start(scored=False)
    team.run_until("promoted")
    for _ in range(20):
        team.run()
    team.truth = lambda plan, members: by_formation(plan, members) * (12 if plan.formation else 1)
    team.run_until("rolled_back", 200)
    found = replay_all(team.store, team.experiments())
    assert found
    assert [one.differences for one in found] == [{}] * len(found)


def test_every_state_that_is_reached_follows_from_the_one_before() -> None:
    for name, state in STATES.items():
        assert set(state.next) <= set(STATES), name
        assert not (state.is_live and not state.takes_runs), name
    reached = {following for state in STATES.values() for following in state.next} | {"draft"}
    assert reached == set(STATES)
