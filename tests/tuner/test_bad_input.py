"""No history, failures only, renamed members, damaged state: defined, and never an exception in the loop."""

from __future__ import annotations

import json
import math

import pytest
from attrs import evolve

from victor_autotune_plugin._model.plan import EMPTY_PLAN, MemberSpec, TeamPlan
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin._tuner import MemberFacts, Objective, RunFacts, Tuner, plan_space

PARALLEL = TeamPlan(formation="parallel")


def test_without_a_run_nothing_is_proposed(spec) -> None:
    proposal = Tuner(plan_space(spec)).propose()
    assert proposal.plan is None
    assert proposal.nothing_because == "No run of this team was recorded yet."


def test_when_all_runs_failed_the_success_left_to_lose_is_small_and_nothing_breaks(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    for facts in make_runs(40):
        tuner.observe(evolve(facts, success=False, score=0.0, members=()))
    data = json.dumps(tuner.propose().to_dict())
    assert "NaN" not in data
    assert "Infinity" not in data


def test_runs_of_zero_seconds_and_without_members_are_borne(spec) -> None:
    tuner = Tuner(plan_space(spec))
    for _ in range(5):
        tuner.observe(RunFacts(EMPTY_PLAN, 0.0, True, 1.0))
        tuner.observe(RunFacts(EMPTY_PLAN, 10.0, True, 1.0, members=[MemberFacts("m0", 0.0), MemberFacts("x", 3.0)]))
    assert "NaN" not in json.dumps(tuner.propose().to_dict())


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"duration_seconds": math.nan}, "duration_seconds"),
        ({"duration_seconds": -1.0}, "duration_seconds"),
        ({"score": 1.5}, "score"),
        ({"cost_usd": math.inf}, "cost_usd"),
    ],
)
def test_impossible_facts_are_refused_by_name(wrong, name) -> None:
    with pytest.raises(ValueError, match=name):
        RunFacts(**{"plan": EMPTY_PLAN, "duration_seconds": 1.0, "success": True, "score": 1.0, **wrong})


def test_members_renamed_between_runs_tell_nothing_wrong(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    old = [evolve(facts, members=[evolve(m, id=f"old-{m.id}") for m in facts.members]) for facts in make_runs(20)]
    for facts in [*old, *make_runs(20)]:
        tuner.observe(facts)
    assert tuner.propose().chosen is not None


def test_runs_of_plans_that_the_team_can_no_longer_run_are_passed_over(spec, make_runs) -> None:
    tuner, other = Tuner(plan_space(spec)), Tuner(plan_space(spec))
    for facts in make_runs(20):
        tuner.observe(facts)
        other.observe(facts)
    tuner.observe(RunFacts(TeamPlan(members=("gone", "m0")), 500.0, False, 0.0))
    tuner.observe(RunFacts(TeamPlan(formation="removed by a new version"), 500.0, False, 0.0))
    assert tuner.propose().to_dict() == other.propose().to_dict()
    with pytest.raises(KeyError):
        tuner.predict_seconds(TeamPlan(formation="removed by a new version"))


def test_a_state_is_taken_over_bit_for_bit(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    runs = [*make_runs(70), *make_runs(10, PARALLEL, seed=2)]
    for facts in runs:
        tuner.observe(facts)
    tuner.started(PARALLEL)
    text = json.dumps(tuner.to_dict())
    restored = Tuner.restored(text, [], plan_space(spec))
    assert json.dumps(restored.to_dict()) == text
    for one in (tuner, restored):
        for facts in make_runs(5, PARALLEL, seed=3):
            one.observe(facts)
    assert restored.propose(4).to_dict() == tuner.propose(4).to_dict()
    assert restored.outlook(PARALLEL).to_dict() == tuner.outlook(PARALLEL).to_dict()


@pytest.mark.parametrize("damage", ["none", "text", "version", "numbers", "cut", "members", "list", "missing", "nan"])
def test_a_damaged_state_is_rebuilt_from_the_runs(spec, make_runs, damage) -> None:
    runs = make_runs(25)
    tuner = Tuner(plan_space(spec))
    for facts in runs:
        tuner.observe(facts)
    state = tuner.to_dict()
    model = state["model"]
    broken = {
        "none": None,
        "text": json.dumps(state)[:-40],
        "version": {**state, "version": 99},
        "numbers": {**state, "surprise": "much"},
        "cut": {**state, "model": {**model, "outcome": {**model["outcome"], "mean": model["outcome"]["mean"][:-16]}}},
        "members": {**state, "model": {**model, "history": {**model["history"], "members": ["a"]}}},
        "list": [],
        "missing": {"version": state["version"]},
        "nan": {**state, "model": {**model, "outcome": {**model["outcome"], "mean": "AAAAAAAA+H8="}}},
    }[damage]
    restored = Tuner.restored(broken, runs, plan_space(spec))
    assert json.dumps(restored.to_dict()) == json.dumps(state)


def test_the_state_of_another_definition_is_not_used(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    for facts in make_runs(25):
        tuner.observe(facts)
    changed = evolve(spec, members=[*spec.members, MemberSpec("new")])
    restored = Tuner.restored(tuner.to_dict(), [], plan_space(changed))
    assert restored.propose().nothing_because == "No run of this team was recorded yet."


def test_the_state_stays_below_100_kb_with_many_tasks_and_plans(spec, make_runs) -> None:
    space = plan_space(spec)
    tuner = Tuner(space)
    facts = make_runs(1)[0]
    for number in range(600):
        tuner.observe(evolve(facts, plan=space.plans[number % 40], task_key=f"{'long ' * 50}{number}"))
    assert len(json.dumps(tuner.to_dict())) <= 100_000


def test_recorded_runs_turn_into_facts(spec) -> None:
    run = TeamRun(
        run_id="r",
        spec=spec,
        started_at=0.0,
        duration_seconds=12.0,
        success=True,
        score=0.8,
        plan_asked=PARALLEL,
        members=[
            MemberOutcome(
                "m0", finished=True, duration_seconds=5.0, tool_calls=2, tool_calls_refused=1, models=("b", "a")
            )
        ],
    )
    facts = RunFacts.of(run)
    assert facts.plan == PARALLEL
    assert facts.members == (MemberFacts("m0", 5.0, 3, True),)
    assert facts.setting == f"{spec.fingerprint()} a b"


def test_a_live_plan_that_can_no_longer_run_is_said_so(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec), live=TeamPlan(members=("gone", "m0")))
    for facts in make_runs(10):
        tuner.observe(facts)
    assert tuner.propose().nothing_because == (
        "The live plan can't run as it is: 'gone' is no member of the team. Roll it back first."
    )


def test_plans_tested_before_are_known_although_the_state_is_lost(spec, make_runs) -> None:
    runs = make_runs(30)
    first = Tuner.restored(None, runs, plan_space(spec)).propose().plan
    assert first is not None
    again = Tuner.restored("damaged", runs, plan_space(spec), tried=[first])
    assert again.propose().plan != first


def test_without_a_price_no_cost_is_improved(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec), Objective({"duration": 1.0, "cost": 1.0}))
    for facts in make_runs(20, cost=None):
        tuner.observe(facts)
    assert tuner.propose().nothing_because == "Cost is to be improved, but no run has a price yet."


def test_runs_put_at_risk_before_count_although_the_state_is_lost(spec, make_runs) -> None:
    worse = TeamPlan(members=("m0",))
    runs = [*make_runs(20), *make_runs(20, worse, seed=1, score=0.5, slower=6.0)]
    proposal = Tuner.restored(None, runs, plan_space(spec), tried=[worse]).propose()
    assert proposal.plan is None
    assert "enough runs were put at risk for now" in proposal.reasons
    assert Tuner.restored(None, runs, plan_space(spec)).propose().plan is not None


def test_what_a_person_took_back_meanwhile_is_kept_learnt_and_not_tested_again(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    for facts in [*make_runs(30), *make_runs(15, PARALLEL, seed=1)]:
        tuner.observe(facts)
    tuner.ended(PARALLEL, promoted=True)
    restored = Tuner.restored(tuner.to_dict(), [], plan_space(spec), live=EMPTY_PLAN)
    assert restored.live == EMPTY_PLAN
    proposal = restored.propose()
    assert proposal.plan != PARALLEL
    assert restored.outlook(PARALLEL).outlook.runs_behind == 15
