"""What the tuner proposes, stops, and says."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import numpy as np
import pytest
from attrs import evolve

from victor_autotune_plugin._dataflow.verdict import Knowledge, Rules
from victor_autotune_plugin._model.plan import EMPTY_PLAN, MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin._tuner import (
    Objective,
    Rival,
    Tuner,
    distance,
    plan_space,
    shipped_prior,
)
from victor_autotune_plugin._tuner.model import TeamModel
from victor_autotune_plugin._tuner.plan_table import PlanTable
from victor_autotune_plugin._tuner.prior import DURATION, OUTCOME, SHAPE
from victor_autotune_plugin._tuner.search import HOPELESS
from victor_autotune_plugin._tuner.span_replay import MemberHistory, alike_roles

PARALLEL = TeamPlan(formation="parallel")


@pytest.fixture
def tuner(spec, make_runs) -> Tuner:
    made = Tuner(plan_space(spec))
    for run in make_runs(30):
        made.observe(run)
    return made


def test_independent_members_one_after_the_other_are_proposed_side_by_side(tuner) -> None:
    chosen = tuner.propose().chosen
    assert chosen is not None
    assert chosen.plan.formation in ("parallel", "hierarchical") or chosen.plan.sub_teams
    assert chosen.improvement > 0.4
    assert chosen.interval[0] < chosen.improvement < chosen.interval[1]
    assert chosen.p_better + chosen.p_harm == pytest.approx(1.0)
    assert chosen.runs_behind == 0
    assert chosen.runs_of_live == 30
    assert chosen.runs_needed is not None
    assert chosen.runs_needed >= 10


def test_explanations_are_plain_data_and_whole(tuner) -> None:
    proposal = tuner.propose(rivals=[Rival(TeamPlan(tool_budget=50), 0.1, 0.2, "tool_budget")])
    data = json.loads(json.dumps(proposal.to_dict()))
    assert {"p_better", "p_harm", "interval", "runs_behind", "runs_needed", "prior_improvement"} <= set(data["chosen"])
    assert data["not_chosen"][0]["source"] == "tool_budget"
    assert "looser" in data["not_chosen"][0]["reason"]
    assert {knob["knob"] for knob in data["sensitivity"]} == {"formation", "members", "tool_budget", "timeout_seconds"}
    assert data["reasons"]


def test_proposals_replay_bit_for_bit(spec, make_runs) -> None:
    for risk in ("low", "high"):
        answers = []
        for _ in range(2):
            tuner = Tuner(plan_space(spec), risk=risk)
            for run in make_runs(20):
                tuner.observe(run)
            answers.append(json.dumps([tuner.propose(seed).to_dict() for seed in (1, 2)]))
        assert answers[0] == answers[1]


def test_bolder_risks_draw_and_change_more(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec), risk="high")
    for run in make_runs(10):
        tuner.observe(run)
    assert len({tuner.propose(seed).plan for seed in range(12)}) > 1
    with pytest.raises(ValueError, match="risk must be one of low, medium, high, not 'bold'"):
        Tuner(plan_space(spec), risk="bold")


def test_a_suggestion_of_a_strategy_competes_and_can_win(spec, make_runs) -> None:
    plan = TeamPlan(tool_budget=36, member_budgets={"m0": 4})
    tuner = Tuner(plan_space(evolve(spec, formation="parallel")))
    for run in make_runs(30, TeamPlan()):
        tuner.observe(run)
    alone = tuner.propose()
    helped = tuner.propose(rivals=[Rival(plan, 0.8, 0.85, "member_selection")])
    assert alone.plan != plan
    assert helped.chosen is not None
    assert helped.chosen.plan == plan
    assert helped.chosen.source == "member_selection"


def test_an_impossible_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="low and high"):
        Rival(PARALLEL, 0.5, 0.2, "x")


def test_a_tested_plan_is_not_proposed_again(tuner) -> None:
    first = tuner.propose().plan
    assert first is not None
    tuner.started(first)
    tuner.ended(first, promoted=False)
    assert tuner.propose().plan != first
    again = tuner.propose(rivals=[Rival(first, 0.5, 0.6, "formation_selection")])
    assert any("tested before" in other.reason for other in again.not_chosen)


def test_a_plan_that_was_tested_is_no_best_candidate(tuner, spec) -> None:
    plans = plan_space(spec).plans
    assert tuner.propose(without=plans).nothing_because == "Every other plan was tested before."
    left = next(plan for plan in plans if plan.formation == "reflection" and plan.members is None)
    told = tuner.propose(without=[plan for plan in plans if plan != left]).nothing_because
    assert told is not None
    assert float(told.partition("best candidate is ")[2].split()[0].lstrip("<")) < 50


def test_a_hopeless_test_is_stopped_and_a_good_one_goes_on(spec, make_runs) -> None:
    bad, good = (Tuner(plan_space(spec)) for _ in range(2))
    for tuner, slower, score in ((bad, 6.0, 0.55), (good, 1.0, 0.9)):
        for number, run in enumerate(make_runs(20)):
            tuner.observe(run)
            if number == 10:
                tuner.started(PARALLEL)
        for run in make_runs(12, PARALLEL, seed=1, slower=slower, score=score):
            tuner.observe(run)
    assert bad.outlook(PARALLEL).stop
    assert bad.outlook(PARALLEL).reason.startswith("After 12 runs, formation parallel is only ")
    assert not good.outlook(PARALLEL).stop


def test_a_test_that_would_not_be_worth_its_start_any_more_gives_way_once_it_had_eight_runs(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    for run in make_runs(20):
        tuner.observe(run)
    tuner.started(PARALLEL)
    told = []
    for run in make_runs(40, PARALLEL, seed=1, slower=4.0):  # which makes it about as fast as today's
        tuner.observe(run)
        told.append(tuner.outlook(PARALLEL))
    assert not any(one.stop for one in told[:7])
    assert told[-1].stop
    assert told[-1].outlook.p_better >= HOPELESS
    assert told[-1].reason.endswith("which is not worth more runs.")


def test_a_test_of_another_metric_is_judged_by_that_metric(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    runs = [evolve(run, cost_usd=0.02) for run in make_runs(20)]
    for run in runs:
        tuner.observe(run)
    tuner.started(PARALLEL)
    for run in make_runs(12, PARALLEL, seed=1):  # sooner than before, for twice the money
        tuner.observe(evolve(run, cost_usd=0.04))
    by_time, by_cost = tuner.outlook(PARALLEL), tuner.outlook(PARALLEL, "cost")
    assert not by_time.stop
    assert by_cost.stop
    assert by_cost.outlook.improvement < -0.2 < by_time.outlook.improvement


def test_a_test_of_costs_that_no_price_is_known_for_goes_on(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    for run in [*make_runs(20), *make_runs(12, PARALLEL, seed=1, score=0.2)]:
        tuner.observe(evolve(run, cost_usd=None))
    assert tuner.outlook(PARALLEL).stop
    assert not tuner.outlook(PARALLEL, "cost").stop


def test_a_promotion_that_was_rolled_back_is_not_proposed_again(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    for run in [*make_runs(25), *make_runs(25, PARALLEL, seed=1, score=0.6)]:
        tuner.observe(run)
    assert tuner.outlook(PARALLEL).outlook.p_success_kept < 0.5
    tuner.ended(PARALLEL, promoted=True)
    assert tuner.live == PARALLEL
    tuner.rolled_back(EMPTY_PLAN)
    assert tuner.live == EMPTY_PLAN
    assert tuner.propose().plan != PARALLEL


def test_the_objective_decides_what_is_proposed(spec, make_runs) -> None:
    runs = make_runs(30)
    tuners = {name: Tuner(plan_space(spec), Objective(name)) for name in ("duration", "cost", "tool_calls", "score")}
    best = {}
    for name, tuner in tuners.items():
        for run in runs:
            tuner.observe(run)
        best[name] = {knob.knob: knob.best for knob in tuner.propose().sensitivity}
    assert best["duration"]["formation"] > 0.4
    assert best["cost"]["formation"] < 0.2  # side by side is faster, not cheaper
    assert best["cost"]["members"] > best["cost"]["formation"]
    mixed = Tuner(plan_space(spec), Objective({"duration": 1.0, "cost": 1.0}))
    for run in runs:
        mixed.observe(run)
    assert (
        best["cost"]["formation"]
        < {k.knob: k.best for k in mixed.propose().sensitivity}["formation"]
        < best["duration"]["formation"]
    )


@pytest.mark.parametrize(
    ("weights", "why"), [({"speed": 1.0}, "unknown metric 'speed'"), ({"cost": 0.0}, "above 0"), ({}, "above 0")]
)
def test_an_impossible_objective_is_refused(weights, why) -> None:
    with pytest.raises(ValueError, match=why):
        Objective(weights)


def test_limits_on_cost_and_p95_rule_plans_out(spec, make_runs) -> None:
    for objective in (Objective(max_cost_usd=0.01), Objective(max_p95_seconds=1.0)):
        tuner = Tuner(plan_space(spec), objective)
        for run in make_runs(30):
            tuner.observe(run)
        proposal = tuner.propose()
        assert proposal.plan is None
        assert proposal.reasons["over the cost or P95 limit"] > 0


def test_a_new_setting_lowers_confidence_without_forgetting(spec, make_runs) -> None:
    same, other = (Tuner(plan_space(spec)) for _ in range(2))
    for run in make_runs(40, model="model a"):
        same.observe(run)
        other.observe(run)
    same.observe(make_runs(1, model="model a", seed=9)[0])
    other.observe(make_runs(1, model="model b", seed=9)[0])
    _, low, high = same.predict_seconds(EMPTY_PLAN)
    median, wider_low, wider_high = other.predict_seconds(EMPTY_PLAN)
    assert wider_high - wider_low > high - low
    assert median == pytest.approx(40, rel=0.3)


def test_a_drift_lowers_confidence(tuner) -> None:
    before = tuner.outlook(PARALLEL).outlook.success_interval
    tuner.drifted()
    after = tuner.outlook(PARALLEL).outlook.success_interval
    assert after[1] - after[0] > before[1] - before[0]


def test_a_smaller_budget_rests_on_what_was_seen_of_its_layout(spec, make_runs) -> None:
    smaller = TeamPlan(formation="parallel", tool_budget=26)
    tuner = Tuner(plan_space(spec))
    for run in make_runs(20):
        tuner.observe(run)
    before = tuner.outlook(smaller).outlook
    for run in make_runs(40, PARALLEL, seed=1, slower=1.5):
        tuner.observe(run)
    after = tuner.outlook(smaller).outlook
    assert after.improvement < before.improvement - 0.1
    assert after.interval[1] - after.interval[0] < 0.9 * (before.interval[1] - before.interval[0])


def test_two_of_one_role_tell_less_of_a_task_than_six() -> None:
    def team(*roles: str) -> TeamSpec:
        return TeamSpec("wf", "t", "sequential", [MemberSpec(f"m{i}", role=role) for i, role in enumerate(roles)])

    assert 0 < alike_roles(team("a", "a")) < alike_roles(team(*"aaaaaa")) < 0.5
    assert 0 > alike_roles(team("a", "b")) > alike_roles(team(*"abcdef")) > -0.5
    assert alike_roles(team("a")) == 0


def test_every_number_of_the_shipped_prior_has_a_source() -> None:
    for table in (DURATION, SHAPE, OUTCOME):
        assert all(len(source) > 10 for _, _, source in table.values())


def test_a_prior_with_other_coefficients_is_refused_with_a_hint(spec) -> None:
    prior = shipped_prior()
    with pytest.raises(ValueError, match="shipped_prior"):
        Tuner(plan_space(spec), prior=evolve(prior, outcome={"intercept": (0.0, 1.0)}))


def test_timeouts_raise_what_is_expected_of_a_plan(spec) -> None:
    tuner = Tuner(plan_space(spec))
    for number in range(40):
        late = number % 3 == 0
        seconds = 200.0 if late else 100.0 + number
        members = [MemberOutcome(f"m{i}", finished=not late, duration_seconds=seconds / 4) for i in range(4)]
        score = 0.0 if late else 0.9
        tuner.observe(TeamRun("", spec, 0.0, seconds, not late, score, timed_out=late, members=members))
    assert tuner.predict_seconds(EMPTY_PLAN)[2] > 200


def test_a_team_of_one_has_little_to_tune_and_says_so() -> None:
    lone = TeamSpec("wf", "lone", "sequential", [MemberSpec("only")])
    tuner = Tuner(plan_space(lone, lambda plan: () if plan.is_empty else ("nothing else",)))
    tuner.observe(TeamRun("", lone, 0.0, 10.0, True, 1.0))
    assert tuner.propose().nothing_because == "The team's members and the limits allow no other plan."


@pytest.mark.parametrize(
    ("plan", "seconds"),
    [
        (EMPTY_PLAN, 11 + 26 + 31),
        (PARALLEL, 3 + 30),
        (TeamPlan(sub_teams=(("m0", "m1"), ("m2",))), 2 + 10 + 26),
        (TeamPlan(formation="hierarchical"), 11 + 2 + 30),
    ],
)
def test_members_side_by_side_are_all_set_up_before_their_first_call(plan, seconds) -> None:
    members = [MemberSpec(f"m{place}", is_supervisor=place == 0) for place in range(3)]
    table = PlanTable(TeamSpec("wf", "team", "sequential", members), [EMPTY_PLAN, plan])
    taken = table.seconds(np.array([[10.0, 25.0, 30.0]]), np.ones((1, 3)))
    assert taken[0, table.course[table.layout[1]]] == seconds


def test_the_plans_near_the_live_one_are_weighed_as_among_all(spec, make_runs) -> None:
    space = plan_space(spec)
    plans = space.plans
    model, live, far = TeamModel(spec, plans, shipped_prior()), plans[7], plans[-1]
    for plan in (EMPTY_PLAN, live, PARALLEL):
        for run in make_runs(12, plan):
            model.observe(run, plan if plan in plans else EMPTY_PLAN)
    table = model.near(live, 2, [far])
    competing = [plan for plan in plans if distance(spec, live, plan) <= 2 and not space.refusal(plan, live)]
    assert table.plans == tuple(plan for plan in plans if plan in (EMPTY_PLAN, live, far, *competing))
    assert len(competing) < len(plans) / 2
    metrics = ["duration", "cost", "tool_calls"]
    some = model.effects(np.arange(len(table.plans)), live, metrics, table)
    everything = model.effects(np.array([model.table.row_of[plan] for plan in table.plans]), live, metrics)
    for name in ("score", *metrics):
        np.testing.assert_allclose(some.log[name], everything.log[name], rtol=0, atol=1e-12)
        np.testing.assert_allclose(some.sd[name], everything.sd[name], rtol=0, atol=1e-12)


def split(run: TeamRun, busy: float, slower: float = 1.0) -> TeamRun:
    """Return a run as it is measured: a share of each member's time is work on the event loop, the rest its model's.

    Side by side each waits until all the work is done.
    """
    waited = [(1 - busy) * one.duration_seconds for one in run.members]
    worked = sum(one.duration_seconds for one in run.members) - sum(waited)
    side = (run.plan_asked.formation or run.spec.formation) == "parallel"
    members = [
        evolve(
            one,
            duration_seconds=worked + own if side else one.duration_seconds,
            model_seconds=own,
            tool_seconds=0.0,
            success=True,
        )
        for one, own in zip(run.members, waited, strict=True)
    ]
    seconds = worked + max(waited) if side else worked + sum(waited)
    return evolve(run, members=members, duration_seconds=seconds * (slower if side else 1.0))


@pytest.mark.parametrize("busy", [0.05, 0.2, 0.4])
def test_a_replay_leaves_work_on_the_event_loop_one_after_the_other(spec, make_runs, busy) -> None:
    tuner = Tuner(plan_space(spec))
    for run in make_runs(12, sd=0.5):
        tuner.observe(split(run, busy))
    outlook = tuner.outlook(PARALLEL).outlook
    true = [split(run, busy).duration_seconds for run in make_runs(300, PARALLEL, seed=3, sd=0.5)]
    before = [split(run, busy).duration_seconds for run in make_runs(300, seed=3, sd=0.5)]
    ratio = sum(true) / sum(before)
    assert 1 - outlook.improvement == pytest.approx(ratio, rel=0.15)
    assert outlook.interval[0] < 1 - ratio < outlook.interval[1]


def test_members_that_never_followed_each_other_share_the_time_of_their_setup(spec, make_runs) -> None:
    run = make_runs(1, PARALLEL)[0]
    spans = MemberHistory(spec.member_ids).spans(split(run, 0.3), side_by_side=4)
    assert spans is not None
    own, setup = spans
    taken = np.array([member.duration_seconds for member in run.members])
    assert own[0] == pytest.approx(0.7 * taken)
    assert setup[0] == pytest.approx(np.full(4, 0.3 * taken.sum() / 4))


@pytest.mark.parametrize("slower", [0.85, 1.15])
def test_eight_runs_tell_how_far_a_replay_is_off_where_their_mean_tells_little(spec, make_runs, slower) -> None:
    tuner = Tuner(plan_space(spec))
    for run in make_runs(12, sd=0.5):
        tuner.observe(split(run, 0.2))
    before = tuner.outlook(PARALLEL).outlook
    eight = [split(run, 0.2, slower) for run in make_runs(8, PARALLEL, seed=7, sd=0.5)]
    for run in eight:
        tuner.observe(run)
    outlook = tuner.outlook(PARALLEL).outlook
    pairs = zip(make_runs(300, PARALLEL, seed=5, sd=0.5), make_runs(300, seed=5, sd=0.5), strict=True)
    ratios = [split(a, 0.2, slower).duration_seconds / split(b, 0.2).duration_seconds for a, b in pairs]
    ratio = sorted(ratios)[150]
    assert 1 - outlook.improvement == pytest.approx(ratio, rel=0.06)
    assert outlook.interval[1] - outlook.interval[0] < 0.9 * (before.interval[1] - before.interval[0])


def test_members_whose_calls_slow_each_other_down_are_expected_to(spec, make_runs) -> None:
    """Where more calls in flight take longer, so will those of members side by side."""
    calm, crowded = Tuner(plan_space(spec)), Tuner(plan_space(spec))
    for number, run in enumerate(make_runs(40, sd=0.1)):
        many = number % 2
        slow = 2.0 if many else 1.0
        plain = split(run, 0.1)
        calm.observe(plain)
        members = [
            evolve(
                one,
                duration_seconds=one.duration_seconds * slow,
                model_seconds=(one.model_seconds or 0.0) * slow,
                in_flight=4.0 if many else 1.0,
            )
            for one in plain.members
        ]
        crowded.observe(evolve(plain, members=members, duration_seconds=plain.duration_seconds * slow))
    assert crowded.outlook(PARALLEL).outlook.improvement < calm.outlook(PARALLEL).outlook.improvement - 0.05


def test_what_is_not_known_of_a_plan_shrinks_with_its_runs(spec, make_runs) -> None:
    tuner = Tuner(plan_space(spec))
    for run in make_runs(30):
        tuner.observe(run)
    widths = []
    for seed in (1, 2, 3):
        outlook = tuner.outlook(PARALLEL).outlook
        widths.append(
            (outlook.interval[1] - outlook.interval[0], outlook.success_interval[1] - outlook.success_interval[0])
        )
        for run in make_runs(30, PARALLEL, seed=seed):
            tuner.observe(run)
    assert widths[0][0] > widths[1][0] > widths[2][0]
    assert widths[0][1] > widths[1][1] > widths[2][1]


def told(spec: TeamSpec, runs: Iterable[TeamRun], *, independent: bool = True) -> Tuner:
    tuner = Tuner(plan_space(spec))
    if independent:
        tuner.rules = Rules(Knowledge(spec, "independent", "", None, (), {}, 12, is_whole=True))
    for run in runs:
        tuner.observe(run)
    return tuner


def lasting(run: TeamRun, times: float, in_flight: float = 1.0) -> TeamRun:
    """Return a run that is measured, of a task that takes so many times as long."""
    measured = split(run, 0.1)
    members = [
        evolve(
            one,
            duration_seconds=one.duration_seconds * times,
            model_seconds=(one.model_seconds or 0.0) * times,
            in_flight=in_flight,
        )
        for one in measured.members
    ]
    return evolve(measured, duration_seconds=measured.duration_seconds * times, members=members)


def expected(tuner: Tuner) -> float:
    return math.log(1 - tuner.outlook(PARALLEL).outlook.improvement)


def test_slow_tasks_hardly_move_what_is_expected_of_a_layout_that_keeps_the_work(spec, make_runs) -> None:
    """Eight runs of tasks that take twice as long say little of the layout, unless it may change the work."""
    first = [split(run, 0.1) for run in make_runs(12, sd=0.1)]
    slow, usual = ([lasting(run, times) for run in make_runs(8, PARALLEL, seed=3, sd=0.1)] for times in (2.0, 1.0))
    moved = {
        known: expected(told(spec, [*first, *slow], independent=known))
        - expected(told(spec, [*first, *usual], independent=known))
        for known in (True, False)
    }
    assert 0 < moved[True] < 0.7 * moved[False]


def test_many_runs_of_a_layout_outweigh_that_it_keeps_the_work(spec, make_runs) -> None:
    first = [split(run, 0.1) for run in make_runs(20, sd=0.1)]
    moved = []
    for count in (8, 120):
        runs = make_runs(count, PARALLEL, seed=3, sd=0.1)
        slow, usual = ([lasting(run, times) for run in runs] for times in (1.5, 1.0))
        moved.append(expected(told(spec, [*first, *slow])) - expected(told(spec, [*first, *usual])))
    assert moved[1] > 2 * moved[0]


def test_slow_calls_while_many_are_in_flight_speak_for_a_crowded_provider(spec, make_runs) -> None:
    """The mixture of a team's durations is moved by runs whose calls were slow while many were in flight."""
    runs = make_runs(40, sd=0.1)
    flight = [4.0 if number % 2 else 1.0 for number in range(40)]
    shares = []
    for slowed in (1.0, 1.6):
        times = [slowed if many > 1 else 1.0 for many in flight]
        tuner = told(spec, [lasting(*one) for one in zip(runs, times, flight, strict=True)])
        shares.append(tuner._model.metrics["duration"].share)
    calm, crowded = shares
    assert calm < 0.1 < 0.5 < crowded
