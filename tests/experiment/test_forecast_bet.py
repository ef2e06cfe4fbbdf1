"""The bet on a forecast: valid by the coin whatever it says, and soon where it is right."""

from __future__ import annotations

import json
import math
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from victor_autotune_plugin._model.assignment import assign, shares_of_stream, stream_of
from victor_autotune_plugin.experiment import Judge, Observation, Policy, runs_for
from victor_autotune_plugin.experiment.forecast_bet import ForecastBet
from victor_autotune_plugin.experiment.paired import SignedRankPrimary
from victor_autotune_plugin.experiment.task_levels import Levels

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks._dependent import DependentWorld, play
from benchmarks.experiment_error_rates import bet_logs, bet_variances, betting_on, crossings

PLAIN = Policy()


def runs_of(gain, seed, *, n=120, sigma=0.7, timeouts=0.0, stage=""):
    rng = np.random.default_rng(seed)
    stream = stream_of(stage, "a")
    found = []
    for i in range(n):
        arm = assign(str(seed), i, shares_of_stream(stream), stream=stream)
        seconds = 20 * math.exp(rng.normal(0, sigma)) * (1 - gain if arm == "treatment" else 1)
        late = bool(rng.random() < timeouts)
        found.append(
            Observation(i, arm, seconds, success=not late, score=1.0, stream=stream, timed_out=late, tool_calls=5)
        )
    return found


def judged(policy, runs):
    judge, verdicts = Judge(policy), []
    for run in runs:
        judge.observe(run)
        verdicts.append(judge.verdict())
        if judge.is_final:
            break
    return verdicts


def bet_after(gain, gaps, *, scale=1.0):
    bet = ForecastBet(betting_on(gain), Levels())
    for k, gap in enumerate(gaps):
        bet.add(k, 2, gap * scale, treatment=False)
        bet.add(k, 2, 0.0, treatment=True)
    return bet


def test_without_a_forecast_of_a_gain_nothing_is_changed():
    runs = runs_of(0.3, 3)
    plain = repr(judged(PLAIN, runs))
    assert [repr(judged(evolve(PLAIN, forecast=told), runs)) for told in (0.0, -0.4)] == [plain] * 2
    assert repr(judged(evolve(PLAIN, forecast=0.36), runs)) != plain


@pytest.mark.parametrize(
    "policy",
    [
        Policy(metric="score", scored=True, forecast=0.4),
        Policy(metric="success", forecast=0.4),
        Policy(sticky=True, forecast=0.4),
        Policy(rule="balanced", forecast=0.4),
    ],
    ids=["score", "success", "sticky", "rule of 0.1"],
)
def test_a_metric_or_rule_without_pairs_of_logs_has_no_bet(policy):
    assert not policy.has_bet
    assert policy.proof_alpha == evolve(policy, forecast=None).proof_alpha


def test_the_same_runs_give_the_same_verdict_bit_for_bit_with_a_forecast():
    policy, runs = Policy(forecast=0.36), runs_of(0.3, 5, timeouts=0.1)
    often = judged(policy, runs)
    once = Judge(policy)
    for run in runs[: len(often)]:
        once.observe(run)
    assert repr(once.verdict()) == repr(often[-1])
    assert json.dumps(once.verdict().to_dict()) == json.dumps(often[-1].to_dict())


def test_a_policy_keeps_its_forecast_and_an_old_one_has_none():
    kept = json.loads(json.dumps(Policy(forecast=0.357).to_dict()))
    assert Policy(**kept) == Policy(forecast=0.357)
    del kept["forecast"]
    assert Policy(**kept) == PLAIN


@pytest.mark.parametrize("gain", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("treated", [1, 2, 7])
def test_a_bet_is_fair_over_all_orders_of_a_block(gain, treated):
    length = {1: 4, 2: 4, 7: 10}[treated]
    values = np.random.default_rng(treated).normal(0, 0.7, length).tolist()
    values[1] = 1e6  # timed out
    wealth = []
    for chosen in combinations(range(length), treated):
        bet = ForecastBet(betting_on(gain), Levels())
        for k, value in enumerate(values):
            bet.add("block", length, value, treatment=k in chosen)
        wealth.append(math.exp(bet.log_wealth))
    assert np.mean(wealth) == pytest.approx(1.0)
    assert min(wealth) < 1 < max(wealth)


@pytest.mark.parametrize("gap", [0.2, 3.0, 60.0, 1e6])
def test_a_bet_is_fair_on_the_sign_of_a_pair(gap):
    before = [0.4, -0.9, 1.3, 0.2, -0.1]
    start = bet_after(0.3, before)
    ends = [bet_after(0.3, [*before, sign * gap]) for sign in (1, -1)]
    assert np.mean([math.exp(end.log_wealth) for end in ends]) == pytest.approx(math.exp(start.log_wealth))


def test_a_bet_on_a_pair_is_that_on_a_block_of_two():
    pair, block = (ForecastBet(betting_on(0.3), Levels()) for _ in range(2))
    for gap in np.random.default_rng(2).normal(0.3, 1, 30).tolist():
        pair._settle_pair(gap)
        block._settle_block([gap, 0.0], [False, True])
    assert pair.log_wealth == pytest.approx(block.log_wealth)


def test_a_run_that_timed_out_counts_as_a_usual_difference():
    usual = [0.5, 0.4, 0.7, -0.2, 0.6, 0.9]
    late, outlier = (bet_after(0.3, [*usual, size]).log_wealth for size in (1e6, 4.0))
    assert bet_after(0.3, usual).log_wealth < late < outlier


def test_runs_of_two_tasks_are_compared_without_the_tasks_levels():
    by_tasks, plain = (SignedRankPrimary("duration", None, betting_on(0.5)) for _ in range(2))
    for run in runs_of(0.5, 8, n=120, sigma=0.3):
        slow = run.index * 7 % 3 > 0
        seconds = run.duration_seconds * math.exp(3 * slow)
        plain.add(evolve(run, duration_seconds=seconds))
        by_tasks.add(evolve(run, duration_seconds=seconds, task_key=f"t{slow:d}"))
    assert by_tasks.bet.log_wealth > plain.bet.log_wealth + 10


def test_the_fast_bet_is_the_shipped_one():
    gaps = np.random.default_rng(1).normal(0.2, 1, (3, 40))
    policy = betting_on(0.3)
    logs = bet_logs(gaps, bet_variances(gaps), policy)
    assert [bet_after(0.3, row.tolist()).log_wealth for row in gaps] == pytest.approx(logs[:, -1].tolist())


@pytest.mark.parametrize(
    "world",
    [DependentWorld(), DependentWorld(pattern=(0.0, math.log(5))), DependentWorld(family="bimodal")],
    ids=["independent", "alternating", "bimodal"],
)
def test_whatever_is_forecast_equal_plans_are_hardly_proven(world):
    shares = np.isfinite(crossings(world, 500, 3, [], most=80, forecasts=(0.1, 0.3, 0.5, 0.9))).mean(axis=1)
    assert (shares <= 0.045 + 4 * math.sqrt(0.045 * 0.955 / 500)).all()


def test_a_right_forecast_is_proven_sooner():
    first = crossings(DependentWorld(), 300, 4, [], most=60, shift=math.log(2), forecasts=(0.5, 0.3))
    sooner = np.minimum(first[0], 60) - np.minimum(first[1], 60)
    assert np.mean(sooner) > 1 + 4 * np.std(sooner) / math.sqrt(300)


def test_a_wrong_forecast_costs_few_runs():
    first = crossings(DependentWorld(), 300, 5, [], most=120, shift=math.log(2), forecasts=(0.05, 0.95))
    means = np.minimum(first, 120).mean(axis=1)
    assert (means[1:] <= 1.18 * means[0]).all()


def test_a_pass_by_the_bet_is_one_like_the_boundarys():
    by_bet = []
    for seed in range(12):
        told = judged(betting_on(0.5), runs_of(0.5, seed, n=60))
        crossed = next((k for k, v in enumerate(told) if v.may_go_live), None)
        if crossed is not None and told[crossed].statistic < 3:
            by_bet.append((told[crossed - 1], told[crossed]))
    assert len(by_bet) > 4
    for before, after in by_bet:
        assert before.statistic < before.boundary
        assert before.runs_needed is None or before.runs_needed >= 1
        assert after.statistic >= after.boundary
        assert after.interval[1] < 0
        assert after.runs_needed is None
        assert min(after.runs.values()) >= PLAIN.min_runs_per_arm


def test_what_is_proven_by_the_bet_waits_for_its_guardrails():
    runs = [evolve(run, success=run.arm == "control" or run.index % 3 > 0) for run in runs_of(0.6, 4, n=100, sigma=0.4)]
    told = judged(betting_on(0.6), runs)
    assert not any(v.may_go_live or v.status == "passed" for v in told)


def test_a_proof_by_the_bet_below_the_least_improvement_does_not_pass():
    policy = evolve(betting_on(0.5), minimum_improvement=0.95)
    assert not any(v.may_go_live for v in judged(policy, runs_of(0.5, 6)))


def test_blocks_of_a_probation_count_for_the_bet():
    primary = SignedRankPrimary("duration", None, betting_on(0.5))
    for run in runs_of(0.5, 9, n=60, stage="probation"):
        primary.add(run)
    assert primary.bet.log_wealth > 2


def test_the_bet_says_how_many_runs_are_missing():
    steady = [1.2, -0.4] * 5
    bet = bet_after(0.4, steady)
    assert bet.log_wealth < bet.goal
    assert bet.height(1.0) > 1.0
    needed = bet.pairs_needed()
    won = bet_after(0.4, steady + [1.2, -0.4] * ((needed + 3) // 2))
    assert won.log_wealth >= won.goal
    assert won.height(1.0) <= 1.0
    assert bet_after(0.4, [-0.5, -0.4]).pairs_needed() is None


def test_a_test_whose_bet_is_near_its_goal_is_not_given_up(monkeypatch):
    from victor_autotune_plugin.experiment import judge as module

    monkeypatch.setattr(module, "is_futile", lambda *_: True)
    runs = runs_of(0.4, 1)
    assert judged(PLAIN, runs)[-1].status == "inconclusive"
    primary = SignedRankPrimary("duration", None, betting_on(0.4))
    for run in runs:
        primary.add(run)
    monkeypatch.setattr(ForecastBet, "is_near", property(lambda _: True))
    assert judged(betting_on(0.4), runs)[-1].status != "inconclusive"


def test_the_estimate_of_a_pass_is_corrected_for_the_bet():
    rng = np.random.default_rng(7)
    world = DependentWorld(gain=0.5, kept=True)
    told = [play(world, betting_on(0.5), rng, []).effect for _ in range(80)]
    assert np.mean(told) == pytest.approx(-0.5, abs=0.04)


def test_runs_are_planned_with_the_forecast():
    assert runs_for(0.3, 0.7, betting_on(0.3), power=0.5) < 0.9 * runs_for(0.3, 0.7, power=0.5)
    assert runs_for(0.3, 0.7, betting_on(0.02), power=0.5) > runs_for(0.3, 0.7, power=0.5)
