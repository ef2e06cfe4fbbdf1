"""The plugin on real Victor, with a project and a plan of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import enforcement, seams
from victor_autotune_plugin._host.meters import RunMeter, current_run
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuning import runtime
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart, hookimpl
from victor_autotune_testing.flow_scenes import Stage, add_tools
from victor_autotune_testing.realvictor import until
from victor_autotune_testing.sandbox import Sandbox
from victor_autotune_testing.scripted import ScriptedModel


class Plugin:
    """What a test sees of the plugin.

    Attributes:
        plan: The plan that every run gets.
        runs: The finished runs, in the order in which they finished.
        starting: What the hooks were told at the starts.
        runtime: The process's runtime.
    """

    def __init__(self, project: Path, **settings: object) -> None:
        self.plan: TeamPlan = EMPTY_PLAN
        self.runs: list[TeamRun] = []
        self.starting: list[RunStart] = []
        self.runtime = Runtime(project, overrides={"mode": "auto", **settings}, with_entry_points=False)
        self.runtime.hooks.register(self, "autotune.test")  # as one of its own, so that it sees runs at once

    @hookimpl(tryfirst=True)
    def plan_team_run(self, event: RunStart) -> PlannedRun | None:
        self.starting.append(event)
        return None if self.plan.is_empty else PlannedRun(self.plan, "auto", source="test")

    @hookimpl(trylast=True)
    def after_team_run(self, run: TeamRun) -> None:
        self.runs.append(run)

    @property
    def run(self) -> TeamRun:
        """The only run."""
        (run,) = self.runs
        return run

    @property
    def stored(self) -> list[TeamRun]:
        """The runs in the store, oldest first."""
        assert self.runtime.settle(30)
        records = list(self.runtime.store().runs())
        assert all(record.status == "finished" for record in records)
        return records[::-1]

    @property
    def stored_as_ended(self) -> list[TeamRun]:
        """The runs in the store as they ended, without their data flow, which is found behind them."""
        return [evolve(record, flow=None) for record in self.stored]


@pytest.fixture
def deadline_passes(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[RunMeter], bool]], list[float]]:
    """Let deadlines pass when something has happened instead of after their seconds, which a busy machine may miss.

    Called with the condition, it returns the seconds of the deadlines that have been asked for.
    """

    def when(condition: Callable[[RunMeter], bool]) -> list[float]:
        asked: list[float] = []

        async def wait(tasks: Any, *, timeout: float | None = None) -> Any:  # noqa: ASYNC109 - as asyncio has it
            meter = current_run.get()
            if meter is None or timeout in (None, enforcement.GRACE_SECONDS):
                return await asyncio.wait(tasks, timeout=timeout)
            asked.append(timeout)
            await until(lambda: condition(meter), 60)
            return await asyncio.wait(tasks, timeout=0)

        monkeypatch.setattr(enforcement, "asyncio", SimpleNamespace(**{**vars(asyncio), "wait": wait}))
        return asked

    return when


@pytest.fixture
def plugin_settings() -> dict[str, object]:
    """Settings by dotted key; a test overrides it by parametrising."""
    return {}


@pytest.fixture
def plugin(tmp_path: Path, plugin_settings: dict[str, object]) -> Iterator[Plugin]:
    """The plugin, installed, without faults before and after."""
    seams.install()
    made = Plugin(tmp_path, **plugin_settings)
    before = runtime.use(made.runtime)
    made.runtime.start(30)
    yield made
    runtime.use(before)
    made.runtime.close()
    assert failsafe.seen() == ()


@pytest.fixture
def stage(orchestrator: Any, scripted: ScriptedModel, sandbox: Sandbox) -> Stage:
    """Where scenes of the data flow are played."""
    add_tools(orchestrator)
    return Stage(orchestrator, scripted, sandbox.project)


def member(run: TeamRun, name: str) -> Any:
    """Return one member's outcome."""
    return next(one for one in run.members if one.id == name)
