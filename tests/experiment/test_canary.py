from __future__ import annotations

import itertools
import math
import random

import pytest
from scipy import stats

from victor_autotune_plugin._model.assignment import assign, shares_of_stream
from victor_autotune_plugin.experiment import Judge, Observation, Policy
from victor_autotune_plugin.experiment.canary import SLOWER_P, Canary, exact_p_value


def canary_runs(n, change, *, seed="s", sigma=0.3, stream="canary:a"):
    """Runs of a canary stream; `change(arm, number)` are fields of a run, the number counting the arm's own runs."""
    rng, counts = random.Random(seed), dict.fromkeys(("control", "treatment"), 0)
    for i in range(n):
        arm = assign(seed, i, shares_of_stream(stream), stream=stream)
        counts[arm] += 1
        fields = {"duration_seconds": 20 * math.exp(rng.gauss(0, sigma)), "success": True, "score": 1.0}
        yield Observation(index=i, stream=stream, arm=arm, **fields | change(arm, counts[arm]))


def ended(runs, **options):
    """The verdict when a test ends, and the treatment's runs until then."""
    judge, treated = Judge(Policy(), **options), 0
    for run in runs:
        judge.observe(run)
        treated += run.arm == "treatment"
        if judge.is_final:
            return judge.verdict(), treated
    return judge.verdict(), treated


def test_the_p_value_is_that_of_the_exact_rank_sum():
    control, treatment = [1.0, 2.5, 3.0, 4.2, 5.5, 6.1, 7.7, 8.3, 9.9], [6.5, 8.0, 10.1, 11.0]
    pooled = sorted(control + treatment)
    ranks = [2 * (pooled.index(v) + 1) for v in pooled]
    chosen = sum(2 * (pooled.index(v) + 1) for v in treatment)
    expected = stats.mannwhitneyu(treatment, control, alternative="greater", method="exact").pvalue
    assert exact_p_value([(ranks, 4)], chosen) == pytest.approx(expected)


def test_the_p_value_of_strata_counts_every_choice():
    strata = [([1, 4, 4, 7], 1), ([2, 3], 1), ([5, 6, 8], 2), ([9], 1), ([9, 3], 0)]
    sums = [
        sum(sum(part) for part in choice)
        for choice in itertools.product(*(itertools.combinations(numbers, count) for numbers, count in strata))
    ]
    for seen in (20, 27, 31, 33):
        assert exact_p_value(strata, seen) == pytest.approx(sum(s >= seen for s in sums) / len(sums))


def test_four_runs_of_a_far_slower_treatment_are_enough():
    def slow(arm, _):
        return {"duration_seconds": 500.0} if arm == "treatment" else {}

    verdict, treated = ended(canary_runs(60, slow))
    assert (verdict.status, treated) == ("failed", 4)
    assert "slower" in verdict.reason
    assert exact_p_value([([*range(2, 26, 2)], 4)], 2 * (9 + 10 + 11 + 12)) <= SLOWER_P


def test_a_treatment_that_is_faster_is_not_ended():
    verdict, _ = ended(canary_runs(60, lambda arm, _: {"duration_seconds": 1.0} if arm == "treatment" else {}))
    assert verdict.status == "running"


@pytest.mark.parametrize(
    "wrong", [{"missing": "lost"}, {"missing": "cancelled"}, {"success": False}, {"timed_out": True}]
)
def test_two_catastrophes_end_a_test_where_the_control_has_none(wrong):
    def dies(arm, _):
        return wrong if arm == "treatment" else {}

    verdict, treated = ended(canary_runs(60, dies), before=(0, 30))
    assert (verdict.status, treated) == ("failed", 2)
    verdict, treated = ended(canary_runs(60, dies))
    assert verdict.status == "failed"
    assert treated <= 4


def test_a_team_that_often_fails_is_not_ended_by_two_failures():
    def fails(arm, number):
        return {"success": False} if arm == "treatment" and number <= 2 else {}

    assert ended(canary_runs(40, fails), before=(3, 60))[0].status == "running"
    assert ended(canary_runs(40, fails), before=(1, 60))[0].status == "failed"
    assert ended(canary_runs(40, fails))[0].status == "running"


def test_catastrophes_after_the_fourth_treatment_are_left_to_the_guardrails():
    def fails(arm, number):
        return {"success": False} if arm == "treatment" and number in (4, 5) else {}

    assert ended(canary_runs(40, fails), before=(0, 60))[0].status == "running"


def test_the_canary_lasts_for_three_treatments_and_longer_while_they_look_slow():
    stages = {}
    for name, factor in (("faster", 0.5), ("slower", 1.8)):
        judge, found = Judge(Policy()), []
        changed = canary_runs(64, lambda arm, _, f=factor: {"duration_seconds": 20 * f} if arm == "treatment" else {})
        for run in changed:
            judge.observe(run)
            found.append((judge.verdict().runs["treatment"], judge.verdict().stage))
        stages[name] = found
    assert {stage for treated, stage in stages["faster"] if treated < 3} == {"canary"}
    assert {stage for treated, stage in stages["faster"] if treated >= 3} == {"testing"}
    assert "canary" in {stage for treated, stage in stages["slower"] if treated >= 3}
    assert {stage for treated, stage in stages["slower"] if treated >= 14} <= {"testing"}


@pytest.mark.parametrize(("before", "stage"), [((12, 60), "testing"), ((0, 60), "canary"), ((0, 0), "canary")])
def test_a_failure_keeps_the_canary_only_where_the_control_hardly_fails(before, stage):
    def fails(arm, number):
        return {"success": False} if arm == "treatment" and number == 2 else {"duration_seconds": 15.0 + number % 5}

    judge = Judge(Policy(), before=before)
    for run in canary_runs(64, fails):
        judge.observe(run)
        if judge.verdict().runs["treatment"] == 5:
            break
    assert judge.verdict().stage == stage


def test_what_was_left_is_not_entered_again():
    canary = Canary()
    for run in canary_runs(16, lambda arm, _: {"duration_seconds": 5.0} if arm == "treatment" else {}):
        canary.add(run)
    assert not canary.is_open
    for run in canary_runs(8, lambda *_: {"duration_seconds": 900.0}, stream="a"):
        canary.add(run)
    assert not canary.is_open


def test_runs_that_wait_for_their_partner_are_compared_with_each_other():
    """As those of many tasks, each of which has a stream of its own."""
    runs = list(canary_runs(12, lambda arm, _: {"duration_seconds": 60.0} if arm == "treatment" else {}))
    for k in range(30):
        arm = assign("s", 0, stream=f"task:{k}")
        seconds = 60.0 + k if arm == "treatment" else 20.0 + k / 100
        runs.append(Observation(0, arm, seconds, success=True, score=1.0, stream=f"task:{k}", task_key=f"{k}"))
    verdict, treated = ended(runs)
    assert verdict.status == "failed"
    assert treated <= 8
