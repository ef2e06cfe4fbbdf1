"""Which members need each other's work, and groups that keep them together."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from .._model.plan import MemberSpec
from .config import TeamConfig

_STAGES: Final = (
    frozenset({"plan", "planner", "architect", "designer", "manager", "lead", "coordinator"}),
    frozenset({"research", "researcher", "analyst", "explorer", "scout"}),
    frozenset({"code", "coder", "executor", "implementer", "developer", "engineer", "writer", "author", "generator"}),
    frozenset({"review", "reviewer", "critic", "editor", "auditor"}),
    frozenset({"test", "tester", "qa", "verifier", "validator"}),
)
"""Words for what usually needs what: each stage the ones before it."""

DECLARED, ASSUMED = "declared", "assumed from roles"
"""Where dependencies are from: `depends_on`, or roles and names."""


def chains(config: TeamConfig) -> tuple[list[tuple[str, ...]], str]:
    """Return the sets of members that must stay in order, each in the order of the team, and where that is from.

    Without `depends_on`, members of different stages (plan, research, make, review, test) are taken to need each other,
    unless both have names that say they work on different things, such as `frontend_coder` and `backend_reviewer`.
    Members of one stage, and of none, are taken to be independent.

    Args:
        config: The team's config.
    """
    declared = bool(config.depends_on)
    group = {name: name for name in config.ids}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for place, first in enumerate(config.members):
        for second in config.members[place + 1 :]:
            if declared:
                needs, needed = config.depends_on.get(first.id, ()), config.depends_on.get(second.id, ())
                linked = second.id in needs or first.id in needed
            else:
                linked = _need_each_other(first, second)
            if linked:
                group[root(second.id)] = root(first.id)
    together: dict[str, list[str]] = {}
    for name in config.ids:
        together.setdefault(root(name), []).append(name)
    found = [tuple(members) for members in together.values()]
    return [_in_order(members, config.depends_on) for members in found], DECLARED if declared else ASSUMED


def packed(units: Sequence[tuple[str, ...]], seconds: Mapping[str, float], groups: int) -> tuple[tuple[str, ...], ...]:
    """Divide units among groups so that the groups take about the same time: the longest first, each to the emptiest.

    At most 4/3 of the best possible (Graham 1969, Bounds on multiprocessing timing anomalies).

    Args:
        units: Members that stay together, in order.
        seconds: What each member takes.
        groups: Number of groups, at most as many as units.
    """
    bins: list[tuple[float, list[tuple[str, ...]]]] = [(0.0, []) for _ in range(groups)]
    for unit in sorted(units, key=lambda one: -sum(seconds[name] for name in one)):
        # An empty group first, so that none stays empty when members take no time.
        place = min(range(groups), key=lambda k: (bins[k][0], len(bins[k][1])))
        load, members = bins[place]
        bins[place] = load + sum(seconds[name] for name in unit), [*members, unit]
    order = {unit: place for place, unit in enumerate(units)}
    return tuple(tuple(name for unit in sorted(kept, key=order.__getitem__) for name in unit) for _, kept in bins)


def _need_each_other(first: MemberSpec, second: MemberSpec) -> bool:
    one, other = _stage(first), _stage(second)
    if one is None or other is None or one == other:
        return False
    subjects = _subject(first), _subject(second)
    return not all(subjects) or subjects[0] == subjects[1]


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _stage(member: MemberSpec) -> int | None:
    words = {*_words(member.id), *_words(member.role)}
    return next((place for place, names in enumerate(_STAGES) if words & names), None)


def _subject(member: MemberSpec) -> tuple[str, ...]:
    """Return what a member's name says it works on: its words that name no stage."""
    return tuple(word for word in _words(member.id) if not any(word in names for names in _STAGES))


def _in_order(members: Sequence[str], depends_on: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return members so that each comes after those it needs, else in their order; a circle keeps the order."""
    left, done = list(members), []
    while left:
        ready = next((name for name in left if not set(depends_on.get(name, ())) & set(left) - {name}), left[0])
        left.remove(ready)
        done.append(ready)
    return tuple(done)
