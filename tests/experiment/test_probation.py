from __future__ import annotations

import math
import random

import pytest

from victor_autotune_plugin._model.assignment import assign
from victor_autotune_plugin.experiment import Judge, Observation, Policy


def judge_after(n, *, ratio=1.0, seed=0, sigma=0.7, policy=None, **fields):
    judge, rng = Judge(policy or Policy()), random.Random(seed)
    for i in range(n):
        arm = assign(str(seed), i, stream="a")
        seconds = 20 * math.exp(rng.gauss(0, sigma)) * (ratio if arm == "treatment" else 1)
        common = {"success": True, "score": 1.0, **{k: value(arm, rng) for k, value in fields.items()}}
        judge.observe(Observation(i, arm, seconds, stream="a", **common))
    return judge


def test_nothing_is_known_before_the_first_pair():
    assert math.isnan(judge_after(0).verdict().chance_better)
    assert judge_after(0).verdict().pairs == 0
    assert judge_after(1).verdict().pairs == 0


def test_few_pairs_are_never_sure():
    verdict = judge_after(6, ratio=0.001, sigma=0.01).verdict()
    assert verdict.pairs == 3
    assert 0.8 < verdict.chance_better < 0.97
    assert judge_after(6, ratio=1000.0, sigma=0.01).verdict().chance_better < 0.2


@pytest.mark.parametrize(("ratio", "low", "high"), [(1.0, 0.3, 0.7), (0.6, 0.85, 1.0), (1.6, 0.0, 0.15)])
def test_the_chance_follows_the_runs(ratio, low, high):
    chances = [judge_after(40, ratio=ratio, seed=s).verdict().chance_better for s in range(20)]
    assert low <= sum(chances) / len(chances) <= high


def test_the_chance_is_calibrated():
    """Of gains drawn as the prior has them, those that are called 90 % likely are better about as often."""
    rng, found = random.Random(1), []
    for seed in range(300):
        gain = rng.gauss(0, 0.35)
        chance = judge_after(24, ratio=math.exp(-gain), seed=seed).verdict().chance_better
        if 0.8 <= chance <= 0.98:
            found.append((chance, gain > 0))
    assert len(found) > 40
    assert sum(better for _, better in found) / len(found) == pytest.approx(
        sum(c for c, _ in found) / len(found), abs=0.15
    )


def test_a_better_score_is_likelier():
    policy = Policy(metric="score")
    better = judge_after(40, policy=policy, score=lambda arm, rng: rng.uniform(0.2, 0.6) + 0.3 * (arm == "treatment"))
    equal = judge_after(40, policy=policy, score=lambda _, rng: rng.uniform(0.2, 0.6))
    assert better.verdict().chance_better > 0.95
    assert 0.05 < equal.verdict().chance_better < 0.95


def test_a_proven_metric_without_a_sign_of_harm_may_go_live_and_stays_proven():
    judge = judge_after(80, ratio=0.4, sigma=0.5, success=lambda _, rng: rng.random() < 0.9)
    verdict = judge.verdict()
    assert verdict.status == "running"
    assert verdict.may_go_live
    assert judge.may_go_live
    assert {"success", "score"} & {*verdict.open}
    assert verdict.interval[1] < 0


def test_a_sign_of_harm_keeps_a_proven_metric_from_going_live():
    judge = judge_after(
        80, ratio=0.4, sigma=0.5, success=lambda arm, rng: rng.random() < (0.75 if arm == "treatment" else 1)
    )
    assert judge.verdict().status == "running"
    assert not judge.verdict().may_go_live
    assert "looks worse" in judge.verdict().reason or "ruled out" in judge.verdict().reason


def test_nothing_may_go_live_before_its_metric_is_proven():
    assert not judge_after(60).verdict().may_go_live
    assert not judge_after(16, ratio=0.2).verdict().may_go_live


def test_a_pass_needs_all_proofs_but_that_of_the_p95():
    verdict = judge_after(400, ratio=0.5, cost_usd=lambda _, rng: 0.01 * math.exp(rng.gauss(0, 0.2))).verdict()
    assert verdict.status == "passed"
    assert verdict.may_go_live
    assert set(verdict.open) <= {"p95"}
