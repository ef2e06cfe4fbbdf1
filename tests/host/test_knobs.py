"""Every knob of a plan changes the real run: which calls were made, how many, in which overlap, how long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from victor_autotune_plugin._host.workflows import read_workflows
from victor_autotune_plugin._model.plan import FORMATIONS, TeamPlan
from victor_autotune_testing.realvictor import (
    GOAL,
    make_members,
    make_step,
    make_team,
    make_workflow,
    outcomes,
    run_team,
    run_workflow,
    workflow_yaml,
)
from victor_autotune_testing.scripted import Rule, Script, ScriptedModel, ToolTurns, max_in_flight, scripts

from .conftest import Plugin, member

LEAD = {"role": "planner", "is_manager": True}
TRIO = (LEAD, "researcher", "reviewer")

# What each formation looks like from the model: calls by role in order of arrival, and how many were in flight.
SHAPES: dict[str, tuple[list[str], int]] = {
    "sequential": (["planner", "researcher", "reviewer"], 1),
    "pipeline": (["planner", "researcher", "reviewer"], 1),
    "parallel": (["planner", "researcher", "reviewer"], 3),
    "consensus": (["planner", "researcher", "reviewer"], 3),
    "hierarchical": (["planner", "researcher", "reviewer"], 2),
    "reflection": (["planner", "researcher"], 1),
}


def script_for(formation: str) -> Script:
    """Return a script under which members that a formation runs at the same time wait for one another."""
    roles, most = SHAPES[formation]
    return scripts.succeed_at_once(0.1) if most == 1 else scripts.meeting(most, roles=roles[-most:])


def slow(scripted: ScriptedModel, seconds: float) -> None:
    scripted.script = scripts.succeed_at_once(latency=seconds)


async def run_config(orchestrator: Any, formation: str) -> None:
    await run_team(orchestrator, make_team(*TRIO, formation=formation))


async def run_step(orchestrator: Any, formation: str) -> None:
    await run_workflow(orchestrator, make_workflow(make_step(*TRIO, formation=formation)))


async def run_added_members(orchestrator: Any, formation: str) -> None:
    from victor.teams import TeamFormation, UnifiedTeamCoordinator

    coordinator = UnifiedTeamCoordinator(orchestrator)
    for one in coordinator._adapt_team_members(make_members(*TRIO)):
        coordinator.add_member(one)
    await coordinator.set_formation(TeamFormation(formation)).execute_task(GOAL, {})


@pytest.mark.parametrize("run", [run_config, run_step, run_added_members])
@pytest.mark.parametrize("formation", FORMATIONS)
async def test_a_planned_formation_is_the_one_that_runs(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, formation: str, run: Any
) -> None:
    scripted.script = script_for(formation)
    plugin.plan = TeamPlan(formation=formation)
    await run(orchestrator, "parallel" if formation == "sequential" else "sequential")
    roles, most = SHAPES[formation]
    assert sorted(call.role for call in scripted.calls) == sorted(roles)
    assert max_in_flight(scripted.calls) == most
    if most == 1:
        assert [call.role for call in scripted.calls] == roles
    assert scripted.calls[0].role == "planner" or formation in ("parallel", "consensus")
    assert plugin.run.plan_used.formation == formation
    assert plugin.run.success


@pytest.mark.parametrize("formation", ["sequential", "parallel"])
async def test_members_begin_one_after_another_or_together(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, formation: str
) -> None:
    slow(scripted, 0.3)
    await run_config(orchestrator, formation)
    begins = [one.begun_after for one in plugin.run.members if one.begun_after is not None]
    ends = [begin + one.duration_seconds for begin, one in zip(begins, plugin.run.members, strict=True)]
    if formation == "sequential":
        assert all(end <= later for end, later in zip(ends, begins[1:], strict=False))
    else:
        assert max(begins) < min(ends)
    assert max(ends) <= plugin.run.duration_seconds + 0.01


async def test_a_hint_in_the_context_does_not_overrule_the_plan(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = script_for("parallel")
    plugin.plan = TeamPlan(formation="parallel")
    team = make_team(*TRIO, formation="parallel", shared_context={"formation_hint": "sequential"})
    await run_team(orchestrator, team)
    assert plugin.run.spec.formation == "parallel"
    assert plugin.run.owners == {}
    assert max_in_flight(scripted.calls) == 3
    assert team.shared_context == {"formation_hint": "sequential"}


@pytest.mark.parametrize("run", [run_config, run_step, run_added_members])
async def test_only_the_planned_members_run_in_the_planned_order(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, run: Any
) -> None:
    plugin.plan = TeamPlan(members=["m2", "m0"])
    await run(orchestrator, "sequential")
    assert [call.role for call in scripted.calls] == ["reviewer", "planner"]
    assert [m.id for m in plugin.run.members] == ["m2", "m0"]
    assert plugin.run.member_success_share == 1.0


async def test_the_callers_own_objects_stay_as_they_were(plugin: Plugin, orchestrator: Any) -> None:
    from victor.teams import TeamFormation, UnifiedTeamCoordinator

    plugin.plan = TeamPlan(formation="parallel", members=["m1"], tool_budget=3, timeout_seconds=30)
    team = make_team(*TRIO, formation="sequential")
    before = team.to_dict()
    await run_team(orchestrator, team)
    assert team.to_dict() == before
    coordinator = UnifiedTeamCoordinator(orchestrator)
    members = coordinator._adapt_team_members(make_members(*TRIO))
    for one in members:
        coordinator.add_member(one)
    await coordinator.execute_task(GOAL, {})
    assert coordinator.members == members
    assert coordinator.formation == TeamFormation.SEQUENTIAL
    assert coordinator.shared_memory["effective_formation"] == "sequential"


@pytest.mark.parametrize("budget", [0, 1, 2, 3])
@pytest.mark.parametrize("one_turn", [True, False])
async def test_a_member_makes_no_more_tool_calls_than_its_budget_and_is_told_so(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, budget: int, one_turn: bool
) -> None:
    scripted.script = scripts.with_tools(1, 5) if one_turn else scripts.with_tools(5, 1)
    plugin.plan = TeamPlan(member_budgets={"m0": budget})
    result = await run_team(orchestrator, make_team("researcher", "planner"))
    assert {name: calls for name, _, calls in outcomes(result)} == {"m0": budget, "m1": 5}
    limited, free = member(plugin.run, "m0"), member(plugin.run, "m1")
    assert (limited.tool_calls, free.tool_calls, free.tool_calls_refused) == (budget, 5, 0)
    assert limited.tool_calls_refused >= 1
    refused = [call.tool_results_refused for call in scripted.calls if call.role == "researcher"]
    assert sum(refused) >= 1
    assert not any(call.tool_results_refused for call in scripted.calls if call.role == "planner")


@pytest.mark.parametrize("formation", ["sequential", "parallel"])
async def test_a_team_makes_no_more_tool_calls_than_its_budget(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, formation: str
) -> None:
    scripted.script = scripts.with_tools(1, 4)
    plugin.plan = TeamPlan(tool_budget=6)
    result = await run_team(orchestrator, make_team("researcher", "planner", "reviewer", formation=formation))
    assert result.total_tool_calls == 6
    assert plugin.run.tool_calls == 6
    assert sum(m.tool_calls_refused for m in plugin.run.members) == 6


async def test_a_budget_covers_all_rounds_of_a_member(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    # A critic that is never satisfied: three rounds, in each of which both members call three tools.
    scripted.script = Script([Rule("unsatisfied", tools=[ToolTurns(1, 3)])])
    plugin.plan = TeamPlan(formation="reflection", member_budgets={"m0": 4})
    await run_team(orchestrator, make_team("researcher", "reviewer", formation="sequential"))
    assert member(plugin.run, "m0").tool_calls == 4
    assert member(plugin.run, "m1").tool_calls > 4


async def test_a_budget_never_gives_a_member_more_than_victor_would(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = scripts.with_tools(5, 11)
    await run_team(orchestrator, make_team("researcher"))
    without = plugin.run.tool_calls
    plugin.plan = TeamPlan(tool_budget=1000)
    await run_team(orchestrator, make_team("researcher"))
    assert plugin.runs[-1].tool_calls == without


@pytest.mark.parametrize("run", [run_config, run_step, run_added_members])
async def test_a_deadline_ends_the_team_in_time(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, deadline_passes: Any, run: Any
) -> None:
    scripted.script = scripts.by_role({"researcher": 600, "reviewer": 600})
    asked = deadline_passes(lambda meter: meter.members["m0"].finished and scripted.in_flight == 2)
    plugin.plan = TeamPlan(timeout_seconds=2.5)
    await run(orchestrator, "parallel")
    assert asked == [2.5]
    assert (plugin.run.success, plugin.run.timed_out, plugin.run.error_class) == (False, True, "TimeoutError")
    assert [(m.id, m.finished, m.success) for m in plugin.run.members] == [
        ("m0", True, True),
        ("m1", False, False),
        ("m2", False, False),
    ]
    assert plugin.run.member_success_share == pytest.approx(1 / 3)


async def test_members_that_finished_before_the_deadline_keep_their_results(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, deadline_passes: Any
) -> None:
    scripted.script = scripts.by_role({"researcher": 600})
    deadline_passes(lambda meter: meter.members["m0"].finished and scripted.in_flight == 1)
    plugin.plan = TeamPlan(timeout_seconds=2.5)
    result = await run_team(orchestrator, make_team("planner", "researcher", formation="parallel"))
    assert not result.success
    assert result.member_results["m0"].success
    assert result.member_results["m0"].output == scripts.SATISFIED_ANSWER
    assert result.final_output == scripts.SATISFIED_ANSWER
    assert not result.member_results["m1"].success
    assert "did not finish within 2.5 s" in str(result.member_results["m1"].error)


@pytest.mark.parametrize("engine", ["executor", "compiler"])
async def test_a_step_that_met_its_planned_deadline_is_reported_as_failed(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, engine: str
) -> None:
    slow(scripted, 30)
    plugin.plan = TeamPlan(timeout_seconds=0.5)
    workflow = make_workflow(make_step("planner", name="step", timeout_seconds=20))
    result = await run_workflow(orchestrator, workflow, engine)
    state = result.node_results if engine == "executor" else dict(result.state.items())["_node_results"]
    assert state["step"].success is False


async def test_a_planned_deadline_may_be_later_than_the_steps_own(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    slow(scripted, 1.5)
    plugin.plan = TeamPlan(timeout_seconds=120)
    workflow = make_workflow(make_step("planner", name="step", timeout_seconds=0.5))
    result = await run_workflow(orchestrator, workflow)
    assert result.node_results["step"].success is True
    assert plugin.run.success


@pytest.mark.parametrize("plugin_settings", [{"mode": "auto"}, {"mode": "observe"}], ids=["auto", "observe"])
async def test_a_steps_own_timeout_does_what_victor_does_and_is_recorded(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, plugin_settings: dict[str, object]
) -> None:
    from victor_autotune_plugin._host import seams

    slow(scripted, 30)
    workflow = make_workflow(make_step("planner", name="step", timeout_seconds=0.5))
    with_plugin = await run_workflow(orchestrator, workflow)
    seams.uninstall()
    without = await run_workflow(orchestrator, workflow)
    seams.install()
    assert comparable(with_plugin) == comparable(without)
    assert (plugin.run.success, plugin.run.timed_out, plugin.run.cancelled) == (False, True, False)
    assert plugin.run.spec.timeout_seconds == 0.5


def comparable(result: Any) -> Any:
    results = {name: (one.success, one.error) for name, one in result.node_results.items()}
    state = {key: str(value)[:30] for key, value in result.state.items()}
    return result.success, str(result.error)[:30], results, state


async def test_a_plan_that_cannot_run_leaves_the_team_as_configured(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    from victor_autotune_plugin import failsafe

    for plan in (
        TeamPlan(members=["nobody"]),
        TeamPlan(formation="hierarchical", members=["m1", "m2"]),
        TeamPlan(formation="ring"),
        TeamPlan(timeout_seconds=-1),
    ):
        plugin.plan = plan
        result = await run_team(orchestrator, make_team(*TRIO, formation="sequential"))
        assert len(outcomes(result)) == 3
        assert plugin.runs[-1].plan_asked.is_empty
    assert [fault.where for fault in failsafe.seen()] == ["translation of a plan"]
    failsafe.forget()


async def test_a_run_that_goes_on_with_an_earlier_one_keeps_its_plan(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    from victor.framework.graph_checkpoint import MemoryCheckpointer
    from victor.teams import UnifiedTeamCoordinator

    plugin.plan = TeamPlan(formation="parallel")
    team = make_team(*TRIO, formation="sequential", shared_context={"thread_id": "t1"})
    await UnifiedTeamCoordinator(orchestrator, checkpointer=MemoryCheckpointer()).execute_team_config(team)
    assert plugin.run.plan_used.formation == "sequential"


async def test_a_reflection_in_a_workflow_file_runs_once_the_plan_says_so(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, tmp_path: Any
) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(workflow_yaml("planner", "reviewer", formation="reflection", timeout_seconds=60))
    workflow = read_workflows(file).workflow(None)
    await run_workflow(orchestrator, workflow)
    plugin.plan = TeamPlan(formation="reflection")
    await run_workflow(orchestrator, workflow)
    assert [run.spec.formation for run in plugin.runs] == ["sequential", "sequential"]
    assert [run.plan_used.formation for run in plugin.runs] == ["sequential", "reflection"]


async def test_several_teams_at_once_have_deadlines_of_their_own(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    slow(scripted, 0.2)
    plugin.plan = TeamPlan(timeout_seconds=60)
    await asyncio.gather(*(run_team(orchestrator, make_team("planner", name=f"t{n}")) for n in range(4)))
    assert [run.success for run in plugin.runs] == [True] * 4
