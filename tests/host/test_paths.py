"""Every way in Victor to run a team is intercepted, once, with the right workflow and team."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from victor_autotune_testing.realvictor import (
    GOAL,
    in_thread,
    make_members,
    make_step,
    make_team,
    make_workflow,
    run_team,
    run_workflow,
)
from victor_autotune_testing.scripted import ScriptedModel, scripts

from .conftest import Plugin

Path = Callable[[Any], Awaitable[Any]]
PATHS: dict[str, tuple[Path, tuple[str, str, str]]] = {}


def path(workflow: str, team: str, entry: str) -> Callable[[Path], Path]:
    def add(function: Path) -> Path:
        PATHS[function.__name__] = function, (workflow, team, entry)
        return function

    return add


def two_members(**fields: Any) -> Any:
    return make_team("researcher", "planner", formation="sequential", name="my team", **fields)


def flow() -> Any:
    return make_workflow(make_step("researcher", "planner", name="my_step"), name="my_flow")


def coordinator(orchestrator: Any) -> Any:
    from victor.teams import TeamFormation, UnifiedTeamCoordinator

    made = UnifiedTeamCoordinator(orchestrator)
    for member in made._adapt_team_members(make_members("researcher", "planner")):
        made.add_member(member)
    return made.set_formation(TeamFormation.SEQUENTIAL)


def with_team_specs(orchestrator: Any) -> Any:
    """Return the orchestrator with one configured team, as a vertical would give it."""
    from victor.teams import TeamFormation

    spec = SimpleNamespace(
        name="Display name",
        formation=TeamFormation.SEQUENTIAL,
        members=two_specs(),
        total_tool_budget=20,
        max_iterations=10,
    )

    class Configured:
        def get_team_specs(self) -> dict[str, Any]:
            return {"my_configured_team": spec}

        def __getattr__(self, name: str) -> Any:
            return getattr(orchestrator, name)

    return Configured()


def two_specs() -> list[Any]:
    from victor.framework.teams import TeamMemberSpec

    return [TeamMemberSpec(role="researcher", goal="a"), TeamMemberSpec(role="planner", goal="b")]


@path("my_flow", "my_step", "step")
async def step_under_executor(orchestrator: Any) -> Any:
    return await run_workflow(orchestrator, flow(), "executor")


@path("my_flow", "my_step", "step")
async def step_under_compiler(orchestrator: Any) -> Any:
    return await run_workflow(orchestrator, flow(), "compiler")


@path("my_flow", "my_step", "step")
async def step_under_streaming_executor(orchestrator: Any) -> Any:
    from victor.workflows.unified_executor import StateGraphExecutor

    return [step async for step in StateGraphExecutor(orchestrator=orchestrator).stream(flow(), {})]


@path("adhoc", "my team", "config")
async def agent_team_run(orchestrator: Any) -> Any:
    return await (await agent_team(orchestrator)).run()


@path("adhoc", "my team", "config")
async def agent_team_stream(orchestrator: Any) -> Any:
    return [event async for event in (await agent_team(orchestrator)).stream()]


async def agent_team(orchestrator: Any) -> Any:
    from victor.framework.teams import AgentTeam

    return await AgentTeam.create(orchestrator, name="my team", goal=GOAL, members=two_specs())


@path("adhoc", "my_configured_team", "step")
async def configured_team(orchestrator: Any) -> Any:
    from victor.framework import team_runtime

    return await team_runtime.run_configured_team(
        with_team_specs(orchestrator), goal=GOAL, task_type="x", complexity="high"
    )


@path("adhoc", "my_configured_team", "step")
async def named_team(orchestrator: Any) -> Any:
    from victor.framework import team_runtime

    return await team_runtime.run_named_team(with_team_specs(orchestrator), team_name="my_configured_team", goal=GOAL)


@path("adhoc", "my_node", "task")
async def graph_node(orchestrator: Any) -> Any:
    from victor.framework.graph import END, StateGraph

    graph: Any = StateGraph(dict)
    graph.add_node("my_node", coordinator(orchestrator))
    graph.set_entry_point("my_node")
    graph.add_edge("my_node", END)
    return await graph.compile().invoke({"task": GOAL})


@path("adhoc", "my team", "task")
async def execute_task(orchestrator: Any) -> Any:
    return await coordinator(orchestrator).execute_task(GOAL, {"team_name": "my team"})


@path("adhoc", "my team", "config")
async def execute_team(orchestrator: Any) -> Any:
    from victor.teams import UnifiedTeamCoordinator

    return await UnifiedTeamCoordinator(orchestrator).execute_team(two_members())


@path("adhoc", "my team", "config")
async def execute_team_config(orchestrator: Any) -> Any:
    return await run_team(orchestrator, two_members())


@path("adhoc", "my team", "config")
async def legacy_coordinator(orchestrator: Any) -> Any:
    from victor.agent.teams.coordinator import TeamCoordinator

    return await TeamCoordinator(orchestrator).execute_team(two_members())


@pytest.mark.parametrize("name", PATHS)
async def test_each_path_makes_exactly_one_record(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, name: str
) -> None:
    run, (workflow, team, entry) = PATHS[name]
    await run(orchestrator)
    assert [(r.spec.workflow, r.spec.name, r.entry) for r in plugin.stored] == [(workflow, team, entry)]
    record = plugin.run
    assert record == plugin.stored_as_ended[0]
    assert record.success
    assert [m.role for m in record.members] == ["researcher", "planner"]
    assert [m.llm_calls for m in record.members] == [1, 1]
    assert record.llm_calls == len(scripted.calls)
    assert record.parent_id is None


@pytest.mark.parametrize("name", PATHS)
async def test_a_team_is_the_same_team_in_its_next_run(plugin: Plugin, orchestrator: Any, name: str) -> None:
    for _ in range(2):
        await PATHS[name][0](orchestrator)
    first, second = plugin.stored
    assert first.spec.fingerprint() == second.spec.fingerprint()
    assert first.spec.member_ids == second.spec.member_ids


async def test_a_team_without_a_name_is_known_by_its_members(plugin: Plugin, orchestrator: Any) -> None:
    from victor.agent.teams.coordinator import TeamCoordinator

    for _ in range(2):
        await coordinator(orchestrator).execute_task(GOAL, {})
        legacy = TeamCoordinator(orchestrator)
        for member in coordinator(orchestrator).members:
            legacy.add_member(member)
        await legacy.execute_task(GOAL, {})
    assert len({run.spec.team_id for run in plugin.stored}) == 1
    assert len(plugin.stored) == 4


async def test_a_team_inside_a_member_has_the_outer_run_as_parent(plugin: Plugin, orchestrator: Any) -> None:
    from victor.teams import TeamParticipant, UnifiedTeamCoordinator

    async def run_inner_team(task: str, context: dict[str, Any]) -> Any:
        result = await run_team(orchestrator, make_team("researcher", name="inner"))
        return {"success": result.success, "output": result.final_output}

    (lead,) = make_members({"id": "lead", "role": "planner"})
    outer = make_team({"id": "lead", "role": "planner"}, name="outer")
    participant = TeamParticipant(member=lead, executor=run_inner_team)
    await UnifiedTeamCoordinator(orchestrator).execute_team_config(outer, members=[participant])
    inner_run, outer_run = plugin.runs
    assert (inner_run.spec.name, outer_run.spec.name) == ("inner", "outer")
    assert inner_run.parent_id == outer_run.run_id
    assert outer_run.parent_id is None
    assert (inner_run.llm_calls, outer_run.llm_calls) == (1, 1)
    assert outer_run.input_tokens == inner_run.input_tokens == 100


async def test_a_step_inside_a_workflow_names_only_its_own_team(plugin: Plugin, orchestrator: Any) -> None:
    await step_under_executor(orchestrator)
    await execute_team_config(orchestrator)
    assert [(r.spec.workflow, r.spec.name) for r in plugin.runs] == [("my_flow", "my_step"), ("adhoc", "my team")]


async def test_many_teams_at_once_are_told_apart(plugin: Plugin, orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = scripts.with_tools(1, 2, latency=0.05)
    sizes = [1, 2, 3, 1, 2, 3]
    await asyncio.gather(
        *(run_team(orchestrator, make_team(*["researcher"] * n, name=f"team {i}")) for i, n in enumerate(sizes))
    )
    runs = {run.spec.name: run for run in plugin.stored}
    assert len(runs) == len(plugin.stored) == len(sizes)
    for i, size in enumerate(sizes):
        run = runs[f"team {i}"]
        assert [(m.llm_calls, m.tool_calls, m.input_tokens) for m in run.members] == [(2, 2, 200)] * size
        assert run.parent_id is None


async def test_threads_and_event_loops_of_their_own_are_told_apart(plugin: Plugin, orchestrator: Any) -> None:
    def one(name: str) -> None:
        in_thread(lambda: run_team(orchestrator, make_team("researcher", "planner", name=name)))

    await asyncio.gather(*(asyncio.to_thread(one, f"team {n}") for n in range(4)))
    assert sorted(run.spec.name for run in plugin.stored) == [f"team {n}" for n in range(4)]
    assert {run.llm_calls for run in plugin.stored} == {2}


async def test_an_exception_passes_through_and_is_recorded(plugin: Plugin) -> None:
    with pytest.raises(ValueError, match="requires an orchestrator"):
        await run_team(None, two_members())
    run = plugin.run
    assert (run.success, run.error_class, run.timed_out, run.cancelled) == (False, "ValueError", False, False)
    assert plugin.stored_as_ended == [run]


async def test_a_cancellation_passes_through_and_is_recorded(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = scripts.succeed_at_once(latency=30)
    task = asyncio.create_task(run_team(orchestrator, two_members()))
    while not scripted.in_flight:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    run = plugin.run
    assert (run.success, run.error_class, run.cancelled) == (False, "CancelledError", True)
    assert [m.finished for m in run.members] == [False, False]
    assert plugin.stored_as_ended == [run]
