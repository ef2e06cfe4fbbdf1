"""A stand-in for Victor in the tests of commands that run workflows."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any

from attrs import evolve

from victor_autotune_plugin._tuning import runtime as process
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation
from victor_autotune_testing.stepped import Clock, SteppedLoop

Work = Callable[[int, Mapping[str, Any]], Awaitable[Any]]


class InThisProcess(Simulation):
    """Makes up team runs through the hooks of the process's runtime, as Victor's would go."""

    def __init__(self, seed: int = 1) -> None:
        self.runtime = process.runtime()
        self.stepped = SteppedLoop(self.runtime, Clock(time.time()))
        self.truth = by_formation
        self.spec = evolve(SPEC, workflow="workflow", team_id="team")
        self.success = 1.0
        self.tokens = ()
        self._ids = random.SystemRandom()
        self._random = random.Random(seed)


def result(success: bool = True, error: str | None = None, **nodes: bool) -> Any:
    """Return what Victor's executor returns."""
    found = {name: SimpleNamespace(success=good, error=None) for name, good in nodes.items()}
    return SimpleNamespace(success=success, error=error, node_results=found)


async def a_team_run(number: int, context: Mapping[str, Any]) -> Any:
    await asyncio.sleep(0)
    InThisProcess().run()
    return result(team=True)


class Victor:
    """Stands in for Victor: does `work` as a run, and notes what it was asked."""

    def __init__(self) -> None:
        self.work: Work = a_team_run
        self.contexts: list[dict[str, Any]] = []
        self.definitions: list[Any] = []
        self.asked: tuple[object, ...] = ()
        self.closed = False

    async def make_orchestrator(self, *asked: object) -> Any:
        self.asked = asked
        return self

    async def run_workflow(self, definition: Any, orchestrator: Any, context: Mapping[str, Any]) -> Any:
        assert orchestrator is self
        self.contexts.append(dict(context))
        self.definitions.append(definition)
        return await self.work(len(self.contexts), context)

    async def close(self) -> None:
        self.closed = True
