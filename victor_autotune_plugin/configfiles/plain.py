"""A plain file: the configuration of one team, which only this plugin reads, and no workflow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .._model.plan import MemberSpec, can_form
from .._settings.keys import leaves
from .._values.fields import Kind, Number
from .._values.names import nearest
from .._values.nodes import Items, Node, Table
from ..errors import PlanError
from .declarations import BUDGET_KEYS, FORMATION_KEYS, LEADERS, read_kind, wrong_at

_PLAN: Final = {key.removeprefix("plan."): kind for key, kind in leaves().items() if key.startswith("plan.")}
_PLAIN_KINDS: Final[Mapping[str, Kind]] = {**_PLAN, "member_count": Number(1, 1_000, whole=True)}
_SIMILAR: Final = 0.8
"""How similar an unknown key must be to a known one to be taken for a typo of it; others are the person's own."""

_PLAIN_KEYS: Final = (*FORMATION_KEYS, *BUDGET_KEYS, "member_count", "members", *_PLAN, "team_id")


def is_plain(root: Table) -> bool:
    """Whether a file's mapping holds a team's keys themselves, and no workflow."""
    if "workflows" in root or any(isinstance(body, Table) and "nodes" in body for _, body in root.pairs):
        return False
    return any(key in _PLAIN_KEYS for key in root)


def read_plain(root: Table) -> tuple[dict[str, Any], str | None]:
    """Read a plain file.

    Returns:
        The configuration, and the name of its team if it has one.

    Raises:
        WorkflowError: A key or value is wrong; the message names file, line and key.
    """
    for key in root:
        similar = nearest(key, _PLAIN_KEYS, cutoff=_SIMILAR)
        if key not in _PLAIN_KEYS and similar is not None:
            raise wrong_at(root, key, f"unknown key {key!r}", f"Did you mean `{similar}`?")
    config: dict[str, Any] = {}
    for name, node in root.pairs:
        key = str(name.value)
        knob = "formation" if key in FORMATION_KEYS else "tool_budget" if key in BUDGET_KEYS else key
        if knob in config:
            raise wrong_at(root, key, f"{key} says the same as another key", "Keep one of them.")
        if knob == "members":
            config[knob] = _plain_members(root, node)
        elif knob in _PLAIN_KINDS:
            value = read_kind(_PLAIN_KINDS[knob], node, key)
            if value is not None:
                config[knob] = value
    members = config.get("members")
    if members is not None and config.setdefault("member_count", len(members)) != len(members):
        message = f"member_count is {config['member_count']}, but members are {len(members)}"
        raise wrong_at(root, "member_count", message, f"Write {len(members)}, or take the key out.")
    key = next((key for key in FORMATION_KEYS if key in root), FORMATION_KEYS[0])
    try:
        check_formation(config)
    except PlanError as error:
        raise wrong_at(root, key, error.message, error.hint) from error
    team = root.value("team_id")
    return config, None if team is None else str(team)


def _plain_members(root: Table, node: Node) -> list[Any]:
    if not isinstance(node, Items) or not node.items:
        raise wrong_at(root, "members", "there are no members", "List their ids under `members:`.")
    members = node.plain()
    names = []
    for number, member in enumerate(members, start=1):
        name = member.get("id") if isinstance(member, Mapping) else member
        if not isinstance(name, str) or not name.strip():
            raise wrong_at(root, "members", f"member {number} has no id", "Give it a short text.")
        if name in names:
            raise wrong_at(root, "members", f"there are two members {name!r}", "Give one another id.")
        names.append(name)
    return members


def check_formation(config: Mapping[str, Any]) -> None:
    """Make sure that the members of a plain file can form its formation, as far as it says what they are.

    Raises:
        PlanError: They can't.
    """
    members, formation = config.get("members"), config.get("formation")
    if not members or formation is None or not all(isinstance(member, Mapping) for member in members):
        return
    team = [MemberSpec(member["id"], is_supervisor=bool(member.get("is_manager"))) for member in members]
    if not can_form(formation, team):
        raise PlanError(f"these members can't form {formation!r}", hint=LEADERS)
