"""A total tool budget leaves each member its share, whoever asks first."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from victor_autotune_plugin._host.enforcement import ToolBudget
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_testing.realvictor import make_team, run_team
from victor_autotune_testing.scripted import Rule, Script, ScriptedModel, ToolTurns

from .conftest import Plugin

TEAM = ("a", "b", "c")


def test_each_member_keeps_an_equal_part_until_it_ends() -> None:
    budget = ToolBudget(10, {}, TEAM)
    assert budget.reserve("a", 100) == 4  # its three, and the one that is in no share
    assert budget.reserve("b", 2) == 2
    assert budget.reserve("a", 1) == 0
    budget.ended("b")
    assert budget.reserve("a", 5) == 1
    assert budget.reserve("c", 100) == 3
    assert budget.reserve("c", 1) == 0


def test_what_a_batch_did_not_use_is_open_again() -> None:
    budget = ToolBudget(6, {}, TEAM)
    assert budget.reserve("a", 2) == 2
    budget.settle("a", 2, 0)
    assert budget.reserve("a", 9) == 2


def test_members_that_may_work_again_keep_their_shares() -> None:
    budget = ToolBudget(4, {}, ("a", "b"), keeps=True)
    assert budget.reserve("a", 1) == 1
    budget.ended("a")
    assert budget.reserve("b", 9) == 2
    assert budget.reserve("a", 9) == 1


@pytest.mark.parametrize(
    ("total", "members", "shares"),
    [
        (12, {"a": 10, "b": 2}, {"a": 10, "b": 2}),  # c has an equal part of what is too much, so all shrink
        (9, {"a": 1}, {"a": 1, "b": 5, "c": 5}),
        (2, {}, {"a": 2, "b": 2, "c": 2}),  # too few for a share each: whoever comes first
        (0, {}, {"a": 0, "b": 0, "c": 0}),
        (6, {"a": 0}, {"a": 0, "b": 4, "c": 4}),
    ],
)
def test_own_budgets_are_shares_and_never_exceeded(total: int, members: dict[str, int], shares: dict[str, int]) -> None:
    for name, most in shares.items():
        granted = ToolBudget(total, members, TEAM).reserve(name, 100)
        assert granted is not None
        assert granted <= most
        assert granted <= members.get(name, total)
    budget = ToolBudget(total, members, TEAM)
    assert sum(budget.reserve(name, 100) or 0 for name in "cba") <= total


def test_threads_never_get_more_than_the_total_and_none_less_than_its_share() -> None:
    budget, got = ToolBudget(40, {}, [f"m{n}" for n in range(4)]), [0] * 4
    start = threading.Barrier(4)

    def ask(number: int) -> None:
        start.wait()
        for _ in range(200):
            granted = budget.reserve(f"m{number}", 3) or 0
            used = granted - (granted > 1)
            budget.settle(f"m{number}", granted, used)
            got[number] += used

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(got) <= 40
    assert min(got) >= 9  # the last call of a share is given back each time, as one of two


@pytest.mark.parametrize("formation", ["parallel", "sequential", "pipeline", "consensus"])
async def test_a_greedy_first_member_leaves_the_others_theirs(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, formation: str
) -> None:
    scripted.script = Script(
        [
            Rule("greedy", role="researcher", tools=[ToolTurns(1, 12)]),
            # In parallel, the others ask when the greedy one has had its turn.
            Rule("others", latency=0.0 if formation != "parallel" else 0.4, tools=[ToolTurns(1, 2)]),
        ]
    )
    plugin.plan = TeamPlan(tool_budget=6)
    await run_team(orchestrator, make_team("researcher", "planner", "reviewer", formation=formation))
    assert [member.tool_calls for member in plugin.run.members] == [2, 2, 2]
    assert plugin.run.members[0].tool_calls_refused > 0


async def test_what_a_member_leaves_goes_to_those_after_it(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = Script([Rule("modest", role="researcher"), Rule("others", tools=[ToolTurns(1, 4)])])
    plugin.plan = TeamPlan(tool_budget=6)
    await run_team(orchestrator, make_team("researcher", "planner", "reviewer", formation="sequential"))
    assert [member.tool_calls for member in plugin.run.members] == [0, 4, 2]
