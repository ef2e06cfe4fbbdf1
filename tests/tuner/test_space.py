"""Never a plan that can't run, crosses a limit, or is looser than today's."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_autotune_plugin._model.plan import EMPTY_PLAN, Limits, MemberSpec, TeamPlan, TeamSpec, feasible_formations
from victor_autotune_plugin._tuner import distance, plan_space
from victor_autotune_plugin._tuner.plan_table import PlanTable
from victor_autotune_plugin._tuner.space import MOST_LAYOUTS, shape_of


def test_holds_formations_members_budgets_timeouts_and_sub_teams(spec: TeamSpec) -> None:
    plans = plan_space(spec).plans
    assert plans[0] == EMPTY_PLAN
    assert {shape_of(spec, plan).formation for plan in plans} == {
        *feasible_formations(spec.members),
        "sub_teams",
    }
    assert TeamPlan(formation="parallel", members=("m1", "m3"), tool_budget=26) in plans
    assert TeamPlan(sub_teams=(("m0", "m1"), ("m2", "m3"))) in plans
    assert len({shape_of(spec, plan) for plan in plans}) == len(plans)


def test_members_keep_their_order_and_hierarchies_their_supervisor(spec: TeamSpec) -> None:
    for plan in plan_space(spec).plans:
        shape = shape_of(spec, plan)
        if not shape.groups:
            assert list(shape.members) == sorted(shape.members)
        if shape.formation == "hierarchical":
            assert "m0" in shape.members
            assert len(shape.members) > 1


def test_budgets_and_timeouts_are_never_looser_than_configured(spec: TeamSpec) -> None:
    for plan in plan_space(spec).plans:
        shape = shape_of(spec, plan)
        assert shape.tool_budget is not None
        assert shape.tool_budget <= 40
        assert shape.timeout_seconds is not None
        assert shape.timeout_seconds <= 200


def test_a_team_without_limits_may_get_its_usual_ones(spec: TeamSpec) -> None:
    free = evolve(spec, tool_budget=None, timeout_seconds=None)
    assert {plan.tool_budget for plan in plan_space(free).plans} == {None}
    plans = plan_space(free, usual_tool_calls=12, usual_timeout=90).plans
    assert {plan.tool_budget for plan in plans} == {None, 12}
    assert {plan.timeout_seconds for plan in plans} == {None, 90.0}


@settings(max_examples=40, deadline=None)
@given(
    formations=st.sets(st.sampled_from(["sequential", "parallel", "hierarchical"]), min_size=1),
    least=st.integers(1, 6),
    most=st.one_of(st.none(), st.integers(1, 6)),
    protected=st.sets(st.sampled_from(["m0", "m1", "m2", "m3"])),
    budget=st.one_of(st.none(), st.integers(1, 60)),
)
def test_no_limit_of_the_settings_is_ever_crossed(
    formations: set[str], least: int, most: int | None, protected: set[str], budget: int | None
) -> None:
    members = [MemberSpec(f"m{i}", is_supervisor=i == 0) for i in range(4)]
    team = TeamSpec("wf", "team", "sequential", members, tool_budget=40)
    limits = Limits(
        formations=tuple(formations),
        min_members=least,
        max_members=most,
        protected_members=tuple(sorted(protected)),
        min_tool_budget=budget,
    )
    for plan in plan_space(team, limits.crossed_by).plans[1:]:
        assert not limits.crossed_by(plan)
        assert protected <= set(shape_of(team, plan).members)


def test_contradictory_limits_leave_the_plan_as_configured(spec: TeamSpec) -> None:
    limits = Limits(min_members=4, max_members=2, formations=(), min_tool_budget=50, max_tool_budget=10)
    space = plan_space(evolve(spec, timeout_seconds=None), limits.crossed_by)
    left = [plan for plan in space.plans if plan.sub_teams is None]
    assert left == [EMPTY_PLAN]
    assert space.left_out["limits"] > 0


def test_the_number_of_plans_is_bounded() -> None:
    members = [MemberSpec(f"m{i}") for i in range(8)]
    space = plan_space(TeamSpec("wf", "team", "sequential", members, tool_budget=40, timeout_seconds=60))
    assert len(space.plans) <= 4 * MOST_LAYOUTS
    assert space.left_out["size"] > 0


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (TeamPlan(members=("m0", "gone")), "no member 'gone'"),
        (TeamPlan(formation="swarm"), "unknown formation 'swarm'"),
        (TeamPlan(formation="hierarchical", members=("m1", "m2")), "can't form"),
        (TeamPlan(tool_budget=41), "tool budget is looser"),
        (TeamPlan(timeout_seconds=201.0), "timeout is looser"),
        (TeamPlan(members=("m0", "m0")), "twice"),
        (TeamPlan(members=("m0", "m1"), sub_teams=(("m0",), ("m2",))), "not the members"),
        (TeamPlan(members=("m0",), member_budgets={"m1": 3}), "does not take part"),
        (TeamPlan(sub_teams=(("m0", "m1", "m2", "m3"), ())), "has no member"),
    ],
)
def test_what_can_not_run_is_refused_and_told_why(spec: TeamSpec, plan: TeamPlan, why: str) -> None:
    refusal = plan_space(spec).refusal(plan)
    assert refusal is not None
    assert why in refusal


def test_nothing_looser_than_the_live_plan_is_proposed(spec: TeamSpec) -> None:
    space = plan_space(spec)
    assert space.refusal(EMPTY_PLAN, TeamPlan(tool_budget=26)) == "the tool budget is looser than today's"
    assert space.refusal(TeamPlan(formation="parallel", tool_budget=26), TeamPlan(tool_budget=26)) is None


def test_distance_counts_knobs(spec: TeamSpec) -> None:
    assert distance(spec, EMPTY_PLAN, EMPTY_PLAN) == 0
    assert distance(spec, EMPTY_PLAN, TeamPlan(formation="parallel")) == 1
    assert distance(spec, EMPTY_PLAN, TeamPlan(formation="sequential")) == 0
    assert distance(spec, EMPTY_PLAN, TeamPlan(members=("m0", "m1"), tool_budget=26)) == 3
    assert distance(spec, EMPTY_PLAN, TeamPlan(members=("m1", "m0", "m2", "m3"))) == 1


def test_the_table_counts_distances_as_plans_do(spec: TeamSpec) -> None:
    plans = plan_space(spec).plans
    table = PlanTable(spec, plans)
    for live in (0, 7, len(plans) // 2):
        assert table.distance(live).tolist() == [distance(spec, plans[live], plan) for plan in plans]
