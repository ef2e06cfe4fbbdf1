"""The plans a team may run: formation or sub-teams × members × tool budget × timeout."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, islice
from typing import Any, Final

from attrs import field, frozen

from .._model.plan import EMPTY_PLAN, FORMATIONS, SUB_TEAMS, MemberSpec, TeamPlan, TeamSpec, feasible_formations

Crossed = Callable[[TeamPlan], Sequence[Any]]
"""Names the limits that a plan crosses, as `Limits.crossed_by` does; empty when none."""

BUDGET_SHARES: Final = (1.0, 0.65)
"""Tool budgets that are tried, as shares of today's: SPEC.md asks for about 30 to 40 % less."""

TIMEOUT_SHARES: Final = (1.0, 0.75)
"""Timeouts that are tried, as shares of today's."""

MOST_LAYOUTS: Final = 400
"""Formations and member choices that are considered at most; those nearest to today's come first."""


@frozen
class Shape:
    """Every knob of a plan, resolved against what the workflow declares.

    Attributes:
        formation: One of Victor's formations, or `SUB_TEAMS`.
        members: Ids of the members that take part, in order.
        groups: The sub-teams, empty without.
        tool_budget: Calls of the whole team, or None without a limit.
        member_budgets: Calls by member, sorted by id.
        timeout_seconds: Deadline, or None without one.
    """

    formation: str
    members: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...] = ()
    tool_budget: int | None = None
    member_budgets: tuple[tuple[str, int], ...] = ()
    timeout_seconds: float | None = None

    @property
    def layout(self) -> Shape:
        """Who works with whom and in what order: the knobs without budgets and timeout."""
        return Shape(self.formation, self.members, self.groups)

    @property
    def work(self) -> Shape:
        """Who does how much, in whatever order: the knobs without formation and groups."""
        return Shape("", self.members, (), self.tool_budget, self.member_budgets, self.timeout_seconds)


def shape_of(spec: TeamSpec, plan: TeamPlan) -> Shape:
    """Return every knob of a plan as it would run."""
    groups = plan.sub_teams or ()
    members = plan.members
    if members is None and groups:  # they take part in their own order, which is also that of the joined output
        grouped = [name for group in groups for name in group]
        unknown = (name for name in grouped if name not in spec.member_ids)
        members = (*(name for name in spec.member_ids if name in grouped), *unknown)
    return Shape(
        formation=SUB_TEAMS if groups else plan.formation or spec.formation,
        members=members or spec.member_ids,
        groups=groups,
        tool_budget=spec.tool_budget if plan.tool_budget is None else plan.tool_budget,
        member_budgets=tuple(sorted((plan.member_budgets or {}).items())),
        timeout_seconds=spec.timeout_seconds if plan.timeout_seconds is None else plan.timeout_seconds,
    )


def is_modelled(formation: str) -> bool:
    """Return whether the tuner knows how members work in a formation."""
    return formation in FORMATIONS or formation == SUB_TEAMS


def distance(spec: TeamSpec, one: TeamPlan, other: TeamPlan) -> int:
    """Return how many knobs differ between two plans of a team.

    Formation and sub-teams are one knob together; each member that takes part in only one of the plans counts one, and
    so do another order, the tool budget, the members' budgets and the timeout.
    """
    a, b = shape_of(spec, one), shape_of(spec, other)
    left = set(a.members) ^ set(b.members)
    common_a = [member for member in a.members if member not in left]
    common_b = [member for member in b.members if member not in left]
    reordered = common_a != common_b and SUB_TEAMS not in (a.formation, b.formation)
    differing = (a.formation, a.groups if not left else len(a.groups)) != (
        b.formation,
        b.groups if not left else len(b.groups),
    )
    return (
        len(left)
        + reordered
        + differing
        + (a.tool_budget != b.tool_budget)
        + (a.member_budgets != b.member_budgets)
        + (a.timeout_seconds != b.timeout_seconds)
    )


def changes(spec: TeamSpec, live: TeamPlan, plan: TeamPlan) -> TeamPlan:
    """Return the knobs in which a plan differs from the live one, each said outright.

    `live.merged(changes(spec, live, plan))` runs as `plan` does, also where that goes back to what is configured.
    """
    now, then = shape_of(spec, live), shape_of(spec, plan)
    grouped = then.formation == SUB_TEAMS
    reshaped = (now.formation, now.groups) != (then.formation, then.groups)
    return TeamPlan(
        formation=then.formation if reshaped and not grouped else None,
        members=then.members if now.members != then.members else None,
        tool_budget=then.tool_budget if now.tool_budget != then.tool_budget else None,
        member_budgets=then.member_budgets if now.member_budgets != then.member_budgets else None,
        timeout_seconds=then.timeout_seconds if now.timeout_seconds != then.timeout_seconds else None,
        sub_teams=then.groups if reshaped and grouped else None,
    )


def _plans(values: Iterable[TeamPlan]) -> tuple[TeamPlan, ...]:
    return tuple(values)


@frozen
class PlanSpace:
    """The plans that may be proposed for one team.

    Attributes:
        spec: The team as configured.
        plans: Every plan, the one as configured first; no two run alike.
        crossed_by: Names the limits that a plan crosses.
        left_out: How many plans were left out, by reason: `limits`, or `size`: 1 when there are more than
            `MOST_LAYOUTS`, which is all that are looked at.
    """

    spec: TeamSpec
    plans: tuple[TeamPlan, ...] = field(converter=_plans)
    crossed_by: Crossed
    left_out: dict[str, int] = field(factory=dict)

    def refusal(self, plan: TeamPlan, live: TeamPlan = EMPTY_PLAN) -> str | None:
        """Return why a plan may not be proposed, or None when it may.

        Args:
            live: The plan that the team runs today; nothing looser than it is proposed.
        """
        spec = self.spec
        shape, now = shape_of(spec, plan), shape_of(spec, live)
        wrong = self.cannot_run(plan)
        if wrong is not None:
            return wrong
        if _looser(shape.tool_budget, now.tool_budget):
            return "the tool budget is looser than today's"
        if _looser(shape.timeout_seconds, now.timeout_seconds):
            return "the timeout is looser than today's"
        if _looser_members(spec, shape, now):
            return "a member's tool budget is looser than today's, and the team has no budget that caps it"
        crossed = self.crossed_by(plan)
        if crossed:
            first = crossed[0]
            return str(first[-1]) if isinstance(first, tuple | list) else str(first)
        return None

    def cannot_run(self, plan: TeamPlan) -> str | None:
        """Return why the team can't run a plan, or None when it can."""
        shape = shape_of(self.spec, plan)
        known = {member.id: member for member in self.spec.members}
        unknown = [member for member in shape.members if member not in known]
        if unknown:
            return f"the team has no member {unknown[0]!r}"
        if plan.sub_teams is not None and plan.formation is not None:
            return "sub-teams and a formation exclude each other"
        if len(set(shape.members)) < len(shape.members):
            return "a member takes part twice"
        if plan.sub_teams is not None and not all(plan.sub_teams):
            return "a sub-team has no member"
        if plan.sub_teams and sorted(m for group in plan.sub_teams for m in group) != sorted(shape.members):
            return "the sub-teams are not the members that take part"
        strangers = [member for member, _ in shape.member_budgets if member not in shape.members]
        if strangers:
            return f"a budget is set for {strangers[0]!r}, who does not take part"
        team = [known[member] for member in shape.members]
        if not is_modelled(shape.formation):
            return f"unknown formation {shape.formation!r}"
        if shape.formation != SUB_TEAMS and not _can_form(shape.formation, team):
            return f"these members can't form a {shape.formation} team"
        return None


def plan_space(
    spec: TeamSpec,
    crossed_by: Crossed | None = None,
    *,
    usual_tool_calls: int | None = None,
    usual_timeout: float | None = None,
) -> PlanSpace:
    """Return the plans that a team may run.

    Members can be left out and keep their order. Budgets and timeouts are today's or smaller ones. A plan that can't
    run or crosses a limit is not among them; the plan as configured always is, since it is what runs anyway.

    Args:
        crossed_by: Names the limits that a plan crosses (`Limits.crossed_by`); None without limits.
        usual_tool_calls: What a budget is set to where the team has none, such as the most that a successful run used.
        usual_timeout: What a timeout is set to where the team has none, seconds, such as the P95 of successful
            runs and a fifth.
    """
    crossed = crossed_by or _nothing
    space = PlanSpace(spec, (EMPTY_PLAN,), crossed)
    found: dict[Shape, TeamPlan] = {shape_of(spec, EMPTY_PLAN): EMPTY_PLAN}
    layouts = list(islice(_layouts(spec), MOST_LAYOUTS + 1))
    left_out = {"limits": 0, "size": len(layouts) - len(layouts[:MOST_LAYOUTS])}
    budgets = _grid(spec.tool_budget, usual_tool_calls, BUDGET_SHARES)
    timeouts = _grid(spec.timeout_seconds, usual_timeout, TIMEOUT_SHARES)
    for layout in layouts[:MOST_LAYOUTS]:
        for budget in budgets:
            for timeout in timeouts:
                plan = TeamPlan(
                    formation=layout.formation,
                    members=layout.members,
                    sub_teams=layout.sub_teams,
                    tool_budget=None if budget is None else max(int(budget), 1),
                    timeout_seconds=None if timeout is None else float(f"{timeout:.3g}"),
                )
                shape = shape_of(spec, plan)
                if shape in found:
                    continue
                if space.refusal(plan) is not None:
                    left_out["limits"] += 1
                else:
                    found[shape] = plan
    return PlanSpace(spec, tuple(found.values()), crossed, left_out)


def _nothing(_: TeamPlan) -> tuple[()]:
    return ()


def _grid(today: float | None, usual: float | None, shares: Sequence[float]) -> list[float | None]:
    """None stands for today's; where there is no limit today, the usual value is the loosest that is tried."""
    if today is not None:
        return [None, *(today * share for share in shares if share < 1)]
    return [None] if usual is None else [None, usual]


def _layouts(spec: TeamSpec) -> Iterator[TeamPlan]:
    """Yield formations and sub-teams with every choice of members, fewest left out first: 2 to the power of members."""
    ids = spec.member_ids
    for left_out in range(len(ids)):
        for gone in combinations(ids, left_out):
            team = [member for member in spec.members if member.id not in gone]
            chosen = tuple(member.id for member in team) if gone else None
            for formation in feasible_formations(team):
                yield TeamPlan(formation=None if formation == spec.formation else formation, members=chosen)
            for groups in _groupings([member.id for member in team]):
                yield TeamPlan(members=chosen, sub_teams=groups)


def _groupings(ids: Sequence[str]) -> list[tuple[tuple[str, ...], ...]]:
    """Two halves, taken in order or alternately, and three groups of six members or more."""
    if len(ids) < 3:
        return []
    half = (len(ids) + 1) // 2
    found: list[tuple[tuple[str, ...], ...]] = [
        (tuple(ids[:half]), tuple(ids[half:])),
        (tuple(ids[::2]), tuple(ids[1::2])),
    ]
    if len(ids) >= 6:
        found.append((tuple(ids[::3]), tuple(ids[1::3]), tuple(ids[2::3])))
    return found


def _can_form(formation: str, team: Sequence[MemberSpec]) -> bool:
    return formation in feasible_formations(team)


def _looser(value: float | None, today: float | None) -> bool:
    return today is not None and (value is None or value > today)


def _looser_members(spec: TeamSpec, shape: Shape, now: Shape) -> bool:
    """A member may get more only inside a budget of the team that is no looser."""
    if shape.tool_budget is not None:
        return False
    declared = {member.id: member.tool_budget for member in spec.members}
    today = {**declared, **dict(now.member_budgets)}
    wanted = {**declared, **dict(shape.member_budgets)}
    return any(_looser(wanted[member], today[member]) for member in shape.members)
