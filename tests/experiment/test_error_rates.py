"""A short run of `benchmarks/experiment_error_rates.py`, with bounds that a broken rule crosses."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from victor_autotune_plugin.experiment import Policy
from victor_autotune_plugin.experiment.blocks import BlockRanks

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks._dependent import DependentWorld, play
from benchmarks.experiment_error_rates import crossings, signed_rank_z

SHORT = Policy(max_runs_per_arm=50)


def upper(p, n):
    """Four standard errors above a share: crossed by chance once in 30,000."""
    return p + 4 * math.sqrt(p * (1 - p) / n)


def test_the_fast_statistic_is_the_shipped_one():
    gaps = np.random.default_rng(1).normal(0.2, 1, (3, 40))
    for row, z in zip(gaps, signed_rank_z(gaps), strict=True):
        ranks = BlockRanks()
        for k, gap in enumerate(row):
            ranks.add(k, float(gap), treatment=False)
            ranks.add(k, 0.0, treatment=True)
        assert ranks.z == pytest.approx(float(z))


@pytest.mark.parametrize(
    "world",
    [
        DependentWorld(pattern=(0.0, math.log(5))),
        DependentWorld(pattern=(math.log(4), 0.0, 0.0)),
        DependentWorld(correlation=-0.5),
        DependentWorld(correlation=0.8),
        DependentWorld(cycle=0.6),
    ],
    ids=["alternating", "three calls", "AR -.5", "AR .8", "daily"],
)
def test_the_primary_metric_rarely_crosses_its_boundary_in_a_dependent_world(world):
    first = crossings(world, 600, 2, [])[0]
    share = np.isfinite(first).mean()
    assert 0.02 < share <= upper(0.045, 600)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "policy"),
    [
        (DependentWorld(canary=True, probation=1.0, kept=True, correlation=0.5), SHORT),
        (DependentWorld(canary=True, kept=True, pattern=(0.0, math.log(5))), SHORT),
        (DependentWorld(tasks=12, kept=True, lost=0.1), SHORT),
        (DependentWorld(canary=True, kept=True, timeouts=0.15), SHORT),
        (DependentWorld(tasks=20, kept=True), evolve(SHORT, sticky=True)),
    ],
    ids=["canary and probation", "alternating", "tasks", "timeouts", "sticky"],
)
def test_equal_plans_rarely_get_a_verdict_or_go_live(world, policy):
    rng = np.random.default_rng(3)
    verdicts = [play(world, policy, rng, []) for _ in range(80)]
    found = sum(v.may_go_live or v.status in ("passed", "failed") for v in verdicts)
    assert found <= 80 * upper(0.05, 80)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "median"),
    [
        (DependentWorld(gain=0.3), 64),
        (DependentWorld(gain=0.5), 26),
        (DependentWorld(gain=0.3, correlation=0.5), 40),
        (DependentWorld(gain=0.3, tasks=12, lost=0.1), 38),
    ],
    ids=["30 %", "50 %", "AR .5", "tasks"],
)
def test_a_gain_is_found_soon(world, median):
    rng = np.random.default_rng(4)
    verdicts = [play(evolve(world, kept=True), Policy(), rng, []) for _ in range(60)]
    ends = [max(v.runs.values()) if v.may_go_live else math.inf for v in verdicts]
    assert np.median(ends) <= 1.25 * median


@pytest.mark.slow
@pytest.mark.parametrize(
    "world",
    [
        DependentWorld(gain=0.5, success=0.9, drop=0.15),
        DependentWorld(gain=0.5, cost_sigma=0.5, cost_rise=0.375),
        DependentWorld(gain=0.5, calls_rise=0.75),
        DependentWorld(gain=0.5, lost_by_treatment=0.3, canary=True),
        DependentWorld(gain=0.3, lost_by_treatment=0.6, kept=True),
    ],
    ids=["success", "cost", "tool calls", "loss", "loss of a plan that keeps the work"],
)
def test_what_is_beyond_a_margin_hardly_passes(world):
    rng = np.random.default_rng(5)
    verdicts = [play(world, evolve(SHORT, max_runs_per_arm=80), rng, []) for _ in range(40)]
    assert sum(v.status == "passed" or v.may_go_live for v in verdicts) <= 40 * upper(0.02, 40)


@pytest.mark.parametrize(("slower", "median", "runs_80"), [(6, 4, 5), (3, 8, 12)])
def test_a_much_slower_plan_costs_few_runs(slower, median, runs_80):
    rng = np.random.default_rng(6)
    verdicts = [play(DependentWorld(gain=1 - slower, canary=True), Policy(), rng, []) for _ in range(100)]
    assert sum(v.status == "failed" for v in verdicts) >= 97
    treated = sorted(v.runs["treatment"] for v in verdicts)
    assert treated[49] <= median
    assert treated[79] <= runs_80


@pytest.mark.slow
def test_a_score_that_rises_from_90_to_99_percent_is_found():
    rng = np.random.default_rng(7)
    world = DependentWorld(success=0.9, drop=-0.09)
    passed = sum(play(world, Policy(metric="score"), rng, []).status == "passed" for _ in range(40))
    assert passed >= 40 * (0.9 - 4 * math.sqrt(0.09 / 40))


@pytest.mark.slow
def test_equal_plans_are_hardly_rejected():
    rng = np.random.default_rng(8)
    world = DependentWorld(success=0.9, cost_sigma=0.5, canary=True)
    assert sum(play(world, SHORT, rng, []).status == "failed" for _ in range(80)) <= 80 * upper(0.015, 80)
