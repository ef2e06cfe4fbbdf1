"""`status`: one row for each team."""

from __future__ import annotations

from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen


def status(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    as_json: Json = False,
) -> None:
    """Show every team that was recorded, or one: its plan, its test, and how it does."""
    from . import rendering as show
    from .facts import team_facts
    from .session import opened

    with opened(project) as session:
        facts = [team_facts(session, state) for state in session.teams(workflow, chosen(name, team))]
    if as_json:
        show.write_json({"teams": [one.to_dict() for one in facts]})
        return
    if not facts:
        show.say("Nothing was recorded here yet. Run a workflow: victor autotune run WORKFLOW.yaml")
        return
    table = show.table(
        "Team",
        "Mode",
        "Live plan",
        "Experiment",
        "Runs",
        "Success",
        "Median",
        right=("Runs", "Success", "Median"),
    )
    for one in facts:
        verdict = one.verdict_text()
        table.add_row(
            show.lines(show.name(one.state.team_id), show.name(one.state.workflow)),
            show.lines(one.mode, "paused" if one.state.paused else None),
            show.text(show.plan_text(one.plan)),
            show.lines(one.experiment_text() or "none open", None if verdict is None else f"last: {verdict}"),
            str(one.figures.runs),
            show.percent(one.figures.success_rate),
            show.seconds(one.figures.median_seconds),
        )
    show.out().print(table)
    show.say("testing, watching: runs of control + treatment; more by: explain TEAM", "dim")
