"""Plain files: a YAML or JSON mapping with the keys of one team, for comparing configurations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from .._model.plan import MemberSpec, TeamPlan, feasible_formations
from .._settings.schema import leaves
from .._values.document import failure, plain, with_places
from .._values.fields import Kind, Number
from .._values.names import nearest
from .._values.nodes import WrongValueError, from_plain
from ..errors import PlanError, WorkflowError
from .placement import Placement
from .steps import BUDGET_KEYS, FORMATION_KEYS, check_count

_PLAN: Final[Mapping[str, Kind]] = {
    key.removeprefix("plan."): kind for key, kind in leaves().items() if key.startswith("plan.")
}
_COUNT: Final = Number(1, 1_000, whole=True)
_KEYS: Final = (*FORMATION_KEYS, *BUDGET_KEYS, "member_count", "members", *_PLAN, "team_id")
_SIMILAR: Final = 0.8
"""How similar an unknown key must be to a known one to be taken for a typo of it; others are the person's own."""


def is_plain(data: Any) -> bool:
    """Whether a file's mapping holds a team's keys themselves, and no workflow."""
    if "workflows" in data or any(isinstance(body, Mapping) and "nodes" in body for body in data.values()):
        return False
    return any(key in data for key in _KEYS)


def read_plain(path: Path, data: Any) -> tuple[dict[str, Any], str | None]:
    """Read a plain file.

    Args:
        path: The file, for errors.
        data: What `document.load` gave.

    Returns:
        The configuration, and the name of its team if it has one.

    Raises:
        WorkflowError: A key or value is wrong; the message names file, line and key.
    """
    for key in data:
        similar = nearest(key, _KEYS, cutoff=_SIMILAR)
        if key not in _KEYS and similar is not None:
            raise failure(path, data, key, f"unknown key {key!r}", f"Did you mean `{similar}`?")
    config: dict[str, Any] = {}
    for key in data:
        knob = "formation" if key in FORMATION_KEYS else "tool_budget" if key in BUDGET_KEYS else str(key)
        if knob in config:
            raise failure(path, data, key, f"{key} says the same as another key", "keep one of them")
        if knob == "members":
            config[knob] = _members(path, data)
        elif knob == "member_count" or knob in _PLAN:
            value = _read(path, data, key, _COUNT if knob == "member_count" else _PLAN[knob])
            if value is not None:
                config[knob] = plain(value)
    if "members" in config:
        check_count(path, data, len(config["members"]), "the team")
        config["member_count"] = len(config["members"])
    key = next((key for key in FORMATION_KEYS if key in data), FORMATION_KEYS[0])
    try:
        _check_formation(config)
    except PlanError as error:
        raise failure(path, data, key, error.message, error.hint) from error
    name = data.get("team_id")
    return config, None if name is None else str(name)


def placed_plain(path: Path, config: Mapping[str, Any], change: TeamPlan, member_count: int | None) -> Placement:
    """Say what of a change has to be written into a plain file.

    Args:
        path: The file, for errors.
        config: Its configuration.
        change: The knobs to change.
        member_count: The new number of members, or None.

    Raises:
        PlanError: It names a member that the file does not have.
    """
    wanted = change.to_dict()
    known = [_name(member) for member in config.get("members", ())]
    unknown = next((name for name in wanted.get("members", ()) if known and name not in known), None)
    if unknown is not None:
        raise PlanError(f"the team has no member {unknown!r}", where=str(path), hint=f"Name one of: {', '.join(known)}")
    if member_count is not None and not known:
        wanted["member_count"] = member_count
    now = {**config, "members": known} if known else dict(config)
    own = {key: value for key, value in wanted.items() if value != now.get(key)}
    for key, other in (("formation", "sub_teams"), ("sub_teams", "formation")):
        if key in own and config.get(other) is not None and other not in own:
            own[other] = None
    members = [member for member in config.get("members", ()) if _name(member) in wanted.get("members", known)]
    _check_formation({**config, **own, "members": members} if members else {**config, **own})
    return Placement(own, {})


def _check_formation(config: Mapping[str, Any]) -> None:
    """Make sure that the members can form the formation, as far as the file says what they are."""
    members, formation = config.get("members"), config.get("formation")
    if not members or formation is None or not all(isinstance(member, Mapping) for member in members):
        return
    team = [MemberSpec(member["id"], is_supervisor=bool(member.get("is_manager"))) for member in members]
    if formation not in feasible_formations(team):
        raise PlanError(
            f"these members can't form {formation!r}",
            hint="Hierarchical needs exactly one member with `is_manager: true`, reflection at least two members.",
        )


def _members(path: Path, data: Any) -> list[Any]:
    members = data["members"]
    if not isinstance(members, list) or not members:
        raise failure(path, data, "members", "there are no members", "list their ids under `members:`")
    names = []
    for number, member in enumerate(members):
        name = member.get("id") if isinstance(member, Mapping) else member
        if not isinstance(name, str) or not name.strip():
            raise failure(path, data, "members", f"member {number + 1} has no id", "give it a short text")
        if name in names:
            raise failure(path, data, "members", f"there are two members {name!r}", "give one another id")
        names.append(name)
    return [plain(member) for member in members]


def _name(member: Any) -> str:
    return str(member["id"] if isinstance(member, Mapping) else member)


def _read(path: Path, data: Any, key: str, kind: Kind) -> object:
    place = with_places(data, path).places[key]
    try:
        return kind.read(from_plain(with_places(data[key], path), place))
    except WrongValueError as wrong:
        raise WorkflowError(f"{key}: {wrong.message}", where=wrong.where or place, hint=wrong.hint) from wrong
