"""One run at a time comes to the same as all at once, and what is not normal is brought to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from victor_autotune_plugin._tuner.regression import (
    Belief,
    LogRegression,
    MixedRegression,
    OutcomeRegression,
    RandomEffects,
    cdf,
    hazard,
    mean_below_zero,
)


def test_the_normal_distribution_is_scipys() -> None:
    x = np.linspace(-6, 6, 101)
    assert np.allclose(cdf(x), stats.norm.cdf(x), atol=2e-7)
    assert np.allclose(
        [hazard(v) for v in (-2.0, 0.0, 3.0)], stats.norm.pdf([-2, 0, 3]) / stats.norm.sf([-2, 0, 3]), rtol=1e-3
    )
    assert hazard(20.0) == pytest.approx(20.05, abs=0.01)
    draws = np.random.default_rng(1).normal(0.3, 0.8, 400_000)
    assert mean_below_zero(np.array([0.3]), np.array([0.8]))[0] == pytest.approx(np.minimum(draws, 0).mean(), abs=0.005)


def test_a_rank_one_update_is_the_least_squares_posterior() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, 3))
    y = x @ [0.5, -1.0, 0.2] + rng.normal(0, 0.3, 50)
    belief = Belief(np.zeros(3), np.ones(3))
    for features, value in zip(x, y, strict=True):
        mean, spread = belief.of(features)
        belief.move(features, (value - mean) / (0.09 + spread), 1 / (0.09 + spread))
    precision = np.eye(3) + x.T @ x / 0.09
    assert np.allclose(belief.covariance, np.linalg.inv(precision))
    assert np.allclose(belief.mean, np.linalg.solve(precision, x.T @ y / 0.09))


def test_slow_outliers_hardly_move_the_mean() -> None:
    rng = np.random.default_rng(3)
    calm, hit = (LogRegression(Belief(np.zeros(1), np.full(1, 3.0)), 0.5) for _ in range(2))
    for number, value in enumerate(rng.normal(1.0, 0.3, 60)):
        calm.learn(np.ones(1), float(value))
        hit.learn(np.ones(1), 5.0 if number % 12 == 6 else float(value))
    assert hit.belief.mean[0] - calm.belief.mean[0] < 0.15  # the plain mean moves by a third


def test_timeouts_count_as_lower_bounds() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(2.0, 0.5, 400)
    censored, naive = (LogRegression(Belief(np.zeros(1), np.full(1, 3.0)), 0.5) for _ in range(2))
    for value in values:
        cut = value > 2.3
        censored.learn(np.ones(1), float(min(value, 2.3)), censored=bool(cut))
        naive.learn(np.ones(1), float(min(value, 2.3)))
    assert abs(censored.belief.mean[0] - 2.0) < abs(naive.belief.mean[0] - 2.0)
    assert censored.belief.mean[0] == pytest.approx(2.0, abs=0.08)


def test_graded_outcomes_tell_more_than_binary_ones() -> None:
    rng = np.random.default_rng(5)
    graded, binary = (OutcomeRegression(Belief(np.zeros(1), np.full(1, 2.0))) for _ in range(2))
    for _ in range(150):
        graded.learn(np.ones(1), float(np.clip(rng.normal(0.8, 0.1), 0, 1)))
        binary.learn(np.ones(1), float(rng.random() < 0.8))
    assert graded.belief.covariance[0, 0] < 0.5 * binary.belief.covariance[0, 0]
    for regression in (graded, binary):
        assert regression.belief.mean[0] == pytest.approx(math.log(4), abs=0.45)


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_a_discount_leads_from_what_was_learnt_to_the_prior(share: float) -> None:
    belief = Belief(np.array([1.0, -1.0]), np.array([0.5, 2.0]))
    belief.move(np.array([1.0, 1.0]), 0.3, 0.2)
    mean, covariance = belief.mean.copy(), belief.covariance.copy()
    belief.discount(share)
    if share == 1.0:
        assert np.allclose(belief.mean, mean)
        assert np.allclose(belief.covariance, covariance)
    elif share == 0.0:
        assert np.allclose(belief.mean, [1.0, -1.0])
        assert np.allclose(belief.covariance, np.diag([0.25, 4.0]))
    else:
        assert (np.diag(belief.covariance) > np.diag(covariance)).all()


def test_what_comes_again_has_effects_of_their_own_and_the_oldest_make_room() -> None:
    tasks = RandomEffects(0.5)
    for _ in range(20):
        tasks.learn("hard", 1.0, 0.05)
    assert tasks.of("hard")[0] == pytest.approx(1.0, abs=0.05)
    assert tasks.of("new") == (0.0, 0.25)
    for number in range(300):
        tasks.learn(f"task {number}", 0.1, 0.05)
    assert tasks.of("hard") == (0.0, 0.25)
    assert tasks.of("task 43") == (0.0, 0.25)
    assert tasks.of("task 44")[1] < 0.25


def test_given_coefficients_are_nearly_as_believed_before() -> None:
    belief = Belief(np.array([0.0, 1.0]), np.array([1.0, 1.0]))
    belief.move(np.array([1.0, 1.0]), 0.9, 0.3)
    known = belief.given(np.array([1]), 1e-4)
    assert known.mean[1] == pytest.approx(1.0, abs=1e-3)
    assert known.of(np.array([0.0, 1.0]))[1] == pytest.approx(0.0, abs=1e-6)
    assert belief.given(np.array([1]), 1e6).mean == pytest.approx(belief.mean)
    assert belief.given(np.array([0, 1]), 1e6).covariance == pytest.approx(belief.covariance, rel=1e-6)


def regressions(slope: float) -> LogRegression:
    return LogRegression(Belief(np.array([0.0, slope]), np.array([1.0, 0.02])), 0.3)


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_a_mixture_finds_which_of_two_regressions_holds(slope: float) -> None:
    rng, share = np.random.default_rng(5), 0.15
    mixed = MixedRegression((regressions(0.0), regressions(0.5)), share)
    assert mixed.share == pytest.approx(share)
    for number in range(60):
        features = np.array([1.0, 1.4 * (number % 2)])
        mixed.learn(features, features[1] * slope + 0.3 * rng.standard_normal())
    assert mixed.share > 0.95 if slope else mixed.share < 0.03
    mean, variance = mixed.belief.of(np.array([0.0, 1.0]))
    assert mean == pytest.approx(slope, abs=0.05)
    means, variances = mixed.belief.of_all(np.array([[0.0, 1.0]]))
    assert (means[0], variances[0]) == (pytest.approx(mean), pytest.approx(variance))
    mixed.discount(0.0)
    assert mixed.share == pytest.approx(share)


def test_a_run_that_was_cut_off_tells_a_mixture_that_it_would_have_taken_longer() -> None:
    mixed = MixedRegression((regressions(0.0), regressions(0.5)), 0.5)
    mixed.learn(np.array([1.0, 4.0]), 1.5, censored=True)
    assert mixed.share > 0.5
