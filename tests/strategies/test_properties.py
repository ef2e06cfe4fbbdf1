"""Whatever the insights and the config: a suggestion can run, crosses no limit, and touches nothing."""

from __future__ import annotations

import copy
import json
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_autotune_plugin._analysis.bottlenecks import analyze
from victor_autotune_plugin._host.translation import check_plan
from victor_autotune_plugin._model.optimization import OptimizationSuggestion
from victor_autotune_plugin._model.plan import FORMATIONS, Limits, MemberSpec, TeamSpec, feasible_formations
from victor_autotune_plugin.strategies import BUILT_IN
from victor_autotune_plugin.strategies.base import rank
from victor_autotune_plugin.strategies.config import read_config
from victor_autotune_testing.made_runs import member, team_run

NAMES = ("planner", "web_coder", "web_reviewer", "api_coder", "api_reviewer", "tester", "scout", "m7", "m8")
ROLES = ("", "researcher", "executor", "reviewer")


def some_runs(rng: random.Random, ids: list[str], formation: str) -> list[dict[str, Any]]:
    """Runs with whatever may be wrong with a team, each with some probability."""
    slow, busy, failing = (rng.choice([0.3, 1, 30]), rng.choice([1, 10]), rng.choice([0, 0.3, 0.9]))
    bad, idle = rng.choice(ids), rng.choice([*ids, None])
    budget, timeout = rng.choice([None, 5, 40]), rng.choice([None, 20.0])
    facts = []
    for number in range(rng.choice([1, 3, 12, 40, 90])):
        outcomes = [
            member(
                name,
                slow * rng.lognormvariate(0, 0.8),
                tool_calls=0 if name == idle else busy * rng.randrange(6),
                tool_calls_refused=rng.choice([0, 0, 2]),
                success=name != bad and rng.random() > failing / 2,
                finished=rng.random() > 0.05,
                output_tokens=0 if name == idle else 500,
                input_tokens=0 if name == idle else 500,
            )
            for name in ids
        ]
        failed = rng.random() < failing
        facts.append(
            team_run(
                number,
                outcomes,
                formation if rng.random() < 0.7 else rng.choice(FORMATIONS),
                success=not failed,
                timed_out=failed and timeout is not None,
                tool_budget=budget,
                timeout_seconds=timeout,
                cost_usd=rng.choice([None, 0.1]),
                task_key=rng.choice([None, "a", "b"]),
            )
        )
    return facts


def some_config(rng: random.Random, ids: list[str]) -> dict[str, Any]:
    """A config in any of the forms, with limits that its formation keeps."""
    supervisor = rng.choice([*ids, None])
    specs = [
        {
            "id": name,
            "role": rng.choice(ROLES),
            "is_supervisor": name == supervisor,
            "tool_budget": rng.choice([None, 3, 12]),
        }
        for name in ids
    ]
    team = [MemberSpec(s["id"], s["role"], s["tool_budget"], s["is_supervisor"]) for s in specs]
    config: dict[str, Any] = {rng.choice(["formation", "team_formation"]): rng.choice(feasible_formations(team))}
    config["members"] = rng.choice([specs, specs, list(ids)])
    if config["members"] != specs:
        config["member_specs"] = specs
    for key, choices in (("tool_budget", [None, 6, 50]), ("timeout_seconds", [None, 5.0, 300.0])):
        value = rng.choice(choices)
        if value is not None:
            config[key] = value
    if rng.random() < 0.3 and len(ids) > 1:
        config["depends_on"] = {ids[-1]: [ids[0]]}
    if rng.random() < 0.7:
        config["limits"] = {
            "formations": rng.sample(FORMATIONS, rng.randint(1, 6)),
            "min_members": rng.randint(1, 5),
            "max_members": rng.choice([None, 4, 6]),
            "protected_members": rng.sample(ids, rng.randint(0, min(3, len(ids)))),
            "min_tool_budget": rng.choice([None, 10]),
            "max_tool_budget": rng.choice([None, 15, 45]),
            "min_timeout_seconds": rng.choice([None, 10.0]),
            "max_timeout_seconds": rng.choice([None, 60.0]),
        }
    return config


def check(one: OptimizationSuggestion, config: dict[str, Any], facts: list[dict[str, Any]]) -> None:
    read = read_config(config)
    spec = TeamSpec(
        "flow", "team", read.formation or "sequential", read.members, read.tool_budget, read.timeout_seconds
    )
    plan = one.plan
    assert not plan.is_empty
    check_plan(spec, plan)
    limits = Limits(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.get("limits", {}).items()})
    assert limits.crossed_by(plan) == ()
    taking_part = plan.members or spec.member_ids
    assert (plan.formation or spec.formation) in feasible_formations(m for m in spec.members if m.id in taking_part)
    if plan.sub_teams is not None:
        assert sorted(name for group in plan.sub_teams for name in group) == sorted(taking_part)
        assert all(plan.sub_teams)
        assert len(plan.sub_teams) > 1
    needs_person = one.metadata["needs_person"]
    if plan.tool_budget is not None and "member_budgets" not in one.suggested_config and not needs_person:
        assert plan.tool_budget >= max(run["tool_calls"] for run in facts if run["success"])
    if plan.tool_budget is not None and read.tool_budget is not None and not needs_person:
        assert plan.tool_budget <= read.tool_budget
    if plan.timeout_seconds is not None and read.timeout_seconds is not None and not needs_person:
        assert plan.timeout_seconds < read.timeout_seconds
    assert 0 <= one.confidence <= 1
    assert 0 <= one.risk_level <= 1
    low, high = one.metadata["interval_percent"]
    assert low <= one.expected_improvement <= high
    assert math.isfinite(one.expected_improvement)
    json.dumps(one.to_dict(), allow_nan=False)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**9))
@pytest.mark.slow
def test_every_suggestion_can_run_and_keeps_to_the_limits(seed: int) -> None:
    rng = random.Random(seed)
    ids = rng.sample(NAMES, rng.randint(1, len(NAMES)))
    # The config may have changed since the runs: members gone, members new.
    ran = rng.choice([ids, rng.sample(NAMES, rng.randint(1, len(NAMES)))])
    config = some_config(rng, ids)
    before = copy.deepcopy(config)
    facts = some_runs(rng, ran, read_config(config).formation or "sequential")
    insights = analyze(facts, formation=rng.choice([None, read_config(config).formation]))
    strategies = {strategy.name: strategy for strategy in BUILT_IN}
    for one in rank(BUILT_IN, insights, config, min_confidence=0, min_improvement=-math.inf):
        check(one, config, facts)
        changed = strategies[one.type].apply(config, one)
        assert config == before
        read = read_config(changed)
        for knob, value in one.suggested_config.items():
            assert read.knobs()[knob] == value or knob == "member_budgets"
    assert config == before


def test_the_random_teams_bring_all_six_strategies_to_suggest() -> None:
    """The property above would hold for strategies that never say anything."""
    seen: set[str] = set()
    for seed in range(400):
        rng = random.Random(seed)
        ids = rng.sample(NAMES, rng.randint(1, len(NAMES)))
        config = some_config(rng, ids)
        facts = some_runs(rng, ids, read_config(config).formation or "sequential")
        seen |= {one.type for one in rank(BUILT_IN, analyze(facts), config)}
    assert seen == {strategy.name for strategy in BUILT_IN}
