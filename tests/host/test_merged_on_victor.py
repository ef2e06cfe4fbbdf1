"""On real Victor: a proposal that was merged is recognised, runs as before, and can still be rolled back."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from victor_autotune_plugin._cli.app import app
from victor_autotune_plugin._host.workflows import read_workflows
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan, plan_as_used
from victor_autotune_plugin.configfiles import read_team_config
from victor_autotune_testing.realvictor import run_workflow, workflow_yaml
from victor_autotune_testing.scripted import Rule, Script, ScriptedModel, max_in_flight, scripts
from victor_autotune_testing.simulated import SPEC, Simulation

from .conftest import Plugin

PARALLEL = TeamPlan(formation="parallel")
MEMBERS = [{"id": member.id, "role": member.role, "tool_budget": 15} for member in SPEC.members]
DECLARED = {
    "name": "flow",
    "step": "team",
    "formation": "sequential",
    "total_tool_budget": 100,
    "max_iterations": 50,
    "timeout_seconds": 120,
}
# All that Victor would fill in otherwise stands there, so that the simulated runs are of the same definition.
QUIET = {"mode": "auto", "experiment.min_history": 1000}
Run = Callable[[Path], Any]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The workflow file of the simulated team, in Git."""
    file = tmp_path / "flow.yaml"
    file.write_text(workflow_yaml(*MEMBERS, **DECLARED))
    git(tmp_path, "init", "--quiet")
    return file


@pytest.fixture
def proof(tmp_path: Path, file: Path) -> str:
    """The experiment that has proven a plan of the team; half of the runs stay on the plan before."""
    team = Simulation(tmp_path, strategies=("formation_selection",), **{"watch.holdback": 0.5})
    declared = read_team_config(file, "team", "flow").spec
    assert declared is not None
    team.spec = declared
    try:
        team.run_until("promoted")
        assert team.state().plan == PARALLEL
        return team.state().live_id or ""
    finally:
        team.close()


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)


def merge(file: Path, plan: TeamPlan) -> None:
    read = read_team_config(file, "team", "flow")
    file.write_text(read.rendered_as(read.proposal(plan), plan))


@pytest.fixture
def run(plugin: Plugin, orchestrator: Any, scripted: ScriptedModel) -> Run:
    # Calls are answered once two have met; a lonely one after a while.
    scripted.script = Script([Rule("answer", latency=0.02, together=2, answer=scripts.SATISFIED_ANSWER)])

    async def run(file: Path) -> int:
        """Run the team of a file, and return how many of its members worked at a time."""
        before = len(scripted.calls)
        assert (await run_workflow(orchestrator, read_workflows(file).workflow("flow"))).success
        assert plugin.runtime.settle(30)
        return max_in_flight(scripted.calls[before:])

    return run


@pytest.mark.parametrize("plugin_settings", [QUIET], ids=["auto"])
async def test_the_patch_is_applied_and_proof_watch_and_way_back_hold_on(
    proof: str, file: Path, plugin: Plugin, run: Run, tmp_path: Path
) -> None:
    old = shutil.copy(file, tmp_path / "old.yaml")
    asked = ["propose", "team", "--project", str(tmp_path), "--file", str(file), "--output", str(tmp_path / "out")]
    said = CliRunner().invoke(app, asked)
    assert said.exit_code == 0, said.output
    git(tmp_path, "apply", "out/plan.patch")
    assert await run(file) > 1
    # Two machines: one has the merged file already, and the other has the file before.
    seen = set()
    for number in range(90):
        merged = number % 3 > 0
        in_flight = await run(file if merged else old)
        last = plugin.runs[-1]
        assert (last.experiment_id, last.phase, last.spec.formation) == (proof, "watch", "sequential")
        assert (in_flight > 1) == (last.plan_asked == PARALLEL)
        seen.add((merged, last.arm))
        if len(seen) == 4:
            break
    assert len(seen) == 4
    store = plugin.runtime.store()
    assert [one.action for one in store.changes(*SPEC.key)] == ["started", "promoted", "merged"]
    (state,) = store.teams()
    assert (state.plan, state.live_id) == (PARALLEL, proof)
    plugin.runtime.manual.roll_back(*SPEC.key)
    assert plugin.runtime.settle(30)
    assert await run(file) == 1


@pytest.mark.parametrize("plugin_settings", [QUIET], ids=["auto"])
@pytest.mark.parametrize(
    "plan",
    [
        TeamPlan(members="dc"),
        TeamPlan(sub_teams=["ab", "cd"]),
        TeamPlan(members="dcba", tool_budget=4, member_budgets={"a": 1}, timeout_seconds=90),
    ],
    ids=TeamPlan.describe,
)
async def test_each_knob_is_recognised_enforced_and_rolled_back(
    file: Path, plugin: Plugin, run: Run, plan: TeamPlan
) -> None:
    await run(file)
    plugin.runtime.manual.apply(SPEC.key, plan, "By hand.", evidence={})
    merge(file, plan)
    for wanted in (plan, plan, EMPTY_PLAN):
        if wanted.is_empty:
            plugin.runtime.manual.roll_back(*SPEC.key)
            assert plugin.runtime.settle(30)
        await run(file)
        last = plugin.runs[-1]
        assert last.plan_used == plan_as_used(plugin.runs[0].spec, wanted)
        assert {one.id for one in last.members} == {*(wanted.members or "abcd")}
    assert plugin.runs[-2].plan_asked == plan
    assert [one.action for one in plugin.runtime.store().changes(*SPEC.key)] == ["promoted", "merged", "rolled_back"]
    assert plugin.runs[-1].spec == plugin.runs[0].spec
