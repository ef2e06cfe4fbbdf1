"""The workflows, teams and members that settings name, and which of them nothing knows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, cast

from .._model.plan import ADHOC_WORKFLOW
from .._values.names import did_you_mean
from ..errors import SettingsError
from .keys import PLANS
from .layers import Entry, Layer, Scope

KnownTeams = Mapping[tuple[str, str], Iterable[str]]
"""Ids of the members by `(workflow, team id)`."""

_OF_MEMBERS: Final = (
    "limits.protected_members",
    *(f"{section}.{knob}" for section in PLANS for knob in ("members", "member_budgets", "sub_teams")),
    "dataflow_edges",
)
_NOBODY: Final = "in no workflow file of the project, and no run was recorded of it"


def unknown_names(layers: Iterable[Layer], known: KnownTeams) -> list[SettingsError]:
    """Return an error for each name that no known team has; with a name, what is set below it is not looked at.

    Args:
        layers: What the sources set.
        known: The teams that the project declares, and those that were recorded.
    """
    found: list[SettingsError] = []
    for layer in layers:
        lost = [scope for scope in layer.named if not _is_known(scope, known)]
        found += [_unknown_scope(scope, layer.named[scope], known) for scope in lost if scope[:-1] not in lost]
        for scope, entries in layer.scopes.items():
            if scope not in lost and scope[:1] not in lost:
                found += _unknown_members(scope, entries, known)
    return found


def _is_known(scope: Scope, known: KnownTeams) -> bool:
    return any(key[: len(scope)] == scope for key in known) or scope == (ADHOC_WORKFLOW,)


def _unknown_scope(scope: Scope, where: str, known: KnownTeams) -> SettingsError:
    kind = "workflow" if len(scope) == 1 else "team"
    others = dict.fromkeys(key[len(scope) - 1] for key in known if key[: len(scope) - 1] == scope[:-1])
    message = f"workflows.{'.teams.'.join(scope)}: {kind} {scope[-1]!r} is {_NOBODY}"
    return SettingsError(message, where=where, hint=did_you_mean(scope[-1], others))


def _unknown_members(scope: Scope, entries: Mapping[str, Entry], known: KnownTeams) -> Iterator[SettingsError]:
    teams = [key for key in known if key[: len(scope)] == scope]
    members = dict.fromkeys(member for key in teams for member in known[key])
    for key in _OF_MEMBERS:
        for name in dict.fromkeys(_names(entries[key].value)) if key in entries else ():
            if name not in members:
                whose = f"of team {scope[1]!r} " if len(scope) == 2 else f"of workflow {scope[0]!r} " if scope else ""
                message = f"{key}: member {name!r} {whose}is {_NOBODY}"
                yield SettingsError(message, where=entries[key].where, hint=did_you_mean(name, members))
    edges = entries.get("dataflow_edges") or Entry((), "")
    for source, target in cast("tuple[tuple[str, str], ...]", edges.value):
        both = {source, target}
        if both <= members.keys() and not any(both.issubset(known[key]) for key in teams):
            message = f"dataflow_edges: no team has both {source!r} and {target!r}"
            yield SettingsError(message, where=edges.where, hint="Name two members of one team.")


def _names(value: object) -> Iterator[str]:
    """Give the names in a list, a mapping, or a list of lists."""
    for one in value if isinstance(value, Mapping | list | tuple) else ():
        if isinstance(one, str):
            yield one
        else:
            yield from _names(one)
