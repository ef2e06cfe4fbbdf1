"""`potential`: what every team could save a week, and what is missing to know more."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from . import rendering as show
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen
from .project import opened

if TYPE_CHECKING:
    from .._tuning.potential import Potential, Saving


def potential(
    name: TeamName = None, project: Project = HERE, workflow: Workflow = None, team: Team = None, as_json: Json = False
) -> None:
    """Show what every team, or one, could save a week, what that rests on, and what is missing to know more.

    It works in every mode; nothing is changed. No number is told without its
    90 % interval.
    """
    from .._tuning.potential import team_potential

    with opened(project) as session:
        states, store = session.teams(workflow, chosen(name, team)), session.store
        hooks, resolver = session.runtime.hooks, session.runtime.resolver
        found = []
        if store is not None:
            now = time.time()
            found = [team_potential(store, one, resolver.for_team(*one.key), hooks, now) for one in states]
    found.sort(key=lambda one: (one.order, one.workflow, one.team_id))
    if as_json:
        show.write_json({"teams": [one.to_dict() for one in found]})
    elif not found:
        show.say(show.NOTHING_YET)
    else:
        _print(found)


def _print(found: list[Potential]) -> None:
    table = show.table("Team", "Best plan now", "Less", "Saved a week")
    for one in found:
        plan = "no room" if one.plan is None else show.plan_text(one.plan)
        table.add_row(
            show.lines(show.name(one.team_id), show.name(one.workflow)),
            show.lines(plan, "being tested" if one.is_tested else None),
            show.lines(*[_gain(saving) for saving in one.savings] or [show.DASH]),
            show.lines(*[_week(saving) for saving in one.savings] or [show.DASH]),
        )
    show.out().print(table)
    for one in found:
        show.say(show.clean(one.team_id), "bold")
        show.out().print(show.bullets(sentences(one)))


def _gain(saving: Saving) -> str:
    return f"{show.percent(saving.gain)} {show.TITLES[saving.metric]}, 90 % {show.interval(*saving.interval)}"


def _week(saving: Saving) -> str:
    if saving.a_week is None:
        return show.DASH
    unit = _time if saving.metric == "duration" else show.usd
    middle, low, high = saving.a_week
    return f"{unit(middle)}, 90 % {unit(low)} to {unit(high)}"


def _time(value: float) -> str:
    """Return a time of a week, which may be negative, in hours where it is long."""
    hours = abs(value) >= 3600
    return f"{show.number(value / 3600 if hours else value, 1 if hours else 0)} {'h' if hours else 's'}"


def sentences(found: Potential) -> list[str]:
    """Say what a team's potential rests on, what is missing, and what would open more."""
    pace, told = found.pace, []
    if pace.runs:
        counted = f"{show.count(pace.runs, 'run')} in {pace.days:.1f} days"
        told.append(f"Runs a week: {pace.per_week:.1f}, from {counted}.")
    else:
        told.append("Runs a week: unknown; none was recorded in the last 4 weeks.")
    if found.none_because is not None:
        told.append(f"No room now: {found.none_because}")
    if found.rests_on:
        told.append(f"Rests on: {'; '.join(found.rests_on)}.")
    told += [
        f"A scorer would open: {show.plan_text(one.plan)} (suggested by {show.clean(one.source)})."
        for one in found.opened_by_scorer
    ]
    if found.opened_by_data_flow is not None:
        told.append(f"A declared data flow would open: {show.plan_text(found.opened_by_data_flow)}.")
    told += [f"Missing: {one.what}. Set or run: {one.given_by}" for one in found.missing]
    return told
