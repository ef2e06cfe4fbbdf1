"""In mode `observe` and `off` nothing at all changes: same results, same calls of the model, same requests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from victor_autotune_plugin._host import seams
from victor_autotune_testing.realvictor import GOAL, heal, make_step, make_team, make_workflow, run_team, run_workflow
from victor_autotune_testing.scripted import Script, ScriptedModel, scripts

from .conftest import Plugin
from .test_paths import coordinator

LEAD = {"role": "planner", "is_manager": True}
SCRIPTS: dict[str, Script] = {
    "at once": scripts.succeed_at_once(),
    "with tools": scripts.with_tools(2, 2),
    "failing": scripts.failing(400, "researcher"),
}


@pytest.fixture
def recording_model(orchestrator: Any) -> Iterator[ScriptedModel]:
    """A scripted model that keeps what it was sent."""
    with ScriptedModel(keep_bodies=True) as model:
        before, orchestrator.provider.base_url = orchestrator.provider.base_url, model.base_url
        yield model
        orchestrator.provider.base_url = before


async def config(orchestrator: Any, formation: str) -> Any:
    return (await run_team(orchestrator, make_team(LEAD, "researcher", "reviewer", formation=formation))).to_dict()


async def task(orchestrator: Any, formation: str) -> Any:
    from victor.teams import TeamFormation

    made = coordinator(orchestrator).set_formation(TeamFormation(formation))
    result = await made.execute_task(GOAL, {"team_name": "t"})
    return {**result, "member_results": {name: one.to_dict() for name, one in result["member_results"].items()}}


async def step(orchestrator: Any, formation: str) -> Any:
    workflow = make_workflow(make_step(LEAD, "researcher", formation=formation, timeout_seconds=60))
    result = await run_workflow(orchestrator, workflow)
    return {"success": result.success, "state": result.state, "nodes": result.nodes_executed}


def without_noise(value: Any) -> Any:
    """Drop what differs between any two runs: durations, and ids made from random numbers."""
    if isinstance(value, dict):
        return {key: without_noise(one) for key, one in value.items() if "duration" not in str(key)}
    if isinstance(value, list | tuple):
        return [without_noise(one) for one in value]
    return re.sub(r"[0-9a-f]{8,}", "#", str(value))


def calls(model: ScriptedModel) -> list[Any]:
    """Return what the model was asked, in an order that does not depend on who of several was faster."""
    seen = [(c.role, c.turn, c.status, c.tool_calls, c.tool_results, without_noise(c.body)) for c in model.calls]
    return sorted(seen, key=str)


@pytest.mark.parametrize("plugin_settings", [{"mode": "observe"}, {"mode": "off"}], ids=["observe", "off"])
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("way", [config, task, step])
@pytest.mark.parametrize("formation", ["sequential", "parallel"])
async def test_results_and_calls_are_those_of_victor_alone(
    plugin: Plugin, orchestrator: Any, recording_model: ScriptedModel, way: Any, script: str, formation: str
) -> None:
    seen = []
    for installed in (True, False):
        (seams.install if installed else seams.uninstall)()
        heal(orchestrator)
        recording_model.script = SCRIPTS[script]
        recording_model.clear()
        result = await way(orchestrator, formation)
        seen.append((without_noise(result), calls(recording_model)))
    assert seen[0] == seen[1]
    assert len(seen[0][1]) > 0


@pytest.mark.parametrize("plugin_settings", [{"mode": "off"}], ids=["off"])
async def test_off_records_nothing(plugin: Plugin, orchestrator: Any) -> None:
    await run_team(orchestrator, make_team("researcher"))
    assert plugin.runs == []
    assert plugin.stored == []


@pytest.mark.parametrize("plugin_settings", [{"mode": "observe"}], ids=["observe"])
async def test_observe_records(plugin: Plugin, orchestrator: Any) -> None:
    await run_team(orchestrator, make_team("researcher"))
    assert plugin.stored_as_ended == plugin.runs
    assert plugin.run.mode == "observe"
    assert plugin.run.plan_asked.is_empty
