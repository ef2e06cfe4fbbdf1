"""What is kept of a run is what really happened, and neither prompt nor output."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin.hookspecs import hookimpl
from victor_autotune_testing.realvictor import make_members, make_team, run_team
from victor_autotune_testing.scripted import Constant, Rule, Script, ScriptedModel, ToolTurns, scripts

from .conftest import Plugin, member

ROLES = {"researcher": (0.4, 120, 7, 2), "planner": (0.2, 900, 80, 0), "reviewer": (0.1, 50, 31, 1)}


def script() -> Script:
    """Return a script in which each role has its own latency, tokens and tool calls."""
    return Script(
        [
            Rule(
                role,
                role=role,
                latency=seconds,
                prompt_tokens=Constant(prompt),
                completion_tokens=Constant(completion),
                tools=[ToolTurns(1, tools)] if tools else [],
                answer=scripts.SATISFIED_ANSWER,
            )
            for role, (seconds, prompt, completion, tools) in ROLES.items()
        ]
    )


@pytest.mark.parametrize("formation", ["sequential", "parallel", "consensus"])
async def test_each_members_time_tokens_and_calls_are_its_own(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, formation: str
) -> None:
    scripted.script = script()
    await run_team(orchestrator, make_team(*ROLES, formation=formation))
    run = plugin.run
    for one, (role, (seconds, prompt, completion, tools)) in zip(run.members, ROLES.items(), strict=True):
        calls = 2 if tools else 1
        assert (one.role, one.success, one.finished) == (role, True, True)
        assert (one.llm_calls, one.tool_calls) == (calls, tools)
        assert (one.input_tokens, one.output_tokens) == (calls * prompt, calls * completion)
        assert seconds * calls <= one.duration_seconds <= run.duration_seconds
        assert one.models == ("scripted",)
    total = sum(one.duration_seconds for one in run.members)
    assert run.duration_seconds >= (
        total if formation == "sequential" else max(m.duration_seconds for m in run.members)
    )
    assert (run.llm_calls, run.tool_calls) == (5, 3)
    (use,) = run.tokens
    assert (use.input_tokens, use.output_tokens) == (run.input_tokens, run.output_tokens)
    assert run.input_tokens == sum(call.prompt_tokens for call in scripted.calls)
    assert run.member_success_share == 1.0
    assert run.cost_usd is None


async def test_the_score_is_the_share_of_members_that_succeeded(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = scripts.failing(400, "planner")
    await run_team(orchestrator, make_team("researcher", "planner", "reviewer", "executor", formation="sequential"))
    run = plugin.run
    assert (run.success, run.member_success_share) == (False, 0.75)
    failed = member(run, "m1")
    assert (failed.success, failed.finished) == (False, True)
    assert failed.error_class is not None
    assert failed.llm_calls == sum(call.role == "planner" for call in scripted.calls) or failed.llm_calls >= 1
    assert run.error_class == failed.error_class


async def test_a_stage_that_a_pipeline_never_reached_did_not_succeed(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = scripts.failing(400, "researcher")
    await run_team(orchestrator, make_team("researcher", "planner", formation="pipeline"))
    assert [(m.id, m.success, m.finished) for m in plugin.run.members] == [("m0", False, True), ("m1", False, False)]
    assert plugin.run.member_success_share == 0.0


async def test_members_that_are_no_sub_agents_are_measured_too(plugin: Plugin, orchestrator: Any) -> None:
    from victor.teams import UnifiedTeamCoordinator

    class Own:
        def __init__(self, name: str, answer: Any) -> None:
            self.id, self.role, self.answer = name, None, answer

        async def execute_task(self, task: str, context: dict[str, Any]) -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

        async def receive_message(self, message: Any) -> None:
            return None

    members = [Own("m0", "done"), Own("m1", {"success": False, "error": "no"}), Own("m2", KeyError("x"))]
    config = make_team("researcher", "planner", "reviewer", formation="parallel")
    await UnifiedTeamCoordinator(lightweight_mode=True).execute_team_config(config, members=members)
    assert [(m.id, m.success, m.error_class) for m in plugin.run.members] == [
        ("m0", True, None),
        ("m1", False, "MemberError"),
        ("m2", False, "KeyError"),
    ]


async def test_a_streamed_answer_counts_for_the_member_that_reads_it(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    from victor.providers.base import Message
    from victor.teams import UnifiedTeamCoordinator

    class Streaming:
        role = None

        def __init__(self, name: str, calls: int) -> None:
            self.id, self.calls = name, calls

        async def execute_task(self, task: str, context: dict[str, Any]) -> str:
            for _ in range(self.calls):
                async for _chunk in orchestrator.provider.stream(
                    [Message(role="user", content=task)], model="scripted"
                ):
                    pass
            return "done"

        async def receive_message(self, message: Any) -> None:
            return None

    config = make_team("researcher", "planner", formation="parallel")
    members = [Streaming("m0", 1), Streaming("m1", 3)]
    await UnifiedTeamCoordinator(lightweight_mode=True).execute_team_config(config, members=members)
    assert len(scripted.calls) == 4
    assert [(m.llm_calls, m.models) for m in plugin.run.members] == [(1, ("scripted",)), (3, ("scripted",))]
    assert [m.input_tokens for m in plugin.run.members] == [100, 300]


async def test_a_price_table_gives_the_cost(plugin: Plugin, orchestrator: Any, scripted: ScriptedModel) -> None:
    folder = plugin.runtime.project / ".victor"
    folder.mkdir(exist_ok=True)
    price = {"input_per_million_usd": 2, "output_per_million_usd": 10}
    (folder / "autotune.yaml").write_text(json.dumps({"prices": {"scripted": price}}))
    plugin.runtime._resolver = plugin.runtime._resolver.reload()
    scripted.script = script()
    await run_team(orchestrator, make_team(*ROLES))
    run = plugin.run
    assert run.cost_usd == pytest.approx(run.input_tokens * 2e-6 + run.output_tokens * 1e-5)


async def test_a_hook_scores_and_prices_a_run(plugin: Plugin, orchestrator: Any) -> None:
    class Own:
        @hookimpl
        def score_team_run(self, run: TeamRun) -> float:
            return 0.3 if run.success else 0.0

        @hookimpl
        def price_team_run(self) -> float:
            return 1.25

    plugin.runtime.hooks.register(Own(), "own")
    await run_team(orchestrator, make_team("researcher"))
    (stored,) = plugin.stored
    (score,) = plugin.runtime.store().scores_of(stored.run_id)
    assert (score.name, score.source, score.value, stored.cost_usd) == ("own", "hook", 0.3, 1.25)


async def test_generated_member_ids_are_told_apart_and_the_same_in_every_run(plugin: Plugin, orchestrator: Any) -> None:
    from victor.framework.teams import TeamMemberSpec

    for _ in range(2):
        team = make_team("researcher")
        team.members = [TeamMemberSpec(role="executor", goal="x").to_team_member(n) for n in range(2)]
        result = await run_team(orchestrator, team)
        assert set(result.member_results) == {m.id for m in team.members}
    assert [run.spec.member_ids for run in plugin.runs] == [("executor", "executor-2")] * 2
    assert all(m.success for run in plugin.runs for m in run.members)


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


async def test_neither_prompt_nor_output_is_stored(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "canary-7f3a"
    scripted.script = Script([Rule("answer", answer=f"{scripts.SATISFIED_ANSWER} {secret}-output")])
    team = make_team({"role": "researcher", "goal": f"{secret}-goal"}, goal=f"review the code {secret}-prompt")
    team.shared_context = {"ticket": f"{secret}-context"}
    await run_team(orchestrator, team)
    plugin.runtime.close()
    assert files_below(plugin.runtime.project)
    assert not [file for file, content in files_below(plugin.runtime.project).items() if secret.encode() in content]
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("victor_autotune")]
    assert not any(secret in message for message in ours)


async def test_a_member_cannot_be_mistaken_for_another_with_the_same_role(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = scripts.with_tools(1, 2, latency=0.05)
    team = make_team("researcher")
    team.members = make_members(*["researcher"] * 4)
    await run_team(orchestrator, team)
    assert [(m.llm_calls, m.tool_calls, m.input_tokens) for m in plugin.run.members] == [(2, 2, 200)] * 4


@pytest.mark.parametrize("plugin_settings", [{"mode": "auto", "task_key": "ticket"}], ids=["keyed"])
async def test_a_task_key_is_kept_as_a_digest(plugin: Plugin, orchestrator: Any) -> None:
    for ticket in ("A-1", "A-2", "A-1"):
        await run_team(orchestrator, make_team("researcher", shared_context={"ticket": ticket}))
    first, second, again = (run.task_key for run in plugin.runs)
    assert first == again != second
    assert first is not None
    assert len(first) == 16
    assert "A-1" not in first


@pytest.mark.parametrize("formation", ["sequential", "parallel"])
async def test_each_members_time_is_its_models_its_tools_and_the_rest(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, formation: str
) -> None:
    scripted.script = script()
    await run_team(orchestrator, make_team(*ROLES, formation=formation))
    for one in plugin.stored[0].members:
        calls = [call for call in scripted.calls if call.role == one.role]
        assert one.model_seconds is not None
        assert one.tool_seconds is not None
        # The server's clock starts after the member's, and stops before it.
        assert one.model_seconds >= 0.9 * ROLES[one.role][0] * len(calls)
        assert one.model_seconds + one.tool_seconds <= one.duration_seconds
        assert (one.tool_seconds > 0) == (one.tool_calls > 0)


async def test_members_that_take_turns_have_one_call_in_flight(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = script()
    await run_team(orchestrator, make_team(*ROLES, formation="sequential"))
    assert [one.in_flight for one in plugin.run.members] == pytest.approx([1.0] * len(ROLES))


async def test_members_side_by_side_have_as_many_calls_in_flight_as_there_are_members(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    roles = ["researcher", "planner", "reviewer"]
    # Everybody's call lasts until all have come.
    scripted.script = Script([Rule("all", latency=60, together=3, answer=scripts.SATISFIED_ANSWER)])
    await run_team(orchestrator, make_team(*roles, formation="parallel"))
    calls = [one.in_flight for one in plugin.run.members]
    assert all(1.0 < mean <= len(roles) + 0.01 for mean in calls)
    # Who comes last finds all others there.
    assert max(calls) > len(roles) - 1
