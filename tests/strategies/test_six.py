"""What each of the six strategies suggests, and what it doesn't."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._analysis.bottlenecks import analyze
from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion, PerformanceInsight
from victor_autotune_plugin._model.plan import EMPTY_PLAN, Limits, MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin.errors import PlanError
from victor_autotune_plugin.strategies import BUILT_IN
from victor_autotune_plugin.strategies.base import OptimizationStrategy, rank
from victor_autotune_plugin.strategies.config import TeamConfig, read_config, with_change
from victor_autotune_testing.made_runs import member, run, team_run


def suggested(
    facts: list[dict[str, Any]], config: dict[str, Any], name: str, **options: Any
) -> list[OptimizationSuggestion]:
    insights = analyze(facts, formation=read_config(config).formation)
    return rank(BUILT_IN, insights, config, names=[name], **options)


def serial(names: str = "abcd", formation: str = "sequential", count: int = 30) -> list[dict[str, Any]]:
    rng = random.Random(1)
    return [team_run(n, [member(m, rng.lognormvariate(1, 0.3)) for m in names], formation) for n in range(count)]


# --- formation


def test_formation_selection_prefers_parallel_and_says_how_sure() -> None:
    (one,) = suggested(serial(), {"formation": "sequential", "members": list("abcd")}, "formation_selection")
    assert one.plan == TeamPlan(formation="parallel")
    low, high = one.metadata["interval_percent"]
    assert low < one.expected_improvement < high
    assert one.metadata["metric"] == "duration"
    assert one.metadata["prior_percent"] == [20, 50]
    assert one.confidence > 0.8


@pytest.mark.parametrize(
    "changes",
    [
        {"limits": {"formations": ["sequential", "pipeline"]}},
        {"depends_on": {"b": ["a"]}},
        {"formation": "parallel"},
        {"sub_teams": [["a", "b"], ["c", "d"]]},
    ],
)
def test_formation_selection_respects_limits_dependencies_and_what_runs_now(changes: dict[str, Any]) -> None:
    config = {"formation": "sequential", "members": list("abcd"), **changes}
    insights = analyze(serial(), formation="sequential")
    assert rank(BUILT_IN, insights, config, names=["formation_selection"]) == []


def test_failing_members_that_need_each_other_go_one_after_another() -> None:
    facts = [team_run(n, [member("a"), member("b")], "parallel", success=n % 2 == 0) for n in range(20)]
    config = {"formation": "parallel", "members": ["a", "b"], "depends_on": {"b": ["a"]}}
    (one,) = suggested(facts, config, "formation_selection")
    assert (one.plan, one.metadata["metric"]) == (TeamPlan(formation="sequential"), "success")


# --- team sizing


def test_team_sizing_leaves_out_who_adds_least_but_nobody_protected() -> None:
    rng = random.Random(2)
    names = [f"m{k}" for k in range(9)]
    facts = [
        team_run(n, [member(m, 5.0, success=m != "m3" or rng.random() < 0.5) for m in names], "parallel")
        for n in range(30)
    ]
    config = {"formation": "parallel", "members": names}
    (one,) = suggested(facts, config, "team_sizing")
    assert len(one.suggested_config["members"]) == 4
    assert "m3" in one.metadata["left_out"]
    limits = {"protected_members": ["m3", "m8"], "min_members": 6}
    (held,) = suggested(facts, {**config, "limits": limits}, "team_sizing")
    assert len(held.suggested_config["members"]) == 6
    assert {"m3", "m8"} <= set(held.suggested_config["members"])


def test_team_sizing_keeps_one_of_each_role_and_the_supervisor() -> None:
    roles = ["planner", "coder", "coder", "coder", "coder", "coder", "reviewer", "tester"]
    names = [f"{role}{k}" for k, role in enumerate(roles)]
    facts = [team_run(n, [member(m, 5.0) for m in names], "hierarchical") for n in range(10)]
    members = [{"id": n, "role": r, "is_supervisor": r == "planner"} for n, r in zip(names, roles, strict=True)]
    (one,) = suggested(facts, {"formation": "hierarchical", "members": members}, "team_sizing", min_confidence=0)
    assert one.suggested_config["members"] == ["planner0", "coder1", "reviewer6", "tester7"]


def test_team_sizing_of_members_without_names_is_a_number() -> None:
    facts = [run(n, member_count=8, duration_seconds=60.0) for n in range(10)]
    (one,) = suggested(facts, {"team_formation": "sequential", "member_count": 8}, "team_sizing")
    assert one.suggested_config == {"member_count": 4}
    assert one.plan == EMPTY_PLAN
    changed = with_change({"team_formation": "sequential", "member_count": 8}, one.suggested_config)
    assert changed == {"team_formation": "sequential", "member_count": 4}


def test_own_runs_with_fewer_members_count() -> None:
    many = [run(n, member_count=8, duration_seconds=80.0 + n % 5) for n in range(20, 40)]
    few = [run(n, member_count=5, duration_seconds=48.0 + n % 5) for n in range(20)]
    (one,) = suggested(few + many, {"formation": "sequential", "member_count": 8}, "team_sizing")
    assert one.metadata["data_percent"]["value"] == pytest.approx(39, abs=3)
    assert 15 < one.expected_improvement < 39


# --- tool budget


def test_a_budget_is_cut_but_never_below_what_successful_runs_needed() -> None:
    facts = [run(n, tool_calls=40 if n % 4 == 0 else 24, success=n % 4 > 0) for n in range(40)]
    (one,) = suggested(facts, {"formation": "sequential", "tool_budget": 50}, "tool_budget")
    assert one.plan == TeamPlan(tool_budget=33)
    needs = [run(n, tool_calls=30 + n % 15) for n in range(40)]
    (held,) = suggested(needs, {"formation": "sequential", "tool_budget": 50}, "tool_budget", min_confidence=0)
    assert held.plan == TeamPlan(tool_budget=44)
    assert suggested(needs, {"formation": "sequential", "tool_budget": 44}, "tool_budget", min_confidence=0) == []
    floor = {"formation": "sequential", "tool_budget": 50, "limits": {"min_tool_budget": 60}}
    assert suggested(facts, floor, "tool_budget", min_confidence=0) == []


def test_a_budget_that_nobody_would_come_up_against_says_so() -> None:
    facts = [run(n, tool_calls=40 if n % 4 == 0 else 24, success=n % 4 > 0) for n in range(40)]
    for budget, nothing in ((50, False), (60, False), (62, True), (100, True)):
        config = {"formation": "sequential", "tool_budget": budget}
        (one,) = suggested(facts, config, "tool_budget", min_confidence=0)
        assert one.metadata["changes_nothing"] is nothing


def test_the_gain_of_a_budget_is_in_cost_where_costs_are_known() -> None:
    facts = [run(n, tool_calls=90 if n % 4 == 0 else 24, success=n % 4 > 0, cost_usd=0.1) for n in range(40)]
    (one,) = suggested(facts, {"total_tool_budget": 50}, "tool_budget")
    assert one.metadata["metric"] == "cost"
    saved = 100 * (1 - (33 + 3 * 24) / (90 + 3 * 24))
    assert one.metadata["data_percent"]["value"] == pytest.approx(saved, abs=5)


def test_a_larger_budget_needs_a_person() -> None:
    facts = [run(n, tool_calls=10 if n % 3 == 0 else 6, tool_budget=10, success=n % 3 > 0) for n in range(30)]
    (one,) = suggested(facts, {"tool_budget": 10}, "tool_budget")
    assert (one.plan, one.metadata["needs_person"]) == (TeamPlan(tool_budget=15), True)
    assert suggested(facts, {"tool_budget": 10, "limits": {"max_tool_budget": 12}}, "tool_budget") == []


# --- timeout


def tail(timeout: float | None = None) -> list[dict[str, Any]]:
    return [
        run(n, duration_seconds=400.0 if n % 10 == 0 else 20.0 + n % 7, success=n % 10 > 0, timeout_seconds=timeout)
        for n in range(60)
    ]


def test_a_deadline_is_a_fifth_above_the_p95_of_successful_runs() -> None:
    (one,) = suggested(tail(), {"formation": "sequential", "timeout_seconds": 300}, "timeout_tuning")
    assert one.plan == TeamPlan(timeout_seconds=32.0)
    assert one.metadata["data_percent"]["value"] > 50
    assert not one.metadata["needs_person"]
    assert suggested(tail(), {"timeout_seconds": 31}, "timeout_tuning") == []
    floor = {"timeout_seconds": 300, "limits": {"min_timeout_seconds": 60}}
    assert suggested(tail(), floor, "timeout_tuning")[0].plan == TeamPlan(timeout_seconds=60.0)
    assert suggested(tail(), {"limits": {"max_timeout_seconds": 30}}, "timeout_tuning") == []


def test_a_longer_deadline_needs_a_person() -> None:
    rng = random.Random(1)
    seconds = [rng.lognormvariate(2.3, 0.5) for _ in range(60)]
    facts = [
        run(n, duration_seconds=min(s, 15.0), timed_out=s > 15, success=s <= 15, timeout_seconds=15.0)
        for n, s in enumerate(seconds)
    ]
    (one,) = suggested(facts, {"timeout_seconds": 15}, "timeout_tuning", min_confidence=0)
    assert one.metadata["needs_person"]
    assert one.suggested_config["timeout_seconds"] > 15


# --- member selection


def weak_team() -> list[dict[str, Any]]:
    rng = random.Random(4)
    return [
        team_run(
            n,
            [
                member("good", 4.0, tool_calls=5, tool_calls_refused=n % 2, success=n % 5 > 0),
                member("weak", 4.0, tool_calls=6, success=rng.random() < 0.4),
                member("useless", 6.0, tool_calls=9, success=False),
            ],
        )
        for n in range(60)
    ]


def test_a_useless_member_is_left_out_unless_it_is_protected_or_needed() -> None:
    config = {"formation": "sequential", "members": ["good", "weak", "useless"]}
    out = [s for s in suggested(weak_team(), config, "member_selection") if "members" in s.suggested_config]
    assert [s.plan for s in out] == [TeamPlan(members=["good", "weak"])]
    assert out[0].metadata["gains"]["duration"]["value"] == pytest.approx(100 * 6 / 14)
    for changes in ({"limits": {"protected_members": ["useless"]}}, {"depends_on": {"good": ["useless"]}}):
        held = suggested(weak_team(), {**config, **changes}, "member_selection")
        assert all("members" not in s.suggested_config for s in held)


def never_successful(seconds: float, calls: int = 3) -> list[dict[str, Any]]:
    """Runs that all fail because of one member."""
    useless = member("useless", seconds, tool_calls=calls, success=False)
    return [team_run(n, [member("a", 3.0), member("b", 2.0), useless], "parallel", success=False) for n in range(20)]


def test_what_leaving_out_saves_is_known_also_where_the_useless_member_fails_every_run() -> None:
    config = {"formation": "parallel", "members": ["a", "b", "useless"]}
    (one,) = suggested(never_successful(6.0), config, "member_selection")
    assert one.plan == TeamPlan(members=["a", "b"])
    assert one.metadata["metric"] == "duration"
    assert one.metadata["gains"]["duration"]["value"] == pytest.approx(50)


def test_a_member_whose_absence_would_save_nothing_is_not_left_out() -> None:
    config = {"formation": "parallel", "members": ["a", "b", "useless"]}
    facts = never_successful(1.0, calls=0)
    assert suggested(facts, config, "member_selection", min_confidence=0) == []


def test_calls_go_from_the_weak_to_the_strong_and_the_total_stays() -> None:
    config = {
        "formation": "sequential",
        "members": [
            {"id": "good", "tool_budget": 10},
            {"id": "weak", "tool_budget": 10},
            {"id": "useless", "tool_budget": 10},
        ],
    }
    found = suggested(weak_team(), config, "member_selection", min_confidence=0)
    (one,) = [s for s in found if "member_budgets" in s.suggested_config]
    assert one.suggested_config == {"member_budgets": {"good": 15, "weak": 8, "useless": 10}, "tool_budget": 30}
    assert one.metadata["metric"] == "success"
    changed = with_change(config, one.suggested_config)
    assert [m["tool_budget"] for m in changed["members"]] == [15, 8, 10]
    capped = {**config, "limits": {"max_tool_budget": 14}}
    assert all("member_budgets" not in s.suggested_config for s in suggested(weak_team(), capped, "member_selection"))


def with_a_weak_member(calls: int) -> list[dict[str, Any]]:
    """Runs in which one member mostly fails, with so many tool calls."""
    good = [member(name, 3.0, tool_calls=20) for name in ("a", "b", "c")]
    weak = [member("weak", 3.0, tool_calls=5 if n % 3 == 0 else calls, success=n % 3 == 0) for n in range(60)]
    return [team_run(n, [*good, one]) for n, one in enumerate(weak)]


@pytest.mark.parametrize(("calls", "worth"), [(0, False), (11, False), (14, True)])
def test_a_weak_members_budget_is_cut_only_where_it_would_come_up_against_it(calls: int, worth: bool) -> None:
    members = [{"id": name, "tool_budget": 15} for name in ("a", "b", "c", "weak")]
    config = {"formation": "parallel", "members": members}
    found = suggested(with_a_weak_member(calls), config, "member_selection", min_confidence=0)
    assert bool([s for s in found if "member_budgets" in s.suggested_config]) == worth


def test_a_division_promises_no_more_than_it_can_save() -> None:
    config = {"formation": "parallel", "members": ["a", "b", "c", "weak"]}
    found = suggested(with_a_weak_member(14), config, "member_selection", min_confidence=0)
    (one,) = [s for s in found if "member_budgets" in s.suggested_config]
    saved = 100 * 0.2 * 11 / 71  # a fifth of its share of the calls; such changes usually bring 10 to 30 %
    assert one.expected_improvement == pytest.approx(saved / 2)
    low, high = one.metadata["interval_percent"]
    assert 0 < low < one.expected_improvement < high < saved


# --- parallelization


def test_chains_stay_together_in_order_and_run_side_by_side() -> None:
    names = ["plan_web", "code_web", "review_web", "code_api", "review_api"]
    facts = [team_run(n, [member(m, 3.0 + 0.1 * (n % 3)) for m in names]) for n in range(20)]
    config = {"formation": "sequential", "members": names}
    (one,) = suggested(facts, config, "parallelization")
    assert one.suggested_config == {"sub_teams": [["plan_web", "code_web", "review_web"], ["code_api", "review_api"]]}
    assert one.metadata["dependencies"] == "assumed from roles"
    assert one.metadata["data_percent"]["value"] == pytest.approx(40)
    assert one.plan.sub_teams == (("plan_web", "code_web", "review_web"), ("code_api", "review_api"))


def test_declared_dependencies_win_and_order_the_group() -> None:
    facts = serial("abcde")
    config = {"formation": "sequential", "members": list("abcde"), "depends_on": {"a": ["b"], "d": ["c"]}}
    (one,) = suggested(facts, config, "parallelization")
    groups = [tuple(group) for group in one.suggested_config["sub_teams"]]
    assert sorted(name for group in groups for name in group) == list("abcde")
    assert ("b", "a") in groups or any("".join(group).find("ba") >= 0 for group in groups)
    assert one.metadata["dependencies"] == "declared"


def test_independent_members_are_left_to_formation_selection_and_one_chain_alone() -> None:
    config: dict[str, Any] = {"formation": "sequential", "members": list("abcd")}
    assert suggested(serial(), config, "parallelization") == []
    assert suggested(serial(), {**config, "limits": {"formations": ["sequential"]}}, "parallelization") == []
    coordinated = {**config, "limits": {"formations": ["sequential", "hierarchical"]}}
    assert suggested(serial(), coordinated, "parallelization") == []  # sub-teams run in parallel
    chain = {"planner": "plan", "coder": "code", "reviewer": "review", "tester": "test"}
    facts = [team_run(n, [member(m, 3.0) for m in chain]) for n in range(20)]
    assert suggested(facts, {"formation": "sequential", "members": list(chain)}, "parallelization") == []


# --- configs


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"formation": "paralel"}, "Did you mean `parallel`"),
        ({"members": ["a", "a"]}, "given twice"),
        ({"members": ["a", "b"], "member_count": 3}, "member_count: is 3, but members has 2"),
        ({"members": "abc"}, "is not a list"),
        ({"members": [{"role": "coder"}]}, "has no id"),
        ({"member_count": 0}, "at least 1"),
        ({"tool_budget": -1}, "tool_budget"),
        ({"tool_budget": True}, "tool_budget"),
        ({"timeout_seconds": float("nan")}, "timeout_seconds"),
        ({"timeout_seconds": 0}, "above 0"),
    ],
)
def test_a_wrong_config_names_the_key(config: dict[str, Any], words: str) -> None:
    with pytest.raises(PlanError, match=words):
        read_config(config)


def test_a_config_keeps_its_own_keys_and_everything_else() -> None:
    config = {
        "team_formation": "sequential",
        "total_tool_budget": 50,
        "members": [{"id": "a", "goal": "x"}, {"id": "b"}],
        "member_count": 2,
        "comment": {"keep": [1]},
    }
    change = {"formation": "parallel", "tool_budget": 30, "members": ["b"], "member_budgets": {"b": 4}}
    assert with_change(config, change) == {
        "team_formation": "parallel",
        "total_tool_budget": 30,
        "members": [{"id": "b", "tool_budget": 4}],
        "member_count": 1,
        "comment": {"keep": [1]},
    }


def test_suggestions_are_sorted_and_narrowed() -> None:
    rng = random.Random(1)
    facts = [
        team_run(
            n,
            [member(m, rng.lognormvariate(3, 0.4), tool_calls=9, success=m != "h") for m in "abcdefgh"],
            success=n % 5 > 0,
        )
        for n in range(30)
    ]
    config = {"formation": "sequential", "members": list("abcdefgh"), "tool_budget": 200, "timeout_seconds": 3000}
    insights = analyze(facts)
    all_of_them = rank(BUILT_IN, insights, config, min_confidence=0)
    assert len({s.type for s in all_of_them}) >= 4
    order = ["critical", "high", "medium", "low"]
    keys = [(order.index(s.priority), -s.expected_improvement * s.confidence) for s in all_of_them]
    assert keys == sorted(keys)
    assert all(s.confidence >= 0.6 for s in rank(BUILT_IN, insights, config))
    assert all(s.risk_level <= 0.2 for s in rank(BUILT_IN, insights, config, max_risk=0.2, min_confidence=0))
    assert {s.type for s in rank(BUILT_IN, insights, config, names=["team_sizing"])} == {"team_sizing"}


class Asked(OptimizationStrategy):
    """A third party's strategy that remembers what it was given."""

    given: Any = None

    def suggest(
        self, insights: Sequence[PerformanceInsight], current_config: Mapping[str, Any]
    ) -> list[OptimizationSuggestion]:
        self.given = current_config
        return []


def test_a_third_partys_strategy_gets_a_plain_mapping_that_reads_back_the_same() -> None:
    asked = Asked()
    spec = TeamSpec("flow", "team", "sequential", [MemberSpec("a", tool_budget=3), MemberSpec("b")], 20, 60.0)
    config = TeamConfig.of(spec, TeamPlan(members=["b"], tool_budget=9), Limits(min_members=1, max_tool_budget=30))
    rank([asked], [], config)
    assert type(asked.given) is dict
    assert [one["id"] for one in asked.given["member_specs"]] == ["a", "b"]
    assert evolve(read_config(asked.given), configured=spec.members) == config
    rank([asked], [], {"formation": "parallel", "own": 1})
    assert asked.given == {"formation": "parallel", "own": 1}


def test_what_a_suggestion_says_is_read_once_and_shown_as_it_was_given() -> None:
    given = {"metric": "cost", "interval_percent": [1, 5], "needs_person": True, "changes_nothing": "?", "left": [1]}
    made = OptimizationSuggestion("own", OptimizationPriority.LOW, "x", {}, {}, 3.0, 0.9, 0.1, given)
    assert (made.metadata.metric, made.metadata.interval_percent) == ("cost", (1.0, 5.0))
    assert (made.metadata.needs_person, made.metadata.changes_nothing) == (True, None)
    assert made.to_dict()["metadata"] == given
    assert made.metadata["left"] == [1]
    assert OptimizationSuggestion("own", OptimizationPriority.LOW, "x", {}, {}, 3.0, 0.9, 0.1).metadata == {}
