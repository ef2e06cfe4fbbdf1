"""What real Victor does with the scripted model's answers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from victor_autotune_testing.realvictor import (
    heal,
    in_thread,
    make_step,
    make_team,
    make_workflow,
    outcomes,
    run_team,
    run_workflow,
    until,
)
from victor_autotune_testing.sandbox import Sandbox
from victor_autotune_testing.scripted import (
    ANSWER,
    GONE,
    NOTES,
    Failure,
    Rule,
    Script,
    ScriptedModel,
    ToolTurns,
    max_in_flight,
    overlaps,
    scripts,
)


@pytest.mark.parametrize("role", ["researcher", "planner", "executor", "reviewer", "tester"])
async def test_a_member_succeeds_in_one_call_that_knows_its_role(
    orchestrator: Any, scripted: ScriptedModel, role: str
) -> None:
    result = await run_team(orchestrator, make_team(role))
    assert outcomes(result) == [("m0", True, 0)]
    (call,) = scripted.calls
    assert (call.role, call.turn, call.status, call.tool_calls) == (role, 1, 200, 0)


@pytest.mark.parametrize(("turns", "calls"), [(1, 1), (3, 2), (10, 1), (1, 12)])
async def test_a_member_runs_every_tool_call_and_then_succeeds(
    orchestrator: Any, scripted: ScriptedModel, turns: int, calls: int
) -> None:
    scripted.script = scripts.with_tools(turns, calls)
    result = await run_team(orchestrator, make_team("researcher"))
    assert outcomes(result) == [("m0", True, turns * calls)]
    assert [call.tool_calls for call in scripted.calls] == [calls] * turns + [0]
    assert [call.tool_results for call in scripted.calls] == [0] + [calls] * turns
    assert not any(call.tool_results_refused for call in scripted.calls)


async def test_the_tools_really_read_the_file(sandbox: Sandbox, orchestrator: Any) -> None:
    with ScriptedModel(scripts.with_tools(1), keep_bodies=True) as model:
        before, orchestrator.provider.base_url = orchestrator.provider.base_url, model.base_url
        try:
            await run_team(orchestrator, make_team("researcher"))
        finally:
            orchestrator.provider.base_url = before
        (body,) = [call.body for call in model.calls if call.tool_results]
    assert body is not None
    (result,) = [message["content"] for message in body["messages"] if message["role"] == "tool"]
    assert (sandbox.project / NOTES).read_text().splitlines()[0] in result


async def test_victors_provider_reads_the_stream(orchestrator: Any, scripted: ScriptedModel) -> None:
    from victor.providers.base import Message

    scripted.script = Script([Rule(tools=[ToolTurns(calls=2)])])
    messages = [Message(role="user", content="hello")]
    chunks = [one async for one in orchestrator.provider.stream(messages=messages, model="m")]
    assert [call["arguments"]["offset"] for chunk in chunks for call in chunk.tool_calls or []] == [0, 1]
    messages.append(Message(role="assistant", content="I have read it."))
    chunks = [one async for one in orchestrator.provider.stream(messages=messages, model="m")]
    assert "".join(chunk.content or "" for chunk in chunks) == ANSWER
    assert [chunk.usage["total_tokens"] for chunk in chunks if chunk.usage] == [120]


async def test_ls_is_too_little_for_victor_after_four_turns(orchestrator: Any, scripted: ScriptedModel) -> None:
    ls = ToolTurns(turns=6, tool="ls", arguments={"path": ".", "pattern": "{n}*"})
    scripted.script = Script([Rule(tools=[ls])])
    result = await run_team(orchestrator, make_team("researcher"))
    assert outcomes(result) == [("m0", False, 4)]


async def test_equal_tool_calls_run_once(orchestrator: Any, scripted: ScriptedModel) -> None:
    same = ToolTurns(turns=2, calls=2, arguments={"path": NOTES})
    scripted.script = Script([Rule(tools=[same])])
    assert outcomes(await run_team(orchestrator, make_team("researcher"))) == [("m0", True, 1)]


async def test_tool_calls_beyond_the_budget_are_counted_as_refused(orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = scripts.with_tools(1, 52)
    assert outcomes(await run_team(orchestrator, make_team("researcher"))) == [("m0", True, 50)]
    assert [(call.tool_results, call.tool_results_refused) for call in scripted.calls] == [(0, 0), (52, 2)]


async def test_a_parallel_team_calls_at_the_same_time(orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = scripts.meeting(3)
    result = await run_team(orchestrator, make_team("planner", "researcher", "reviewer"))
    assert result.success
    assert max_in_flight(scripted.calls) == 3
    assert {call.role for call in scripted.calls} == {"planner", "researcher", "reviewer"}


async def test_a_sequential_team_calls_one_after_the_other(orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = scripts.succeed_at_once(0.05)
    await run_team(orchestrator, make_team("planner", "researcher", "reviewer", formation="sequential"))
    calls = scripted.calls
    assert [call.role for call in calls] == ["planner", "researcher", "reviewer"]
    assert not any(overlaps(one, other) for one in calls for other in calls if one is not other)


async def test_a_reflection_ends_when_the_critic_is_satisfied(orchestrator: Any, scripted: ScriptedModel) -> None:
    await run_team(orchestrator, make_team("planner", "reviewer", formation="reflection"))
    assert [call.role for call in scripted.calls] == ["planner", "reviewer"]
    scripted.script = Script()
    scripted.clear()
    await run_team(orchestrator, make_team("planner", "reviewer", formation="reflection"))
    assert [call.role for call in scripted.calls] == ["planner", "reviewer"] * 3


async def test_a_failing_model_fails_its_member_only(orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = scripts.failing(400, "reviewer")
    result = await run_team(orchestrator, make_team("planner", "reviewer"))
    assert outcomes(result) == [("m0", True, 0), ("m1", False, 0)]
    assert [(call.status, call.prompt_tokens) for call in scripted.calls if call.role == "reviewer"] == [(400, 0)] * 4


async def test_http_500_fails_the_member(
    orchestrator: Any, scripted: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(orchestrator.provider, "max_retries", 0)  # they take 6 s
    scripted.script = scripts.failing(500)
    result = await run_team(orchestrator, make_team("planner"))
    assert outcomes(result) == [("m0", False, 0)]
    assert [call.status for call in scripted.calls] == [500] * 4


async def test_victor_tries_again_after_a_passing_failure(orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = Script([Rule(failures=[Failure(503, calls=[1])])])
    assert outcomes(await run_team(orchestrator, make_team("planner"))) == [("m0", True, 0)]
    assert [call.status for call in scripted.calls] == [503, 200]


async def test_victor_refuses_calls_after_five_failures_until_it_is_healed(
    orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = scripts.failing(400)
    for _ in range(2):
        await run_team(orchestrator, make_team("planner"))
    assert len(scripted.calls) == 5
    scripted.script = scripts.succeed_at_once()
    assert outcomes(await run_team(orchestrator, make_team("planner"))) == [("m0", False, 0)]
    assert len(scripted.calls) == 5
    heal(orchestrator)
    assert outcomes(await run_team(orchestrator, make_team("planner"))) == [("m0", True, 0)]


async def test_a_stuck_member_fails_after_three_calls(orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = scripts.stuck()
    assert outcomes(await run_team(orchestrator, make_team("planner"))) == [("m0", False, 0)]
    assert len(scripted.calls) == 3


async def test_a_hanging_call_ends_when_the_run_is_cancelled(orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = scripts.hanging("reviewer")
    run = asyncio.create_task(run_team(orchestrator, make_team("planner", "reviewer")))
    await until(lambda: len(scripted.calls) == 1 and scripted.in_flight == 1)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await until(lambda: scripted.in_flight == 0)
    assert [(call.role, call.status) for call in scripted.calls] == [("planner", 200), ("reviewer", GONE)]


@pytest.mark.parametrize("engine", ["executor", "compiler"])
async def test_workflows_run_their_team_steps(orchestrator: Any, scripted: ScriptedModel, engine: str) -> None:
    workflow = make_workflow(make_step("planner", name="first"), make_step("reviewer", "tester", name="second"))
    await run_workflow(orchestrator, workflow, engine)
    # Victor's step executor knows no tester, and makes it an executor.
    first, *second = [call.role for call in scripted.calls]
    assert (first, sorted(second)) == ("planner", ["executor", "reviewer"])


def test_one_orchestrator_serves_several_loops_and_threads(orchestrator: Any, scripted: ScriptedModel) -> None:
    scripted.script = scripts.with_tools(1)
    for _ in range(2):
        result = in_thread(lambda: run_team(orchestrator, make_team("planner", "reviewer")))
        assert outcomes(result) == [("m0", True, 1), ("m1", True, 1)]
