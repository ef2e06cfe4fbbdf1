"""Values that are right alone and contradict each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .._model.plan import TeamPlan
from .._values.nodes import Entry, Problem
from .merge import value_of
from .values import Settings

_ORDERED = (
    ("limits.min_members", "limits.max_members"),
    ("limits.min_tool_budget", "limits.max_tool_budget"),
    ("limits.min_timeout_seconds", "limits.max_timeout_seconds"),
    ("experiment.min_runs_per_arm", "experiment.max_runs_per_arm"),
)


def contradictions(settings: Settings, entries: Mapping[str, Entry]) -> Iterator[tuple[tuple[str, str], Problem]]:
    """Give what contradicts each other in the settings of a team.

    Args:
        settings: The settings.
        entries: The values that are not defaults, with their sources, by dotted key.

    Yields:
        The two keys, and the problem.
    """
    for low, high in _ORDERED:
        least, most = value_of(settings, low), value_of(settings, high)
        if isinstance(least, int | float) and isinstance(most, int | float) and least > most:
            yield _problem(entries, low, high, f"{low} is {least:g}, more than {high}, which is {most:g}")
    limits, plan = settings.limits, settings.plan
    protected = len(limits.protected_members)
    if limits.max_members is not None and protected > limits.max_members:
        low, high = "limits.protected_members", "limits.max_members"
        yield _problem(
            entries, low, high, f"{low} has {protected} members, more than {high}, which is {limits.max_members}"
        )
    if plan is None:
        return
    for knob, limit, text in limits.crossed_by(plan):
        yield _problem(entries, f"plan.{knob}", f"limits.{limit}", f"plan.{text}")
    if plan.sub_teams is not None:
        yield from _sub_teams(entries, plan)
    for member in plan.member_budgets or ():
        if plan.members is not None and member not in plan.members:
            text = f"plan.member_budgets names {member}, whom plan.members leaves out"
            yield _problem(entries, "plan.member_budgets", "plan.members", text)


def _sub_teams(entries: Mapping[str, Entry], plan: TeamPlan) -> Iterator[tuple[tuple[str, str], Problem]]:
    groups, formation, members = "plan.sub_teams", "plan.formation", "plan.members"
    named = {name for group in plan.sub_teams or () for name in group}
    if plan.formation is not None:
        text = f"{groups} and {formation} are both set, and sub-teams take the place of a formation"
        yield _problem(entries, groups, formation, text)
    for member in plan.members or ():
        if member not in named:
            yield _problem(entries, groups, members, f"{groups} has no place for {member}, whom {members} names")
    if plan.members is not None:
        for member in sorted(named.difference(plan.members)):
            yield _problem(entries, groups, members, f"{groups} names {member}, whom {members} leaves out")


def _problem(entries: Mapping[str, Entry], key: str, other: str, text: str) -> tuple[tuple[str, str], Problem]:
    places = [entries[name].where for name in (key, other) if name in entries]
    also = f" ({places[1]})" if len(places) == 2 and places[1] != places[0] else ""
    default = "" if len(places) == 2 else " by default"
    return (key, other), Problem(places[0], "", f"{text}{default}{also}", f"Change `{key}` or `{other}`.")
