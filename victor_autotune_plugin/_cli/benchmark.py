"""`benchmark` and `validate`: two versions of a workflow run alternately, until it is proven which is better."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import AutotuneError
from . import rendering as show
from .command import ExitCode
from .options import (
    HERE,
    BaseUrl,
    Context,
    Json,
    Metric,
    Model,
    MostRuns,
    Output,
    Project,
    Provider,
    Team,
    Threshold,
    Values,
    Verbose,
    WhichWorkflow,
    WorkflowFile,
    initial_context,
)
from .progress import RunsScreen
from .project import opened

if TYPE_CHECKING:
    from .._apply.trial import ArmFigures, Trial, TrialResult
    from .._model.experiment import TeamState
    from .._model.plan import TeamPlan
    from .._settings import Settings
    from .._tuning.runtime import Runtime
    from .comparison import VersionComparison
    from .project import OpenProject


def benchmark(
    before: Annotated[Path, typer.Option("--before", metavar="FILE.yaml", help="Workflow file to compare with.")],
    after: Annotated[Path, typer.Option("--after", metavar="FILE.yaml", help="Workflow file that may be better.")],
    workflow: Annotated[
        str | None, typer.Option("--workflow", metavar="NAME", help="Which workflow, if the files hold several.")
    ] = None,
    runs: MostRuns = 30,
    metric: Metric = None,
    threshold: Threshold = None,
    provider: Provider = None,
    model: Model = None,
    base_url: BaseUrl = None,
    values: Values = None,
    context: Context = None,
    verbose: Verbose = False,
    project: Project = HERE,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Run two workflow files alternately, as they are written, until it is proven which is better.

    Runs come in pairs of random order, and the test looks after every run:
    its verdict is wrong in at most 5 % of comparisons of equal files. Below
    10 runs of each nothing is proven. No plan is changed, and nothing is
    recorded in the project's store.

    Exit code 1 if the second file is proven worse, or no run of a file succeeds.
    """
    from .._host.workflows import read_workflows
    from .._tuning.runtime import Runtime
    from .comparison import VersionComparison, WorkflowVersion, run_comparison

    initial = initial_context(context, values or [])
    sides = [read_workflows(file).workflow(workflow) for file in (before, after)]
    chosen = _overrides(metric, threshold)
    with tempfile.TemporaryDirectory(prefix="victor-autotune-") as folder:
        # Two definitions of one team in the store would look like a change of the team.
        url = f"sqlite:///{Path(folder) / 'benchmark.db'}"
        runtime = Runtime(project, overrides={**chosen, "mode": "observe", "database_url": url})
        try:
            settings, _ = (_first_settings(runtime, definition) for definition in sides)
            comparison = VersionComparison(
                control=WorkflowVersion("before", sides[0]),
                treatment=WorkflowVersion("after", sides[1]),
                trial=_new_trial(settings, runs, before, after),
                provider=provider,
                model=model,
                base_url=base_url,
                context=initial,
                verbose=verbose,
            )
            run_comparison(comparison, runtime, _new_screen("before or after", runs, as_json=as_json))
        finally:
            runtime.close()
    _tell(comparison, {"before": str(before), "after": str(after)}, output, as_json=as_json, project=project)


def _first_settings(runtime: Runtime, definition: Any) -> Settings:
    """Return the settings of a workflow's first team; what is wrong in its metadata ends the command."""
    from .runner import team_steps

    step = next(iter(team_steps(definition)))
    return runtime.resolver.for_team(definition.name, step, (definition.metadata or {}).get("autotune"))


def validate(
    file: WorkflowFile,
    workflow: WhichWorkflow = None,
    team: Team = None,
    suggested: Annotated[
        bool, typer.Option("--suggested", help="Validate the best suggestion, although the team has a live plan.")
    ] = False,
    runs: MostRuns = 30,
    metric: Metric = None,
    threshold: Threshold = None,
    provider: Provider = None,
    model: Model = None,
    base_url: BaseUrl = None,
    values: Values = None,
    context: Context = None,
    verbose: Verbose = False,
    project: Project = HERE,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Run a team alternately with its live plan and as configured, until it is proven whether the plan is better.

    A plan that the settings fix counts as the live one. Without a live plan
    the plan under test is validated, or else the best suggestion. Runs come
    in pairs of random order, and the test looks after every run. The runs
    are recorded, and count in no other test; the plan stays what it is,
    whatever comes out.

    Exit code 1 if the plan is proven worse, or no run of a version succeeds.
    """
    from .._host.workflows import read_workflows
    from .._tuning.runtime import Runtime
    from .comparison import VersionComparison, WorkflowVersion, run_comparison

    initial = initial_context(context, values or [])
    definition = read_workflows(file).workflow(workflow)
    step = _step(definition, team)
    chosen = _overrides(metric, threshold)
    metadata = (definition.metadata or {}).get("autotune")
    with opened(project, chosen) as session:
        settings = session.runtime.resolver.for_team(definition.name, step, metadata)
        if settings.plan is not None and not suggested:
            plan, name = settings.plan, "fixed plan"
        else:
            plan, name = _plan(session, session.team(step, definition.name), settings, suggested=suggested)
    runtime = Runtime(project, overrides={**chosen, "mode": "observe"})
    try:
        comparison = VersionComparison(
            control=WorkflowVersion("as configured", definition),
            treatment=WorkflowVersion(name, definition, {step: plan}),
            trial=_new_trial(settings, runs, definition.name, step, plan.id),
            mode=settings.mode,
            provider=provider,
            model=model,
            base_url=base_url,
            context=initial,
            verbose=verbose,
        )
        run_comparison(comparison, runtime, _new_screen(f"{step}: {name}", runs, as_json=as_json))
    finally:
        runtime.close()
    if not as_json:
        show.say(f"{step} ({definition.name}), {name}: {show.plan_text(plan)}")
    extra = {"workflow": definition.name, "team_id": step, "plan": plan.to_dict()}
    _tell(comparison, extra, output, as_json=as_json, project=project)


def _step(definition: Any, team: str | None) -> str:
    """Return the team step that is meant.

    Raises:
        AutotuneError: If there is none of that name, or none was named and there are several.
    """
    from .runner import team_steps

    steps = team_steps(definition)
    if team is None and len(steps) == 1:
        return steps[0]
    if team in steps:
        return str(team)
    wrong = "the workflow has several teams" if team is None else f"the workflow has no team {team!r}"
    raise AutotuneError(wrong, where="--team-id", hint=f"Name one of: {', '.join(steps)}.")


def _plan(session: OpenProject, state: TeamState, settings: Settings, *, suggested: bool) -> tuple[TeamPlan, str]:
    """Return the plan to validate, and what it is called.

    Raises:
        AutotuneError: If there is none.
    """
    from .._tuning.next_test import advice

    store = session.store
    assert store is not None
    if not suggested and not state.plan.is_empty:
        return state.plan, "live plan"
    experiment = None if state.experiment_id is None else store.experiment(state.experiment_id)
    if not suggested and experiment is not None:
        return experiment.treatment, "plan under test"
    found = advice(store, state, settings, session.runtime.hooks).challenge.suggested
    if not found:
        raise AutotuneError(
            f"team {state.team_id!r} has no plan to validate",
            where="--suggested" if suggested else "TEAM",
            hint="Its runs so far suggest nothing; see victor autotune explain.",
        )
    return state.plan.merged(found[0].plan), "suggested plan"


def _overrides(metric: str | None, threshold: float | None) -> dict[str, object]:
    """Return the options of a trial as settings.

    Args:
        metric: What decides, or None.
        threshold: Least improvement in percent, or None.

    Raises:
        AutotuneError: For an unknown metric.
    """
    from .._model.policy import METRICS

    if metric is not None and metric not in METRICS:
        raise AutotuneError(f"unknown metric {metric!r}", where="--metric", hint=f"Known: {', '.join(METRICS)}.")
    return {
        "experiment.metric": metric,
        "experiment.minimum_improvement": None if threshold is None else threshold / 100,
    }


def _new_trial(settings: Settings, runs: int, *names: object) -> Trial:
    """Return a trial by a team's settings.

    Args:
        *names: What is compared; equal names give an equal order of the runs.
    """
    from .._apply.trial import Trial
    from .._tuning.new_experiment import policy_of

    seed = hashlib.sha256("\n".join(map(str, names)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Trial(policy_of(settings), seed=seed, runs_per_arm=runs)


def _new_screen(title: str, runs: int, *, as_json: bool) -> RunsScreen:
    """Return the screen of a trial with this many runs of each version."""
    return RunsScreen(title, 2 * runs, bar=not as_json, may_end_early=True)


def _tell(
    comparison: VersionComparison, extra: Mapping[str, Any], output: Path | None, *, as_json: bool, project: Path
) -> None:
    """Tell the result of a comparison, and end with its exit code.

    Args:
        extra: What else belongs in the JSON.
        output: File to write the JSON to, or None.
        as_json: Whether JSON goes to stdout.
        project: The project's folder.

    Raises:
        typer.Exit: With 1 when the treatment failed, or no run of a version succeeded; 130 after Ctrl-C.
    """
    result = comparison.trial.result()
    control, treatment = comparison.control.name, comparison.treatment.name
    failures = [
        {"number": run.number, "version": name, "error": run.error} for name, run in comparison.runs if run.error
    ]
    data = {
        **extra,
        **result.to_dict(),
        "versions": {"control": control, "treatment": treatment},
        "failures": failures,
        "interrupted": comparison.interrupted,
    }
    if not show.answered(data, output, as_json=as_json, project=project):
        _print_trial(result, control, treatment)
        for one in failures[:3]:
            show.say(f"run {one['number']} ({one['version']}) failed: {one['error']}", "red")
        if len(failures) > 3:
            show.say(f"and {len(failures) - 3} more failed; all are in --json", "red")
        if comparison.interrupted:
            show.say(f"Interrupted after {show.count(len(comparison.runs), 'run')}.")
    if comparison.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    nothing_succeeded = 0.0 in (result.control.success_rate, result.treatment.success_rate)
    if result.status == "failed" or nothing_succeeded:
        raise typer.Exit(ExitCode.BAD)


def _print_trial(result: TrialResult, control: str, treatment: str) -> None:
    """Print the table and the verdict of a trial; control and treatment are what the versions are called."""
    table = show.table("Version", ">Runs", ">Success", ">Median", ">P95", ">Cost", ">Tool calls")
    for title, figures in ((control, result.control), (treatment, result.treatment)):
        table.add_row(show.name(title), *_row(figures))
    show.out().print(table)
    verdict = result.verdict
    if math.isfinite(verdict.effect):
        show.say(
            f"Effect on the {show.TITLES[verdict.metric]}: {show.change(verdict.effect)}, "
            f"{show.percent(1 - verdict.error_rate)} interval {show.interval(*verdict.interval)}, valid at every look."
        )
    show.say(show.word(result.status).append(": ").append(show.clean(result.reason)))
    if result.status == "inconclusive" and verdict.minimum_detectable_effect is not None:
        seen = show.percent(verdict.minimum_detectable_effect)
        show.say(f"A test of this length finds an improvement of {seen} four times in five.", "dim")


def _row(figures: ArmFigures) -> list[str]:
    return [
        str(figures.runs),
        show.percent(figures.success_rate),
        show.seconds(figures.median_seconds),
        show.seconds(figures.p95_seconds),
        show.usd(figures.mean_cost_usd),
        show.number(figures.mean_tool_calls, 1),
    ]
