from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from victor_autotune_plugin.experiment import Policy
from victor_autotune_plugin.experiment.design import chance_of_proof, improvement_for, log_spread, runs_for
from victor_autotune_plugin.experiment.fixed_sample import (
    bootstrap_ratio,
    mann_whitney,
    relative_lift,
    two_proportions,
    welch,
)

# Student's sleep data (1908), as in R's `sleep`
SLEEP = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0], [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# Permeability constants of Hollander and Wolfe (1973), as in R's help of `wilcox.test`
TERM = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
EARLY = [1.15, 0.88, 0.90, 0.74, 1.21]


def test_welch_gives_the_published_values_of_the_sleep_data():
    result = welch(*SLEEP)
    assert result.statistic == pytest.approx(1.8608, abs=5e-5)
    assert result.p_value == pytest.approx(0.07939, abs=5e-6)
    assert (result.low, result.high) == pytest.approx((-0.2054832, 3.3654832), abs=1e-6)


def test_mann_whitney_gives_the_published_values_of_hollander_and_wolfe():
    result = mann_whitney(EARLY, TERM)
    assert result.statistic == 50 - 35
    assert result.p_value == pytest.approx(0.2544, abs=5e-5)
    flipped = mann_whitney(np.exp(EARLY), np.exp(TERM))
    assert math.log1p(flipped.estimate) == pytest.approx(0.305)
    assert (math.log1p(flipped.low), math.log1p(flipped.high)) == pytest.approx((-0.15, 0.76))


def test_two_proportions_give_newcombes_published_interval():
    result = two_proportions(48, 80, 56, 70)
    assert (result.estimate, result.low, result.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_relative_lift_is_fiellers_and_unbounded_without_a_clear_base():
    rng = np.random.default_rng(1)
    control, treatment = rng.normal(10, 1, 60), rng.normal(8, 1, 60)
    result = relative_lift(control, treatment)
    assert result.low < -0.2 < result.high
    assert result.high - result.low < 0.1
    assert relative_lift([0.0, 0.0, 0.0, 9.0], [1.0, 2.0, 3.0]).high == math.inf


def interval(method, control, treatment):
    if method == "bootstrap":
        return bootstrap_ratio(control, treatment, seed=1, draws=800)
    return mann_whitney(control, treatment) if method == "ranks" else welch(control, treatment, logs=True)


@pytest.mark.parametrize("method", ["welch", "ranks", "bootstrap"])
@pytest.mark.parametrize("sigma", [0.5, 1.0])
def test_intervals_hold_their_level_with_ten_values(method, sigma):
    rng = np.random.default_rng(3)
    hits, total = 0, 600
    for _ in range(total):
        control, treatment = np.exp(rng.normal(3, sigma, 10)), 0.8 * np.exp(rng.normal(3, sigma, 10))
        result = interval(method, control.tolist(), treatment.tolist())
        hits += result.low <= -0.2 <= result.high
    assert stats.binomtest(hits, total, 0.95).pvalue > 1e-4


def test_the_bootstrap_repeats_with_its_seed():
    control, treatment = [1.0, 2.0, 3.0, 5.0, 8.0], [1.0, 1.5, 2.0, 2.5, 4.0]
    first, again = (bootstrap_ratio(control, treatment, seed=7).to_dict() for _ in range(2))
    assert first == again
    assert first != bootstrap_ratio(control, treatment, seed=8).to_dict()


def test_equal_values_give_no_effect():
    same = [2.0] * 6
    for result in (welch(same, same, logs=True), mann_whitney(same, same), bootstrap_ratio(same, same, seed=1)):
        assert result.estimate == 0
        assert result.low <= 0 <= result.high


@pytest.mark.parametrize(
    "call",
    [
        lambda: welch([1.0], [1.0, 2.0]),
        lambda: welch([1.0, math.nan], [1.0, 2.0]),
        lambda: welch([1.0, 0.0], [1.0, 2.0], logs=True),
        lambda: mann_whitney([], [1.0]),
        lambda: bootstrap_ratio([1.0] * 4, [1.0] * 5, seed=1),
        lambda: two_proportions(5, 4, 1, 2),
        lambda: relative_lift([0.0, 0.0], [1.0, 2.0]),
    ],
)
def test_impossible_samples_are_refused_by_name(call):
    with pytest.raises(ValueError, match=r"control|treatment"):
        call()


def test_planning_agrees_with_the_measured_power():
    assert 150 <= runs_for(0.2, 0.7) <= 220
    assert 60 <= runs_for(0.3, 0.7) <= 100
    assert improvement_for(0.7) == pytest.approx(0.2, abs=0.02)
    assert runs_for(improvement_for(0.7), 0.7) == pytest.approx(200, rel=0.03)


def test_the_chance_of_a_proof_is_the_power_where_the_gain_is_known_and_less_where_it_is_not():
    policy = Policy(max_runs_per_arm=100)
    gain = improvement_for(0.7, policy)
    assert chance_of_proof(gain, gain, 0.7, policy) == pytest.approx(0.8, abs=0.02)
    assert 0.5 < chance_of_proof(gain - 0.2, gain + 0.2, 0.7, policy) < 0.8
    assert chance_of_proof(0.0, 0.0, 0.7, policy) < 0.05
    assert chance_of_proof(-0.5, -0.3, 0.7, policy) < 1e-4
    assert chance_of_proof(0.02, 0.08, 0.7, Policy(max_runs_per_arm=20)) < 0.1


@pytest.mark.parametrize("call", [(0.3, 0.2, 0.7), (0.2, 1.0, 0.7), (0.1, 0.2, 0.0)])
def test_impossible_plans_are_refused_by_name(call):
    with pytest.raises(ValueError, match=r"low and high|spread"):
        chance_of_proof(*call)


def test_the_spread_of_earlier_runs_is_not_moved_by_timeouts(make_runs):
    def stretch(rng, arm, fields):
        if rng.random() < 0.05:
            fields.update(timed_out=True, duration_seconds=900.0)

    assert log_spread("duration", make_runs(400, change=stretch)) == pytest.approx(0.7, abs=0.1)
    with pytest.raises(ValueError, match="runs"):
        log_spread("duration", make_runs(4))
