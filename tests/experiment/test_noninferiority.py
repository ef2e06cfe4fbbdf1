from __future__ import annotations

import math
import random

import pytest
from attrs import evolve
from scipy import optimize

from victor_autotune_plugin._model.assignment import assign
from victor_autotune_plugin.experiment import Judge, Observation, Policy
from victor_autotune_plugin.experiment.blocks import BlockMeans
from victor_autotune_plugin.experiment.boundaries import boundary
from victor_autotune_plugin.experiment.noninferiority import (
    PROOF_LEVELS,
    ShareDrop,
    paired_variance,
    share_variance,
)

PAIRED = Policy()


def paired_runs(n, fields, *, seed=0, ratio=0.5):
    """Runs of which the treatment is much faster; `fields(rng, treated)` are their other values."""
    rng, runs = random.Random(seed), []
    for i in range(n):
        arm = assign(str(seed), i, stream="a")
        treated = arm == "treatment"
        common = {"success": True, "score": 1.0, **fields(rng, treated)}
        seconds = 20 * math.exp(rng.gauss(0, 0.5)) * (ratio if treated else 1)
        runs.append(Observation(index=i, stream="a", arm=arm, duration_seconds=seconds, **common))
    return runs


def decide(runs, policy=PAIRED):
    judge = Judge(policy)
    for run in runs:
        judge.observe(run)
    return judge.verdict()


def statuses(verdict):
    return {item.name: item.status for item in verdict.guardrails}


@pytest.mark.parametrize(("first", "n", "second", "m"), [(40, 50, 20, 25), (10, 10, 10, 10), (3, 30, 9, 12)])
def test_independent_shares_have_the_likeliest_variance_under_the_margin(first, n, second, m):
    difference = -0.1

    def minus_log(q):
        p = q + difference
        if not (1e-12 < p < 1 - 1e-12 and 1e-12 < q < 1 - 1e-12):
            return math.inf
        return -(
            first * math.log(p) + (n - first) * math.log1p(-p) + second * math.log(q) + (m - second) * math.log1p(-q)
        )

    q = optimize.minimize_scalar(minus_log, bounds=(-difference + 1e-9, 1 - 1e-9), method="bounded").x
    p = q + difference
    expected = p * (1 - p) / n + q * (1 - q) / m
    assert share_variance(first, n, second, m, difference) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(("gained", "lost", "pairs"), [(5, 3, 40), (0, 0, 30), (2, 9, 25)])
def test_paired_shares_have_the_likeliest_variance_under_the_margin(gained, lost, pairs):
    difference = -0.1

    def minus_log(lose):
        gain, rest = lose + difference, 1 - 2 * lose - difference
        if gain < 1e-12 or rest < 1e-12:
            return math.inf
        return -(gained * math.log(gain) + lost * math.log(lose) + (pairs - gained - lost) * math.log(rest))

    lose = optimize.minimize_scalar(minus_log, bounds=(-difference, 0.5), method="bounded", options={"xatol": 1e-10}).x
    expected = (2 * lose + difference - difference**2) / pairs
    assert paired_variance(gained, lost, pairs, difference) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("control", [0.7, 0.9, 1.0])
def test_a_success_share_at_its_margin_is_rarely_ever_called_safe(control):
    limits, called, tests = boundary("guardrail", PROOF_LEVELS["success"], 0.05), 0, 400
    rng = random.Random(1)
    for _ in range(tests):
        shares = ShareDrop()
        for pair in range(200):
            shares.add(pair, 2, rng.random() < control, treatment=False)
            shares.add(pair, 2, rng.random() < control - 0.1, treatment=True)
            if pair >= 9 and shares.z(0.1) >= limits.at((pair + 1) / 200):
                called += 1
                break
    assert called <= tests * (0.10 + 4 * math.sqrt(0.09 / tests))


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_a_cost_at_its_margin_is_rarely_ever_called_safe(sigma):
    limits, called, tests = boundary("guardrail", PROOF_LEVELS["cost"], 0.05), 0, 400
    rng = random.Random(2)
    for _ in range(tests):
        means = BlockMeans()
        for pair in range(200):
            means.add(pair, math.exp(rng.gauss(0, sigma)), treatment=False)
            means.add(pair, 1.25 * math.exp(rng.gauss(0, sigma)), treatment=True)
            if pair >= 9 and means.below(1.25, 0.0) >= limits.at((pair + 1) / 200):
                called += 1
                break
    assert called <= tests * (0.08 + 4 * math.sqrt(0.08 * 0.92 / tests))


def test_success_in_blocks_of_unequal_shares_counts_too():
    shares = ShareDrop()
    for place in range(60):
        shares.add(place // 10, 10, True, treatment=place % 10 >= 3)
    alone = shares.z(0.1)
    for pair in range(20):
        shares.add(("a", pair), 2, True, treatment=True)
        shares.add(("a", pair), 2, True, treatment=False)
    assert 0 < alone < shares.z(0.1)
    assert shares.z(1.0) == math.inf


def test_five_checks_tell_more_than_one():
    def of_one(rng, _):
        good = rng.random() < 0.9
        return {"success": True, "score": float(good)}

    def of_five(rng, _):
        return {"success": True, "score": sum(rng.random() < 0.9 for _ in range(5)) / 5}

    runs = {
        name: [decide(paired_runs(400, fields, seed=seed)).runs["treatment"] for seed in range(12)]
        for name, fields in (("one", of_one), ("five", of_five))
    }
    assert sorted(runs["five"])[6] < sorted(runs["one"])[6]


def test_ten_equal_scores_are_no_proof():
    verdict = decide(paired_runs(20, lambda *_: {"score": 0.8}))
    assert statuses(verdict)["score"] == "unclear"
    assert verdict.status == "running"


def test_a_plan_that_keeps_the_work_may_go_live_before_its_success_is_proven():
    def fields(rng, _):
        good = rng.random() < 0.9
        return {"success": good, "score": float(good)}

    def runs_until_live(runs):
        judge = Judge(PAIRED)
        for number, run in enumerate(runs):
            judge.observe(run)
            if judge.may_go_live:
                return number, judge.verdict()
        return math.inf, judge.verdict()

    found = [runs_until_live(paired_runs(400, fields, seed=seed)) for seed in range(10)]
    proven = [sum(decide(paired_runs(400, fields, seed=seed)).runs.values()) for seed in range(10)]
    assert sum(number < 0.7 * whole for (number, _), whole in zip(found, proven, strict=True)) >= 8
    live = [verdict for number, verdict in found if number < math.inf]
    assert len(live) >= 9
    assert any(v.status == "running" and "success" in v.open for v in live)
    assert all(v.may_go_live for v in live)

    def worse(rng, treated):
        good = rng.random() < (0.5 if treated else 0.95)
        return {"success": good, "score": float(good)}

    assert sum(runs_until_live(paired_runs(400, worse, seed=seed))[0] < math.inf for seed in range(20)) <= 1


def test_a_free_model_and_a_team_without_tools_hold_nothing_back():
    verdict = decide(paired_runs(400, lambda *_: {"cost_usd": 0.0, "tool_calls": 0}))
    assert verdict.status == "passed"
    assert (statuses(verdict)["cost"], statuses(verdict)["tool_calls"]) == ("ok", "ok")


@pytest.mark.parametrize("name", ["cost", "tool_calls", "score", "success"])
def test_a_treatment_beyond_a_margin_fails_or_ends_without_a_pass(name):
    def fields(rng, treated):
        good = rng.random() < (0.6 if treated and name == "success" else 0.9)
        drop = 0.25 if treated and name == "score" else 0.0
        return {
            "success": good,
            "score": rng.uniform(0.5, 0.9) - drop,
            "cost_usd": 0.01 * math.exp(rng.gauss(0, 0.4)) * (1.6 if treated and name == "cost" else 1),
            "tool_calls": rng.randint(4, 8) * (2 if treated and name == "tool_calls" else 1),
        }

    ends = [decide(paired_runs(400, fields, seed=seed)) for seed in range(10)]
    assert not any(verdict.status == "passed" for verdict in ends)
    assert any(statuses(verdict)[name] == "harmed" for verdict in ends)


def test_equal_guardrails_reject_no_gain():
    def fields(rng, _):
        good = rng.random() < 0.95
        cost = 0.01 * math.exp(rng.gauss(0, 0.5))
        return {"success": good, "score": float(good), "cost_usd": cost, "tool_calls": rng.randint(4, 12)}

    ends = [decide(paired_runs(400, fields, seed=seed)) for seed in range(40)]
    assert not any(verdict.status == "failed" for verdict in ends)
    assert sum("safety" in verdict.reason for verdict in ends) <= 1


def checks(rng, chance, of=5):
    return sum(rng.random() < chance for _ in range(of)) / of


def scored(drop, *, seed=0, n=400):
    return paired_runs(n, lambda rng, treated: {"score": checks(rng, 0.8 - drop * treated)}, seed=seed)


def runs_until_passed(runs, policy):
    judge = Judge(policy)
    for count, run in enumerate(runs, 1):
        judge.observe(run)
        if judge.is_final:
            return count if judge.status == "passed" else math.inf
    return math.inf


def test_what_was_to_be_scored_and_never_was_does_not_pass():
    runs = [evolve(run, score=None) for run in paired_runs(400, lambda *_: {})]
    assert decide(runs, Policy(scored=True)).status != "passed"


def test_a_drop_within_the_margin_holds_nothing_back_once_it_is_proven_to_be():
    """A sign of some harm is likely in a long test of a plan that is 4 points worse, and 10 are within the margin."""
    ends = [runs_until_passed(scored(0.04, seed=seed), Policy(scored=True)) for seed in range(40)]
    assert sum(end < math.inf for end in ends) >= 30


def test_a_short_test_leaves_the_p95_open():
    verdict = decide(paired_runs(400, lambda *_: {}))
    assert verdict.status == "passed"
    assert statuses(verdict)["p95"] == "open"


def test_one_extreme_run_holds_a_pass_back():
    runs = paired_runs(400, lambda *_: {})
    assert decide(runs).status == "passed"
    first = next(run for run in runs if run.arm == "treatment")
    runs[first.index] = evolve(first, duration_seconds=first.duration_seconds * 10_000)
    verdict = decide(runs[:140])
    assert verdict.status == "running"
    assert statuses(verdict)["mean"] == "unclear"


def priced(rng, treated, *, dearer=1.0):
    return {"cost_usd": math.exp(rng.gauss(0, 1.0)) * (dearer if treated else 1.0), "tool_calls": rng.randrange(12)}


def test_where_no_calls_come_what_tasks_cost_holds_nothing_back():
    """The same calls are as dear as before: proving it within a margin, at a log sd of 1, takes hundreds of runs."""
    runs = paired_runs(120, priced)
    asked, known = decide(runs), decide(runs, Policy(adds_no_calls=True))
    assert (asked.status, statuses(asked)["cost"]) == ("running", "unclear")
    assert (known.status, statuses(known)["cost"], statuses(known)["tool_calls"]) == ("passed", "ok", "ok")


def test_where_no_calls_come_a_treatment_that_is_dearer_all_the_same_does_not_pass():
    runs = paired_runs(400, lambda rng, treated: priced(rng, treated, dearer=3.0))
    verdict = decide(runs, Policy(adds_no_calls=True))
    assert verdict.status == "failed" or statuses(verdict)["cost"] in ("unclear", "harmed")
    assert not verdict.may_go_live
