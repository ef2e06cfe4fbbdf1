from __future__ import annotations

import math
import random

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_autotune_plugin._model.assignment import assign
from victor_autotune_plugin.experiment import Judge, Observation, Policy


def decide(runs, policy=None, **options):
    judge = Judge(policy or Policy(), **options)
    for run in runs:
        judge.observe(run)
        if judge.is_final:
            break
    return judge.verdict()


def runs_of(n, lost, *, seed=0, ratio=1.0, kind="lost"):
    """Runs in pairs of which `lost[arm]` go missing, as a share."""
    rng, found = random.Random(seed), []
    for i in range(n):
        arm = assign(str(seed), i, stream="a")
        seconds = 20 * math.exp(rng.gauss(0, 0.5)) * (ratio if arm == "treatment" else 1)
        missing = kind if rng.random() < lost[arm] else ""
        found.append(Observation(i, arm, seconds, not missing, float(not missing), stream="a", missing=missing))
    return found


def loss(verdict):
    return next(item for item in verdict.guardrails if item.name == "loss")


@pytest.mark.parametrize("kind", ["lost", "cancelled"])
def test_a_treatment_that_loses_its_runs_fails(kind):
    for seed in range(5):
        verdict = decide(runs_of(400, {"control": 0.0, "treatment": 0.6}, seed=seed, ratio=0.5, kind=kind))
        assert verdict.status == "failed"
        assert verdict.missing["treatment"] > 2
        assert "went missing" in verdict.reason


def test_a_loss_is_proven_where_the_first_runs_showed_none():
    whole = runs_of(60, {"control": 0.0, "treatment": 0.0}, seed=1)
    later = [evolve(run, index=run.index + 60) for run in runs_of(400, {"control": 0.0, "treatment": 0.5}, seed=1)]
    verdict = decide(whole + later, Policy(futility=False))
    assert verdict.status == "failed"
    assert loss(verdict).status == "harmed"
    assert "share of missing runs rose from 0 %" in verdict.reason
    assert loss(verdict).change == pytest.approx(loss(verdict).treatment - loss(verdict).control)


def test_a_sign_of_loss_holds_a_pass_back():
    judge = Judge(Policy(success_margin=1.0))
    for run in runs_of(80, {"control": 0.0, "treatment": 0.0}, seed=3, ratio=0.4):
        missing = "lost" if run.arm == "treatment" and run.index in range(20, 80) and run.index % 3 == 0 else ""
        judge.observe(evolve(run, missing=missing))
    verdict = judge.verdict()
    assert verdict.status == "running"
    assert not verdict.may_go_live
    assert "share of missing runs" in verdict.reason
    assert loss(verdict).status == "unclear"
    assert "loss" in verdict.open


def test_what_both_arms_lose_costs_runs_and_is_said():
    whole = decide(runs_of(400, {"control": 0.0, "treatment": 0.0}, seed=4, ratio=0.5))
    lost = decide(runs_of(400, {"control": 0.2, "treatment": 0.2}, seed=4, ratio=0.5), before=(20, 100))
    assert (whole.status, lost.status) == ("passed", "passed")
    assert whole.missing == {"control": 0, "treatment": 0}
    counts = lost.missing
    assert min(counts.values()) > 3
    assert f"{counts['control']} + {counts['treatment']} runs went missing" in lost.reason
    assert "missing" not in whole.reason
    assert lost.ignored["unpaired"] > 0


def test_a_missing_run_has_no_value_whatever_its_figures_say():
    runs = runs_of(120, {"control": 0.1, "treatment": 0.1}, seed=5, ratio=0.8)
    changed = [
        evolve(run, duration_seconds=9e5, success=True, score=0.3, tool_calls=9, cost_usd=7.0) if run.missing else run
        for run in runs
    ]
    assert decide(runs, before=(10, 100)).to_dict() == decide(changed, before=(10, 100)).to_dict()


def test_what_is_missing_is_no_mismatch_of_the_plan():
    verdict = decide(runs_of(400, {"control": 0.0, "treatment": 0.6}, seed=6), before=(9, 100))
    assert verdict.sample_ratio_p_value > 0.01
    assert verdict.status == "failed"


@settings(max_examples=30, deadline=None)
@given(
    lost=st.tuples(st.sampled_from([0.0, 0.3, 1.0]), st.sampled_from([0.0, 0.5, 1.0])),
    stream=st.sampled_from(["a", "canary:a", "probation:a", "task", "cluster", "same"]),
    metric=st.sampled_from(["duration", "cost", "score"]),
    sticky=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_stream_of_runs_ends(lost, stream, metric, sticky, seed):
    rng, policy = random.Random(seed), Policy(max_runs_per_arm=12, metric=metric, sticky=sticky)
    judge, counts = Judge(policy), {}
    for _ in range(4 * 12):
        name = stream if stream not in ("task", "cluster") else f"{stream}:{rng.randrange(3)}"
        index = 0 if stream == "same" else counts.get(name, 0)
        counts[name] = index + 1
        arm = rng.choice(["control", "treatment"])
        missing = "lost" if rng.random() < lost[arm == "treatment"] else ""
        seconds, cost = rng.choice([0.0, 1.0, 5.0]), rng.choice([None, 0.0, 1.0])
        judge.observe(
            Observation(
                index, arm, seconds, rng.random() < 0.5, rng.random(), cost, stream=name, missing=missing,
                task_key=rng.choice([None, "t"]), timed_out=rng.random() < 0.1,
            )
        )  # fmt: skip
        judge.verdict().to_dict()
        if judge.is_final:
            break
    assert judge.is_final
