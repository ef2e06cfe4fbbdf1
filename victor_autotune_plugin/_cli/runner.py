"""Runs a workflow many times on one orchestrator of Victor's, and keeps what each run came to."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field, frozen

from .._host import seams
from .._host.workflows import endpoint_of, make_orchestrator, read_workflows, run_workflow, settle
from .._model.experiment import Change
from .._model.run import TeamRun
from .._tuning import runtime as process
from .._tuning.runtime import Runtime
from ..errors import StoreError
from ..hookspecs import PlannedRun, RunStart, hookimpl
from . import console
from . import rendering as show
from .options import environment
from .progress import RunsScreen
from .project import unknown_for_file

if TYPE_CHECKING:
    from .._settings import Settings
    from ..storage import Store

_ERROR_LENGTH: Final = 200
READY_SECONDS: Final = 5.0
"""How long a command waits for the store before its first run."""

_PATIENCE_SECONDS: Final = 5.0


@frozen
class Job:
    """What to run.

    Attributes:
        file: Workflow file.
        workflow: Name of the workflow, or None when the file holds only one.
        runs: How often.
        concurrency: How many at the same time.
        provider: Victor's name of the provider, or None for the profile's.
        model: Model name, or None for the profile's.
        base_url: Endpoint, or None for the provider's.
        context: Initial state of each run.
        verbose: Whether Victor may write to the screen.
    """

    file: Path
    workflow: str | None
    runs: int
    concurrency: int
    provider: str | None
    model: str | None
    base_url: str | None
    context: Mapping[str, Any]
    verbose: bool = False


@frozen
class WorkflowRun:
    """What one run of the workflow came to.

    Attributes:
        number: From 1.
        duration_seconds: Wall-clock seconds.
        error: Why it failed, or None.
        teams: The team runs in it, those inside of others included, in the order of their ends.
        hint: What to do about the error, or None.
    """

    number: int
    duration_seconds: float
    error: str | None
    teams: tuple[TeamRun, ...]
    hint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "number": self.number,
            "success": self.error is None,
            "duration_seconds": self.duration_seconds,
            "error": self.error,
            "hint": self.hint,
            "teams": [team.to_dict() for team in self.teams],
        }


@define
class Outcome:
    """What a job came to.

    Attributes:
        workflow: Name of the workflow.
        settings: Settings of its team steps by id, the workflow's own metadata included.
        wanted: How many runs were asked for.
        runs: Those that finished, in that order.
        seconds: Seconds from the start of the first run to the end of the last.
        interrupted: Whether Ctrl-C stopped it.
        notes: What a person should know about the file, and about names in the settings that nothing knows.
    """

    workflow: str
    settings: Mapping[str, Settings]
    wanted: int
    notes: Sequence[str]
    runs: list[WorkflowRun] = field(factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def off(self) -> bool:
        """Whether the plugin is off for all its teams."""
        return all(settings.mode == "off" for settings in self.settings.values())

    @property
    def failed(self) -> int:
        """Number of runs that failed."""
        return len(self.failures())

    def failures(self) -> list[WorkflowRun]:
        """Return the runs that failed."""
        return [run for run in self.runs if run.error is not None]

    def teams(self) -> list[tuple[str, str]]:
        """Return the keys of the teams that ran, in order."""
        return list(dict.fromkeys(team.spec.key for run in self.runs for team in run.teams))

    def team_runs(self, key: tuple[str, str]) -> list[TeamRun]:
        """Return the runs of one team, newest first."""
        return [team for run in reversed(self.runs) for team in reversed(run.teams) if team.spec.key == key]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "workflow": self.workflow,
            "runs_wanted": self.wanted,
            "runs_done": len(self.runs),
            "runs_failed": self.failed,
            "interrupted": self.interrupted,
            "notes": list(self.notes),
            "seconds": self.seconds,
            "runs": [run.to_dict() for run in self.runs],
        }


def run_job(job: Job, project: Path, mode: str | None, *, on_screen: bool) -> Outcome:
    """Run a job to its end, or until Ctrl-C.

    Args:
        project: Folder whose settings and store are used.
        mode: Mode that overrides the settings, or None.
        on_screen: Whether a progress bar may be drawn on stderr, if that is a terminal; plain lines otherwise.

    Raises:
        WorkflowError: If the file can't be used.
        SettingsError: If the settings are wrong, those in the workflow's metadata included.
        StoreError: If the store can't be used.
        HostError: If Victor can't create an agent.
    """
    runtime = Runtime(project, overrides={"mode": mode, "environment": environment()})
    before = process.use(runtime)
    try:
        seams.install()
        definition, outcome = _prepared(job, runtime)
        for note in outcome.notes:
            show.note(note)
        with (
            contextlib.nullcontext() if outcome.off else runtime.open_store() as store,
            RunsScreen(outcome.workflow, job.runs, bar=on_screen) as screen,
        ):
            runtime.hooks.register(_ScreenListener(screen), "autotune.cli")
            if not outcome.off:
                runtime.start(READY_SECONDS)
            runner = _JobRunner(job, definition, outcome, screen, store)
            # What Victor and its tools print would end up in the result.
            with contextlib.redirect_stdout(sys.stderr):
                try:
                    asyncio.run(runner.run())
                except KeyboardInterrupt:
                    outcome.interrupted = True
        return outcome
    finally:
        process.use(before)
        runtime.close()


def _prepared(job: Job, runtime: Runtime) -> tuple[Any, Outcome]:
    """Read the workflow and look for whatever is wrong, before anything runs or is written."""
    read = read_workflows(job.file)
    definition = read.workflow(job.workflow)
    metadata = (definition.metadata or {}).get("autotune")
    line = read.lines.get(definition.name)
    source = None if line is None else f"{job.file}:{line}"
    settings = {
        node_id: runtime.resolver.for_team(definition.name, node_id, metadata, source)
        for node_id in team_steps(definition)
    }
    left_out = [f"left out: {error}" for errors in read.faults.values() for error in errors]
    notes = [*left_out, *read.notes]
    notes += map(str, unknown_for_file(runtime.resolver, runtime.project, job.file))
    return definition, Outcome(definition.name, settings, job.runs, notes)


def team_steps(definition: Any) -> list[str]:
    """Return the ids of the team steps of Victor's `WorkflowDefinition`, in order."""
    return [node_id for node_id, node in definition.nodes.items() if hasattr(node, "team_formation")]


_teams: ContextVar[list[TeamRun] | None] = ContextVar("victor_autotune_cli_teams", default=None)


class TeamsListener:
    """A hook that tells each run of the workflow which teams ran in it."""

    @hookimpl
    def after_team_run(self, run: TeamRun) -> None:
        """Note the run of a team."""
        teams = _teams.get()
        if teams is not None:
            teams.append(run)


class _ScreenListener(TeamsListener):
    """Hooks that tell the screen, too, what happens."""

    def __init__(self, screen: RunsScreen) -> None:
        self._screen = screen

    @hookimpl
    def team_run_started(self, event: RunStart, planned: PlannedRun) -> None:
        self._screen.started(event, planned)

    @hookimpl
    def plan_changed(self, change: Change) -> None:
        self._screen.changed(change)


class _JobRunner:
    def __init__(self, job: Job, definition: Any, outcome: Outcome, screen: RunsScreen, store: Store | None) -> None:
        self._job = job
        self._definition = definition
        self._outcome = outcome
        self._screen = screen
        self._store = store
        self._stopped = False
        self._endpoint: str | None = None

    async def run(self) -> None:
        """Run everything. asyncio turns the first Ctrl-C into a cancellation of this."""
        job = self._job
        orchestrator = await make_orchestrator(job.provider, job.model, job.base_url)
        self._endpoint = endpoint_of(orchestrator)
        try:
            with contextlib.nullcontext() if job.verbose else console.owned():
                await self._run_all(orchestrator)
        finally:
            await release(orchestrator)

    async def _run_all(self, orchestrator: Any) -> None:
        job = self._job
        self._screen.ready()
        numbers = iter(range(1, job.runs + 1))
        started = time.monotonic()
        workers = [
            asyncio.create_task(self._work(orchestrator, numbers)) for _ in range(min(job.concurrency, job.runs))
        ]
        try:
            await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            # Set first: Victor may swallow the cancellation, and then no further run must start.
            self._stopped = True
            for worker in workers:
                worker.cancel()
            results = await asyncio.gather(*workers, return_exceptions=True)
            self._outcome.seconds = time.monotonic() - started
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _work(self, orchestrator: Any, numbers: Iterator[int]) -> None:
        for number in numbers:
            run = await run_once(self._definition, orchestrator, self._job.context, number)
            run = evolve(run, hint=_next_step(run, self._endpoint, verbose=self._job.verbose))
            if self._stopped:
                return
            owner = process.made()
            if owner is not None:
                await owner.settled()  # so that the next run, and the screen, know what follows from this one
            self._outcome.runs.append(run)
            self._screen.ended(run.number, run.duration_seconds, run.error, plans=_plans(run))
            if self._store is not None and self._screen.drawn:
                with contextlib.suppress(StoreError):
                    self._show_verdict(self._store, run)

    def _show_verdict(self, store: Store, run: WorkflowRun) -> None:
        tested = [team.experiment_id for team in run.teams if team.experiment_id is not None]
        experiment = store.experiment(tested[-1]) if tested else None
        if experiment is not None:
            from .._tuning.present_state import verdicts

            verdict, watched = verdicts(store, experiment)
            self._screen.judged((watched or verdict)["reason"])


async def run_once(definition: Any, orchestrator: Any, context: Mapping[str, Any], number: int) -> WorkflowRun:
    """Run a workflow once; whatever fails in it is in the result.

    Args:
        definition: Victor's `WorkflowDefinition`.
        context: Initial state; the run gets a copy.
        number: Number of the run, from 1.

    Raises:
        asyncio.CancelledError: If this task was cancelled, and not only something inside of Victor.
    """
    teams: list[TeamRun] = []
    _teams.set(teams)
    started = time.monotonic()
    try:
        result = await run_workflow(definition, orchestrator, copy.deepcopy(dict(context)))
        error = _failure(result, teams)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        error = "CancelledError"
    except Exception as raised:
        error = _short(f"{type(raised).__name__}: {raised}")
    return WorkflowRun(number, time.monotonic() - started, error, tuple(teams))


async def release(orchestrator: Any) -> None:
    """Let Victor close its connections and end its background tasks, which else may keep the event loop for ever."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await orchestrator.close()
    await settle()


def _plans(run: WorkflowRun) -> str:
    return "".join(
        f", {team.spec.team_id} {team.arm or 'ran'}: {show.plan_text(team.plan_asked)}"
        for team in run.teams
        if team.parent_id is None and (team.arm is not None or not team.plan_asked.is_empty)
    )


def _failure(result: Any, teams: Sequence[TeamRun]) -> str | None:
    """Return why a run failed, or None. Victor reports success for some runs whose team failed."""
    for team in teams:
        if not team.success and team.parent_id is None:
            why = "timed out" if team.timed_out else team.error_class
            answered = ": the model never answered" if _never_answered(team) else ""
            return f"team {team.spec.team_id}: {why}{answered}"
    if not result.success:
        return _short(result.error or "Victor gives no reason")
    for node_id, node in (result.node_results or {}).items():
        if not node.success:
            return _short(f"step {node_id}: {node.error or 'Victor gives no reason'}")
    return None


def _never_answered(team: TeamRun) -> bool:
    """Whether a team called its model and got nothing from it."""
    silent = all(use.input_tokens == use.output_tokens == use.unreported_calls == 0 for use in team.tokens)
    return not team.success and team.llm_calls > 0 and bool(team.tokens) and silent


def _next_step(run: WorkflowRun, endpoint: str | None, *, verbose: bool) -> str | None:
    """Return what to do about a run's error, or None without one."""
    if run.error is None:
        return None
    logs = "" if verbose else " What Victor logs: --verbose."
    failed = [team for team in run.teams if not team.success]
    if any(map(_never_answered, failed)):
        where = "" if endpoint is None else f" at {endpoint}"
        return f"Check that the model's server is up{where}, and the API key.{logs}"
    if any(team.timed_out for team in failed):
        return f"A deadline ended it: see timeout_seconds of the team, and of its plan.{logs}"
    shown = f" Its members: victor autotune runs show {failed[0].run_id[:8]}." if failed else ""
    return f"{shown}{logs}".strip() or None


def _short(error: object) -> str:
    line = (str(error).strip().splitlines() or [""])[0]
    return line if len(line) <= _ERROR_LENGTH else f"{line[:_ERROR_LENGTH]}…"
