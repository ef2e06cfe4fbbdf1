"""What each strategy suggests for a team with the fault it is for really mends it on real Victor.

What is compared is which calls were made, in which overlap, and what ended how; how much time that saves,
`benchmarks/strategies_on_victor.py` measures.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from victor_autotune_plugin._analysis.bottlenecks import analyze
from victor_autotune_plugin._model.optimization import current_config
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin.strategies import BUILT_IN
from victor_autotune_plugin.strategies.base import rank
from victor_autotune_testing.realvictor import make_step, make_workflow, run_workflow
from victor_autotune_testing.scripted import MODEL, Call, ScriptedModel, max_in_flight
from victor_autotune_testing.scripted.teams import FAULTY_TEAMS, GOAL, HARD_GOAL, FaultyTeam

from .conftest import Plugin

# In mode `auto` the plugin would test changes of its own in the untuned runs.
pytestmark = pytest.mark.parametrize("plugin_settings", [{"mode": "suggest"}], ids=["suggest"])

TEAMS = {team.strategy: team for team in FAULTY_TEAMS}


class Trial:
    """One faulty team on real Victor.

    Attributes:
        team: The team.
        call_seconds: What an ordinary call of the model takes.
    """

    def __init__(self, strategy: str, plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, call_seconds: float):
        self.team: FaultyTeam = TEAMS[strategy]
        self.call_seconds = call_seconds
        self._plugin, self._orchestrator, self._scripted = plugin, orchestrator, scripted
        scripted.script = self.team.script(call_seconds)

    async def run(self, goal: str = GOAL, plan: TeamPlan = EMPTY_PLAN) -> tuple[TeamRun, Sequence[Call]]:
        """Run the team once, and return the record of it and the calls of the model."""
        self._plugin.plan = plan
        self._scripted.clear()
        team = self.team
        step = make_step(
            *team.members, formation=team.formation, goal=goal, name="step", **team.step_fields(self.call_seconds)
        )
        await run_workflow(self._orchestrator, make_workflow(step, name=team.strategy))
        run = self._plugin.runs[-1]
        assert run.plan_asked == plan
        return run, self._scripted.calls

    async def suggested(self, runs: int, goals: Sequence[str] = (GOAL,)) -> TeamPlan:
        """Run the team untuned, and return the plan that its strategy suggests."""
        untuned = [(await self.run(goals[number % len(goals)]))[0] for number in range(runs)]
        spec = untuned[-1].spec
        facts = list(untuned)
        insights = analyze(facts, spec=spec, baseline_metrics=self.team.baseline_metrics(self.call_seconds))
        found = rank(BUILT_IN, insights, current_config(spec, EMPTY_PLAN), names=[self.team.strategy])
        assert found, [insight.bottleneck for insight in insights]
        return found[0].plan


@pytest.fixture
def trial(plugin: Plugin, orchestrator: Any, scripted: ScriptedModel) -> Any:
    """Return a function that starts the trial of a strategy."""
    folder = plugin.runtime.project / ".victor"
    folder.mkdir(exist_ok=True)
    price = {"input_per_million_usd": 2, "output_per_million_usd": 10}
    (folder / "autotune.yaml").write_text(json.dumps({"prices": {MODEL: price}}))
    plugin.runtime._resolver = plugin.runtime._resolver.reload()

    def start(strategy: str, call_seconds: float = 0.1) -> Trial:
        return Trial(strategy, plugin, orchestrator, scripted, call_seconds)

    return start


def test_there_is_a_team_for_each_strategy(plugin_settings: dict[str, object]) -> None:
    del plugin_settings
    assert [team.strategy for team in FAULTY_TEAMS] == ["formation_selection", "team_sizing", *list(TEAMS)[2:]]
    assert {team.strategy for team in FAULTY_TEAMS} == {strategy.name for strategy in BUILT_IN}


async def test_formation_selection_lets_independent_members_work_at_once(trial: Any) -> None:
    one = trial("formation_selection", call_seconds=0.3)
    plan = await one.suggested(4)
    assert plan == TeamPlan(formation="parallel")
    _, calls_before = await one.run()
    after, calls_after = await one.run(plan=plan)
    assert (max_in_flight(calls_before), max_in_flight(calls_after)) == (1, 3)
    assert len(calls_before) == len(calls_after) == 3
    assert after.success


async def test_team_sizing_leaves_out_who_adds_least(trial: Any) -> None:
    one = trial("team_sizing")
    plan = await one.suggested(4)
    assert plan.members == ("planner", "researcher", "executor", "reviewer_1")
    _, calls_before = await one.run()
    after, calls_after = await one.run(plan=plan)
    assert (len(calls_before), len(calls_after)) == (8, 4)
    assert after.success


async def test_a_tool_budget_ends_running_in_circles_and_leaves_the_others_what_they_need(trial: Any) -> None:
    one = trial("tool_budget", call_seconds=0.01)
    plan = await one.suggested(5, one.team.goals)
    assert plan.tool_budget is not None
    assert 25 <= plan.tool_budget < 46
    before, _ = await one.run(HARD_GOAL)
    after, _ = await one.run(HARD_GOAL, plan)
    usual, _ = await one.run(GOAL, plan)
    assert (before.success, before.tool_calls) == (False, 50)
    assert (after.success, after.tool_calls) == (True, plan.tool_budget)
    assert after.cost_usd is not None
    assert before.cost_usd is not None
    assert after.cost_usd < before.cost_usd
    assert (usual.success, usual.tool_calls) == (True, 25)


async def test_a_deadline_ends_what_hangs_long_before_the_steps_own_timeout(trial: Any) -> None:
    one = trial("timeout_tuning", call_seconds=0.3)
    plan = await one.suggested(7, one.team.goals)
    assert plan.timeout_seconds is not None
    assert plan.timeout_seconds <= 12 * 0.3 * 0.8
    before, _ = await one.run(HARD_GOAL)
    after, _ = await one.run(HARD_GOAL, plan)
    assert (before.timed_out, after.timed_out) == (True, True)
    assert [m.success for m in after.members] == [True, False]


async def test_member_selection_leaves_out_who_never_gets_anywhere(trial: Any) -> None:
    one = trial("member_selection", call_seconds=0.02)
    plan = await one.suggested(17)
    assert plan == TeamPlan(members=["planner", "researcher", "executor"])
    before, calls_before = await one.run()
    after, calls_after = await one.run(plan=plan)
    assert (before.success, before.member_success_share, after.success, after.member_success_share) == (
        False,
        0.75,
        True,
        1.0,
    )
    assert len(calls_after) == 3 < len(calls_before)


async def test_parallelization_keeps_pairs_in_order_and_runs_them_side_by_side(trial: Any) -> None:
    one = trial("parallelization", call_seconds=0.3)
    plan = await one.suggested(5)
    assert set(plan.sub_teams or ()) == {
        ("frontend_coder", "frontend_reviewer"),
        ("backend_coder", "backend_reviewer"),
    }
    _, calls_before = await one.run()
    after, calls_after = await one.run(plan=plan)
    assert (max_in_flight(calls_before), max_in_flight(calls_after)) == (1, 2)
    assert sorted(call.role for call in calls_after) == sorted(call.role for call in calls_before)
    assert after.success
