"""The whole loop on real Victor: a guessed formation is tested, promoted because it was proven, and taken back."""

from __future__ import annotations

from typing import Any

import pytest

from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_testing.realvictor import make_step, make_workflow, run_workflow
from victor_autotune_testing.scripted import Lognormal, ScriptedModel, max_in_flight, scripts

from .conftest import Plugin

HEALTHY = scripts.succeed_at_once(Lognormal(median=0.12, sigma=0.2), seed=3)
CROWDED = scripts.crowded(HEALTHY, free=1, slowdown=6.0)


@pytest.mark.parametrize("plugin_settings", [{"mode": "auto", "experiment.min_history": 3}], ids=["auto"])
async def test_a_team_is_tuned_and_a_plan_that_turns_bad_is_taken_back(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel
) -> None:
    scripted.script = HEALTHY
    step = make_step("researcher", "planner", "reviewer", formation="sequential", name="step")
    workflow = make_workflow(step, name="flow")
    store = plugin.runtime.recorder._opened()

    async def run_until(action: str, most: int) -> Any:
        for _ in range(most):
            result = await run_workflow(orchestrator, workflow)
            assert result.success
            change = store.changes("flow", "step")[-1:]
            if change and change[0].action == action:
                return change[0]
        raise AssertionError(f"no change {action!r} in {most} runs: {[c.action for c in store.changes()]}")

    started = await run_until("started", 40)
    assert "parallel" in started.reason
    promoted = await run_until("promoted", 80)
    assert promoted.plan_after == TeamPlan(formation="parallel")
    assert promoted.improvement_percent > 5
    scripted.clear()
    assert (await run_workflow(orchestrator, workflow)).success
    assert max_in_flight(scripted.calls) in (1, 3)
    arm = plugin.runs[-1].arm
    assert max_in_flight(scripted.calls) == (3 if arm == "treatment" else 1)
    scripted.script = CROWDED
    rolled_back = await run_until("rolled_back", 60)
    assert rolled_back.plan_after == EMPTY_PLAN
    scripted.clear()
    await run_workflow(orchestrator, workflow)
    assert max_in_flight(scripted.calls) == 1
    assert plugin.runs[-1].plan_asked == EMPTY_PLAN
    assert plugin.stored == plugin.runs
