"""No history, failures only, renamed members: defined, and never an exception in the loop."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin._tuner import Objective, Tuner, plan_space


def team_run(spec: TeamSpec, seconds: float, **changes: Any) -> TeamRun:
    return TeamRun("", spec, 0.0, seconds, success=True, member_success_share=1.0, **changes)


def test_without_a_run_nothing_is_proposed(spec) -> None:
    proposal = Tuner(plan_space(spec)).propose()
    assert proposal.plan is None
    assert proposal.nothing_because == "No run of this team has been recorded yet."


def test_when_all_runs_failed_the_success_left_to_lose_is_small_and_nothing_breaks(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    for run in make_runs(40):
        tuner.observe(evolve(run, success=False, member_success_share=0.0, members=()))
    data = json.dumps(tuner.propose().to_dict())
    assert "NaN" not in data
    assert "Infinity" not in data


def test_runs_of_zero_seconds_and_without_members_are_borne(spec) -> None:
    tuner = Tuner(plan_space(spec))
    for _ in range(5):
        tuner.observe(team_run(spec, 0.0))
        members = [MemberOutcome("m0", finished=True), MemberOutcome("x", finished=True, duration_seconds=3.0)]
        tuner.observe(team_run(spec, 10.0, members=members))
    assert "NaN" not in json.dumps(tuner.propose().to_dict())


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"duration_seconds": math.nan}, "duration_seconds"),
        ({"duration_seconds": -1.0}, "duration_seconds"),
        ({"member_success_share": 1.5}, "outcome"),
        ({"cost_usd": math.inf}, "cost_usd"),
    ],
)
def test_impossible_figures_are_refused_by_name_and_teach_nothing(spec, make_runs, wrong, name) -> None:
    tuner, other = Tuner(plan_space(spec)), Tuner(plan_space(spec))
    for run in make_runs(10):
        tuner.observe(run)
        other.observe(run)
    with pytest.raises(ValueError, match=name):
        tuner.observe(evolve(team_run(spec, 1.0), **wrong))
    assert tuner.propose().to_dict() == other.propose().to_dict()


def test_members_renamed_between_runs_tell_nothing_wrong(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    old = [evolve(run, members=[evolve(m, id=f"old-{m.id}") for m in run.members]) for run in make_runs(20)]
    for run in [*old, *make_runs(20)]:
        tuner.observe(run)
    assert tuner.propose().chosen is not None


def test_runs_of_plans_that_the_team_can_no_longer_run_are_passed_over(spec, make_runs) -> None:
    tuner, other = Tuner(plan_space(spec)), Tuner(plan_space(spec))
    for run in make_runs(20):
        tuner.observe(run)
        other.observe(run)
    last = make_runs(1)[0]
    for plan in (TeamPlan(members=("gone", "m0")), TeamPlan(formation="removed by a new version")):
        tuner.observe(evolve(last, plan_asked=plan, duration_seconds=500.0, success=False, member_success_share=0.0))
    assert tuner.propose().to_dict() == other.propose().to_dict()
    with pytest.raises(KeyError):
        tuner.predict_seconds(TeamPlan(formation="removed by a new version"))


def test_a_live_plan_that_can_no_longer_run_is_said_so(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec), live=TeamPlan(members=("gone", "m0")))
    for run in make_runs(10):
        tuner.observe(run)
    assert tuner.propose().nothing_because == (
        "The live plan can no longer run: the team has no member 'gone'. Roll it back first."
    )


def test_where_nothing_succeeds_no_plan_is_tested(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    for run in make_runs(20):
        tuner.observe(run)
    assert tuner.propose().plan is not None
    for run in make_runs(10, seed=1):
        tuner.observe(evolve(run, success=False, member_success_share=0.0))
    assert tuner.propose().nothing_because == (
        "No member succeeded in the last 10 runs: what is wrong there comes before any plan."
    )
    tuner.observe(make_runs(1, seed=2)[0])
    assert tuner.propose().plan is not None


def test_without_a_price_no_cost_is_improved(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec), Objective({"duration": 1.0, "cost": 1.0}))
    for run in make_runs(20, cost=None):
        tuner.observe(run)
    assert tuner.propose().nothing_because == "The objective includes cost, but no run has a price yet."


def test_runs_of_plans_that_turned_out_worse_end_the_search_for_a_while(spec, make_runs) -> None:
    worse = TeamPlan(members=("m0",))
    spent, fine = Tuner(plan_space(spec)), Tuner(plan_space(spec))
    for tuner in (spent, fine):
        for run in make_runs(20):
            tuner.observe(run)
        tuner.started(worse)
        lost, slower = (0.5, 6.0) if tuner is spent else (1.0, 0.4)
        for run in make_runs(20, worse, seed=1, score=lost, slower=slower):
            tuner.observe(run)
        tuner.ended(worse, promoted=False)
    assert spent.propose().plan is None
    assert "enough runs went to plans that turned out worse" in spent.propose().reasons
    assert fine.propose().plan is not None
    for run in make_runs(180, seed=2):
        spent.observe(run)
    assert spent.propose().plan is not None


def test_what_a_person_rolled_back_is_not_tested_again_and_stays_learnt(spec, make_runs) -> None:
    parallel = TeamPlan(formation="parallel")
    tuner = Tuner(plan_space(spec))
    for run in [*make_runs(30), *make_runs(15, parallel, seed=1)]:
        tuner.observe(run)
    tuner.ended(parallel, promoted=True)
    tuner.rolled_back(EMPTY_PLAN, from_plan=parallel)
    assert tuner.live == EMPTY_PLAN
    assert tuner.propose().plan != parallel
    assert tuner.outlook(parallel).outlook.runs_behind == 15


def test_tool_calls_that_were_refused_count_as_wanted(spec, make_runs) -> None:
    ran, refused = Tuner(plan_space(spec)), Tuner(plan_space(spec))
    for run in make_runs(10):
        ran.observe(evolve(run, members=[evolve(m, tool_calls=9) for m in run.members]))
        refused.observe(evolve(run, members=[evolve(m, tool_calls=1, tool_calls_refused=8) for m in run.members]))
    room = [knob.best for tuner in (ran, refused) for knob in tuner.propose().sensitivity if knob.knob == "tool_budget"]
    assert room[0] == pytest.approx(room[1])
