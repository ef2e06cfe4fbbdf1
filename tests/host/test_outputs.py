"""What a team delivered reaches whoever scores it, on real Victor, and is kept by nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from victor_autotune_plugin._host import interception
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_testing import providers
from victor_autotune_testing.realvictor import (
    GOAL,
    make_members,
    make_step,
    make_team,
    make_workflow,
    run_team,
    run_workflow,
)
from victor_autotune_testing.scripted import Rule, Script, ScriptedModel, scripts

from .conftest import Plugin

TRIO = ({"role": "planner", "is_manager": True}, "researcher", "reviewer")
ROLES = ("planner", "researcher", "reviewer")
ANSWERS = {role: f"{scripts.SATISFIED_ANSWER} It was the {role} who said so." for role in ROLES}
SCRIPT = Script([Rule(role, role=role, answer=answer) for role, answer in ANSWERS.items()])
WORK = {f"m{place}": answer for place, answer in enumerate(ANSWERS.values())}

Outputs = list[tuple[TeamRun, str, dict[str, str]]]


@pytest.fixture
def outputs(plugin: Plugin, scripted: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> Outputs:
    """What was handed over to be scored; scorers are set."""
    found: Outputs = []
    monkeypatch.setattr(plugin.runtime.loop, "wants_outputs", lambda spec, settings: True)
    monkeypatch.setattr(
        plugin.runtime.loop, "to_score", lambda run, text, members: found.append((run, text, dict(members)))
    )
    scripted.script = SCRIPT
    return found


@pytest.mark.parametrize("formation", ["sequential", "parallel", "pipeline", "hierarchical"])
async def test_the_final_output_and_each_members_are_handed_over(
    plugin: Plugin, orchestrator: Any, outputs: Outputs, formation: str
) -> None:
    result = await run_team(orchestrator, make_team(*TRIO, formation=formation))
    ((run, text, members),) = outputs
    assert text == result.final_output
    assert ANSWERS["reviewer"] in text
    assert (ANSWERS["researcher"] in text) == (formation != "pipeline")  # whose last stage alone delivers
    assert (run.run_id, members) == (plugin.run.run_id, WORK)


async def test_a_step_and_a_coordinator_used_directly_hand_over_what_they_deliver(
    plugin: Plugin, orchestrator: Any, outputs: Outputs
) -> None:
    from victor.teams import UnifiedTeamCoordinator

    await run_workflow(orchestrator, make_workflow(make_step("planner", "researcher", name="step"), name="flow"))
    coordinator = UnifiedTeamCoordinator(orchestrator)
    for member in coordinator._adapt_team_members(make_members("planner", "researcher")):
        coordinator.add_member(member)
    result = await coordinator.execute_task(GOAL, {})
    assert [run.entry for run, *_ in outputs] == ["step", "task"]
    assert [text for _, text, _ in outputs] == [result["final_output"]] * 2
    assert [sorted(members) for *_, members in outputs] == [["m0", "m1"]] * 2


async def test_a_deadlines_partial_result_is_what_was_delivered(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, outputs: Outputs, deadline_passes: Any
) -> None:
    scripted.script = scripts.by_role({"researcher": 600})
    deadline_passes(lambda meter: meter.members["m0"].finished and scripted.in_flight == 1)
    plugin.plan = TeamPlan(timeout_seconds=2.5)
    result = await run_team(orchestrator, make_team("planner", "researcher", formation="parallel"))
    ((run, text, members),) = outputs
    assert run.timed_out
    assert text == result.final_output == members["m0"] == scripts.SATISFIED_ANSWER


async def test_a_run_that_raises_delivered_nothing_and_a_cancelled_one_is_not_scored(
    plugin: Plugin, orchestrator: Any, outputs: Outputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[BaseException] = [ValueError("the output that no one may see"), asyncio.CancelledError()]

    async def limited(run: interception.ActiveRun) -> Any:
        run._work.close()
        raise raised.pop(0)

    monkeypatch.setattr(interception.ActiveRun, "_limited", limited)
    for kind in (ValueError, asyncio.CancelledError):
        with pytest.raises(kind):
            await run_team(orchestrator, make_team("planner"))
    assert [(run.error_class, text, members) for run, text, members in outputs] == [("ValueError", "", {})]
    assert [run.cancelled for run in plugin.runs] == [False, True]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"final_output": None}, ""),
        ({"final_output": " \n"}, " \n"),
        ({"final_output": {"answer": 1}}, None),
        ({"shared_context": {"__awaiting_approval__": {"member_id": "m0"}}}, None),
    ],
    ids=["none", "blank", "what is no text", "paused"],
)
async def test_of_an_odd_result_only_a_text_is_handed_over(
    plugin: Plugin,
    orchestrator: Any,
    outputs: Outputs,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    text: str | None,
) -> None:
    limited = interception.ActiveRun._limited

    async def changed(run: interception.ActiveRun) -> Any:
        result = await limited(run)
        for name, value in changes.items():
            setattr(result, name, value)
        return result

    monkeypatch.setattr(interception.ActiveRun, "_limited", changed)
    await run_team(orchestrator, make_team("planner"))
    assert [found for _, found, _ in outputs] == ([] if text is None else [text])


async def test_a_step_that_victors_own_timeout_ends_delivered_nothing(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, outputs: Outputs
) -> None:
    scripted.script = scripts.hanging()
    await run_workflow(orchestrator, make_workflow(make_step("planner", name="step", timeout_seconds=0.5)))
    ((run, text, members),) = outputs
    assert (run.timed_out, run.cancelled, text, members) == (True, False, "", {})


async def test_a_team_whose_members_all_fail_delivered_nothing(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, outputs: Outputs
) -> None:
    scripted.script = scripts.failing(400)
    await run_team(orchestrator, make_team("planner"))
    ((run, text, _),) = outputs
    assert not run.success
    assert not text.strip()


async def test_nothing_is_kept_where_nothing_scores(
    plugin: Plugin, orchestrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(plugin.runtime.loop, "to_score", lambda *given: asked.append(given))
    await run_team(orchestrator, make_team("planner"))
    assert not asked


async def test_a_run_tells_the_id_of_its_trace_where_one_is_recorded(plugin: Plugin, orchestrator: Any) -> None:
    recorded, unrecorded = TracerProvider(), TracerProvider(sampler=ALWAYS_OFF)
    for provider in (recorded, unrecorded):
        around = provider.get_tracer("test").start_as_current_span("application")
        with providers.use(tracer_provider=provider), around as span:
            await run_team(orchestrator, make_team("planner"))
        told = plugin.runs[-1].trace_id
        assert told == (f"{span.get_span_context().trace_id:032x}" if provider is recorded else "")
    assert plugin.stored[-2].trace_id == plugin.runs[0].trace_id
