"""What is written has effect on real Victor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._host import seams
from victor_autotune_plugin._host.workflows import read_workflows
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuning import runtime
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.configfiles import read_team_config
from victor_autotune_testing.realvictor import run_workflow, workflow_yaml
from victor_autotune_testing.scripted import ScriptedModel, scripts


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Runtime]:
    """The plugin at work in `tmp_path`, with the settings of the workflow file alone."""
    seams.install()
    made = Runtime(tmp_path, with_entry_points=False)
    before = runtime.use(made)
    made.start(30)
    yield made
    runtime.use(before)
    made.close()


@pytest.fixture
def run_with(working: Runtime, orchestrator: Any, scripted: ScriptedModel, tmp_path: Path) -> Callable[..., Any]:
    """Write a change into a workflow file in some mode, run the workflow, and return the run."""
    scripted.script = scripts.with_tools(3)

    async def run_with(mode: str, change: TeamPlan) -> TeamRun:
        path = tmp_path / "flow.yaml"
        metadata = {"autotune": {"mode": mode}}
        path.write_text(workflow_yaml("researcher", "planner", formation="sequential", metadata=metadata))
        read_team_config(path).write(change)
        await run_workflow(orchestrator, read_workflows(path).workflow(None))
        assert working.settle(30)
        return next(working.store().finished_runs("workflow", "team"))

    return run_with


@pytest.mark.parametrize("mode", ["observe", "suggest"])
async def test_formation_and_members_have_effect_in_every_mode(run_with: Callable[..., Any], mode: str) -> None:
    run = await run_with(mode, TeamPlan(formation="parallel", members=["m1"], timeout_seconds=60))
    assert (run.mode, run.plan_used.formation, run.plan_used.members) == (mode, "parallel", ("m1",))
    assert [member.id for member in run.members] == ["m1"]
    assert run.spec.timeout_seconds == 60


@pytest.mark.parametrize(("mode", "calls"), [("observe", 6), ("suggest", 2), ("approve", 2), ("auto", 2)])
async def test_a_tool_budget_has_effect_where_the_mode_lets_the_plugin_act(
    run_with: Callable[..., Any], mode: str, calls: int
) -> None:
    run = await run_with(mode, TeamPlan(tool_budget=2))
    assert run.spec.tool_budget == 2
    assert (run.mode, run.tool_calls) == (mode, calls)


async def test_budgets_of_members_and_reflection_have_effect(run_with: Callable[..., Any]) -> None:
    run = await run_with("suggest", TeamPlan(formation="reflection", member_budgets={"m0": 1}))
    assert (run.spec.formation, run.plan_used.formation) == ("sequential", "reflection")
    assert {member.id: member.tool_calls for member in run.members} == {"m0": 1, "m1": 3}
