"""A command line to call, and projects in every state that a team can be in."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from typer.testing import CliRunner

from victor_autotune_plugin._cli import comparison, runner
from victor_autotune_plugin._cli.app import app
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_testing.fake_victor import Victor
from victor_autotune_testing.realvictor import workflow_yaml
from victor_autotune_testing.simulated import SPEC, Simulation

PROG = "victor autotune"


@frozen
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Call the command line in `tmp_path`; a traceback fails the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)

    def call(*argv: str, prog: str = PROG) -> Said:
        result = CliRunner().invoke(app, argv, prog_name=prog)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.output
        return Said(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture
def simulate(tmp_path: Path) -> Iterator[Callable[..., Simulation]]:
    """Make up runs of a team in `tmp_path`; the arguments are the team, the workflow, and those of `Simulation`."""
    made: list[Simulation] = []

    def simulate(team: str = SPEC.team_id, workflow: str = SPEC.workflow, **options: Any) -> Simulation:
        simulation = Simulation(tmp_path, **options)
        simulation.spec = evolve(SPEC, workflow=workflow, team_id=team)
        made.append(simulation)
        return simulation

    yield simulate
    for simulation in made:
        simulation.close()


def _until(folder: Path, action: str, **options: Any) -> Path:
    simulation = Simulation(folder, **options)
    simulation.run_until(action)
    simulation.close()
    return folder


@pytest.fixture(scope="session")
def _projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One project for each state of its team `team` of workflow `flow`."""

    def slower(plan: TeamPlan, members: list[float]) -> float:
        return sum(members) * (1 if plan.is_empty else 4)

    def same(plan: TeamPlan, members: list[float]) -> float:
        return sum(members)

    def folder(name: str) -> Path:
        return tmp_path_factory.mktemp(name)

    projects = {
        "testing": _until(folder("testing"), "started"),
        "proven": _until(folder("proven"), "promoted"),
        "failed": _until(folder("failed"), "failed", truth=slower),
        "inconclusive": _until(
            folder("inconclusive"), "inconclusive", truth=same, **{"experiment.max_runs_per_arm": 20}
        ),
    }
    settled = Simulation(folder("rolled_back"), strategies=["formation_selection"])
    settled.run_until("promoted")
    settled.truth = lambda plan, members: sum(members) * (1 if plan.is_empty else 30)
    settled.run_until("rolled_back")
    settled.close()
    return projects | {"rolled_back": settled.runtime.project}


@pytest.fixture
def project(_projects: dict[str, Path], tmp_path: Path) -> Callable[[str], None]:
    """Fill `tmp_path` with a project whose team is `testing`, `proven`, `failed`, `inconclusive` or `rolled_back`."""

    def project(state: str) -> None:
        shutil.copytree(_projects[state], tmp_path, dirs_exist_ok=True)

    return project


@pytest.fixture
def victor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Victor:
    victor = Victor()
    for module in (runner, comparison):
        monkeypatch.setattr(module, "make_orchestrator", victor.make_orchestrator)
    monkeypatch.setattr(runner, "run_workflow", victor.run_workflow)
    (tmp_path / "flow.yaml").write_text(workflow_yaml("researcher", "planner"))
    return victor
