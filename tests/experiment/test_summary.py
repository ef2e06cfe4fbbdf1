from __future__ import annotations

import math

import pytest
from attrs import evolve
from scipy import stats

from victor_autotune_plugin.experiment import Judge, Policy, summarise
from victor_autotune_plugin.experiment.fixed_sample import relative_lift, two_proportions


def test_every_method_speaks_of_the_same_runs(make_runs):
    judge = Judge(Policy())
    for run in make_runs(400, ratio=0.5, success=0.9):
        judge.observe(run)
    found = {one.method: one for one in summarise("duration", judge.counted, seed=1)}
    assert list(found) == [
        *("welch", "welch on logs", "mann-whitney", "bootstrap-t on logs", "relative lift", "two proportions"),
    ]
    arms = {arm: [r.duration_seconds for r in judge.counted if r.arm == arm] for arm in ("control", "treatment")}
    assert len(judge.counted) == sum(judge.verdict().runs.values())
    expected = stats.ttest_ind(arms["treatment"], arms["control"], equal_var=False)
    assert found["welch"].statistic == pytest.approx(expected.statistic)
    assert found["welch"].p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found["welch"].low, found["welch"].high) == pytest.approx((interval.low, interval.high))
    ranks = stats.mannwhitneyu(arms["control"], arms["treatment"], method="exact")
    assert found["mann-whitney"].p_value == pytest.approx(ranks.pvalue)
    assert found["mann-whitney"].estimate == pytest.approx(judge.verdict().effect, abs=0.1)


def test_a_method_that_the_data_do_not_allow_is_left_out(make_runs):
    def methods(metric, runs):
        return [one.method for one in summarise(metric, runs, seed=1)]

    runs = make_runs(40)
    no_calls = [evolve(run, tool_calls=0) for run in runs]
    assert methods("tool_calls", no_calls) == ["welch", "two proportions"]
    no_price = [evolve(run, cost_usd=None) for run in runs]
    assert methods("cost", no_price) == ["two proportions"]
    assert methods("duration", runs[:6])[:3] == ["welch", "welch on logs", "mann-whitney"]
    assert "bootstrap-t on logs" not in methods("duration", runs[:6])
    assert methods("duration", [run for run in runs if run.arm == "control"]) == []
    with pytest.raises(ValueError, match="metric must be one of duration"):
        summarise("speed", runs, seed=1)


def test_two_proportions_give_newcombes_other_published_intervals():
    # Newcombe (1998), Statistics in Medicine 17:873-890, table II, method 10
    for hits, runs, others, of, low, high in (
        (9, 10, 3, 10, 0.1705, 0.8090),
        (6, 7, 2, 7, 0.0582, 0.8062),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
        (0, 10, 0, 10, -0.2775, 0.2775),
        (10, 10, 0, 20, 0.6791, 1.0),
        (10, 10, 0, 10, 0.6075, 1.0),
    ):
        result = two_proportions(others, of, hits, runs)
        assert (result.low, result.high) == pytest.approx((low, high), abs=5e-5)


def test_relative_lift_without_noise_is_the_ratio():
    result = relative_lift([10.0, 10.0, 10.0], [8.0, 8.0])
    assert (result.estimate, result.low, result.high) == pytest.approx((-0.2, -0.2, -0.2))
    assert math.isnan(result.p_value)
