"""A definition that took a plan over is recognised, and runs any plan as the definition before does."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as some

from victor_autotune_plugin._model.merged_definition import in_terms_of, takes_over
from victor_autotune_plugin._model.plan import EMPTY_PLAN, MemberSpec, TeamPlan, TeamSpec, plan_as_used
from victor_autotune_plugin._settings import Settings
from victor_autotune_plugin.configfiles.placement import proposed

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
KNOBS = {
    "members": some.none() | some.permutations("abc") | some.just(("a", "b")),
    "tool_budget": some.none() | some.integers(1, 9),
    "member_budgets": some.none() | some.just({"a": 3}),
    "timeout_seconds": some.none() | some.integers(10, 90).map(float),
}
GROUPS = some.just((("a",), ("b", "c"))) | some.just((("c", "a"), ("b",)))
PLANS = some.builds(TeamPlan, formation=some.none() | some.sampled_from(FORMATIONS), **KNOBS) | some.builds(
    TeamPlan, sub_teams=GROUPS, **{**KNOBS, "members": some.none()}
)
SPEC = TeamSpec("flow", "team", "sequential", MEMBERS)


def merged_into(spec: TeamSpec, plan: TeamPlan) -> TeamSpec:
    """Return the definition of a team once the proposal of a plan was merged."""
    placement = proposed(spec, Settings(start_from=spec.start_from), plan)
    own = dict(placement.own)
    if "members" in own:
        by_id = {member.id: member for member in spec.members}
        own["members"] = [by_id[name] for name in own["members"]]
    start = {**spec.plan_to_start_from.to_dict(), **placement.start_from}
    return evolve(spec, **own, start_from=TeamPlan.from_dict(start))


@given(SPECS, PLANS, PLANS)
def test_every_proposal_is_recognised_and_any_plan_runs_as_before(
    spec: TeamSpec, plan: TeamPlan, other: TeamPlan
) -> None:
    merged = merged_into(spec, plan)
    assert takes_over(spec, plan, merged) is not plan.is_empty
    for one in (EMPTY_PLAN, plan, other):
        assert plan_as_used(merged, in_terms_of(merged, spec, one)) == plan_as_used(spec, one)
    assert plan_as_used(merged, merged.plan_to_start_from) == plan_as_used(spec, plan)


@given(SPECS, PLANS, PLANS)
def test_a_plan_on_top_of_a_merged_one_can_be_merged_as_well(spec: TeamSpec, plan: TeamPlan, above: TeamPlan) -> None:
    first, live = merged_into(spec, plan), plan.merged(above)
    if live.sub_teams is not None and live.members is not None:
        return  # groups that the members were not made for
    second = merged_into(first, in_terms_of(first, spec, live))
    assert takes_over(spec, live, second) is not live.is_empty


@given(SPECS, PLANS)
def test_any_other_change_of_the_definition_is_not_a_merge(spec: TeamSpec, plan: TeamPlan) -> None:
    merged = merged_into(spec, plan)
    for other in (
        evolve(merged, tool_budget=99),
        evolve(merged, max_iterations=99),
        evolve(merged, members=[evolve(merged.members[0], model="other"), *merged.members[1:]]),
        evolve(merged, members=merged.members[:2]),
        evolve(merged, start_from=evolve(merged.plan_to_start_from, timeout_seconds=99.0)),
        evolve(merged, start_from=TeamPlan(members=("a", "z"))),
    ):
        assert not takes_over(spec, plan, other)


@pytest.mark.parametrize(
    ("plan", "now"),
    [
        (TeamPlan(members=("a", "b")), evolve(SPEC, members=MEMBERS[:2])),
        (TeamPlan(timeout_seconds=30.0), evolve(SPEC, timeout_seconds=30.0)),
    ],
    ids=["members are gone", "a timeout where there was none"],
)
def test_what_no_plan_could_undo_is_not_recognised(plan: TeamPlan, now: TeamSpec) -> None:
    assert plan_as_used(now, EMPTY_PLAN) == plan_as_used(SPEC, plan)
    assert not takes_over(SPEC, plan, now)


def test_a_knob_that_something_else_has_set_stays_as_it_set_it() -> None:
    merged = evolve(SPEC, formation="parallel", members=MEMBERS[::-1])
    assert in_terms_of(merged, SPEC, EMPTY_PLAN, {"formation": "formation_hint"}) == TeamPlan(members=SPEC.member_ids)


def test_a_plan_to_start_from_is_a_part_of_the_definition_and_an_empty_one_is_not() -> None:
    assert "start_from" not in SPEC.to_dict()
    assert SPEC.fingerprint() == evolve(SPEC, start_from=EMPTY_PLAN).fingerprint()
    whole, exact = (evolve(SPEC, start_from=TeamPlan(timeout_seconds=one)) for one in (30, 30.0))
    assert whole.fingerprint() == exact.fingerprint() != SPEC.fingerprint()
