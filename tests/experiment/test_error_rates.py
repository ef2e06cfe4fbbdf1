"""A short, honest run of the benchmark, with bounds that a broken rule would cross.

The full figures come from `python benchmarks/experiment_error_rates.py`.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from attrs import evolve

from victor_autotune_plugin.experiment import Policy, WatchPolicy

pytestmark = pytest.mark.slow

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "experiment_error_rates.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("experiment_error_rates", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def upper(p, n):
    """Four standard errors above a share: crossed by chance once in 30,000."""
    return p + 4 * math.sqrt(p * (1 - p) / n)


def play(bench, world, n, policy=None, data=None):
    rng = np.random.default_rng(11)
    case = bench.Case("test", "null", world, policy or Policy())
    return [bench.play_test(case, rng, data or {}) for _ in range(n)]


@pytest.mark.parametrize(
    ("world", "policy"),
    [
        ({}, {}),
        ({"timeouts": 0.05}, {}),
        ({"success": 0.8}, {"metric": "score"}),
        ({}, {"rule": "pocock"}),
        ({}, {"rule": "obrien_fleming"}),
        ({}, {"rule": "e_logs"}),
        ({"timeouts": 0.05}, {"rule": "e_ranks"}),
    ],
)
def test_equal_plans_rarely_get_a_verdict_though_every_run_is_looked_at(bench, world, policy):
    results = play(bench, bench.World(**world), 200, Policy(**policy))
    found = sum(result[0] in ("passed", "failed") for result in results)
    assert found <= 200 * upper(0.05, 200)
    peeked = sum(math.isfinite(result[2]["naive"]) for result in results)
    assert peeked > 200 * 0.15  # on the same runs


def test_equal_plans_rarely_get_a_verdict_on_real_runs(bench):
    data = bench.read_real(bench.find_real())
    if not data:
        pytest.skip("no real runs here; set AGENT_RUNS_CSV")
    results = play(bench, bench.World(real=True), 300, data=data)
    assert sum(result[0] in ("passed", "failed") for result in results) <= 300 * upper(0.05, 300)


@pytest.mark.parametrize(
    ("world", "power", "median"),
    [
        ({"gain": 0.2}, 0.79, 150),
        ({"gain": 0.3}, 0.97, 60),
        ({"gain": 0.5}, 0.995, 23),
        ({"gain": 0.2, "timeouts": 0.05}, 0.79, 150),
    ],
    ids=["20 %", "30 %", "50 %", "20 % under timeouts"],
)
def test_gains_are_found_soon(bench, world, power, median):
    results = play(bench, bench.World(**world), 200)
    passed = [result[1] for result in results if result[0] == "passed"]
    assert len(passed) >= 200 * (power - 4 * math.sqrt(power * (1 - power) / 200))
    assert np.median(passed) <= median * 1.15


def test_harm_does_not_pass(bench):
    for world in (bench.World(gain=-1.0), bench.World(gain=0.3, success=0.9, drop=0.3)):
        statuses = Counter(result[0] for result in play(bench, world, 60))
        assert statuses["passed"] <= 2


def watch(bench, after, n, *, probes=True):
    rng = np.random.default_rng(12)
    case = bench.Case("test", "quiet", bench.World(success=0.9), WatchPolicy(), after, probes, 60)
    results = [bench.play_watch(case, rng, {}) for _ in range(n)]
    return [result[1] for result in results if result[0] == "rolled_back"]


def test_harmless_promotions_are_rarely_rolled_back(bench):
    same = bench.World(success=0.9)
    assert len(watch(bench, same, 200)) <= 200 * upper(0.02, 200)
    assert len(watch(bench, evolve(same, gain=0.2), 100)) <= 100 * upper(0.01, 100)


def test_a_drift_of_both_arms_is_rarely_rolled_back(bench):
    assert len(watch(bench, bench.World(success=0.9, drift=3.0), 100)) <= 100 * upper(0.08, 100)


@pytest.mark.parametrize(
    ("change", "median"), [({"gain": -1.0}, 24), ({"gain": -2.0}, 13), ({"drop": 0.3}, 40), ({"drop": 0.5}, 19)]
)
def test_harm_after_a_promotion_is_found_soon(bench, change, median):
    found = watch(bench, evolve(bench.World(success=0.9), **change), 100)
    assert len(found) >= 90
    assert np.median(found) <= median * 1.2


def test_without_the_control_runs_that_it_wants_the_watch_still_decides(bench):
    found = watch(bench, bench.World(success=0.9, gain=-2.0), 60, probes=False)
    assert len(found) >= 50
