"""What a team was asked to run (`TeamSpec`), what is changed about it (`TeamPlan`), and within which `Limits`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Annotated, Any, Final

from attrs import evolve, field, frozen

from .known_formations import FORMATIONS as FORMATIONS
from .quantities import Count, Name, NotEmpty, Seconds

SUB_TEAMS: Final = "sub_teams"
"""Stands as the formation of a run whose members worked in sub-teams."""

ADHOC_WORKFLOW: Final = "adhoc"
"""Workflow name of team runs that no workflow started."""


_MADE_FROM_MEMBERS: Final = re.compile(r"team-[0-9a-f]{8}")
_OF_MEMBERS: Final = re.compile(r"-[0-9a-f]{4}$")


def adhoc_team_id(name: str, member_ids: Iterable[str]) -> str:
    """Return the id of a team outside workflows: its name and four hex digits of its members, such as `research-3f2a`.

    Two such teams may have one name; what tells them apart is who is in them.

    Args:
        name: Its name. One that was made from the members already is the id.
        member_ids: Ids of its members, in any order.
    """
    if _MADE_FROM_MEMBERS.fullmatch(name):
        return name
    return f"{name}-{hashlib.sha256(chr(10).join(sorted(member_ids)).encode()).hexdigest()[:4]}"


def adhoc_team_name(team_id: str) -> str:
    """Return the name that a team outside workflows has its id from."""
    return team_id if _MADE_FROM_MEMBERS.fullmatch(team_id) else _OF_MEMBERS.sub("", team_id)


def is_called(key: tuple[str, str], name: str | None) -> bool:
    """Return whether a team has this id, or outside workflows this name; None is the name of every team.

    Args:
        key: The team's workflow and id.
    """
    return name in (None, key[1]) or (key[0] == ADHOC_WORKFLOW and adhoc_team_name(key[1]) == name)


def _members(ids: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if ids is None else tuple(ids)


def _groups(groups: Iterable[Iterable[str]] | None) -> tuple[tuple[str, ...], ...] | None:
    return None if groups is None else tuple(tuple(group) for group in groups)


def _seconds(value: Any) -> Any:
    """Return seconds as the store gives them back: 300 and 300.0 are equal, and must have the same digest."""
    return float(value) if type(value) is int else value


def _start(plan: TeamPlan | None) -> TeamPlan | None:
    """Return a plan as the store gives it back; the same holds for it as for seconds."""
    return None if plan is None or plan.is_empty else evolve(plan, timeout_seconds=_seconds(plan.timeout_seconds))


def _budgets(value: Mapping[str, int] | Iterable[tuple[str, int]] | None) -> Mapping[str, int] | None:
    if value is None:
        return None
    pairs = value.items() if isinstance(value, Mapping) else value
    return {str(name): int(budget) for name, budget in sorted(pairs)}


def _pairs(value: Mapping[str, int] | None) -> tuple[tuple[str, int], ...] | None:
    return None if value is None else tuple(sorted(value.items()))


def _to_plain(value: object) -> dict[str, Any]:
    from .converter import to_plain

    plain: dict[str, Any] = to_plain(value)
    return plain


@frozen
class MemberSpec:
    """One member as its workflow declares it.

    Attributes:
        id: Unique within the team.
        role: Victor's sub-agent role, such as `researcher`; empty when the member has none.
        tool_budget: Declared tool calls (Victor 0.9.5 does not enforce it), or None.
        is_supervisor: Whether it may lead a hierarchical formation.
        formation_role: `generator` or `critic` when bound to a side of a reflection.
        model: Model override, or None for the team's model.
    """

    id: Name
    role: str = ""
    tool_budget: Count | None = None
    is_supervisor: bool = False
    formation_role: str | None = None
    model: str | None = None


def _specs(values: Iterable[MemberSpec]) -> tuple[MemberSpec, ...]:
    return tuple(values)


@frozen
class TeamSpec:
    """A team as Victor was about to run it, before the plugin changes anything.

    Attributes:
        workflow: Workflow name, or `ADHOC_WORKFLOW`.
        team_id: Team step id, or what `adhoc_team_id` makes of the team's name outside a workflow.
        formation: The one Victor would really use, one of `FORMATIONS` or another.
        members: Members that would take part, in order.
        tool_budget: Declared total of tool calls, or None.
        timeout_seconds: Time limit that Victor really enforces, in seconds, or None without one.
        max_iterations: Declared iteration limit, or None.
        start_from: Knobs that the settings give the team to start from, and that are a part of its definition; None
            without such. The plan that a run gets stands in their place, and does not add to them.
    """

    workflow: str
    team_id: str
    formation: Name
    members: tuple[MemberSpec, ...] = field(converter=_specs)
    tool_budget: Count | None = None
    timeout_seconds: Seconds | None = field(default=None, converter=_seconds)
    max_iterations: Count | None = None
    start_from: TeamPlan | None = field(default=None, converter=_start)

    @property
    def member_ids(self) -> tuple[str, ...]:
        """Ids of the members, in order."""
        return tuple(member.id for member in self.members)

    @property
    def name(self) -> str:
        """The team's own name: its id, outside workflows without the digits that tell teams of one name apart."""
        return adhoc_team_name(self.team_id) if self.workflow == ADHOC_WORKFLOW else self.team_id

    @property
    def plan_to_start_from(self) -> TeamPlan:
        """The plan of a team that no plan was made live for: what it starts from, empty for as declared."""
        return EMPTY_PLAN if self.start_from is None else self.start_from

    @property
    def key(self) -> tuple[str, str]:
        """`(workflow, team_id)`, under which settings and state are kept."""
        return self.workflow, self.team_id

    def fingerprint(self) -> str:
        """Return 16 hex digits that change whenever the definition of the team changes.

        Evidence gathered under one fingerprint says nothing about another.
        """
        return self._own_fingerprint

    @cached_property
    def _own_fingerprint(self) -> str:
        return _fingerprint(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return _to_plain(self)


@frozen
class TeamPlan:
    """What to change about a team's runs. A knob that is None stays as the workflow declares it.

    Attributes:
        formation: One of `FORMATIONS`, or another of the installed Victor's.
        members: Ids of the members that take part, in order.
        tool_budget: Tool calls of the whole team; enforced.
        member_budgets: Tool calls by member id; enforced. Accepts pairs, too.
        timeout_seconds: Deadline of the whole team in seconds; enforced.
        sub_teams: Groups of ids of members; the groups run side by side, the members of one group one after another.
            Together they are the members that take part, each once. Not together with a formation.
    """

    formation: Name | None = None
    members: Annotated[tuple[Name, ...], NotEmpty()] | None = field(default=None, converter=_members)
    tool_budget: Count | None = None
    member_budgets: Mapping[str, Count] | None = field(default=None, converter=_budgets, eq=_pairs)
    timeout_seconds: Seconds | None = None
    sub_teams: Annotated[tuple[Annotated[tuple[Name, ...], NotEmpty()], ...], NotEmpty()] | None = field(
        default=None, converter=_groups
    )

    @property
    def is_empty(self) -> bool:
        """Whether the plan changes nothing."""
        return self is EMPTY_PLAN or self == EMPTY_PLAN

    @property
    def id(self) -> str:
        """16 hex digits that are equal for equal plans, on every machine and version."""
        return _digest(self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data with only the knobs that are set."""
        return _to_plain(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TeamPlan:
        """Return the plan with the knobs that are given."""
        return cls(**data)

    def merged(self, other: TeamPlan) -> TeamPlan:
        """Return this plan with the knobs that another one sets.

        A formation takes the place of sub-teams, and sub-teams that of a formation. Members that the other plan leaves
        out leave their sub-teams, too.

        Args:
            other: The plan whose set knobs win.
        """
        data = {**self.to_dict(), **other.to_dict()}
        if other.formation is not None and other.sub_teams is None:
            data.pop("sub_teams", None)
        if other.sub_teams is not None and other.formation is None:
            data.pop("formation", None)
        if other.members is not None and other.sub_teams is None and "sub_teams" in data:
            kept = [[name for name in group if name in other.members] for group in data["sub_teams"]]
            data["sub_teams"] = [group for group in kept if group]
        return TeamPlan.from_dict(data)

    def is_layout_of(self, other: TeamPlan) -> bool:
        """Return whether this plan differs from another one in who waits for whom, and in nothing else."""
        return evolve(other, formation=self.formation, sub_teams=self.sub_teams) == self != other

    def without(self, knobs: Collection[str]) -> TeamPlan:
        """Return this plan with some knobs left as the workflow declares them; a formation goes with its sub-teams."""
        if not knobs:
            return self
        gone = {*knobs, *(("sub_teams",) if "formation" in knobs or "members" in knobs else ())}
        return TeamPlan.from_dict({name: knob for name, knob in self.to_dict().items() if name not in gone})

    def describe(self) -> str:
        """Return the plan in one short line for people, such as `formation=parallel, timeout=30s`."""
        if self.is_empty:
            return "as configured"
        parts = []
        if self.formation is not None:
            parts.append(f"formation={self.formation}")
        if self.members is not None:
            parts.append(f"members={'+'.join(self.members)}")
        if self.tool_budget is not None:
            parts.append(f"tool_budget={self.tool_budget}")
        if self.member_budgets is not None:
            parts.append("member_budgets=" + "/".join(f"{name}:{n}" for name, n in sorted(self.member_budgets.items())))
        if self.timeout_seconds is not None:
            parts.append(f"timeout={self.timeout_seconds:g}s")
        if self.sub_teams is not None:
            parts.append("sub_teams=" + " | ".join("+".join(group) for group in self.sub_teams))
        return ", ".join(parts)


EMPTY_PLAN: Final = TeamPlan()
"""The plan that leaves everything as configured."""


def feasible_formations(members: Iterable[MemberSpec]) -> tuple[str, ...]:
    """Return the formations that these members can form, in the order of `FORMATIONS`.

    Hierarchical needs exactly one supervisor and a member to lead; reflection needs a generator and a critic,
    which Victor binds by `formation_role` and otherwise by position.
    """
    team = tuple(members)
    possible = ["sequential", "parallel", "pipeline"]
    if len(team) >= 2 and sum(member.is_supervisor for member in team) == 1:
        possible.append("hierarchical")
    possible.append("consensus")
    if len(team) >= 2:
        possible.append("reflection")
    return tuple(possible)


def can_form(formation: str, members: Iterable[MemberSpec]) -> bool:
    """Return whether these members can form it; of a formation that is not known here, Victor has to say it."""
    return formation not in FORMATIONS or formation in feasible_formations(members)


def planned_formation(spec: TeamSpec, plan: TeamPlan) -> str:
    """Return the formation that Victor's coordinator runs under a plan; `parallel` for sub-teams."""
    return "parallel" if plan.sub_teams is not None else plan.formation or spec.formation


def plan_as_used(spec: TeamSpec, plan: TeamPlan) -> TeamPlan:
    """Return every knob as it really runs: with formation and members always set, `parallel` where there are sub-teams.

    A budget or timeout is None where nothing enforces one.
    """
    formation = planned_formation(spec, plan)
    members = [member.id for member in planned_members(spec, plan)]
    return TeamPlan(
        formation=formation,
        members=members,
        tool_budget=plan.tool_budget,
        member_budgets=plan.member_budgets,
        timeout_seconds=plan.timeout_seconds if plan.timeout_seconds is not None else spec.timeout_seconds,
        sub_teams=plan.sub_teams,
    )


def planned_members(spec: TeamSpec, plan: TeamPlan) -> tuple[MemberSpec, ...]:
    """Return the members that a plan lets take part, in order; a reflection has only its two sides."""
    by_id = {member.id: member for member in spec.members}
    team = [by_id[name] for name in plan.members] if plan.members is not None else list(spec.members)
    if planned_formation(spec, plan) != "reflection":
        return tuple(team)
    sides: list[MemberSpec] = []
    for wanted in ("generator", "critic"):
        side = next((member for member in team if member.formation_role == wanted), None)
        if side is not None:
            team.remove(side)
            sides.append(side)
    return tuple((sides + team)[:2])


@frozen
class Limits:
    """Limits that no plan of the plugin ever crosses, in any mode, and limits of what tests do. None means no limit.

    Attributes:
        formations: Formations that may be used. All that are known here stand for every formation.
        min_members: Fewest members that take part.
        max_members: Most members that take part.
        protected_members: Ids of members that always take part.
        min_tool_budget: Smallest tool budget of a team, calls.
        max_tool_budget: Largest tool budget of a team, calls.
        min_timeout_seconds: Shortest deadline of a team.
        max_timeout_seconds: Longest deadline of a team.
        max_cost_usd_per_run: Most that a run may cost, US dollars.
        max_bad_runs_per_week: How many more runs of tests than their controls' rate gives may be bad in a week: failed,
            timed out, lost, or over 3 times as long as the control's median. All tests of a team together.
        max_extra_cost_usd_per_week: Most that those tests may cost more than their controls in a week, US dollars.
    """

    formations: tuple[str, ...] = FORMATIONS
    min_members: int = 1
    max_members: int | None = None
    protected_members: tuple[str, ...] = ()
    min_tool_budget: int | None = None
    max_tool_budget: int | None = None
    min_timeout_seconds: float | None = None
    max_timeout_seconds: float | None = None
    max_cost_usd_per_run: float | None = None
    max_bad_runs_per_week: int | None = 5
    max_extra_cost_usd_per_week: float | None = None

    def allows_budget(self, calls: int) -> bool:
        """Return whether a team's tool budget is within the limits."""
        return _within(calls, self.min_tool_budget, self.max_tool_budget)

    def allows_timeout(self, seconds: float) -> bool:
        """Return whether a deadline is within the limits."""
        return _within(seconds, self.min_timeout_seconds, self.max_timeout_seconds)

    def allows_members(self, ids: Sequence[str]) -> bool:
        """Return whether these members may be the team."""
        return self.allows_size(len(ids)) and all(name in ids for name in self.protected_members)

    def allows_size(self, size: int) -> bool:
        """Return whether a team may have so many members."""
        return _within(size, max(1, self.min_members, len(self.protected_members)), self.max_members)

    def crossed_by(self, plan: TeamPlan) -> tuple[tuple[str, str, str], ...]:
        """Return which limits a plan crosses; empty when none.

        A knob that the plan leaves as configured crosses nothing; what a run costs, and the harm that a test does, show
        only afterwards.

        Returns:
            `(knob, limit, what is wrong)` for each, such as `tool_budget`, `max_tool_budget` and
            `tool_budget is 90, more than max_tool_budget, which is 40`.
        """
        crossed: list[tuple[str, str, str]] = []
        # Who limits none of those known here has not excluded one that is not.
        allowed = self.formations if set(FORMATIONS) - set(self.formations) else (*self.formations, plan.formation)
        if plan.formation is not None and plan.formation not in allowed:
            text = f"formation is {plan.formation}, which is not one of formations: {', '.join(self.formations)}"
            crossed.append(("formation", "formations", text))
        if plan.sub_teams is not None and "parallel" not in self.formations:
            text = f"sub_teams run in parallel, which is not one of formations: {', '.join(self.formations)}"
            crossed.append(("sub_teams", "formations", text))
        crossed += self._crossed_by_members("members", plan.members)
        if plan.members is None and plan.sub_teams is not None:
            crossed += self._crossed_by_members("sub_teams", [name for group in plan.sub_teams for name in group])
        budgets = [("tool_budget", plan.tool_budget, self.min_tool_budget)]
        budgets += [("member_budgets", budget, None) for budget in (plan.member_budgets or {}).values()]
        for knob, budget, least in budgets:
            crossed += _outside(knob, budget, "tool_budget", least, self.max_tool_budget)
        low, high = self.min_timeout_seconds, self.max_timeout_seconds
        crossed += _outside("timeout_seconds", plan.timeout_seconds, "timeout_seconds", low, high)
        return tuple(crossed)

    def _crossed_by_members(self, knob: str, members: Sequence[str] | None) -> list[tuple[str, str, str]]:
        if members is None:
            return []
        crossed = _outside(knob, len(set(members)), "members", self.min_members, self.max_members)
        for member in self.protected_members:
            if member not in members:
                text = f"{knob} leaves out {member}, who is one of protected_members"
                crossed.append((knob, "protected_members", text))
        return crossed


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _outside(
    knob: str, value: float | None, limit: str, low: float | None, high: float | None
) -> list[tuple[str, str, str]]:
    if value is not None and low is not None and value < low:
        return [(knob, f"min_{limit}", f"{knob} is {value:g}, less than min_{limit}, which is {low:g}")]
    if value is not None and high is not None and value > high:
        return [(knob, f"max_{limit}", f"{knob} is {value:g}, more than max_{limit}, which is {high:g}")]
    return []


@lru_cache(maxsize=1024)
def _fingerprint(spec: TeamSpec) -> str:
    return _digest(spec.to_dict())


def _digest(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
