"""Strategies and tuner speak of the same plans."""

from __future__ import annotations

import json

import pytest
from attrs import evolve

from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._tuner import Objective, Tuner, plan_space, rival_of, suggestion_of
from victor_autotune_plugin._tuner.space import changes, shape_of

PARALLEL = TeamPlan(formation="parallel")


def suggested(**metadata: object) -> OptimizationSuggestion:
    return OptimizationSuggestion(
        "team_sizing",
        OptimizationPriority.HIGH,
        "Fewer members.",
        {},
        {"members": ["m0", "m1"]},
        20.0,
        0.8,
        0.2,
        metadata,
    )


def test_a_suggestion_becomes_a_rival_on_top_of_the_live_plan() -> None:
    made = rival_of(suggested(metric="duration", interval_percent=[10.0, 30.0]), PARALLEL, Objective())
    assert made is not None
    assert made.plan == TeamPlan(formation="parallel", members=("m0", "m1"))
    assert made.source == "team_sizing"
    assert 0.10 < made.low < 0.2 < made.high < 0.30  # 90 % of a 95 % interval


def test_a_gain_in_one_metric_counts_with_its_share() -> None:
    told = suggested(metric="cost", interval_percent=[40.0, 40.0])
    assert rival_of(told, EMPTY_PLAN, Objective("duration")) is None
    mixed = rival_of(told, EMPTY_PLAN, Objective({"duration": 1.0, "cost": 1.0}))
    assert mixed is not None
    assert mixed.high == pytest.approx(1 - 0.6**0.5)
    assert rival_of(suggested(metric="duration"), EMPTY_PLAN, Objective()) is None


def test_changes_lead_from_any_plan_to_any_other(spec) -> None:
    plans = plan_space(spec).plans[::9]
    for live in plans:
        for plan in plans:
            assert shape_of(spec, live.merged(changes(spec, live, plan))) == shape_of(spec, plan)


def test_sub_teams_out_of_order_change_the_layout_alone(spec) -> None:
    """Members take part in their own order, which is that of the joined output, whatever group they are in."""
    grouped = TeamPlan(sub_teams=(("m0", "m2"), ("m1", "m3")))
    assert shape_of(spec, grouped).members == spec.member_ids
    assert changes(spec, EMPTY_PLAN, grouped) == grouped
    assert changes(spec, grouped, EMPTY_PLAN) == TeamPlan(formation=spec.formation)


def test_a_proposal_becomes_a_suggestion_that_runs_as_proposed(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    assert suggestion_of(tuner.propose(), spec, EMPTY_PLAN) is None
    for run in make_runs(30):
        tuner.observe(run)
    proposal = tuner.propose()
    made = suggestion_of(proposal, spec, EMPTY_PLAN)
    assert made is not None
    assert made.type == "tuner"
    assert shape_of(spec, EMPTY_PLAN.merged(made.plan)) == shape_of(spec, proposal.plan)
    assert json.loads(json.dumps(made.to_dict()))["metadata"]["proposal"]["chosen"]["p_harm"] == made.risk_level


def test_plans_that_run_alike_are_one(spec, make_runs) -> None:
    outright = TeamPlan(formation="sequential", tool_budget=40)
    one, other = Tuner(plan_space(spec)), Tuner(plan_space(spec), live=outright)
    for run in make_runs(30):
        one.observe(run)
        other.observe(evolve(run, plan_asked=outright))
    assert one.propose().to_dict() == other.propose().to_dict()
    first = one.propose().plan
    assert first is not None
    said = changes(spec, EMPTY_PLAN, first)
    one.started(said)
    one.ended(said, promoted=False)
    assert one.propose().plan != first
