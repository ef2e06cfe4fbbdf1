"""`history`: what was changed, or what was run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from .._model.state import Change, RunRecord


def history(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    runs: Annotated[bool, typer.Option("--runs", help="List runs instead of changes.")] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """List the changes to the teams' plans, newest first: what, who, why, and the plan before and after."""
    from itertools import islice

    from . import rendering as show
    from .session import opened

    team_id = chosen(name, team)
    with opened(project) as session:
        session.teams(workflow, team_id)
        store = session.store
        found: list[Any] = []
        changes: list[Change] = []
        if store is not None and runs:
            found = list(store.runs(workflow, team_id, limit=limit))
        elif store is not None:
            changes = store.changes(workflow, team_id)
            found = list(islice(reversed(changes), limit))
    kind = "runs" if runs else "changes"
    if as_json:
        show.write_json({kind: [one.to_dict() for one in found]})
    elif not found:
        show.say(f"No {kind} yet.")
    else:
        show.out().print(_runs(found) if runs else _changes(found, {one.id: one for one in changes}))


def _changes(changes: list[Change], known: Mapping[int | None, Change]) -> Table:
    """Return the table of some changes; `known` holds them and those before them, by id."""
    from .._tuning.rollback import TAKES_BACK
    from . import rendering as show

    table = show.table("When", "Team", "What", "Why, and the plan")
    for change in changes:
        improvement = change.improvement_percent
        plans = None
        if change.plan_before != change.plan_after:
            plans = f"{show.plan_text(change.plan_before)} → {show.plan_text(change.plan_after)}"
        taken = [known[one].reason for one in change.evidence.get(TAKES_BACK, ()) if plans is None and one in known]
        table.add_row(
            show.text(show.when(change.at)),
            show.lines(show.name(change.team_id), show.name(change.workflow)),
            show.lines(
                show.word(change.action),
                show.who(change),
                None if improvement is None else f"{improvement:.0f} % better",
            ),
            show.lines(change.reason, plans, *(f"takes back: {reason}" for reason in taken)),
        )
    return table


def _runs(records: list[RunRecord]) -> Table:
    from . import rendering as show

    table = show.table(
        "Started",
        "Team",
        "Outcome",
        "Duration",
        "Calls",
        "Plan",
        right=("Duration", "Calls"),
    )
    for record in records:
        start, run = record.start, record.run
        arm = None if start.arm is None else f"{start.arm} of {start.experiment_id}"
        table.add_row(
            show.text(show.when(start.started_at)),
            show.lines(show.name(start.spec.team_id), show.name(start.spec.workflow)),
            _outcome(record),
            show.DASH if run is None else show.seconds(run.duration_seconds),
            show.DASH if run is None else str(run.tool_calls),
            show.lines(show.plan_text(start.plan_asked), arm),
        )
    return table


def _outcome(record: RunRecord) -> Any:
    from . import rendering as show

    run = record.run
    if run is None:
        return show.word(record.status, "warn")
    if run.cancelled:
        return show.word("cancelled", "warn")
    if run.success:
        return show.word("ok")
    return show.lines(show.word("timed out" if run.timed_out else "failed", "failed"), run.error_class)
