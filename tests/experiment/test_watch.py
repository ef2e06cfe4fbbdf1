from __future__ import annotations

import json
import math
import random

import pytest
from attrs import evolve

from victor_autotune_plugin._model.assignment import OF_TEST, REVERIFY, assign, shares_of_stream
from victor_autotune_plugin._model.converter import from_plain, to_plain
from victor_autotune_plugin._model.policy import HARMS
from victor_autotune_plugin.experiment import Observation, Watch, WatchPolicy, watch_of
from victor_autotune_plugin.experiment.earlier.reference_watch import ReferenceWatch


class Team:
    """A team whose runs are assigned as the loop assigns them."""

    def __init__(self, seed=1, sigma=0.4, ratio=0.6):
        self.rng, self.seed, self.sigma = random.Random(seed), str(seed), sigma
        self.fields = {"control": {}, "treatment": {"ratio": ratio}}
        self.places = {}
        self.seen = []

    def run(self, arm, stream, index):
        fields = {"ratio": 1.0, "both": 1.0, "success": 1.0, "lost": 0.0, "slow": 0.0, "cost": 1.0, "models": "a/b"}
        fields |= self.fields[arm]
        rng = self.rng
        good = rng.random() < fields["success"]
        seconds = 20 * math.exp(rng.gauss(0, self.sigma)) * fields["ratio"] * fields["both"]
        return Observation(
            index=index,
            arm=arm,
            duration_seconds=seconds * (100 if rng.random() < fields["slow"] else 1),
            success=good,
            score=fields.get("score", lambda rng: float(good))(rng),
            cost_usd=0.01 * math.exp(rng.gauss(0, 0.3)) * fields["cost"],
            tool_calls=5,
            stream=stream,
            missing="lost" if rng.random() < fields["lost"] else "",
            models=fields["models"],
        )

    def next(self, stream, holdback=None):
        index = self.places.get(stream, 0)
        self.places[stream] = index + 1
        arm = assign(self.seed, index, shares_of_stream(stream, holdback), stream=stream)
        return self.run(arm, stream, index)

    def test(self, pairs=40):
        return [self.next("a") for _ in range(2 * pairs)]

    def change(self, **both):
        for fields in self.fields.values():
            fields.update(both)

    def live(self, watch, n, until=None):
        """Run so often, or until the watch has a status; return how many runs it took."""
        for k in range(n):
            stage = f"{REVERIFY}{watch.rounds}:a" if watch.status == "reverifying" else "live"
            run = self.next(stage, 0.02)
            self.seen.append(run)
            watch.observe(run)
            if watch.is_final or watch.status == until:
                return k + 1
        return n


def watched(team, **policy):
    return Watch(WatchPolicy(**policy), reference=team.test())


def evidence(verdict, name):
    return next(item for item in verdict.evidence if item.name == name)


def test_a_plan_that_stays_as_it_was_is_watched_for_ever_without_an_alarm():
    team = Team()
    watch = watched(team)
    team.live(watch, 700)
    verdict = watch.verdict()
    assert (verdict.status, verdict.rounds, verdict.alarm, verdict.harm) == ("watching", 0, "", None)
    assert sum(verdict.runs.values()) == watch.seen == 700
    assert verdict.runs["control"] == 14
    assert verdict.p95 == "proven"
    assert -0.6 < verdict.effect < -0.2
    assert verdict.reason == "No alarm in 700 runs since the promotion."


@pytest.mark.parametrize("age", [0, 300, 1200])
def test_a_plan_that_turned_slower_than_the_one_before_goes_back_at_any_age(age):
    team = Team(2)
    watch = watched(team)
    team.live(watch, age)
    assert watch.rounds == 0
    team.fields["treatment"]["ratio"] = 2.5
    opened = team.live(watch, 60, until="reverifying")
    assert watch.status == "reverifying"
    assert opened <= 15
    assert watch.verdict().alarm == "The duration is worse than in the last runs."
    assert evidence(watch.verdict(), "below_baseline").status == "alarm"
    team.live(watch, 60)
    verdict = watch.verdict()
    assert (verdict.status, verdict.harm, verdict.detected_at) == ("rolled_back", "below_baseline", watch.seen)
    assert verdict.pairs <= 15
    assert 0.8 < verdict.effect < 5
    assert evidence(verdict, "below_baseline").status == "confirmed"
    assert "higher than the replaced plan's, proven by" in verdict.reason


def test_an_alarm_alone_rolls_nothing_back():
    team = Team(3)
    watch = watched(team)
    team.fields["treatment"]["ratio"] = 20.0
    for index in range(200):  # the host gives no run of the plan before
        watch.observe(team.run("treatment", "live", index))
    assert watch.verdict().harm is None
    assert watch.rounds >= 1


@pytest.mark.parametrize("times", [1.5, 3.0, 10.0])
def test_a_change_that_strikes_both_plans_opens_a_re_verification_and_rolls_nothing_back(times):
    team = Team(4, sigma=0.3)
    watch = watched(team)
    team.live(watch, 200)
    team.change(both=times)
    team.live(watch, 100, until="reverifying")
    assert watch.status == "reverifying"
    team.live(watch, 70, until="watching")
    verdict = watch.verdict()
    assert (verdict.status, verdict.rounds, verdict.drift) == ("watching", 1, True)
    assert "The plan is confirmed: its duration is" in verdict.reason
    team.live(watch, 400)
    assert watch.rounds <= 2  # what it is now is what it is compared with


def test_success_that_falls_in_both_plans_rolls_nothing_back_and_in_one_it_does():
    team = Team(5)
    watch = watched(team)
    team.change(success=0.6)
    team.live(watch, 300)
    assert (watch.status, watch.rounds >= 1) == ("watching", True)
    team = Team(6)
    watch = watched(team)
    team.fields["treatment"]["success"] = 0.4
    team.live(watch, 200)
    verdict = watch.verdict()
    assert (verdict.status, verdict.harm) == ("rolled_back", "success")
    assert verdict.alarm == "The success share is worse than in the last runs."


@pytest.mark.parametrize(
    ("harm", "fields"),
    [
        ("loss", {"lost": 0.6}),
        ("cost", {"cost": 3.0}),
        ("score", {"score": lambda rng: 0.5}),
    ],
)
def test_lost_runs_cost_and_score_have_their_own_evidence(harm, fields):
    team = Team(7)
    team.change(score=lambda rng: rng.uniform(0.7, 1))
    watch = watched(team, scored=True)
    team.fields["treatment"] |= fields
    team.live(watch, 200)
    verdict = watch.verdict()
    assert (verdict.status, verdict.harm) == ("rolled_back", harm)
    assert evidence(verdict, harm).status == "confirmed"
    assert evidence(verdict, harm).change > 0.1
    assert not math.isnan(evidence(verdict, harm).reference)


def test_another_model_opens_a_re_verification_with_the_first_run_it_answers():
    team = Team(8)
    watch = watched(team)
    team.live(watch, 100)
    team.change(models="a/c")
    watch.observe(team.run("treatment", "live", 5000))
    assert watch.verdict().status == "reverifying"
    assert watch.verdict().alarm == "Another model answers: a/c, before a/b."
    team.live(watch, 70, until="watching")
    assert watch.status == "watching"
    team.live(watch, 100)
    assert watch.rounds == 1


def test_models_that_take_turns_are_no_alarm_for_ever():
    team = Team(9)
    watch = watched(team)
    team.live(watch, 50)
    for turn in range(40):
        team.change(models=f"a/{turn % 3}")
        team.live(watch, 25)
    assert watch.status in ("watching", "reverifying")
    assert watch.rounds <= 5


def test_a_gain_that_is_gone_opens_a_re_verification_and_the_plan_stays_where_it_is_no_worse():
    team = Team(12, sigma=0.3)
    watch = watched(team)
    team.live(watch, 100)
    team.fields["treatment"]["ratio"] = 1.0
    team.live(watch, 200, until="reverifying")
    assert watch.status == "reverifying"
    team.live(watch, 90, until="watching")
    verdict = watch.verdict()
    assert verdict.status == "watching"
    assert "no longer clearly better" in verdict.reason
    assert not verdict.drift


def test_a_re_verification_ends_where_partners_are_lost():
    for lost in (0.5, 1.0):
        team = Team(11)
        watch = watched(team, max_pairs=10)
        team.change(models="a/c")
        team.live(watch, 3, until="reverifying")
        assert watch.status == "reverifying"
        team.fields["control"]["lost"] = lost
        team.live(watch, 31, until="watching")
        assert watch.status == "watching"
    assert "only 0 pairs of runs came" in watch.verdict().reason


def test_only_pairs_of_this_round_convict():
    team = Team(12)
    watch = watched(team)
    team.change(models="a/c")
    team.live(watch, 3, until="reverifying")
    for index in range(40):  # of a stream from before, and one of another round
        for arm in ("control", "treatment"):
            late = team.run(arm, ("live", f"{REVERIFY}7:a")[index % 2], 2 * index + 5000 + (arm == "control"))
            watch.observe(evolve(late, duration_seconds=1.0 if arm == "control" else 900.0))
    assert watch.verdict().harm is None


def test_each_alarm_that_was_not_confirmed_doubles_the_next_threshold():
    team = Team(13)
    watch = watched(team)
    team.live(watch, 150)
    before = evidence(watch.verdict(), "below_baseline").boundary
    team.change(models="a/c")
    team.live(watch, 80)
    assert (watch.status, watch.rounds) == ("watching", 1)
    assert evidence(watch.verdict(), "below_baseline").boundary == pytest.approx(before + math.log(2))


def test_a_live_plan_that_is_the_control_of_a_later_test_is_watched_there():
    team = Team(14)
    watch = watched(team)
    team.fields["treatment"]["ratio"] = 3.0
    for index in range(30):
        watch.observe(team.run("treatment", f"{OF_TEST}x:a", index))
    assert watch.status == "reverifying"


@pytest.mark.parametrize("arms", [(), ("control",), ("treatment",)])
def test_a_reference_without_an_arm_is_no_hindrance(arms):
    team = Team(15)
    watch = Watch(WatchPolicy(), reference=[run for run in team.test() if run.arm in arms])
    team.live(watch, 150)
    assert (watch.status, watch.verdict().p95) == ("watching", "no data")
    json.dumps(watch.verdict().to_dict(), allow_nan=False)
    team.fields["treatment"]["ratio"] = 4.0
    team.live(watch, 100)
    assert watch.status == "rolled_back"


def test_duplicates_and_late_runs_are_counted_and_change_nothing():
    team = Team(16)
    reference = team.test()
    once, twice = (Watch(WatchPolicy(), reference=reference) for _ in range(2))
    team.fields["treatment"]["ratio"] = 4.0
    team.live(once, 200)
    for run in team.seen:
        twice.observe(run)
        twice.observe(run)
    for run in team.seen[:7]:
        once.observe(run)
    end = once.verdict()
    assert end.ignored == {"duplicate": 0, "late": 7}
    assert twice.verdict().ignored == {"duplicate": len(team.seen) - 1, "late": 1}
    assert evolve(twice.verdict(), ignored=end.ignored) == end


def test_a_watch_replays_bit_for_bit_however_often_it_was_asked():
    team = Team(17)
    reference = team.test()
    asked, silent = (Watch(WatchPolicy(), reference=reference) for _ in range(2))
    team.live(asked, 150)
    team.change(both=3.0, success=0.9)
    team.live(asked, 200)
    for run in team.seen:
        silent.observe(from_plain(Observation, json.loads(json.dumps(run.to_dict()))))
        silent.verdict()
    assert json.dumps(asked.verdict().to_dict()) == json.dumps(silent.verdict().to_dict())


def test_a_verdict_is_plain_data_and_comes_back():
    team = Team(18)
    watch = watched(team)
    team.fields["treatment"]["lost"] = 0.7
    team.live(watch, 200)
    verdict = watch.verdict()
    assert {item.name for item in verdict.evidence} <= set(HARMS)
    assert json.loads(json.dumps(to_plain(verdict)))["harm"] == verdict.harm == "loss"
    assert verdict.missing["treatment"] > 5


@pytest.mark.parametrize("metric", ["cost", "tool_calls", "score"])
def test_the_metric_of_the_test_is_what_is_watched(metric):
    team = Team(19)
    team.change(score=lambda rng: rng.uniform(0.7, 1))
    watch = watched(team, metric=metric)
    bad = {"cost": {"cost": 3.0}, "score": {"score": lambda rng: rng.uniform(0.4, 0.7)}, "tool_calls": {}}[metric]
    team.fields["treatment"] |= bad
    for index in range(200):
        stage = f"{REVERIFY}{watch.rounds}:a" if watch.status == "reverifying" else "live"
        run = team.next(stage, 0.02)
        if metric == "tool_calls":
            run = evolve(run, tool_calls=20 + index % 3 if run.arm == "treatment" else 5 + index % 3)
        watch.observe(run)
        if watch.is_final:
            break
    assert watch.verdict().harm == "below_baseline"


def test_a_p95_that_is_not_proven_after_400_runs_takes_the_plan_back():
    team = Team(20, sigma=0.7)
    reference = team.test(60)
    team.fields["treatment"]["slow"] = 0.08
    watch = Watch(WatchPolicy(), reference=reference, tested=True)
    team.live(watch, 279)
    assert (watch.status, watch.verdict().p95) == ("watching", "open")
    assert evidence(watch.verdict(), "p95").status == "open"
    team.live(watch, 1)
    verdict = watch.verdict()
    assert (verdict.status, verdict.harm) == ("rolled_back", "p95")
    assert "not proven to be within its margin after 400 runs" in verdict.reason


def test_a_p95_is_proven_although_both_plans_become_slower():
    for times in (1.5, 3.0):
        team = Team(21, sigma=0.5)
        watch = Watch(WatchPolicy(), reference=team.test(60), tested=True)
        team.live(watch, 10)
        team.change(both=times)
        team.live(watch, 400)
        assert (watch.status, watch.verdict().p95) == ("watching", "proven")


def test_a_plan_that_no_test_proved_never_goes_back_for_want_of_a_proof():
    team = Team(22, sigma=0.7, ratio=1.0)
    reference = team.test(60)
    for watch in (Watch(WatchPolicy(), reference=reference), Watch(WatchPolicy(), reference=reference, tested=False)):
        team.fields["treatment"]["slow"] = 0.04
        team.live(watch, 400)
        assert (watch.status, watch.verdict().p95) == ("watching", "no data")


def test_the_rule_of_a_policy_chooses_its_watch():
    assert isinstance(watch_of(WatchPolicy(), []), Watch)
    assert isinstance(watch_of(WatchPolicy(rule="reference"), []), ReferenceWatch)
