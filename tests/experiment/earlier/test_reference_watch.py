from __future__ import annotations

import json
import math

import pytest
from attrs import evolve

from victor_autotune_plugin._model.converter import from_plain
from victor_autotune_plugin.experiment import Observation, WatchPolicy
from victor_autotune_plugin.experiment.earlier.reference_watch import ReferenceWatch

HOLDBACK = {"control": 0.1, "treatment": 0.9}


@pytest.fixture
def watch_runs(make_runs):
    """Play runs after a promotion and return the verdict; `obey` gives the watch the control runs it wants."""

    def play(reference, *, before=None, policy=None, obey=True, n=200, seed=50, both=1.0, **after):
        policy = policy or WatchPolicy(rule="reference", holdback=0.1)
        watch = ReferenceWatch(policy, reference=reference)
        stream = make_runs(n, seed=seed, weights=HOLDBACK, start=10_000, **after)
        same = {name: after[name] for name in ("sigma", "success") if name in after}
        spare = make_runs(n, seed=seed + 1, weights={"control": 1.0}, start=20_000, **same)
        for run, control in zip(stream, spare, strict=True):
            chosen = control if obey and watch.wants_control else run
            watch.observe(evolve(chosen, duration_seconds=chosen.duration_seconds * both))
        return watch.verdict()

    return play


def evidence(verdict, name):
    return next(item for item in verdict.evidence if item.name == name)


def test_a_promotion_that_holds_what_it_promised_settles(make_runs, watch_runs):
    verdict = watch_runs(make_runs(80, ratio=0.6), ratio=0.6)
    assert verdict.status == "settled"
    assert (verdict.harm, verdict.detected_at, verdict.drift) == (None, None, False)
    assert -0.7 < verdict.effect < -0.1
    assert sum(verdict.runs.values()) == 200
    assert verdict.runs["control"] == 20


@pytest.mark.parametrize("obey", [True, False])
def test_a_slower_plan_is_rolled_back_with_its_evidence(make_runs, watch_runs, obey):
    verdict = watch_runs(make_runs(80, ratio=0.6), ratio=3.0, obey=obey)
    assert verdict.status == "rolled_back"
    assert verdict.harm in ("below_baseline", "lost_gain")
    assert verdict.detected_at == sum(verdict.runs.values()) <= 30
    proof = evidence(verdict, verdict.harm)
    assert proof.status == "confirmed"
    assert proof.statistic >= proof.boundary
    assert proof.confirmation >= proof.confirmation_needed
    assert "higher" in verdict.reason


def test_a_regression_of_steady_runs_is_found_with_the_holdback_alone(make_runs, watch_runs):
    for seed in range(10):
        verdict = watch_runs(make_runs(40, ratio=0.5, sigma=0.15), ratio=1.5, sigma=0.15, obey=False, seed=60 + seed)
        assert verdict.status == "rolled_back"
        assert verdict.detected_at <= 24


def test_a_lost_gain_is_rolled_back_though_the_plan_is_no_worse_than_before(make_runs, watch_runs):
    verdict = watch_runs(make_runs(80, ratio=0.3, sigma=0.3), ratio=1.01, sigma=0.3)
    assert (verdict.status, verdict.harm) == ("rolled_back", "lost_gain")
    assert verdict.effect > 1


def test_a_plan_that_is_still_better_than_the_old_one_stays(make_runs, watch_runs):
    verdict = watch_runs(make_runs(80, ratio=0.25, sigma=0.3), ratio=0.6, sigma=0.3)
    assert verdict.status == "settled"


def test_a_lower_success_share_is_rolled_back(make_runs, watch_runs):
    reference = make_runs(120, ratio=0.6, success=0.95)
    verdict = watch_runs(reference, ratio=0.6, success=0.95, drop=0.6)
    assert verdict.status == "rolled_back"
    assert verdict.harm in ("success", "score")
    assert "fell from" in verdict.reason


def test_a_slow_tail_alone_is_rolled_back(make_runs, watch_runs):
    def tail(rng, arm, fields):
        if arm == "treatment" and rng.random() < 0.35:
            fields["duration_seconds"] *= 40

    verdict = watch_runs(make_runs(120, ratio=0.2, sigma=0.3), ratio=0.2, sigma=0.3, change=tail)
    assert (verdict.status, verdict.harm) == ("rolled_back", "p95")


def test_a_drift_of_both_arms_is_named_and_no_reason_to_roll_back(make_runs, watch_runs):
    for seed in range(8):
        verdict = watch_runs(make_runs(100, ratio=0.6, sigma=0.3), ratio=0.6, sigma=0.3, both=4.0, seed=70 + seed)
        assert verdict.status == "settled"
        assert verdict.drift


def test_an_alarm_asks_for_control_runs_until_it_is_settled(make_runs):
    watch = ReferenceWatch(
        WatchPolicy(rule="reference", holdback=0.1, max_probes=4), reference=make_runs(200, sigma=0.3)
    )
    slow = make_runs(30, sigma=0.3, ratio=5.0, weights={"treatment": 1.0}, start=1000)
    for run in slow:
        watch.observe(run)
    verdict = watch.verdict()
    assert (verdict.status, verdict.wants_control, verdict.runs["control"]) == ("watching", True, 0)
    assert evidence(verdict, "below_baseline").status == "alarm"
    for run in make_runs(4, sigma=0.3, ratio=1.0, weights={"control": 1.0}, start=2000):
        watch.observe(run)
    assert watch.verdict().status == "rolled_back"
    assert not watch.wants_control


def test_the_watch_stops_asking_when_its_probes_are_spent(make_runs):
    watch = ReferenceWatch(
        WatchPolicy(rule="reference", holdback=0.1, max_probes=4), reference=make_runs(200, sigma=0.3)
    )
    for run in make_runs(30, sigma=0.3, ratio=5.0, weights={"treatment": 1.0}, start=1000):
        watch.observe(run)
    for run in make_runs(5, sigma=0.3, weights={"control": 1.0}, start=2000):
        watch.observe(evolve(run, duration_seconds=run.duration_seconds * 5))
    verdict = watch.verdict()
    assert (verdict.status, verdict.wants_control, verdict.drift) == ("watching", False, True)
    assert "drift" in verdict.reason


def test_without_holdback_and_probes_the_reference_decides_alone(make_runs):
    watch = ReferenceWatch(WatchPolicy(rule="reference", holdback=0.0, max_probes=0), reference=make_runs(100))
    for run in make_runs(60, ratio=4.0, weights={"treatment": 1.0}, start=1000):
        watch.observe(run)
    assert watch.verdict().status == "rolled_back"


@pytest.mark.parametrize("arm", ["control", "treatment", None])
def test_a_reference_without_an_arm_gives_no_false_alarm(make_runs, watch_runs, arm):
    reference = [run for run in make_runs(60) if run.arm == arm]
    verdict = watch_runs(reference)
    assert verdict.status == "settled"
    json.dumps(verdict.to_dict(), allow_nan=False)


def test_equal_values_are_no_harm():
    def run(i, arm):
        return Observation(index=i, arm=arm, duration_seconds=3.0, success=True, score=1.0)

    watch = ReferenceWatch(
        WatchPolicy(rule="reference", holdback=0.1),
        reference=[run(i, ("control", "treatment")[i % 2]) for i in range(40)],
    )
    for i in range(200):
        watch.observe(run(i, "control" if i % 10 == 0 else "treatment"))
    assert watch.verdict().status == "settled"


def test_duplicates_and_late_runs_are_counted_and_change_nothing(make_runs):
    runs = make_runs(60, ratio=5.0, sigma=0.2, weights=HOLDBACK, start=1000)
    once, twice = (
        ReferenceWatch(WatchPolicy(rule="reference", holdback=0.1), reference=make_runs(60, sigma=0.2))
        for _ in range(2)
    )
    for run in runs:
        once.observe(run)
        twice.observe(run)
        twice.observe(run)
    assert once.is_final
    end = once.verdict()
    assert evolve(twice.verdict(), ignored=end.ignored) == end
    assert twice.verdict().ignored["duplicate"] == end.detected_at - 1
    assert end.ignored["late"] == 60 - end.detected_at


def test_a_watch_replays_bit_for_bit_however_often_it_was_asked(make_runs):
    reference = make_runs(60, ratio=0.7, success=0.9)
    runs = make_runs(120, ratio=1.3, success=0.9, drop=0.1, weights=HOLDBACK, start=1000)
    asked, silent = (ReferenceWatch(WatchPolicy(rule="reference", holdback=0.1), reference=reference) for _ in range(2))
    for run in runs:
        asked.observe(run)
        asked.verdict()
        silent.observe(from_plain(Observation, json.loads(json.dumps(run.to_dict()))))
    assert json.dumps(asked.verdict().to_dict()) == json.dumps(silent.verdict().to_dict())


@pytest.mark.parametrize("metric", ["cost", "tool_calls", "score"])
def test_the_watch_guards_the_metric_that_was_tested(make_runs, metric):
    def play(bad_arm):
        def change(rng, arm, fields):
            bad = arm == bad_arm
            fields["cost_usd"] = math.exp(rng.gauss(0, 0.2)) * (4 if bad and metric == "cost" else 1)
            fields["tool_calls"] = rng.randint(8, 12) * (4 if bad and metric == "tool_calls" else 1)
            fields["score"] = rng.uniform(0.75, 0.8) if bad and metric == "score" else rng.uniform(0.8, 0.85)

        return change

    watch = ReferenceWatch(
        WatchPolicy(rule="reference", holdback=0.1, metric=metric), reference=make_runs(100, change=play(None))
    )
    for run in make_runs(100, change=play("treatment"), weights=HOLDBACK, start=1000):
        watch.observe(run)
    assert watch.verdict().status == "rolled_back"
    assert watch.verdict().harm in ("below_baseline", "lost_gain")
