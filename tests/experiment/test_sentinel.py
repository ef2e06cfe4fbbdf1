from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from victor_autotune_plugin.experiment import Observation, WatchPolicy
from victor_autotune_plugin.experiment.prewhitening import Prewhitening
from victor_autotune_plugin.experiment.sentinel import ModelChange, RankDetector, Sentinel, ShareDetector


def first_alarm(detector, values, threshold=10_000):
    for place, value in enumerate(values, 1):
        detector.bet(value)
        if detector.sum >= threshold:
            return place
    return None


def noise(seed, n, correlation=0.0, cycle=0.0, period=50):
    rng, last, found = random.Random(seed), 0.0, []
    for i in range(n):
        last = correlation * last + math.sqrt(1 - correlation**2) * rng.gauss(0, 1)
        found.append(last + cycle * math.sin(2 * math.pi * i / period))
    return found


@pytest.mark.parametrize(
    "world", [{}, {"correlation": 0.5}, {"correlation": -0.5}, {"cycle": 0.6}, {"cycle": 0.6, "period": 25}]
)
def test_a_world_that_does_not_change_is_quiet_also_when_neighbours_are_alike(world):
    alarms = [first_alarm(RankDetector(), noise(seed, 1000, **world)) for seed in range(10)]
    assert sum(alarm is not None for alarm in alarms) <= 2


def test_a_shift_is_found_in_a_few_runs_at_any_age():
    for age in (60, 300, 2000):
        found = []
        for seed in range(9):
            detector = RankDetector()
            for value in noise(seed, age):
                detector.learn(value)
            found.append(first_alarm(detector, [2.0 + value for value in noise(seed + 50, 100)]) or math.inf)
        assert sorted(found)[4] <= 12


def test_timeouts_and_equal_values_are_ranked_like_others():
    assert first_alarm(RankDetector(), [3.0] * 500) is None
    rng = random.Random(1)
    assert first_alarm(RankDetector(), [1e6 if rng.random() < 0.3 else rng.gauss(0, 1) for _ in range(800)]) is None


def test_what_the_last_values_foretell_is_taken_off():
    whitening, values = Prewhitening(300), noise(3, 1500, correlation=0.8)
    rest = [whitening.residual(value) for value in values][500:]
    mean = math.fsum(rest) / len(rest)
    together = math.fsum((a - mean) * (b - mean) for a, b in pairwise(rest))
    assert abs(together / math.fsum((a - mean) ** 2 for a in rest)) < 0.08


def test_a_share_of_bad_runs_that_grows_is_found_and_one_that_stays_is_not():
    rng = random.Random(2)
    for usual in (0.0, 0.1, 0.4):
        detector = ShareDetector()
        for _ in range(200):
            detector.learn(rng.random() < usual)
        assert first_alarm(detector, [rng.random() < usual for _ in range(1000)]) is None
    detector = ShareDetector()
    for _ in range(200):
        detector.learn(rng.random() < 0.1)
    found = first_alarm(detector, [rng.random() < 0.6 for _ in range(200)])
    assert found is not None
    assert found <= 30


def test_another_model_is_told_at_once_and_one_that_is_known_never():
    models = ModelChange(1)
    for _ in range(10):
        assert models.bet("openai/a") == ""
    assert models.bet("") == ""
    assert models.bet("openai/b") == "openai/b"
    assert models.usual == "openai/a"


def test_after_other_models_that_did_no_harm_more_answers_of_a_new_one_are_needed():
    models = ModelChange(4)
    for _ in range(10):
        models.learn("openai/a")
    told = [models.bet(f"openai/{name}") for name in "bacabac"]
    assert [bool(text) for text in told] == [False] * 6 + [True]


def test_a_first_answer_tells_of_no_change_where_no_model_was_known():
    sentinel = Sentinel(WatchPolicy())
    for index in range(4):
        sentinel.observe(Observation(index, "treatment", 1.0, True, 1.0, models=f"openai/{index}"))
    assert sentinel.new_models == ""


def test_a_missing_run_counts_for_nothing_but_the_loss():
    sentinel = Sentinel(WatchPolicy())
    for index in range(60):
        sentinel.learn([Observation(index, "treatment", 20.0 + index % 7, True, 1.0)])
    for index in range(12):
        sentinel.observe(Observation(60 + index, "treatment", 0.0, False, 0.0, missing="lost"))
    sums = sentinel.sums()
    assert sums["loss"] > 1000
    assert sums["success"] == sums["metric"] == 0
