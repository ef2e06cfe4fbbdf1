"""`run`: workflows with team steps, which Victor's own command can't run, with the plugin at work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import StoreError
from . import rendering as show
from .awaiting import print_decisions
from .command import ExitCode
from .options import (
    HERE,
    BaseUrl,
    Context,
    Json,
    Model,
    Project,
    Provider,
    Values,
    Verbose,
    WhichWorkflow,
    WorkflowFile,
    initial_context,
)
from .project import opened
from .status import TeamFacts, team_facts
from .status_screen import standing_cell

if TYPE_CHECKING:
    from .runner import Outcome


def run(
    file: WorkflowFile,
    workflow: WhichWorkflow = None,
    runs: Annotated[int, typer.Option("--runs", "-n", metavar="N", min=1, help="How often to run it.")] = 1,
    concurrency: Annotated[
        int, typer.Option("--concurrency", metavar="N", min=1, help="How many runs at the same time.")
    ] = 1,
    provider: Provider = None,
    model: Model = None,
    base_url: BaseUrl = None,
    values: Values = None,
    context: Context = None,
    mode: Annotated[
        str | None, typer.Option("--mode", help="off, observe, suggest, approve or auto.", show_default="the settings'")
    ] = None,
    verbose: Verbose = False,
    project: Project = HERE,
    as_json: Json = False,
) -> None:
    """Run a workflow, once or many times, with its teams recorded and tuned as the settings say.

    A run fails when it raises, when Victor reports it or a step of it as
    failed, or when a team in it fails. It does not stop the others.

    Ctrl-C stops the runs that are under way; those that have finished stay
    recorded.
    """
    from .runner import Job, run_job

    initial = initial_context(context, values or [])
    job = Job(file, workflow, runs, concurrency, provider, model, base_url, initial, verbose)
    outcome = run_job(job, project, mode, on_screen=not as_json)
    facts = _facts(outcome, project, mode)
    if as_json:
        show.write_json(outcome.to_dict() | {"teams": [one.to_dict() for one in facts]})
    else:
        _print(outcome, facts)
    if outcome.runs and not outcome.teams() and not outcome.off:
        show.note("no team run was seen; see victor autotune doctor")
    if outcome.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if outcome.failed:
        raise typer.Exit(ExitCode.BAD)


def _facts(outcome: Outcome, project: Path, mode: str | None) -> list[TeamFacts]:
    """Return how the teams that ran stand now; what was run is told even if the store is gone meanwhile."""
    ran = outcome.teams()
    try:
        if ran:
            with opened(project, {"mode": mode}) as session:
                return [
                    team_facts(session, state, outcome.team_runs(state.key), outcome.settings.get(state.team_id))
                    for state in session.teams()
                    if state.key in ran
                ]
    except StoreError as error:
        show.note(error)
    return []


def _print(outcome: Outcome, facts: Sequence[TeamFacts]) -> None:
    print_decisions(facts)
    if facts:
        table = show.table("Team", ">Runs", ">Success", ">Median", ">P95", "Plan now", "Experiment")
        for one in facts:
            table.add_row(
                show.name(one.state.team_id),
                str(one.figures.runs),
                show.percent(one.figures.success_rate),
                show.seconds(one.figures.median_seconds),
                show.seconds(one.figures.p95_seconds),
                show.text(show.plan_text(one.plan)),
                standing_cell(one),
            )
        show.out().print(table)
    for failed in outcome.failures():
        show.say(f"run {failed.number} failed: {failed.error}", "red")
    for hint in dict.fromkeys(failed.hint for failed in outcome.failures() if failed.hint is not None):
        show.say(hint, "yellow")
    done = show.count(len(outcome.runs), "run")
    said = f"{outcome.workflow}: {done} in {show.seconds(outcome.seconds)}, {outcome.failed} failed."
    if outcome.interrupted:
        said += f" Interrupted: {outcome.wanted - len(outcome.runs)} not done."
    show.say(said, "red" if outcome.failed else "")
