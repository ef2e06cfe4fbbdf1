"""On real Victor: a live plan that is written into the workflow file is recognised, and can still be rolled back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._host.workflows import read_workflows
from victor_autotune_plugin._model.optimization import (
    OptimizationPriority,
    OptimizationSuggestion,
    OptimizationType,
)
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin.configfiles import read_team_config
from victor_autotune_testing.realvictor import run_workflow, workflow_yaml
from victor_autotune_testing.scripted import Rule, Script, ScriptedModel, max_in_flight, scripts

from .conftest import Plugin

PARALLEL, SEQUENTIAL = TeamPlan(formation="parallel"), TeamPlan(formation="sequential")
KEY = ("flow", "step")


@pytest.mark.parametrize("plugin_settings", [{"mode": "auto", "experiment.min_history": 1000}], ids=["auto"])
async def test_a_merged_plan_stays_live_and_leads_back(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, tmp_path: Path
) -> None:
    file = tmp_path / "flow.yaml"
    file.write_text(workflow_yaml("researcher", "planner", formation="sequential", name="flow", step="step"))
    # Two calls are answered once they have met; a lonely one after a while.
    scripted.script = Script([Rule("answer", latency=0.05, together=2, answer=scripts.SATISFIED_ANSWER)])

    async def run() -> int:
        before = len(scripted.calls)
        assert (await run_workflow(orchestrator, read_workflows(file).workflow("flow"))).success
        assert plugin.runtime.settle(30)
        return max_in_flight(scripted.calls[before:])

    for _ in range(3):
        assert await run() == 1
    settings = plugin.runtime.settings(plugin.runs[0].spec)
    suggestion = OptimizationSuggestion(
        type=OptimizationType.FORMATION_SELECTION,
        priority=OptimizationPriority.HIGH,
        description="Side by side.",
        current_config=SEQUENTIAL.to_dict(),
        suggested_config=PARALLEL.to_dict(),
        expected_improvement=30.0,
        confidence=0.9,
        risk_level=0.2,
    )
    plugin.runtime.manual.apply(KEY, PARALLEL, "By hand.", evidence={}, watched=(suggestion, settings))
    for _ in range(2):
        await run()
    store = plugin.runtime.store()
    read_team_config(file, "step", "flow").write(PARALLEL, project=tmp_path)
    await run()
    line = store.changes(*KEY)[-1]
    assert (line.action, line.plan_after) == ("merged", PARALLEL)
    (state,) = store.teams()
    assert state.fingerprint == plugin.runs[0].spec.fingerprint() != plugin.runs[-1].spec.fingerprint()
    assert state.live_id is not None
    plugin.runtime.manual.roll_back(*KEY)
    assert plugin.runtime.settle(30)
    assert await run() == 1
    assert plugin.runs[-1].plan_used.formation == "sequential"
