"""A team's config as users and the loop give it, read into one form, and changed without touching the original."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import asdict, field, fields, frozen

from .._model.known_formations import is_misspelt
from .._model.plan import FORMATIONS, Limits, MemberSpec, TeamPlan, TeamSpec, feasible_formations
from .._values.fields import Kind, Number, OpenChoice, read_value
from .._values.nodes import WrongValueError
from ..errors import PlanError

FORMATION_KEYS: Final = ("formation", "team_formation")
BUDGET_KEYS: Final = ("tool_budget", "total_tool_budget")
_MOST: Final = 10**12
_CALLS: Final = Number(0, _MOST, whole=True)
_NAMELESS_FORMATIONS: Final = ("sequential", "parallel", "pipeline", "consensus")
"""What a team can form of which only the number of members is known: no member is known to lead it, or to be its
critic."""


@frozen
class TeamConfig:
    """A config in one form."""

    formation: str | None = None
    members: tuple[MemberSpec, ...] = ()  # who takes part, in order; empty when only their number is known
    member_count: int | None = None  # None when not even that is known
    tool_budget: int | None = None  # calls of the team
    member_budgets: Mapping[str, int] = field(factory=dict)  # of the members that have one
    timeout_seconds: float | None = None  # deadline
    sub_teams: tuple[tuple[str, ...], ...] | None = None  # groups that run side by side
    # by member, whose work it needs; only as far as the config says so
    depends_on: Mapping[str, tuple[str, ...]] = field(factory=dict)
    limits: Limits = field(factory=Limits)  # what no suggestion crosses
    configured: tuple[MemberSpec, ...] = ()  # also members that take no part; empty when not known
    is_scored: bool = False  # whether scorers decide how good the work is

    @classmethod
    def of(
        cls,
        spec: TeamSpec,
        plan: TeamPlan,
        limits: Limits | None = None,
        depends_on: Mapping[str, tuple[str, ...]] | None = None,
        *,
        is_scored: bool = False,
    ) -> TeamConfig:
        """Return the config of a team under its live plan."""
        by_id = {member.id: member for member in spec.members}
        members = tuple(by_id.get(name, MemberSpec(name)) for name in plan.members or by_id)
        budgets = {member.id: member.tool_budget for member in members if member.tool_budget is not None}
        return cls(
            formation=plan.formation or spec.formation,
            members=members,
            member_count=len(members) or None,
            tool_budget=spec.tool_budget if plan.tool_budget is None else plan.tool_budget,
            member_budgets={**budgets, **dict(plan.member_budgets or ())},
            timeout_seconds=spec.timeout_seconds if plan.timeout_seconds is None else plan.timeout_seconds,
            sub_teams=plan.sub_teams,
            limits=limits or Limits(),
            depends_on=depends_on or {},
            configured=spec.members,
            is_scored=is_scored,
        )

    @property
    def quality(self) -> str:
        """The metric that tells how good the work is: its score, or where nothing scores it, its success."""
        return "score" if self.is_scored else "success"

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the members, in order."""
        return tuple(member.id for member in self.members)

    @property
    def lead(self) -> str | None:
        """Id of the supervisor, or None."""
        return next((member.id for member in self.members if member.is_supervisor), None)

    def feasible(self, ids: Iterable[str] | None = None) -> tuple[str, ...]:
        """Return the formations that members can form."""
        if not self.members:
            return _NAMELESS_FORMATIONS
        kept = set(self.ids if ids is None else ids)
        return feasible_formations(member for member in self.members if member.id in kept)

    def to_dict(self) -> dict[str, Any]:
        """Return the mapping that `read_config` reads: the knobs, `member_specs`, `depends_on` and `limits`."""
        depends_on = {name: list(needed) for name, needed in self.depends_on.items()}
        return {
            "formation": self.formation,
            **self.knobs(),
            "tool_budget": self.tool_budget,
            "timeout_seconds": self.timeout_seconds,
            "member_specs": [asdict(member) for member in self.configured or self.members],
            **({"depends_on": depends_on} if depends_on else {}),
            "limits": asdict(self.limits),
        }

    def knobs(self) -> dict[str, Any]:
        """Return the knobs that are set, as `TeamPlan.to_dict` writes them, or `member_count` for the nameless."""
        data: dict[str, Any] = {}
        if self.sub_teams is not None:
            data["sub_teams"] = [list(group) for group in self.sub_teams]
        elif self.formation is not None:
            data["formation"] = self.formation
        if self.members:
            data["members"] = list(self.ids)
        elif self.member_count is not None:
            data["member_count"] = self.member_count
        if self.tool_budget is not None:
            data["tool_budget"] = self.tool_budget
        if self.member_budgets:
            data["member_budgets"] = dict(self.member_budgets)
        if self.timeout_seconds is not None:
            data["timeout_seconds"] = self.timeout_seconds
        return data


def read_config(config: Mapping[str, Any]) -> TeamConfig:
    """Read a config.

    Args:
        config: Any of `formation` or `team_formation`; `members` (a number, ids, or mappings with `id`, `role`,
            `tool_budget`, `is_supervisor`, `formation_role`, `depends_on`, `enable`) or `member_count`;
            `member_specs` (mappings that tell more of members given by id); `tool_budget` or `total_tool_budget`;
            `member_budgets`; `timeout_seconds`; `sub_teams`; `depends_on`; `limits`. What else is in it is left alone.

    Raises:
        PlanError: A value can't be used; the message names the key.
    """
    details = {str(item.get("id")): item for item in config.get("member_specs") or () if isinstance(item, Mapping)}
    entries = _entries(config, details)
    members = tuple(_member(entry) for entry in entries)
    ids = [member.id for member in members]
    if len(set(ids)) != len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise PlanError(f"members: {twice!r} is given twice", hint="Give every member its own id.")
    counted = ("member_count", "members") if is_count(config.get("members")) else ("member_count",)
    count = _number(config, counted, Number(1, _MOST, whole=True))
    if members and count is not None and count != len(members):
        raise PlanError(f"member_count: is {count:g}, but members has {len(members)}", hint="Leave out member_count.")
    depends = {str(name): _strings(needed) for name, needed in (config.get("depends_on") or {}).items()}
    depends.update({str(e["id"]): _strings(e["depends_on"]) for e in entries if e.get("depends_on")})
    budgets = {member.id: member.tool_budget for member in members if member.tool_budget is not None}
    budgets.update({str(name): int(calls) for name, calls in (config.get("member_budgets") or {}).items()})
    total = _number(config, BUDGET_KEYS, _CALLS)
    groups = config.get("sub_teams")
    return TeamConfig(
        formation=_formation(config),
        members=members,
        member_count=len(members) or (None if count is None else int(count)),
        tool_budget=None if total is None else int(total),
        member_budgets=budgets,
        timeout_seconds=_number(config, ("timeout_seconds",), Number(0, _MOST, above=True)),
        sub_teams=None if groups is None else tuple(_strings(group) for group in groups),
        depends_on=depends,
        limits=_limits(config.get("limits") or {}),
    )


def _entries(config: Mapping[str, Any], details: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    given = config.get("members")
    if given is None or is_count(given):
        return []
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise PlanError("members: is not a list", hint="Write a list of ids, or of mappings with an id.")
    entries = []
    for item in given:
        entry = dict(item) if isinstance(item, Mapping) else {"id": item}
        name = entry.get("id", entry.get("name"))
        if name is None or isinstance(name, Mapping | list) or not str(name).strip():
            raise PlanError("members: a member has no id", hint="Give every member an `id`.")
        entry = {**details.get(str(name), {}), **entry, "id": str(name)}
        if entry.get("enable", True) is not False:
            entries.append(entry)
    return entries


def _member(entry: Mapping[str, Any]) -> MemberSpec:
    budget = _number(entry, ("tool_budget",), _CALLS)
    role = entry.get("formation_role")
    return MemberSpec(
        id=entry["id"],
        role=str(entry.get("role") or ""),
        tool_budget=None if budget is None else int(budget),
        is_supervisor=bool(entry.get("is_supervisor") or entry.get("is_manager")),
        formation_role=None if role is None else str(role),
        model=entry.get("model"),
    )


def _formation(config: Mapping[str, Any]) -> str | None:
    value = next((config[key] for key in FORMATION_KEYS if config.get(key) is not None), None)
    if value is None:
        return None
    kind = OpenChoice("formation", FORMATIONS, is_misspelt)
    name: str = _read(kind, str(getattr(value, "value", value)).strip().lower(), "formation")
    return name


def _number(config: Mapping[str, Any], keys: tuple[str, ...], kind: Number) -> float | None:
    key, value = next(((k, config[k]) for k in keys if config.get(k) is not None), (keys[0], None))
    if kind.whole and isinstance(value, float) and value.is_integer():
        value = int(value)
    return None if value is None else float(_read(kind, value, key))


def _read(kind: Kind, value: object, key: str) -> Any:
    try:
        return read_value(kind, value)
    except WrongValueError as error:
        raise error.told(PlanError, key) from None


def _limits(given: Mapping[str, Any]) -> Limits:
    known = {one.name: given[one.name] for one in fields(Limits) if given.get(one.name) is not None}
    for name in ("formations", "protected_members"):
        if name in known:
            known[name] = _strings(known[name])
    return Limits(**known)


def _strings(values: Any) -> tuple[str, ...]:
    return (values,) if isinstance(values, str) else tuple(str(value) for value in values)


def is_count(members: Any) -> bool:
    """Return whether `members` is a number, as Victor's guide writes it in places."""
    return isinstance(members, int) and not isinstance(members, bool)


def with_change(config: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config with knobs changed, under the keys and in the forms that it has.

    Args:
        config: The config; it is not touched.
        change: Knobs in the form of `TeamPlan.to_dict`, and whatever else a third party's strategy wants to set.
    """
    changed = copy.deepcopy(dict(config))
    for knob, value in copy.deepcopy(dict(change)).items():
        if knob == "formation":
            changed[_key(changed, FORMATION_KEYS)] = value
            changed.pop("sub_teams", None)
        elif knob == "sub_teams":
            changed[knob] = value
            for key in FORMATION_KEYS:
                changed.pop(key, None)
        elif knob == "tool_budget":
            changed[_key(changed, BUDGET_KEYS)] = value
        elif knob == "members":
            _keep_members(changed, [str(name) for name in value])
        elif knob == "member_budgets":
            _set_budgets(changed, value)
        elif knob == "member_count" and "member_count" not in changed and is_count(changed.get("members")):
            changed["members"] = value
        else:
            changed[knob] = value
    return changed


def _keep_members(config: dict[str, Any], ids: list[str]) -> None:
    given = config.get("members")
    by_id = {_id_of(item): item for item in given} if isinstance(given, list | tuple) else {}
    config["members"] = [by_id.get(name, name) for name in ids]
    if "member_count" in config:
        config["member_count"] = len(ids)


def _set_budgets(config: dict[str, Any], budgets: Mapping[str, int]) -> None:
    rest = dict(budgets)
    for item in config.get("members") or ():
        if isinstance(item, dict) and _id_of(item) in rest:
            item["tool_budget"] = rest.pop(_id_of(item))
    if rest:
        config["member_budgets"] = {**(config.get("member_budgets") or {}), **rest}


def _key(config: Mapping[str, Any], keys: tuple[str, ...]) -> str:
    return next((key for key in keys if key in config), keys[0])


def _id_of(item: Any) -> str:
    return str(item.get("id", item.get("name"))) if isinstance(item, Mapping) else str(item)
