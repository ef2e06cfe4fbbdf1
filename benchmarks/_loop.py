"""Team runs through the plugin's whole way of a run, without Victor: a team of four that sleeps a fixed time."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Coroutine, Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final, Generic, TypeVar

from attrs import evolve

from victor_autotune_plugin._host.call_context import Place
from victor_autotune_plugin._host.calls import Reading, TeamCall
from victor_autotune_plugin._host.interception import intercept
from victor_autotune_plugin._host.meters import RunMeter, current_run
from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._tuning import runtime
from victor_autotune_plugin._tuning.runtime import Runtime

SPEC = TeamSpec("bench", "team", "sequential", [MemberSpec(name, "researcher") for name in "abcd"])

STAYS_OPEN = {
    "experiment.min_runs_per_arm": 2000,
    "experiment.max_runs_per_arm": 2000,
    "experiment.minimum_improvement": 0.0,
    "tuner.risk": "off",
}
"""Settings under which a test of two plans that run alike stays open all the time."""

DATABASES: Final = ("sqlite", "postgresql")

URL_VARIABLE: Final = "VICTOR_AUTOTUNE_DATABASE_URL"

T = TypeVar("T")
Seconds = tuple[float, float]
"""Of the wall clock, and of the thread's processor time."""


class SimulatedTeam(TeamCall):
    """A call of a team that takes the same time under every plan.

    Args:
        seconds: What it takes; 0 does not even suspend.
    """

    entry = "config"

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(self._work, SimpleNamespace(), Place())
        self.seconds = seconds
        self.plan: TeamPlan | None = None

    @property
    def context(self) -> Mapping[str, Any]:
        """Empty."""
        return {}

    def spec(self) -> TeamSpec:
        """Return the team, made new as Victor's are."""
        self.ids = {member.id: member.id for member in SPEC.members}
        return TeamSpec(SPEC.workflow, SPEC.team_id, SPEC.formation, list(SPEC.members))

    def call(self) -> Coroutine[Any, Any, Any]:
        """Work as configured."""
        return self._work()

    def call_with(self, plan: TeamPlan) -> Coroutine[Any, Any, Any]:
        """Work under a plan."""
        self.plan = plan
        return self._work()

    def read(self, result: Any) -> Reading:
        """Read that all went well."""
        del result
        return Reading(True, None, {member.id: True for member in SPEC.members}, {}, False)

    def partial_result(self, meter: RunMeter, formation: str, error: str) -> Any:
        """Return nothing."""
        del meter, formation, error
        return None

    def _outputs(self, result: Any) -> tuple[Any, Mapping[str, Any]]:
        return result, {}

    async def _work(self) -> str:
        run = current_run.get()
        meters = list(run.members.values()) if run is not None else []
        for meter in meters:
            meter.start()
        if self.seconds:
            await asyncio.sleep(self.seconds)
        for meter in meters:
            meter.stop(success=True, error_class=None)
        return "done"


async def run_team(seconds: float = 0.0, team: type[SimulatedTeam] = SimulatedTeam) -> SimulatedTeam:
    """Run a team under the plugin, and return what became of it.

    Raises:
        SystemExit: The caller did not get its result.
    """
    call = team(seconds)
    if await intercept(lambda: call, call.call) != "done":
        raise SystemExit("the team's result was lost")
    return call


def start_test(owner: Runtime) -> None:
    """Start a test of the team in the store, as a command would: its treatment runs in parallel.

    Its canary is over, so every other run has the treatment.
    """
    wanted = {"formation": "parallel"}
    made = OptimizationSuggestion("alike", OptimizationPriority.LOW, "Run in parallel.", {}, wanted, 10.0, 0.9, 0.0)
    test = owner.manual.start_test(SPEC.key, made, owner.settings(SPEC), {})
    with owner.store().transaction() as transaction:
        transaction.save_experiment(evolve(test, status="testing"))
        transaction.save_team(transaction.team(*SPEC.key))


async def started(owner: Runtime) -> Runtime:
    """Make a runtime the process's own, start its threads, and return it when it has a snapshot."""
    runtime.use(owner)
    await runtime.current()
    owner.loop.want_store()
    deadline = time.monotonic() + 10
    while not (owner.loop.core.is_connected and owner.ready.is_set) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)  # both are set by a thread
    return owner


def new_runtime(folder: Path, **overrides: object) -> Runtime:
    """Return the plugin of a new project in mode `auto`, unless another one is named."""
    folder.mkdir(exist_ok=True)
    return Runtime(folder, overrides={"mode": "auto", **overrides}, with_entry_points=False)


@contextmanager
def database(name: str) -> Iterator[str | None]:
    """Have this process and those that it starts use a database; yield the URL of a server.

    Args:
        name: `sqlite` for the project's own file, or `postgresql` for a new server that ends with the block.
    """
    if name == "sqlite":
        yield None
        return
    from victor_autotune_plugin.storage.migrate import create_schema
    from victor_autotune_testing.postgres import server_url

    with server_url() as url:
        create_schema(url)
        os.environ[URL_VARIABLE] = url
        try:
            yield url
        finally:
            del os.environ[URL_VARIABLE]


class Held:
    """Adds up how long coroutines hold their loop: their steps, without the time in which they are suspended."""

    def __init__(self) -> None:
        self.total: Seconds = 0.0, 0.0

    def steps(self, coroutine: Coroutine[Any, Any, T]) -> Steps[T]:
        """Return what to await instead of a coroutine."""
        return Steps(coroutine, self)


class Steps(Generic[T]):
    """A coroutine whose steps are timed."""

    def __init__(self, coroutine: Coroutine[Any, Any, T], held: Held) -> None:
        self._coroutine = coroutine
        self._held = held

    def __await__(self) -> Generator[Any, Any, T]:
        """Step through it. Asking for the processor time takes microseconds; the wall clock leaves it out."""
        step: Any = self._coroutine.send
        argument: Any = None
        while True:
            begun_processor = time.thread_time()
            begun = time.perf_counter()
            try:
                waits_for = step(argument)
            except StopIteration as end:
                result: T = end.value
                return result
            finally:
                wall = time.perf_counter() - begun
                processor = time.thread_time() - begun_processor
                self._held.total = self._held.total[0] + wall, self._held.total[1] + processor
            try:
                argument = yield waits_for
                step = self._coroutine.send
            except BaseException as error:  # a cancellation goes on into the coroutine
                argument, step = error, self._coroutine.throw
