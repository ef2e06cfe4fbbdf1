"""Tests on teams whose work is scored, and on teams whose members only say that they succeeded."""

from __future__ import annotations

import math
import random

import pytest

from victor_autotune_plugin._model.assignment import assign
from victor_autotune_plugin.experiment import Judge, Observation, Policy, Watch, WatchPolicy


def played(policy, n, *, ratio=0.5, scores=None, success=None, seed=1):
    """Return a judge after so many runs; `scores` and `success` draw a run's by its arm."""
    rng, judge = random.Random(seed), Judge(policy)
    for index in range(n):
        arm = assign("s", index, stream="a")
        good = True if success is None else success(rng, arm)
        judge.observe(
            Observation(
                index=index,
                arm=arm,
                duration_seconds=20 * math.exp(rng.gauss(0, 0.3)) * (ratio if arm == "treatment" else 1.0),
                success=good,
                score=None if scores is None else scores(rng, arm),
                member_success_share=1.0 if good else 0.5,
                stream="a",
            )
        )
        if judge.is_final:
            break
    return judge


def guardrail(judge, name):
    return next(one for one in judge.verdict().guardrails if one.name == name)


def test_where_nothing_is_scored_the_members_success_stands_for_it_by_its_own_name():
    judge = played(Policy(), 40)
    names = [one.name for one in judge.verdict().guardrails]
    assert ("member_success" in names, "score" in names) == (True, False)


def test_where_runs_are_scored_what_members_say_of_themselves_counts_for_nothing():
    judge = played(Policy(scored=True), 40, scores=lambda rng, arm: 0.8, success=lambda rng, arm: arm == "control")
    names = [one.name for one in judge.verdict().guardrails]
    assert ("member_success" in names, "score" in names) == (False, True)
    assert guardrail(judge, "score").treatment == pytest.approx(0.8)


def checks(rng, share, n=5):
    return sum(rng.random() < share for _ in range(n)) / n


def test_five_checks_of_a_run_clear_a_guardrail_sooner_than_one():
    """The score's own variance tells; a coin's would make both take as long."""

    def runs_until_ok(n):
        for runs in range(20, 400, 20):
            judge = played(Policy(scored=True), runs, ratio=1.0, scores=lambda rng, arm: checks(rng, 0.8, n))
            if guardrail(judge, "score").status == "ok":
                return runs / 2
        return 200

    five, one = runs_until_ok(5), runs_until_ok(1)
    assert five < one
    assert five <= one / 2


def test_a_faster_plan_whose_score_falls_from_9_to_7_never_passes():
    for seed in range(5):
        judge = played(
            Policy(scored=True),
            400,
            scores=lambda rng, arm: checks(rng, 0.7 if arm == "treatment" else 0.9),
            seed=seed,
        )
        assert judge.verdict().status != "passed"


def test_a_faster_plan_that_keeps_its_score_passes_though_success_alone_would_not_be_proven():
    def scores(rng, arm):
        return min(max(rng.gauss(0.8, 0.08), 0.0), 1.0)

    def success(rng, arm):
        return rng.random() < 0.8

    scored = played(Policy(scored=True), 60, scores=scores, success=success)
    assert scored.verdict().status == "passed"
    unscored = played(Policy(), len(scored.counted), success=success)
    assert unscored.verdict().status == "running"


def test_a_run_that_delivered_nothing_has_the_score_0_and_holds_a_plan_back_that_fails_more():
    def scores(rng, arm):
        fails = rng.random() < (0.3 if arm == "treatment" else 0.02)
        return 0.0 if fails else 0.9

    assert played(Policy(scored=True), 400, scores=scores).verdict().status != "passed"


def test_scores_that_go_missing_in_one_arm_are_counted_and_no_plan_passes_for_it():
    def scores(rng, arm):
        return None if arm == "treatment" and rng.random() < 0.5 else 0.9

    verdict = played(Policy(scored=True), 400, scores=scores).verdict()
    assert verdict.status == "failed"
    assert verdict.unscored["treatment"] > 5
    assert verdict.unscored["control"] == 0
    assert "runs got no score" in verdict.reason


def test_scores_that_go_missing_alike_in_both_arms_only_take_longer():
    def scores(rng, arm):
        return None if rng.random() < 0.3 else min(max(rng.gauss(0.8, 0.1), 0.0), 1.0)

    verdict = played(Policy(scored=True), 400, scores=scores).verdict()
    assert verdict.status == "passed"
    assert min(verdict.unscored.values()) > 0


@pytest.mark.parametrize("metric", ["score", "success"])
def test_a_test_may_decide_on_score_or_on_success(metric):
    policy = Policy(metric=metric, scored=metric == "score")
    judge = played(
        policy,
        400,
        ratio=1.0,
        scores=(lambda rng, arm: checks(rng, 0.9 if arm == "treatment" else 0.6)) if policy.scored else None,
        success=lambda rng, arm: rng.random() < (0.95 if arm == "treatment" else 0.6),
    )
    verdict = judge.verdict()
    assert verdict.status == "passed"
    assert verdict.effect > 0.1


def test_where_the_score_decides_a_run_without_one_is_counted_as_lost():
    def scores(rng, arm):
        return None if arm == "treatment" and rng.random() < 0.6 else checks(rng, 0.7)

    verdict = played(Policy(metric="score", scored=True), 400, ratio=1.0, scores=scores).verdict()
    assert verdict.status == "failed"
    assert "missing" in verdict.reason


def live(scores, policy, n=200, seed=2):
    rng = random.Random(seed)
    reference = [
        Observation(
            index,
            assign("s", index, stream="a"),
            20 * math.exp(rng.gauss(0, 0.3)),
            success=True,
            score=min(max(rng.gauss(0.8, 0.05), 0.0), 1.0),
            member_success_share=1.0,
            stream="a",
        )
        for index in range(80)
    ]
    watch = Watch(policy, reference=reference)
    for index in range(n):
        run = Observation(
            index,
            "treatment",
            20 * math.exp(rng.gauss(0, 0.3)),
            success=True,
            score=scores(rng),
            member_success_share=0.5,
            stream="live",
        )
        watch.observe(run)
        if watch.status != "watching":
            break
    return watch


def test_a_live_plan_whose_score_falls_raises_an_alarm_about_the_score():
    watch = live(lambda rng: min(max(rng.gauss(0.5, 0.05), 0.0), 1.0), WatchPolicy(scored=True))
    assert watch.status == "reverifying"
    assert watch.verdict().alarm == "The score is worse than in the last runs."


def test_a_live_run_without_a_score_is_not_judged_by_what_its_members_say():
    assert live(lambda rng: None, WatchPolicy(scored=True)).status == "watching"
