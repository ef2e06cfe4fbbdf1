from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from victor_autotune_plugin._model.assignment import EARLIER_VERSION, assign_earlier
from victor_autotune_plugin.experiment import ASSIGNMENT_VERSION, assign, sample_ratio_p_value

HOLDBACK = {"control": 0.1, "treatment": 0.9}
THIRDS = {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}


@pytest.mark.parametrize(
    ("seed", "stream", "weights", "start", "arms"),
    [
        ("demo", "", None, 0, "cttcctcttctc"),
        ("", "", None, 0, "ctctctct"),
        ("prüfung-7", "0", None, 0, "ctcttctc"),
        ("demo", "task:7", None, 10**6, "tcctcttctcctctct"),
        ("holdback", "3", HOLDBACK, 0, "ttttcttttt" + "tttctttttt"),
        ("three", "", THIRDS, 0, "abcabcacb"),
    ],
)
def test_published_vectors_hold_on_every_machine_and_version(seed, stream, weights, start, arms):
    assert ASSIGNMENT_VERSION == "shake256-streams-2"
    assert "".join(assign(seed, start + i, weights, stream=stream)[0] for i in range(len(arms))) == arms


def test_streams_are_drawn_independently():
    first = {stream: assign("seed", 0, stream=str(stream)) for stream in range(2000)}
    assert stats.binomtest(sum(arm == "treatment" for arm in first.values()), 2000).pvalue > 0.001


@pytest.mark.parametrize(
    ("seed", "weights", "start", "arms"),
    [
        ("demo", None, 0, "cttctccttctc"),
        ("", None, 0, "tctctcct"),
        ("prüfung-7", None, 0, "cttctctc"),
        ("demo", None, 10**6, "cttctctctctcctct"),
        ("holdback", HOLDBACK, 0, "ttttctttttt" + "ctttttttt"),
        ("three", THIRDS, 0, "bcaabccba"),
    ],
)
def test_the_rule_of_the_first_version_stays_for_the_replay_of_its_experiments(seed, weights, start, arms):
    assert EARLIER_VERSION == "sha256-blocks-1"
    assert "".join(assign_earlier(seed, start + i, weights)[0] for i in range(len(arms))) == arms


@given(st.text(), st.integers(0, 10**9))
def test_every_pair_holds_both_arms(seed, pair):
    assert {assign(seed, 2 * pair), assign(seed, 2 * pair + 1)} == {"control", "treatment"}


@given(st.text(max_size=5), st.lists(st.integers(1, 12), min_size=2, max_size=5))
def test_every_block_holds_each_arm_by_its_weight(seed, counts):
    total = sum(counts)
    weights = {f"arm{i}": count / total for i, count in enumerate(counts)}
    seen = Counter(assign(seed, i, weights) for i in range(total))
    assert seen == {f"arm{i}": count for i, count in enumerate(counts)}
    assert assign(seed, 3, dict(reversed(weights.items()))) == assign(seed, 3, weights)


def test_which_arm_comes_first_is_a_fair_coin_across_pairs_and_seeds():
    first = [assign("seed", 2 * i) == "treatment" for i in range(2000)]
    first += [assign(f"seed{i}", 0) == "treatment" for i in range(2000)]
    assert stats.binomtest(sum(first), 4000).pvalue > 0.001
    repeats = sum(a == b for a, b in pairwise(first))
    assert stats.binomtest(repeats, 3999).pvalue > 0.001


@pytest.mark.parametrize(
    "weights",
    [
        {"a": 0.5, "b": 0.6},
        {"a": 1.5, "b": -0.5},
        {"a": float("nan"), "b": 1.0},
        {"a": float("inf"), "b": 0.0},
        {"a": 0.1234567, "b": 0.8765433},
        {},
    ],
)
def test_weights_that_make_no_sense_are_refused(weights):
    with pytest.raises(ValueError, match="weights"):
        assign("s", 0, weights)


def test_a_negative_index_is_refused():
    with pytest.raises(ValueError, match="index"):
        assign("s", -1)


@pytest.mark.parametrize(("k", "n", "p"), [(3, 20, 0.5), (10, 10, 0.5), (7, 100, 0.1), (200, 380, 0.5), (0, 1, 0.5)])
def test_sample_ratio_p_value_of_two_arms_is_the_exact_binomial_one(k, n, p):
    value = sample_ratio_p_value({"control": k, "treatment": n - k}, {"control": p, "treatment": 1 - p})
    assert value == pytest.approx(stats.binomtest(k, n, p).pvalue, rel=1e-6)


@pytest.mark.parametrize("counts", [(30, 30, 30), (20, 35, 41), (5, 60, 90), (11, 9, 30, 10, 3, 8)])
def test_sample_ratio_p_value_of_many_arms_is_pearsons(counts):
    named = {f"arm{i}": count for i, count in enumerate(counts)}
    weights = dict.fromkeys(named, 1 / len(counts))
    assert sample_ratio_p_value(named, weights) == pytest.approx(stats.chisquare(counts).pvalue, rel=1e-9)


def test_sample_ratio_needs_known_arms_and_tells_nothing_without_runs():
    assert sample_ratio_p_value({}) == 1.0
    with pytest.raises(ValueError, match="third"):
        sample_ratio_p_value({"third": 3})
