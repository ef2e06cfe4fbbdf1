"""Runs two versions of a workflow on real Victor alternately, until the experiment engine decides between them."""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from .._host import seams
from .._host.workflows import make_orchestrator
from .._model.plan import EMPTY_PLAN, TeamPlan
from .._model.run import CONTROL
from .._tuning import runtime as process
from ..errors import PlanError
from ..experiment import Observation
from ..hookspecs import PlannedRun, RunStart, hookimpl
from . import console, runner
from .progress import RunsScreen
from .runner import WorkflowRun

if TYPE_CHECKING:
    from .._apply.trial import Trial
    from .._tuning.runtime import Runtime


@frozen
class WorkflowVersion:
    """One of the two versions.

    Attributes:
        name: What it is called, such as `before`.
        definition: Victor's `WorkflowDefinition`.
        plans: Plan of each of its teams that has one, by team id; the others run as configured.
    """

    name: str
    definition: Any
    plans: Mapping[str, TeamPlan] = field(factory=dict)


@define
class VersionComparison:
    """Two versions, and how to run them.

    Attributes:
        control: The version that the other is compared with.
        treatment: The other one.
        trial: Decides.
        mode: The mode that is recorded with the runs.
        provider: Victor's name of the provider, or None for the profile's.
        model: Model name, or None for the profile's.
        base_url: Endpoint, or None for the provider's.
        context: Initial state of each run.
        verbose: Whether Victor may write to the screen.
        runs: The runs so far, each with the name of its version.
        interrupted: Whether Ctrl-C stopped it.
    """

    control: WorkflowVersion
    treatment: WorkflowVersion
    trial: Trial
    mode: str = "observe"
    provider: str | None = None
    model: str | None = None
    base_url: str | None = None
    context: Mapping[str, Any] = field(factory=dict)
    verbose: bool = False
    runs: list[tuple[str, WorkflowRun]] = field(factory=list)
    interrupted: bool = False

    def version(self, arm: str) -> WorkflowVersion:
        """Return the version of an arm."""
        return self.control if arm == CONTROL else self.treatment


_version: ContextVar[WorkflowVersion | None] = ContextVar("victor_autotune_cli_version", default=None)


class _VersionPlans(runner.TeamsListener):
    """Hooks that give a team the plan of the version that runs, before the tuning loop is asked."""

    def __init__(self, mode: str) -> None:
        self._mode = mode

    @hookimpl(tryfirst=True)
    def plan_team_run(self, event: RunStart) -> PlannedRun | None:
        version = _version.get()
        if version is None:
            return None
        return PlannedRun(version.plans.get(event.spec.team_id, EMPTY_PLAN), self._mode, source=version.name)


def run_comparison(comparison: VersionComparison, runtime: Runtime, screen: RunsScreen) -> None:
    """Run a comparison to its verdict, to its last run, or until Ctrl-C.

    Args:
        comparison: What to run; it is filled.
        runtime: Settings and store in mode `observe`, so that nothing else changes a plan. It stays open.

    Raises:
        PlanError: If a plan does not fit the team, so that nothing would be compared.
        HostError: If Victor can't create an agent.
    """
    before = process.use(runtime)
    try:
        seams.install()
        runtime.hooks.register(_VersionPlans(comparison.mode), "autotune.comparison")
        runtime.start(runner.READY_SECONDS)
        with screen, contextlib.redirect_stdout(sys.stderr):
            try:
                asyncio.run(_run(comparison, screen))
            except KeyboardInterrupt:
                comparison.interrupted = True
    finally:
        process.use(before)


async def _run(comparison: VersionComparison, screen: RunsScreen) -> None:
    orchestrator = await make_orchestrator(comparison.provider, comparison.model, comparison.base_url)
    try:
        with contextlib.nullcontext() if comparison.verbose else console.owned():
            screen.ready()
            while (arm := comparison.trial.next_arm) is not None:
                await _one(comparison, orchestrator, arm, screen)
    finally:
        await runner.release(orchestrator)


async def _one(comparison: VersionComparison, orchestrator: Any, arm: str, screen: RunsScreen) -> None:
    trial, version = comparison.trial, comparison.version(arm)
    index = trial.next_index
    _version.set(version)
    run = await runner.run_once(version.definition, orchestrator, comparison.context, index + 1)
    _check_plans(version, run)
    comparison.runs.append((version.name, run))
    trial.observe(_observation(run, arm, index))
    screen.ended(run.number, run.duration_seconds, run.error, version=version.name)
    screen.judged(trial.reason)


def _check_plans(version: WorkflowVersion, run: WorkflowRun) -> None:
    """Make sure that the version's plans were used: a plan that does not fit is left out, and the team runs without."""
    for team in run.teams:
        plan = version.plans.get(team.spec.team_id, EMPTY_PLAN)
        if team.parent_id is None and team.plan_asked != plan:
            raise PlanError(
                f"the plan does not fit the team: {plan.describe()}",
                where=f"{team.spec.workflow}/{team.spec.team_id}",
                hint="See why: victor autotune doctor",
            )


def _observation(run: WorkflowRun, arm: str, index: int) -> Observation:
    """Return what a run of the workflow showed: its own duration, and what its teams did."""
    teams = [team for team in run.teams if team.parent_id is None]
    costs = [team.cost_usd for team in teams if team.cost_usd is not None]
    success = run.error is None
    return Observation(
        index=index,
        arm=arm,
        duration_seconds=run.duration_seconds,
        success=success,
        score=_mean([team.score for team in teams]),
        member_success_share=_mean([team.member_success_share for team in teams]),
        cost_usd=sum(costs) if teams and len(costs) == len(teams) else None,
        tool_calls=sum(team.tool_calls for team in teams),
        timed_out=any(team.timed_out for team in teams),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean; None where one is not known, or there are none."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None
