"""What the analysis finds in runs, and what it leaves alone."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_autotune_plugin._analysis.bottlenecks import analyze, analyze_all, summary
from victor_autotune_plugin._analysis.insight_evidence import FormationEvidence, SizeEvidence, evidence_in
from victor_autotune_plugin._analysis.run_history import RunHistory
from victor_autotune_plugin._model.optimization import PerformanceInsight
from victor_autotune_plugin._model.plan import MemberSpec, TeamSpec
from victor_autotune_plugin.errors import MetricsError
from victor_autotune_plugin.strategies import BUILT_IN
from victor_autotune_plugin.strategies.base import rank
from victor_autotune_testing.made_runs import member, run, runs, team_run


def found(facts: list[dict[str, Any]], **options: Any) -> dict[str, PerformanceInsight]:
    return {insight.bottleneck: insight for insight in analyze(facts, **options)}


def test_a_sound_team_shows_nothing() -> None:
    assert analyze([run(n) for n in range(30)]) == []


def test_a_mean_of_75_seconds_against_30_is_of_full_severity() -> None:
    insight = found([run(n, duration_seconds=75.0) for n in range(10)])["slow_execution"]
    assert (insight.severity, insight.current_value, insight.baseline_value) == (1.0, 75.0, 30.0)
    assert insight.evidence["baseline"]["source"] == "default"
    assert insight.impact_magnitude == pytest.approx(0.6)


@pytest.mark.parametrize(("seconds", "is_slow"), [(36.0, False), (36.1, True)])
def test_slow_begins_above_a_fifth_over_the_baseline(seconds: float, is_slow: bool) -> None:
    assert ("slow_execution" in found([run(n, duration_seconds=seconds) for n in range(10)])) is is_slow


def test_severity_is_the_relative_excess() -> None:
    insights = found([run(n, duration_seconds=45.0, tool_calls=25) for n in range(10)])
    assert insights["slow_execution"].severity == pytest.approx(0.5)
    assert insights["excessive_tool_usage"].severity == pytest.approx(0.6 * 10 / 15)


def test_a_slow_tail_is_told_from_a_slow_mean() -> None:
    facts = [run(n, duration_seconds=100.0 if n % 10 == 0 else 10.0) for n in range(40)]
    insights = found(facts)
    assert "slow_execution" not in insights
    tail = insights["high_latency_outliers"]
    assert (tail.current_value, tail.baseline_value) == (100.0, 60.0)
    assert tail.evidence["p95_success_seconds"]["value"] == 100.0


def test_failures_show_as_a_low_success_rate() -> None:
    insight = found([run(n, success=n % 2 == 0) for n in range(20)])["low_success_rate"]
    assert (insight.current_value, insight.baseline_value) == (0.5, 0.95)
    assert insight.severity == pytest.approx(1 - 0.5 / 0.95)


def test_the_callers_baseline_wins_and_is_named() -> None:
    facts = [run(n, duration_seconds=75.0) for n in range(10)]
    assert "slow_execution" not in found(facts, baseline_metrics={"avg_duration": 70})
    given = found(facts, baseline_metrics={"duration_seconds": 50})["slow_execution"]
    assert given.evidence["baseline"] == {"value": 50.0, "source": "given", "runs": 0}


@pytest.mark.parametrize("given", [{"speed": 3}, {"duration_seconds": 0}, {"success_rate": float("nan")}])
def test_a_wrong_baseline_is_refused(given: dict[str, float]) -> None:
    with pytest.raises(MetricsError, match="baseline_metrics"):
        analyze([run()], baseline_metrics=given)


def test_with_enough_history_a_team_is_compared_with_itself() -> None:
    rng = random.Random(3)
    steady = [run(n, duration_seconds=rng.lognormvariate(4.3, 0.2)) for n in range(100)]
    assert "slow_execution" not in found(steady)
    slower = [
        {**one, "duration_seconds": one["duration_seconds"] * (2 if n >= 80 else 1)} for n, one in enumerate(steady)
    ]
    insight = found(slower)["slow_execution"]
    assert insight.evidence["baseline"]["source"] == "own history"
    assert insight.evidence["baseline"]["runs"] == 80
    low, high = insight.evidence["baseline"]["difference_interval"]
    assert 0 < low < insight.current_value - insight.baseline_value < high


def test_noise_around_the_own_history_is_no_finding() -> None:
    false = 0
    for seed in range(200):
        facts = runs(100, lambda rng, _: {"duration_seconds": rng.lognormvariate(3, 0.8)}, seed)
        false += "slow_execution" in found(facts)
    assert false <= 10  # at most one in twenty; a one-sided interval of 95 % alone gives 2.5 %


def test_a_recent_run_of_hard_tasks_is_no_fault_of_the_plan() -> None:
    def make(rng: random.Random, number: int) -> dict[str, Any]:
        hard = number % 10 < (2 if number < 80 else 8)
        task = f"{'hard' if hard else 'easy'}-{rng.randrange(4)}"
        return {
            "task_key": task,
            "duration_seconds": (90 if hard else 10) * rng.lognormvariate(0, 0.1),
            "tool_calls": (60 if hard else 6) + rng.randrange(3),
            "success": rng.random() < (0.3 if hard else 0.97),
        }

    facts = runs(100, make)
    names = {"slow_execution", "excessive_tool_usage", "low_success_rate"}
    assert not names & set(found(facts))
    blind = found([{**one, "task_key": None} for one in facts])
    assert names <= set(blind)


def test_a_few_hard_tasks_do_not_make_a_typical_run_slow() -> None:
    def make(rng: random.Random, number: int) -> dict[str, Any]:
        task = number % 10
        return {"task_key": f"t{task}", "tool_calls": 200 if task >= 8 else 8}

    facts = runs(40, make)
    assert "excessive_tool_usage" not in found(facts)
    assert "excessive_tool_usage" in found([{**one, "task_key": None} for one in facts])
    everywhere = [{**one, "tool_calls": one["tool_calls"] + 30} for one in facts]
    assert "excessive_tool_usage" in found(everywhere)


def test_clocks_that_go_backwards_change_nothing() -> None:
    facts = runs(80, lambda rng, n: {"duration_seconds": rng.lognormvariate(4, 0.3) * (3 if n > 64 else 1)})
    shuffled = facts[:]
    random.Random(1).shuffle(shuffled)
    assert [i.to_dict() for i in analyze(shuffled)] == [i.to_dict() for i in analyze(facts)]


# --- formation


def four(rng: random.Random, number: int, formation: str = "sequential", **changes: Any) -> dict[str, Any]:
    return team_run(number, [member(name, rng.lognormvariate(0, 0.4)) for name in "abcd"], formation, **changes)


def test_members_times_speak_for_parallel_and_say_how_much() -> None:
    rng = random.Random(1)
    insight = found([four(rng, n) for n in range(20)])["suboptimal_formation_sequential"]
    assert (insight.evidence["formation"], insight.evidence["source"]) == ("parallel", "members' times")
    low, high = insight.evidence["gain_interval_percent"]
    assert low < insight.evidence["gain_percent"] < high
    then = insight.evidence["gain_percent"]
    parallel = [max(one.duration_seconds for one in four(rng, n)["members"]) for n in range(2000)]
    serial = [sum(one.duration_seconds for one in four(rng, n)["members"]) for n in range(2000)]
    assert then == pytest.approx(100 * (1 - sum(parallel) / sum(serial)), abs=5)
    assert "suboptimal_formation_parallel" not in found([four(rng, n, "parallel") for n in range(20)])


def test_a_supervisor_is_needed_for_a_hierarchical_formation() -> None:
    rng = random.Random(1)
    facts = [four(rng, n) for n in range(20)]

    def candidates(*supervisors: str) -> set[str]:
        spec = TeamSpec("flow", "team", "sequential", [MemberSpec(n, is_supervisor=n in supervisors) for n in "abcd"])
        insight = found(facts, spec=spec)["suboptimal_formation_sequential"]
        return {one["formation"] for one in insight.evidence["candidates"]}

    assert "hierarchical" in candidates("a")
    assert "hierarchical" not in candidates()
    assert "hierarchical" not in candidates("a", "b")


def test_own_runs_in_another_formation_count_more_than_a_prediction() -> None:
    rng = random.Random(1)
    # Measured, parallel is no faster here, whatever the members' times say.
    facts = [four(rng, n, duration_seconds=4 * rng.lognormvariate(0, 0.1)) for n in range(20)]
    facts += [four(rng, n, "parallel", duration_seconds=4.4 * rng.lognormvariate(0, 0.1)) for n in range(20, 40)]
    insight = found(facts, formation="sequential").get("suboptimal_formation_sequential")
    assert insight is None or insight.evidence["formation"] != "parallel"


def test_a_faster_formation_that_fails_more_is_not_better() -> None:
    facts = [run(n, duration_seconds=20.0 + n % 3) for n in range(20)]
    facts += [run(n, formation="parallel", duration_seconds=5.0 + n % 3, success=n % 3 > 0) for n in range(20, 40)]
    assert "suboptimal_formation_sequential" not in found(facts, formation="sequential")
    sound = [{**one, "success": True} for one in facts]
    own = found(sound, formation="sequential")["suboptimal_formation_sequential"].evidence
    assert (own["formation"], own["source"]) == ("parallel", "own runs")


def test_formations_are_compared_within_tasks() -> None:
    # Parallel got the hard tasks: slower on the whole, faster on each.
    facts = []
    for n in range(80):
        hard, parallel = n % 4 != 0, n % 2 == 0
        if n % 8 == 0:
            hard = True
        seconds = (60 if hard else 10) * (0.7 if parallel else 1.0) * (1 + 0.02 * (n % 5))
        facts.append(
            run(n, formation="parallel" if parallel else "sequential", duration_seconds=seconds, task_key=str(hard))
        )
    facts += [run(90 + n, duration_seconds=10.0, task_key="False") for n in range(20)]
    own = found(facts, formation="sequential")["suboptimal_formation_sequential"].evidence
    assert own["source"] == "own runs"
    assert own["gain_percent"] == pytest.approx(30, abs=5)


def test_other_teams_and_then_a_prior_answer_where_own_runs_can_not() -> None:
    slow = [run(n, team_id="new", duration_seconds=90.0) for n in range(10)]
    prior = found(slow)["suboptimal_formation_sequential"].evidence
    assert (prior["source"], prior["runs"]) == ("prior", 0)
    fast = [run(n, team_id="new", duration_seconds=9.0) for n in range(10)]
    assert "suboptimal_formation_sequential" not in found(fast)
    fleet = [
        run(n, team_id=f"t{team}", formation=formation, duration_seconds=seconds * (1 + 0.01 * (n % 7)))
        for team in range(3)
        for formation, seconds in (("sequential", 40.0 + team), ("parallel", 20.0 + team))
        for n in range(10)
    ]
    other = {i.bottleneck: i for i in analyze(slow + fleet, ("flow", "new"))}[
        "suboptimal_formation_sequential"
    ].evidence
    assert other["source"] == "other teams"
    assert other["gain_percent"] == pytest.approx(50, abs=5)


def test_sub_teams_are_no_formation_to_leave_by_prediction() -> None:
    rng = random.Random(1)
    facts = [four(rng, n, "sub_teams") for n in range(20)]
    assert not any(name.startswith("suboptimal") for name in found(facts))


# --- the shape of the team


def test_more_than_seven_members_or_thirty_seconds_each_are_many() -> None:
    assert found([run(n, member_count=8) for n in range(3)])["oversized_team"].current_value == 8
    slow = [run(n, member_count=4, duration_seconds=150.0) for n in range(3)]
    insight = found(slow)["oversized_team"]
    assert (insight.current_value, insight.baseline_value) == (37.5, 30.0)
    assert "oversized_team" not in found(slow[:2])
    assert "oversized_team" not in found([run(n, member_count=2, duration_seconds=150.0) for n in range(3)])


def test_members_one_after_another_show_as_serial_work() -> None:
    rng = random.Random(1)
    insight = found([four(rng, n) for n in range(10)])["serial_independent_work"]
    durations = insight.evidence["member_durations"]
    assert set(durations) == set("abcd")
    assert all(len(seconds) == 10 for seconds in durations.values())
    assert "serial_independent_work" not in found([four(rng, n, "parallel") for n in range(10)])
    one_long = [team_run(n, [member("a", 50.0), member("b", 1.0), member("c", 1.0)]) for n in range(10)]
    assert "serial_independent_work" not in found(one_long)


# --- members


def test_a_weak_and_a_useless_member_are_named_with_everyones_figures() -> None:
    rng = random.Random(1)
    facts = [
        team_run(
            n,
            [
                member("good", tool_calls=5),
                member("sound", tool_calls=4),
                member("weak", success=rng.random() < 0.4),
                member("useless", success=False, tool_calls=9),
            ],
        )
        for n in range(40)
    ]
    insight = found(facts)["underperforming_member"]
    assert set(insight.affected_components) == {"weak", "useless"}
    assert insight.evidence["useless"] == ["useless"]
    assert insight.evidence["strong"] == ["good", "sound"]
    figures = insight.evidence["members"]["good"]
    assert figures["tool_call_share"] == pytest.approx(5 / 21)
    assert figures["needed_tool_calls"] == 5


def test_an_idle_member_is_told_from_one_that_works_without_tools() -> None:
    facts = [
        team_run(
            n, [member("a"), member("idle", tool_calls=0, input_tokens=9, output_tokens=1), member("b", tool_calls=0)]
        )
        for n in range(10)
    ]
    assert found(facts)["underperforming_member"].evidence["idle"] == ["idle"]


def test_a_member_is_not_called_weak_by_chance() -> None:
    false = 0
    for seed in range(100):
        rng = random.Random(seed)
        facts = [team_run(n, [member(name, success=rng.random() < 0.8) for name in "abc"]) for n in range(20)]
        false += "underperforming_member" in found(facts)
    assert false <= 12


# --- limits


def test_spent_budgets_that_make_runs_fail_are_found() -> None:
    facts = [run(n, tool_calls=10 if n % 3 == 0 else 6, tool_budget=10, success=n % 3 > 0) for n in range(30)]
    insight = found(facts)["undersized_budget"]
    assert insight.current_value == 1.0
    assert insight.evidence["spent_share"]["value"] == pytest.approx(1 / 3)
    harmless = [run(n, tool_calls=10 if n % 3 == 0 else 6, tool_budget=10) for n in range(30)]
    assert "undersized_budget" not in found(harmless)


def test_refused_calls_name_the_member_that_is_short() -> None:
    facts = [
        team_run(n, [member("a"), member("b", tool_calls_refused=2, success=n % 2 > 0)], success=n % 2 > 0)
        for n in range(20)
    ]
    facts += [team_run(n, [member("a"), member("b")]) for n in range(20, 40)]
    assert found(facts)["undersized_budget"].affected_components == ("b",)


def test_hard_tasks_that_spend_the_budget_and_fail_anyway_are_no_reason_for_more() -> None:
    facts = []
    for n in range(60):
        hard = n % 3 == 0
        spent = n % 2 == 0 if not hard else n % 4 != 0
        failed = (n // 3) % 10 < (9 if hard else 1)
        facts.append(run(n, task_key=f"{hard}", tool_calls=10 if spent else 6, tool_budget=10, success=not failed))
    assert "undersized_budget" not in found(facts)


def test_a_deadline_that_ends_sound_runs_is_too_tight() -> None:
    def make(rng: random.Random, number: int) -> dict[str, Any]:
        seconds = rng.lognormvariate(2.3, 0.5)
        ended = seconds > 15
        return {
            "duration_seconds": min(seconds, 15.0),
            "timed_out": ended,
            "success": not ended,
            "timeout_seconds": 15.0,
        }

    insight = found(runs(60, make))["timeouts_too_tight"]
    assert insight.evidence["needed_seconds"] > 15
    hanging = [
        run(
            n,
            duration_seconds=15.0 if n % 8 == 0 else 3.0,
            timed_out=n % 8 == 0,
            success=n % 8 > 0,
            timeout_seconds=15.0,
        )
        for n in range(40)
    ]
    assert "timeouts_too_tight" not in found(hanging)


# --- teams, and the form of the answer


def test_zero_one_and_a_thousand_teams() -> None:
    assert analyze([]) == []
    assert analyze([run()]) == []
    many = RunHistory(run(n, team_id=f"t{n % 1000}", duration_seconds=90.0) for n in range(3000))
    insights = analyze_all(many)
    assert len(insights) == 1000
    assert all("slow_execution" in {i.bottleneck for i in each} for each in insights.values())


def test_which_team_is_meant_must_be_clear() -> None:
    mixed = RunHistory([run(team_id="one"), run(team_id="other")])
    with pytest.raises(MetricsError, match="there are 2 teams"):
        analyze(mixed)
    with pytest.raises(MetricsError, match="Did you mean `other`"):
        summary(mixed, "othr")
    assert summary(mixed, "one")["runs"] == 1


def test_cancelled_runs_count_for_nothing() -> None:
    facts = [run(n, duration_seconds=500.0, cancelled=True) for n in range(10)]
    assert analyze(facts) == []


def test_insights_are_sorted_and_can_be_written_as_json() -> None:
    rng = random.Random(1)
    facts = [
        four(rng, n, duration_seconds=80.0 + n, tool_calls=30 + n % 4, success=n % 4 > 0, timestamp=float(n))
        for n in range(120)
    ]
    insights = analyze(facts)
    assert len(insights) >= 3
    assert [i.severity for i in insights] == sorted((i.severity for i in insights), reverse=True)
    for insight in insights:
        assert 0 <= insight.severity <= 1
        assert 0 <= insight.impact_magnitude <= 1
        assert json.loads(json.dumps(insight.to_dict(), allow_nan=False)) == insight.to_dict()
    json.dumps(summary(RunHistory(facts)), allow_nan=False)


def test_the_columns_of_a_team_do_not_depend_on_the_others() -> None:
    rng = random.Random(5)
    mine = [four(rng, n, team_id="mine") for n in range(20)]
    others = [four(rng, n, team_id=f"o{n % 3}") for n in range(60)]
    mixed = [one for pair in zip(others[:20], mine, strict=True) for one in pair] + others[20:]
    alone, among = RunHistory(mine).table(("flow", "mine")), RunHistory(mixed).table(("flow", "mine"))
    assert among.duration.tolist() == alone.duration.tolist()
    assert [(m.id, m.run.tolist(), m.duration.tolist()) for m in among.members] == [
        (m.id, m.run.tolist(), m.duration.tolist()) for m in alone.members
    ]


extremes = st.sampled_from([0.0, 1e-9, 1.0, 40.0, 1e9])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    facts=st.lists(
        st.builds(
            dict,
            team_id=st.just("team"),
            formation=st.sampled_from(["sequential", "parallel", "reflection", "sub_teams"]),
            member_count=st.sampled_from([0, 1, 3, 9, 100_000]),
            success=st.booleans(),
            duration_seconds=extremes,
            tool_calls=st.sampled_from([0, 1, 20, 10**12]),
            timestamp=st.sampled_from([0.0, 1e9, 2e11]),
            cost_usd=st.none() | extremes,
            timed_out=st.booleans(),
            task_key=st.sampled_from([None, "a", "b"]),
            tool_budget=st.sampled_from([None, 0, 1, 10**12]),
            timeout_seconds=st.sampled_from([None, 1e-9, 40.0]),
            members=st.lists(
                st.builds(
                    member,
                    st.sampled_from("abc"),
                    extremes,
                    success=st.booleans(),
                    finished=st.booleans(),
                    tool_calls=st.sampled_from([0, 10**12]),
                    tool_calls_refused=st.sampled_from([0, 2]),
                ),
                max_size=3,
                unique_by=lambda one: one.id,
            ),
        ),
        max_size=12,
    ),
    copies=st.sampled_from([1, 1, 10]),
)
def test_whatever_the_runs_the_analysis_answers_in_finite_numbers(facts: list[dict[str, Any]], copies: int) -> None:
    many = facts * copies
    for insight in analyze(many):
        assert 0 <= insight.severity <= 1
        assert 0 <= insight.impact_magnitude <= 1
        json.dumps(insight.to_dict(), allow_nan=False)
    rank(BUILT_IN, analyze(many), {"formation": "sequential", "members": list("abcd")}, min_confidence=0)
    if facts:
        json.dumps(summary(RunHistory(many)), allow_nan=False)


def test_evidence_is_a_value_inside_and_a_mapping_outside() -> None:
    rng = random.Random(1)
    insight = found([four(rng, n) for n in range(20)])["suboptimal_formation_sequential"]
    evidence = evidence_in(insight, FormationEvidence)
    assert evidence is insight.evidence
    best = evidence.candidates[0]
    assert insight.evidence["candidates"][0] == {
        "value": best.value,
        "interval": [best.low, best.high],
        "runs": best.runs,
        "formation": "parallel",
        "source": "members' times",
    }
    by_hand = evolve(insight, evidence=json.loads(json.dumps(insight.to_dict()["evidence"])))
    assert evidence_in(by_hand, FormationEvidence).to_dict() == evidence.to_dict()


def test_evidence_made_by_hand_that_can_not_be_used_is_refused() -> None:
    insight = PerformanceInsight("oversized_team", 1.0, 9.0, 7.0, 0.5, "x", evidence={"members": {"a": 3}})
    with pytest.raises(MetricsError, match="evidence: ") as caught:
        evidence_in(insight, SizeEvidence)
    assert caught.value.where == "insight 'oversized_team'"
    assert evidence_in(evolve(insight, evidence={}), SizeEvidence).size == 9
