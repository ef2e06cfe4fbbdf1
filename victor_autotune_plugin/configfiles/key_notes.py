"""What a person should know about the keys of team steps that can run: keys without effect, keys given twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from .._values.fields import Kind
from .._values.names import listed, nearest
from .._values.nodes import Table
from .declarations import MEMBER_KINDS, SIMILAR, STEP_KINDS, TeamStep


def key_notes(steps: Iterable[TeamStep]) -> list[str]:
    """Return the notes, one for each key, with every `file:line` where it stands in front."""
    places: dict[str, list[str]] = {}
    for step in steps:
        for where, note in _of_step(step):
            places.setdefault(note, []).append(where)
    return [f"{listed(dict.fromkeys(where))}: {note}" for note, where in places.items()]


def _of_step(step: TeamStep) -> Iterator[tuple[str, str]]:
    yield from _of_keys(step.node, "a team step", STEP_KINDS)
    for member in step.members:
        yield from _of_keys(member, "a member", MEMBER_KINDS)
    count = step.node.value("member_count")
    if count is not None and (isinstance(count, bool) or count != len(step.members)):
        yield step.node.where_of("member_count"), f"member_count is {count!r}, but members are {len(step.members)}"


def _of_keys(table: Table, whose: str, kinds: Mapping[str, Kind]) -> Iterator[tuple[str, str]]:
    names = list(table)
    for key in dict.fromkeys(names):
        if key not in kinds:
            near = nearest(key, kinds, cutoff=SIMILAR)
            guess = "" if near is None else f"; did you mean `{near}`?"
            yield table.where_of(key), f"the key `{key}` of {whose} has no effect in Victor{guess}"
        if names.count(key) > 1:
            yield table.where_of(key), f"the key `{key}` of {whose} is given twice; the last counts"
