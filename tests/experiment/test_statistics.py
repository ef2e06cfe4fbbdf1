from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from victor_autotune_plugin._model.policy import RULES
from victor_autotune_plugin.experiment.boundaries import boundary, shape
from victor_autotune_plugin.experiment.primary import shift_quantiles, task_effects
from victor_autotune_plugin.experiment.twosample import RankSum, SumStatistic, Tail, percentile, share_z

VALUES = st.lists(st.integers(0, 6).map(float) | st.floats(0, 6), min_size=2, max_size=30)


@given(VALUES, VALUES)
def test_rank_sum_is_mann_whitney_with_ties(control, treatment):
    ranks = RankSum()
    for value, treated in itertools.chain(((v, False) for v in control), ((v, True) for v in treatment)):
        ranks.add(value, treatment=treated)
    assert ranks.u == stats.mannwhitneyu(control, treatment).statistic
    if len({*control, *treatment}) == 1:
        assert ranks.z == 0
    else:
        expected = stats.mannwhitneyu(control, treatment, method="asymptotic", use_continuity=False)
        assert 2 * stats.norm.sf(abs(ranks.z)) == pytest.approx(expected.pvalue, abs=1e-9)


@pytest.mark.parametrize("m", [2, 5, 8])
def test_sum_statistic_has_the_permutation_variance_and_little_skewness_left(m):
    values = [0.0, 0.1, 0.2, 0.4, 0.7, 1.1, 1.6, 2.2, 4.0, 7.5]
    total, raw, left = sum(values), [], []
    for chosen in itertools.combinations(range(len(values)), m):
        sums = SumStatistic()
        for i, value in enumerate(values):
            sums.add(value, treatment=i in chosen)
        left.append(sums.z)
        mean = sum(values[i] for i in chosen) / m
        raw.append((mean - (total - m * mean) / (len(values) - m)) / sums.deviation)
    assert np.mean(raw) == pytest.approx(0, abs=1e-12)
    assert np.var(raw) == pytest.approx(1, abs=1e-9)
    assert abs(stats.skew(left)) <= 0.65 * abs(stats.skew(raw)) + 1e-9


@pytest.mark.parametrize(("a", "m", "b", "n"), [(5, 100, 2, 4), (3, 100, 3, 10), (12, 120, 9, 20), (10, 20, 18, 20)])
def test_share_statistic_is_near_the_exact_conditional_test(a, m, b, n):
    exact = stats.hypergeom(m + n, a + b, n)
    mid_p = exact.sf(b) + 0.5 * exact.pmf(b)
    assert stats.norm.sf(share_z(a, m, b, n)) == pytest.approx(mid_p, rel=0.35, abs=1e-4)


def test_share_statistic_equals_the_sum_statistic():
    sums = SumStatistic()
    for i in range(40):
        sums.add(float(i % 7 == 0), treatment=i < 9)
    hits = sum(i % 7 == 0 for i in range(9))
    assert share_z(sum(i % 7 == 0 for i in range(9, 40)), 31, hits, 9) == pytest.approx(sums.z)


def test_percentiles_are_nearest_rank():
    values = [float(x) for x in range(1, 21)]
    for q in (0.05, 0.5, 0.9, 0.95, 1.0):
        assert percentile(values, q) == np.quantile(values, q, method="inverted_cdf")
    assert math.isnan(percentile([], 0.5))


def test_tail_sees_what_a_timeout_does():
    tail = Tail()
    for i in range(40):
        tail.add(1.0 + i / 100, treatment=False)
        tail.add(math.inf if i >= 30 else 0.5, treatment=True)
    assert tail.percentiles() == (1.37, math.inf)
    assert tail.z() > 2


def test_shift_is_hodges_lehmann_and_its_ends_are_order_statistics():
    rng = np.random.default_rng(2)
    control, treatment = rng.normal(0, 1, 31).tolist(), rng.normal(0.7, 1, 24).tolist()
    differences = np.sort(np.subtract.outer(treatment, control).ravel())
    estimate, low, high = shift_quantiles(control, treatment, 600, 550)
    assert estimate == np.median(differences)
    assert (low, high) == (differences[len(differences) - 600], differences[549])
    assert shift_quantiles(control, treatment, math.inf, 31 * 24 + 1)[1:] == (-math.inf, math.inf)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    ("alpha", "least", "most"), [(0.0425, 10, 200), (0.002, 5, 200), (0.02, 10, 40), (0.03, 4, 1000)]
)
def test_a_boundary_is_crossed_with_its_probability(rule, alpha, least, most):
    limits = boundary(rule, alpha, least / most, 0.5 / max(most, 200))
    t = np.arange(2 * least, 2 * most + 1) / (2 * most)
    heights = np.array([limits.at(float(share)) for share in t])
    rng = np.random.default_rng(5)
    # importance sampling: a drift that makes crossings common, weighted by the likelihood ratio at the crossing
    drift, paths = limits.scale, 20_000 if most <= 200 else 3_000
    steps = rng.normal(size=(paths, len(t))) * np.sqrt(np.diff(t, prepend=0.0))
    score = np.cumsum(steps, axis=1) + drift * t
    crossed = score >= heights * np.sqrt(t)
    first = crossed.argmax(axis=1)
    rows = np.arange(paths)
    weights = np.where(crossed.any(axis=1), np.exp(-drift * score[rows, first] + drift**2 * t[first] / 2), 0.0)
    error = weights.std() / math.sqrt(paths)
    assert weights.mean() <= alpha + 4 * error
    assert weights.mean() >= 0.85 * alpha - 4 * error


@pytest.mark.parametrize("rule", RULES)
def test_boundaries_fall_with_information_and_with_alpha(rule):
    limits = boundary(rule, 0.04, 0.05)
    heights = [limits.at(k / 400) for k in range(20, 401)]
    assert all(a >= b for a, b in itertools.pairwise(heights))
    assert limits.at(0.04) == math.inf
    assert limits.at(1.2) == limits.at(1.0)
    scales = [boundary(rule, alpha, 0.05).scale for alpha in (2e-5, 1e-4, 0.001, 0.004, 0.01, 0.04, 0.1, 0.15)]
    assert scales == sorted(scales, reverse=True)
    assert shape(rule, 1.0) == pytest.approx(1.0)


@pytest.mark.parametrize(("rule", "alpha", "start"), [("x", 0.05, 0.1), ("pocock", 0.5, 0.1), ("pocock", 0.05, 0.0)])
def test_a_boundary_that_is_not_known_is_refused(rule, alpha, start):
    with pytest.raises(ValueError, match=r"rule|alpha|start"):
        boundary(rule, alpha, start)


def test_task_effects_shrink_towards_the_mean(make_runs):
    from attrs import evolve

    runs = [evolve(run, task_key=f"task{run.index % 4}") for run in make_runs(80, sigma=0.2)]
    slow = [evolve(run, duration_seconds=run.duration_seconds * 8) if run.index % 4 == 0 else run for run in runs]
    effects = task_effects("duration", slow)
    raw = math.log(8) * 0.75
    assert 0.8 * raw < effects["task0"] < raw + 0.1
    assert task_effects("duration", runs[:1]) == {}
    assert max(map(abs, task_effects("duration", runs).values())) < 0.15
