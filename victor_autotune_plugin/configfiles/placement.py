"""Where each knob of a change belongs in a workflow file, so that it has effect there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from ..errors import PlanError
from ..model.plan import TeamPlan, TeamSpec, feasible_formations
from ..settings import Settings

NOT_READ_BY_VICTOR = ("reflection",)
"""Formations that Victor 0.9.5 runs as sequential when a workflow file names them."""


@frozen
class Placement:
    """What of a change is written where.

    Attributes:
        own: New values of the keys of the team itself: `formation`, `members` (ids), `tool_budget`,
            `timeout_seconds`, `member_count`; in a plain file also `member_budgets` and `sub_teams`.
        plan: New knobs of the plan that `metadata.autotune` fixes for the team; None takes a knob away. The plugin,
            which enforces it, reads it there; Victor's own keys can't say it.
        notes: What a person should know about it, sentence by sentence.
    """

    own: Mapping[str, Any]
    plan: Mapping[str, Any]
    notes: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be written."""
        return not self.own and not self.plan


def placed(spec: TeamSpec, settings: Settings, change: TeamPlan) -> Placement:
    """Say where a change of a workflow's team step belongs.

    Victor acts on a step's formation (but reads `reflection` as sequential), members and timeout. It enforces no tool
    budget: that is declared in the step, and enforced by the plugin once a fixed plan says so. Budgets of members and
    sub-teams are the plan's alone. A knob that the fixed plan sets already is also changed there, since it wins.

    Args:
        spec: The team as the step declares it.
        settings: What the workflow's own metadata sets for it.
        change: The knobs to change.

    Raises:
        PlanError: The change can't run with this team, or crosses a limit that the file sets.
    """
    fixed = settings.plan or TeamPlan()
    wanted = _fitting(spec, fixed, change)
    _check(spec, settings, fixed.merged(wanted))
    own: dict[str, Any] = {}
    plan: dict[str, Any] = {}
    declared = {
        "formation": spec.formation,
        "members": list(spec.member_ids),
        "tool_budget": spec.tool_budget,
        "timeout_seconds": spec.timeout_seconds,
    }
    before = fixed.to_dict()
    for knob, value in wanted.to_dict().items():
        for_plan = knob not in declared or knob == "tool_budget" or value in NOT_READ_BY_VICTOR
        if knob in declared and value not in NOT_READ_BY_VICTOR and value != declared[knob]:
            own[knob] = value
        if (for_plan or knob in before) and value != before.get(knob):
            plan[knob] = value
    after = fixed.merged(wanted).to_dict()
    gone = [knob for knob in before if knob not in after]
    if wanted.members is not None and change.member_budgets is None and not wanted.member_budgets:
        gone += ["member_budgets"] * ("member_budgets" in before and not _kept_budgets(fixed, wanted))
    plan |= dict.fromkeys(gone)
    return Placement(own, plan, tuple(_notes(settings, plan)))


def _fitting(spec: TeamSpec, fixed: TeamPlan, change: TeamPlan) -> TeamPlan:
    """Return the change, with budgets that the fixed plan has for members who leave taken out."""
    known = spec.member_ids
    named = [*(change.members or ()), *(name for name, _ in change.member_budgets or ())]
    named += [name for group in change.sub_teams or () for name in group]
    unknown = next((name for name in named if name not in known), None)
    if unknown is not None:
        raise PlanError(f"team {spec.team_id!r} has no member {unknown!r}", mend=f"one of: {', '.join(known)}")
    if change.members is None or fixed.member_budgets is None or change.member_budgets is not None:
        return change
    kept = _kept_budgets(fixed, change)
    if kept == dict(fixed.member_budgets) or not kept:
        return change
    return change.merged(TeamPlan(member_budgets=kept))


def _kept_budgets(fixed: TeamPlan, change: TeamPlan) -> dict[str, int]:
    return {name: budget for name, budget in fixed.member_budgets or () if name in (change.members or ())}


def _check(spec: TeamSpec, settings: Settings, plan: TeamPlan) -> None:
    where = f"{spec.workflow}/{spec.team_id}"
    members = spec.member_ids if plan.members is None else plan.members
    if not members or len(set(members)) != len(members):
        raise PlanError("members: a team needs at least one member, each once", where=where)
    team = [member for member in spec.members if member.id in members]
    formation = plan.formation or spec.formation
    if plan.sub_teams is not None:
        in_groups = [name for group in plan.sub_teams for name in group]
        if sorted(in_groups) != sorted(members):
            mend = f"put each of {', '.join(members)} into one group"
            raise PlanError("sub_teams: the groups don't hold each member once", where=where, mend=mend)
    elif formation not in feasible_formations(team):
        mend = f"one of: {', '.join(feasible_formations(team))}"
        raise PlanError(f"formation: these members can't form {formation!r}", where=where, mend=mend)
    for _, limit, text in settings.limits.crossed_by(plan):
        raise PlanError(text, where=where, mend=f"change the plan, or limits.{limit}")


def _notes(settings: Settings, plan: Mapping[str, Any]) -> list[str]:
    set_knobs = [knob for knob, value in plan.items() if value is not None]
    if not set_knobs:
        return []
    names = ", ".join(set_knobs)
    notes = [f"{names}: fixed in metadata.autotune, since the step's own keys can't enforce it; nothing is tuned then"]
    if settings.mode in ("off", "observe"):
        notes.append(f"it takes effect in the modes suggest, approve and auto; the file says {settings.mode}")
    return notes
