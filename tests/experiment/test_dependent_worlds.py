"""A short run of `benchmarks/dependent_worlds.py`, by the shipped engine, with bounds that a broken rule crosses."""

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
from benchmarks.dependent_worlds import crossings, signed_rank_z

PAIRED = Policy(rule="signed_rank")
QUICK = evolve(PAIRED, prove_success=False)
SHORT = evolve(QUICK, max_runs_per_arm=70)


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
    first = crossings(world, 600, 2, [])
    share = np.isfinite(first).mean()
    assert 0.02 < share <= upper(0.045, 600)


@pytest.mark.slow
@pytest.mark.parametrize(
    "world",
    [
        DependentWorld(canary=True, probation=True, correlation=0.5),
        DependentWorld(tasks=12, lost=0.1),
        DependentWorld(timeouts=0.15),
    ],
    ids=["canary and probation", "tasks", "timeouts"],
)
def test_equal_plans_rarely_get_a_verdict_in_a_dependent_world(world):
    rng = np.random.default_rng(3)
    found = sum(play(world, SHORT, rng, []).status in ("passed", "failed") for _ in range(200))
    assert found <= 200 * upper(0.05, 200)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("world", "median"),
    [
        (DependentWorld(gain=0.3), 64),
        (DependentWorld(gain=0.5), 26),
        (DependentWorld(gain=0.3, correlation=0.5), 40),
        (DependentWorld(gain=0.3, cycle=0.6), 41),
        (DependentWorld(gain=0.3, tasks=12, lost=0.1), 40),
    ],
    ids=["30 %", "50 %", "AR .5", "daily", "tasks"],
)
def test_a_gain_is_found_soon_in_a_dependent_world(world, median):
    rng = np.random.default_rng(4)
    verdicts = [play(world, QUICK, rng, []) for _ in range(100)]
    ends = [max(v.runs.values()) if v.status == "passed" else math.inf for v in verdicts]
    assert np.median(ends) <= 1.2 * median


@pytest.mark.slow
@pytest.mark.parametrize(
    "world",
    [
        DependentWorld(gain=0.5, success=0.9, drop=0.15),
        DependentWorld(gain=0.5, cost_sigma=0.5, cost_rise=0.375),
        DependentWorld(gain=0.5, calls_rise=0.75),
    ],
    ids=["success", "cost", "tool calls"],
)
def test_what_is_beyond_a_margin_hardly_passes(world):
    rng = np.random.default_rng(5)
    assert sum(
        play(world, evolve(PAIRED, max_runs_per_arm=100), rng, []).status == "passed" for _ in range(100)
    ) <= 100 * upper(0.02, 100)
