"""`validate`: is a team's plan better than what its workflow declares?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import AutotuneError
from .context import initial_context
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
)

if TYPE_CHECKING:
    from .._model.experiment import TeamState
    from .._model.plan import TeamPlan
    from .._settings import Settings
    from .session import Session


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
    """Run a team with its live plan and as configured in turn, until it is proven whether the plan is better.

    A plan that the settings fix counts as the live one. Without a live plan
    the plan under test is validated, or else the best suggestion. Runs come
    in pairs of random order, and the test looks after every run. The runs
    are recorded, and count in no other test; the plan stays what it is,
    whatever comes out.

    Exit code 1 if the plan is proven worse, or no run of a version succeeds.
    """
    from .._host.workflows import read_workflows
    from .._tuning.runtime import Runtime
    from . import trials
    from .comparison import Comparison, Version, run_comparison
    from .session import opened

    initial = initial_context(context, values or [])
    definition = read_workflows(file).workflow(workflow)
    step = _step(definition, team)
    chosen = trials.overrides(metric, threshold)
    metadata = (definition.metadata or {}).get("autotune")
    with opened(project, chosen) as session:
        settings = session.runtime.resolver.for_team(definition.name, step, metadata)
        if settings.plan is not None and not suggested:
            plan, name = settings.plan, "fixed plan"
        else:
            plan, name = _plan(session, session.team(step, definition.name), settings, suggested=suggested)
    runtime = Runtime(project, overrides={**chosen, "mode": "observe"})
    try:
        comparison = Comparison(
            control=Version("as configured", definition),
            treatment=Version(name, definition, {step: plan}),
            trial=trials.new_trial(settings, runs, definition.name, step, plan.id),
            mode=settings.mode,
            provider=provider,
            model=model,
            base_url=base_url,
            context=initial,
            verbose=verbose,
        )
        run_comparison(comparison, runtime, trials.new_screen(f"{step}: {name}", runs, as_json=as_json))
    finally:
        runtime.close()
    if not as_json:
        from . import rendering as show

        show.say(f"{step} ({definition.name}), {name}: {show.plan_text(plan)}")
    extra = {"workflow": definition.name, "team_id": step, "plan": plan.to_dict()}
    trials.tell(comparison, extra, output, as_json=as_json)


def _step(definition: Any, team: str | None) -> str:
    """Return the team step that is meant.

    Raises:
        AutotuneError: If there is none of that name, or none was named and there are several.
    """
    from .definitions import team_steps

    steps = team_steps(definition)
    if team is None and len(steps) == 1:
        return steps[0]
    if team in steps:
        return str(team)
    wrong = "the workflow has several teams" if team is None else f"the workflow has no team {team!r}"
    raise AutotuneError(wrong, where="--team-id", hint=f"Name one of: {', '.join(steps)}.")


def _plan(session: Session, state: TeamState, settings: Settings, *, suggested: bool) -> tuple[TeamPlan, str]:
    """Return the plan to validate, and what it is called.

    Raises:
        AutotuneError: If there is none.
    """
    from .._tuning.next_test import HISTORY_RUNS
    from .._tuning.suggestions import comparable, suggestions

    store = session.store
    assert store is not None
    if not suggested and not state.plan.is_empty:
        return state.plan, "live plan"
    experiment = None if state.experiment_id is None else store.experiment(state.experiment_id)
    if not suggested and experiment is not None:
        return experiment.treatment, "plan under test"
    runs = comparable(list(store.finished_runs(*state.key, limit=HISTORY_RUNS)), state)
    found = []
    if state.spec is not None:
        found = suggestions(state.spec, state.plan, runs, settings, session.runtime.hooks)
    if not found:
        raise AutotuneError(
            f"team {state.team_id!r} has no plan to validate",
            where="--suggested" if suggested else "TEAM",
            hint="Its runs so far suggest nothing; see victor autotune explain.",
        )
    return state.plan.merged(found[0].plan), "suggested plan"
