"""`potential`: what every team could save a week, and what is missing to know more."""

from __future__ import annotations

import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Final

from . import rendering as show
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen
from .project import opened

if TYPE_CHECKING:
    from .._tuning.potential import Potential, Saving

_MOST_IN_FULL: Final = 3
"""Teams up to which all is told of each; of more, the table, and what is missing in how many."""


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
    table = show.table("Team", "Best plan now", "Change", "Saved a week")
    for one in found:
        plan = "no room" if one.plan is None else show.plan_text(one.plan)
        table.add_row(
            show.lines(show.name(one.team_id), show.name(one.workflow)),
            show.lines(plan, "being tested" if one.is_tested else None),
            show.lines(*[_gain(saving) for saving in one.savings] or [show.DASH]),
            show.lines(*[_week(saving) for saving in one.savings] or [show.DASH]),
        )
    show.out().print(table)
    show.say("Expected, not measured, with 90 % intervals", "dim")
    if len(found) <= _MOST_IN_FULL:
        for one in found:
            show.say(show.clean(one.team_id), "bold")
            show.out().print(show.bullets(sentences(one)))
        return
    missing = Counter(re.sub(r"^[\d,]+ more runs?$", "more runs", need.what) for one in found for need in one.missing)
    for what, teams in missing.most_common():
        show.say(f"Missing in {show.count(teams, 'team')}: {what}")
    show.say("Why, and what would open more: victor autotune potential TEAM", "dim")


def _gain(saving: Saving) -> str:
    """Return how much less or more of a metric is expected: `54 % less time, 45 % to 61 %`."""
    name = {"duration": "time"}.get(saving.metric, show.TITLES[saving.metric])
    low, high = sorted(saving.interval)
    if low <= 0 <= high:
        return f"no clear change of {name}: {show.interval(-high, -low)}"
    word = "less" if low > 0 else "more"
    ends = sorted((abs(low), abs(high)))
    return f"{show.percent(abs(saving.gain))} {word} {name}, {show.percent(ends[0])} to {show.percent(ends[1])}"


def _week(saving: Saving) -> str:
    if saving.a_week is None:
        return show.DASH
    unit = show.seconds if saving.metric == "duration" else show.usd
    middle, low, high = saving.a_week
    return f"{unit(middle)}, {unit(low)} to {unit(high)}"


def sentences(found: Potential) -> list[str]:
    """Say what a team's potential rests on, what is missing, and what would open more."""
    pace, told = found.pace, []
    if pace.runs:
        days = "1 day" if round(pace.days) == 1 else f"{pace.days:.0f} days"
        told.append(f"Runs a week: {pace.per_week:.0f}, from {show.count(pace.runs, 'run')} in {days}.")
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
