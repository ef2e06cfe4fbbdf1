"""The plans that the tuner may think of by itself: those of the settings' knobs, within limits, from the live one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.experiment import TeamState
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan, TeamSpec
from victor_autotune_plugin._settings import Limits, Settings
from victor_autotune_plugin._settings.team_settings import TunerSettings
from victor_autotune_plugin._tuner import distance
from victor_autotune_plugin._tuning.tuner_cache import TeamRecord, TunerCache
from victor_autotune_testing.simulated import SPEC
from victor_autotune_testing.stepped import scored_rules

PARALLEL = TeamPlan(formation="parallel")


def own_plans(live: TeamPlan = EMPTY_PLAN, spec: TeamSpec = SPEC, **settings: Any) -> Sequence[TeamPlan]:
    risk = settings.pop("risk", "low")
    made = Settings(mode="auto", tuner=TunerSettings(risk=risk), **settings)
    state = TeamState(*spec.key, plan=live, fingerprint=spec.fingerprint(), spec=spec)
    tuner = TunerCache().of(TeamRecord(state, spec, made, [], lambda _: [], scored_rules(spec, made)))
    assert tuner.live == live or distance(spec, tuner.live, live) == 0
    return tuner.space.plans


BUDGETED = evolve(SPEC, tool_budget=50, timeout_seconds=300.0)


@pytest.mark.parametrize(
    ("risk", "moved"),
    [("low", {"formation", "sub_teams"}), ("medium", {"formation", "sub_teams", "tool_budget", "timeout_seconds"})],
)
def test_below_risk_high_nobody_is_left_out_or_idle(risk: str, moved: set[str]) -> None:
    plans = own_plans(spec=BUDGETED, risk=risk)
    assert {knob for plan in plans for knob in plan.to_dict()} == moved
    assert "reflection" not in {plan.formation for plan in plans}


def test_at_risk_high_members_may_be_left_out_but_protected_ones() -> None:
    plans = own_plans(risk="high", limits=Limits(protected_members=("a",), min_members=3))
    left_out = [set(plan.members) for plan in plans if plan.members is not None]
    assert left_out
    assert all("a" in members and len(members) >= 3 for members in left_out)


@pytest.mark.parametrize(
    ("strategy", "moved"),
    [
        ("formation_selection", {"formation"}),
        ("tool_budget", {"tool_budget"}),
        ("timeout_tuning", {"timeout_seconds"}),
        ("parallelization", {"sub_teams"}),
        ("team_sizing", set()),
    ],
)
def test_a_knob_whose_strategies_are_not_in_the_settings_stays_as_configured(strategy: str, moved: set[str]) -> None:
    plans = own_plans(spec=BUDGETED, strategies=(strategy,), risk="medium")
    assert {knob for plan in plans for knob in plan.to_dict()} == moved


@pytest.mark.parametrize("strategy", ["tool_budget", "timeout_tuning", "parallelization"])
def test_a_knob_whose_strategies_are_not_in_the_settings_stays_as_it_runs_today(strategy: str) -> None:
    _, *plans = own_plans(PARALLEL, BUDGETED, strategies=(strategy,), risk="medium")
    assert len(plans) > 1
    assert {plan.formation for plan in plans if not plan.sub_teams} == {"parallel"}


def test_no_plan_crosses_a_limit() -> None:
    limits = Limits(formations=("sequential", "pipeline"), min_tool_budget=40, min_timeout_seconds=100)
    plans = own_plans(spec=BUDGETED, limits=limits, risk="high")
    assert len(plans) > 1
    assert [plan for plan in plans if limits.crossed_by(plan)] == []


def test_budgets_and_timeout_of_the_live_plan_hold_in_all_plans() -> None:
    live = TeamPlan(tool_budget=33, timeout_seconds=134.0, member_budgets={"a": 20})
    _, *plans = own_plans(live, BUDGETED, risk="medium")
    assert live.merged(PARALLEL) in plans
    assert {plan.timeout_seconds for plan in plans} <= {134.0, 225.0}
    assert all(plan.member_budgets == live.member_budgets for plan in plans)
    # 50, 300 s and no member's budget are what is configured; they would loosen what runs.
    assert not [plan for plan in plans if plan.tool_budget is None or plan.timeout_seconds is None]


def test_a_reflection_that_runs_today_may_be_kept() -> None:
    assert "reflection" in {plan.formation for plan in own_plans(TeamPlan(formation="reflection"))}
