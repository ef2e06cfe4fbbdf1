"""E-processes are martingales for equal plans, whatever the durations, and find what is there."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from attrs import evolve

from victor_autotune_plugin._model.assignment import assign_earlier as assign
from victor_autotune_plugin._model.converter import from_plain
from victor_autotune_plugin._model.policy import E_RULES
from victor_autotune_plugin.experiment import Observation, Policy, judge_of
from victor_autotune_plugin.experiment.betting import LARGEST, Wealth
from victor_autotune_plugin.experiment.earlier.eprocess import EBoundary, PairedPrimary

SIZES = [2.0, 0.1, 700.0, 0.0, 1.5, 1.4, 0.9, 30.0, 5.0]


def decide(runs, policy):
    judge = judge_of(policy)
    for run in runs:
        judge.observe(run)
    return judge.verdict()


def pair(k, seconds, *, swapped, timed_out=False):
    """The two runs of a pair; the slower one is the treatment's when swapped."""
    arms = ("treatment", "control") if swapped else ("control", "treatment")
    slow = {"duration_seconds": 10.0 + seconds, "timed_out": timed_out}
    return [
        Observation(index=2 * k, arm=arms[0], success=True, score=1.0, **slow),
        Observation(index=2 * k + 1, arm=arms[1], duration_seconds=10.0, success=True, score=1.0),
    ]


@pytest.mark.parametrize("rule", E_RULES)
def test_over_all_fair_coins_the_e_value_has_the_mean_one_exactly(rule):
    # Durations as uneven as they like, with a timeout among them: the arms are all that is random.
    total = 0.0
    for swaps in itertools.product((False, True), repeat=len(SIZES)):
        primary = PairedPrimary(rule, "duration")
        for k, (size, swapped) in enumerate(zip(SIZES, swaps, strict=True)):
            for run in pair(k, size, swapped=swapped, timed_out=k == 6):
                primary.add(run)
        total += math.exp(primary._wealth.log_e())
    assert total / 2 ** len(SIZES) == pytest.approx(1.0, rel=1e-12)


def test_the_wealth_of_one_pair_is_the_mean_of_its_stakes():
    wealth = Wealth()
    wealth.add(1.5)
    from victor_autotune_plugin.experiment.betting import STAKES

    expected = sum(math.exp(1.5 * s) / math.cosh(1.5 * s) for s in STAKES) / len(STAKES)
    assert math.exp(wealth.log_e()) == pytest.approx(expected, rel=1e-12)
    assert math.exp(wealth.log_e()) + math.exp(wealth.log_e(-1)) == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize("rule", ["balanced", *E_RULES])
def test_a_drift_of_both_arms_moves_no_evidence_of_equal_plans(rule, make_runs):
    def decided(speed):
        found = 0
        for seed in range(150):
            runs = make_runs(160, seed=seed)
            drifted = [
                evolve(run, duration_seconds=run.duration_seconds * math.exp(speed * (run.index // 2))) for run in runs
            ]
            found += decide(drifted, Policy(rule=rule, max_runs_per_arm=80, futility=False)).status == "passed"
        return found

    assert decided(0.05) <= 150 * 0.045 + 4 * math.sqrt(150 * 0.045)


@pytest.mark.parametrize("rule", E_RULES)
@pytest.mark.parametrize("metric", ["duration", "cost", "score"])
def test_gains_pass_and_harms_fail_with_an_interval_that_says_so(rule, metric, make_runs):
    def better(rng, arm, fields):
        treated = arm == "treatment"
        fields["duration_seconds"] = 20 * math.exp(rng.gauss(0, 0.3)) * (0.5 if treated and metric == "duration" else 1)
        fields["cost_usd"] = math.exp(rng.gauss(0, 0.3)) * (0.5 if treated and metric == "cost" else 1)
        fields["score"] = min(1.0, rng.uniform(0.3, 0.6) * (1.5 if treated and metric == "score" else 1))

    policy = Policy(rule=rule, metric=metric)
    runs = make_runs(400, change=better)
    verdict = decide(runs, policy)
    assert verdict.status == "passed"
    low, high = verdict.interval
    assert low < verdict.effect < high
    assert (low > 0) if metric == "score" else (high < 0)
    assert verdict.statistic >= verdict.boundary == pytest.approx(-math.log(0.045))
    other = {"control": "treatment", "treatment": "control"}
    worse = decide([evolve(run, arm=other[run.arm]) for run in runs], policy)
    assert worse.status == "failed"
    if metric == "duration":  # of the others the guardrails may speak first
        assert worse.interval[0] > 0


@pytest.mark.parametrize("rule", E_RULES)
def test_the_interval_excludes_no_change_exactly_when_the_metric_is_decided(rule, make_runs):
    for seed in range(6):
        judge = judge_of(Policy(rule=rule, futility=False, minimum_improvement=1.0))
        for run in make_runs(120, ratio=0.75, seed=seed):
            judge.observe(run)
            verdict = judge.verdict()
            if min(verdict.runs.values()) >= 10:
                assert (verdict.interval[1] < -1e-4) == (verdict.statistic >= verdict.boundary) or abs(
                    verdict.statistic - verdict.boundary
                ) < 1e-3


@pytest.mark.parametrize("rule", E_RULES)
def test_intervals_hold_the_true_change(rule, make_runs):
    misses = 0
    for seed in range(120):
        verdict = decide(make_runs(60, ratio=0.8, seed=seed), Policy(rule=rule, minimum_improvement=1.0))
        misses += not verdict.interval[0] <= -0.2 <= verdict.interval[1]
    assert misses <= 120 * 0.05 + 4 * math.sqrt(120 * 0.05)


@pytest.mark.parametrize("rule", E_RULES)
def test_a_timeout_is_bounded_evidence(rule, make_runs):
    runs = make_runs(100, ratio=0.4, sigma=0.3)
    first = next(run for run in runs if run.arm == "treatment")
    runs[first.index] = evolve(first, timed_out=True)
    assert decide(runs, Policy(rule=rule)).statistic > 0
    primary = PairedPrimary(rule, "duration")
    for run in pair(0, 0.0, swapped=True, timed_out=True):
        primary.add(run)
    assert abs(primary._wealth.sum) <= LARGEST
    effect = primary.effect(math.inf, math.inf)
    assert (effect.low, effect.high) == (-1.0, math.inf)


@pytest.mark.parametrize("rule", E_RULES)
def test_runs_without_a_partner_are_no_evidence_and_no_error(rule):
    runs = [
        Observation(index=2 * i, arm=assign("s", 2 * i), duration_seconds=5.0 + i, success=True, score=1.0)
        for i in range(60)
    ]
    verdict = decide(runs, Policy(rule=rule))
    assert (verdict.status, verdict.statistic) == ("running", 0.0)
    assert math.isnan(verdict.effect)
    json.dumps(verdict.to_dict(), allow_nan=False)


@pytest.mark.parametrize("rule", E_RULES)
def test_the_same_runs_give_the_same_verdict_bit_for_bit(rule, make_runs):
    runs = make_runs(400, ratio=0.7, success=0.9)
    asked, silent = judge_of(Policy(rule=rule)), judge_of(Policy(rule=rule))
    for run in runs:
        asked.observe(run)
        asked.verdict()
        silent.observe(from_plain(Observation, json.loads(json.dumps(run.to_dict()))))
    assert json.dumps(asked.verdict().to_dict()) == json.dumps(silent.verdict().to_dict())


def test_another_rule_is_refused():
    with pytest.raises(ValueError, match="rule must be one of e_logs, e_ranks"):
        PairedPrimary("pocock", "duration")


def test_the_height_is_infinite_before_the_first_look():
    limits = EBoundary(0.05, 0.1)
    assert (limits.at(0.05), limits.at(0.1)) == (math.inf, -math.log(0.05))
    assert 2.5 < limits.normal(0.5) < 3.5
