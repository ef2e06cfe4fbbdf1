"""A definition that took a plan over runs as before, and another plan leads back."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as some

from victor_autotune_plugin._model.merged_definition import definition_with, is_merged, replaced_by
from victor_autotune_plugin._model.plan import EMPTY_PLAN, MemberSpec, TeamPlan, TeamSpec, plan_as_used

MEMBERS = tuple(MemberSpec(name, "researcher") for name in "abc")
FORMATIONS = ("sequential", "parallel", "pipeline", "consensus", "reflection")
SPECS = some.builds(
    TeamSpec,
    some.just("flow"),
    some.just("team"),
    some.sampled_from(FORMATIONS[:4]),
    some.permutations(MEMBERS),
    some.none() | some.integers(1, 20),
    some.none() | some.integers(10, 90).map(float),
)
PLANS = some.builds(
    TeamPlan,
    formation=some.none() | some.sampled_from(FORMATIONS),
    members=some.none() | some.permutations("abc") | some.just(("a", "b")),
    tool_budget=some.none() | some.integers(1, 9),
    timeout_seconds=some.none() | some.integers(10, 90).map(float),
)


@given(SPECS, PLANS, PLANS)
def test_the_team_runs_as_it_did_under_both_plans(spec: TeamSpec, plan: TeamPlan, before: TeamPlan) -> None:
    merged = definition_with(spec, plan)
    if merged is None:
        return
    for old, new in ((plan, EMPTY_PLAN), (plan, plan), (before, replaced_by(spec, merged, before))):
        assert plan_as_used(merged, new) == plan_as_used(spec, old)
    assert is_merged(spec, plan, merged) or plan.is_empty


@given(SPECS, PLANS)
def test_any_other_change_of_the_definition_is_not_a_merge(spec: TeamSpec, plan: TeamPlan) -> None:
    merged = definition_with(spec, plan)
    if merged is not None:
        for other in (
            evolve(merged, tool_budget=99),
            evolve(merged, members=[evolve(merged.members[0], model="other"), *merged.members[1:]]),
            evolve(merged, members=merged.members[:2]),
        ):
            assert not is_merged(spec, plan, other)


def test_what_no_key_of_victors_declares_or_nothing_leads_back_from_is_no_merge() -> None:
    spec = TeamSpec("flow", "team", "sequential", MEMBERS)
    for plan in (
        TeamPlan(tool_budget=3),
        TeamPlan(members=("a", "b")),
        TeamPlan(formation="reflection"),
        TeamPlan(timeout_seconds=30.0),
        TeamPlan(sub_teams=(("a", "b"), ("c",))),
        TeamPlan(member_budgets={"a": 3}),
    ):
        assert definition_with(spec, plan) is None
    assert not is_merged(spec, EMPTY_PLAN, spec)
