"""A short run of `benchmarks/verification.py`, with bounds that a broken rule crosses."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks._live_plans import Life, Plans, live
from benchmarks.verification import SAME, measure, questions, slow_tail

pytestmark = pytest.mark.slow


def upper(p, n):
    """Four standard errors above a share: crossed by chance once in 30,000."""
    return n * (p + 4 * math.sqrt(p * (1 - p) / n))


def lives(life, n, seed=1):
    rng = np.random.default_rng(seed)
    return [live(life, rng) for _ in range(n)]


@pytest.mark.parametrize(("times", "age", "median"), [(2, 0, 62), (2, 200, 58), (3, 0, 36), (3, 1000, 36)])
def test_a_plan_that_turned_slower_is_replaced_soon(times, age, median):
    found = sorted(one.replaced_after for one in lives(Life(age=age, after=Plans(ratio=times), runs=200), 40))
    assert found[20] <= median


@pytest.mark.parametrize("world", [{}, {"correlation": 0.5}, {"cycle": math.log(1.5)}])
def test_equal_plans_in_a_steady_world_are_left_alone(world):
    found = lives(Life(before=SAME, after=SAME, runs=1500, **world), 16)
    assert sum(one.status == "rolled_back" for one in found) <= 1
    assert sum(one.rounds for one in found) <= 1.5 * 16


@pytest.mark.parametrize("both", [1.5, 3.0])
def test_a_drift_of_both_plans_is_no_harm(both):
    found = lives(Life(before=SAME, after=Plans(ratio=1.0, both=both), age=100, runs=200), 40)
    assert sum(one.status == "rolled_back" for one in found) <= upper(0.02, 40)


def test_a_lost_gain_is_looked_into():
    found = lives(Life(age=200, after=SAME, runs=200), 40)
    assert sum(one.opened_after <= 200 for one in found) >= 20


@pytest.mark.parametrize(("rise", "most"), [(1.0, 0.02), (0.5, 0.10)])
def test_a_higher_p95_rarely_stays(rise, most):
    plans = slow_tail(0.5, rise)
    found = lives(Life(before=plans, after=plans, test_pairs=26, runs=400), 40)
    counted = [one for one in found if one.p95 != "no data"]
    assert sum(one.status != "rolled_back" for one in counted) <= upper(most, len(counted))


def test_a_plan_that_is_faster_as_a_whole_stays():
    plans = Plans(ratio=0.5)
    found = lives(Life(before=plans, after=plans, test_pairs=40, runs=400), 40)
    assert sum(one.status != "rolled_back" for one in found) >= 32


def test_every_question_is_told_in_a_row():
    for question in questions():
        assert set(measure(question, [])) == {"question", "measured", "wanted", "n"}
