"""`report`: everything that is known of the teams, as one HTML file."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen

if TYPE_CHECKING:
    from .._model.experiment import TeamState
    from .._page import ReportedTeam
    from .session import Session

_MOST_RUNS = 300
_MOST_CHANGES = 200


def report(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.html", help="File to write.")] = Path(
        "autotune-report.html"
    ),
    as_json: Json = False,
) -> None:
    """Write an HTML report: teams, plans, experiments with effect and interval, and the history.

    One file that loads nothing, readable by its owner alone (mode 0600).
    """
    from .._page import page
    from .._values.files import write_text
    from . import rendering as show
    from .session import opened

    with opened(project) as session:
        teams = [_reported(session, state) for state in session.teams(workflow, chosen(name, team))]
    title = f"Autotune report of {project.absolute().name}"
    write_text(output, page(teams, title=title, at=time.time()))
    if as_json:
        experiments = sum(len(one.experiments) for one in teams)
        show.write_json({"file": str(output), "teams": len(teams), "experiments": experiments})
    else:
        show.say(f"{output}: {show.count(len(teams), 'team')}.")
        if not teams:
            show.note("nothing was recorded here yet. Run a workflow: victor autotune run WORKFLOW.yaml")


def _reported(session: Session, state: TeamState) -> ReportedTeam:
    from .._page import ReportedExperiment, ReportedTeam
    from .facts import team_facts, verdicts

    store = session.store
    assert store is not None
    facts = team_facts(session, state)
    return ReportedTeam(
        state=state,
        plan=facts.plan,
        mode=facts.mode,
        runs=[*store.finished_runs(*state.key, limit=_MOST_RUNS)][::-1],
        success_rate=facts.figures.success_rate,
        median_seconds=facts.figures.median_seconds,
        p95_seconds=facts.figures.p95_seconds,
        experiments=[ReportedExperiment(one, *verdicts(store, one)) for one in store.experiments(*state.key)],
        changes=[*islice(reversed(store.changes(*state.key)), _MOST_CHANGES)],
    )
