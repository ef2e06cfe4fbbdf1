"""Where each knob of a change belongs in a file, so that it takes effect there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from .._model.known_formations import FORMATIONS, is_known
from .._model.plan import TeamPlan, TeamSpec, can_form, feasible_formations
from .._settings import Settings
from .._values.names import did_you_mean
from ..errors import PlanError
from .plain import check_formation

NOT_READ_BY_VICTOR = ("reflection",)
"""Formations that Victor 0.9.5 runs as sequential when a workflow file names them."""

_FIXED = "fixed in metadata.autotune, since the step's own keys can't enforce it; nothing is tuned then"
_START = "in metadata.autotune as what the team starts from, and tuning goes on"


@frozen
class Placement:
    """What of a change is written where.

    Attributes:
        own: New values of the keys of the team itself: `formation`, `members` (ids), `tool_budget`,
            `timeout_seconds`, `member_count`; in a plain file also `member_budgets` and `sub_teams`.
        plan: New knobs of the plan that `metadata.autotune` fixes for the team; None takes a knob away. The plugin,
            which enforces it, reads it there; Victor's own keys can't say it.
        notes: What a person should know about it, sentence by sentence.
        start_from: The same of the plan that the team starts from there, which fixes nothing.
    """

    own: Mapping[str, Any]
    plan: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    start_from: Mapping[str, Any] = field(factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be written."""
        return not self.own and not self.plan and not self.start_from


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
    _know_members(spec, change)
    fixed = settings.plan or TeamPlan()
    before = fixed.to_dict()
    declared: dict[str, Any] = {
        "formation": spec.formation,
        "members": list(spec.member_ids),
        "tool_budget": spec.tool_budget,
        "timeout_seconds": spec.timeout_seconds,
    }
    if spec.formation in NOT_READ_BY_VICTOR:
        del declared["formation"]
    in_use = declared | before
    if fixed.sub_teams is not None:
        in_use.pop("formation", None)
    changed = {knob: value for knob, value in change.to_dict().items() if value != in_use.get(knob)}
    own = {knob: value for knob, value in changed.items() if _is_own(knob, value) and value != declared.get(knob)}
    planned = _without_leavers(fixed.merged(TeamPlan.from_dict(changed)), changed)
    _check(spec, settings, planned, own.get("formation", spec.formation))
    after = planned.to_dict()
    plan = {
        knob: after.get(knob)
        for knob in {**before, **after}
        if after.get(knob) != before.get(knob)
        and (knob in before or knob == "tool_budget" or after[knob] not in (own.get(knob), declared.get(knob)))
    }
    return Placement(own, plan, tuple(_notes(settings, plan, _FIXED)))


def proposed(spec: TeamSpec, settings: Settings, plan: TeamPlan) -> Placement:
    """Say where a team's live plan belongs in its workflow file, so that the plugin recognises it and goes on tuning.

    The step says what Victor reads of it, and the plan that the team starts from says the rest: what Victor does not
    enforce, and whatever a rollback could not undo if the step said it, such as members who are gone.

    Args:
        spec: The team as the step declares it.
        settings: What the workflow's own metadata sets for it.
        plan: The whole live plan, for that step.

    Raises:
        PlanError: The file fixes another plan for the team; or the plan can't run with it, or crosses a limit that the
            file sets.
    """
    where = f"{spec.workflow}/{spec.team_id}"
    if settings.plan is not None:
        raise PlanError("the file fixes this team's plan", where=where, hint="Take `plan` out of its metadata first.")
    _know_members(spec, plan)
    own: dict[str, Any] = {}
    if plan.formation is not None and plan.formation not in NOT_READ_BY_VICTOR and plan.sub_teams is None:
        own["formation"] = plan.formation
    if plan.members is not None and {*plan.members} == {*spec.member_ids}:
        own["members"] = list(plan.members)
    if plan.timeout_seconds is not None and spec.timeout_seconds is not None:
        own["timeout_seconds"] = plan.timeout_seconds
    rest = {knob: value for knob, value in plan.to_dict().items() if knob not in own}
    if plan.tool_budget is not None:  # the step declares it, too, so that the file does not say two things
        own["tool_budget"] = plan.tool_budget
    _check(spec, settings, plan, own.get("formation", spec.formation))
    declared = spec.to_dict() | {"members": list(spec.member_ids)}
    before = {} if settings.start_from is None else settings.start_from.to_dict()
    start = {knob: rest.get(knob) for knob in {**before, **rest} if rest.get(knob) != before.get(knob)}
    notes = tuple(_notes(settings, start, _START))
    return Placement({knob: value for knob, value in own.items() if value != declared[knob]}, {}, notes, start)


def placed_plain(path: Path, config: Mapping[str, Any], change: TeamPlan, member_count: int | None) -> Placement:
    """Say what of a change has to be written into a plain file with a configuration.

    Raises:
        PlanError: It names a member that the file does not have.
    """
    wanted = change.to_dict()
    known = [_name(member) for member in config.get("members", ())]
    unknown = next((name for name in wanted.get("members", ()) if known and name not in known), None)
    if unknown is not None:
        raise PlanError(f"the team has no member {unknown!r}", where=str(path), hint=did_you_mean(unknown, known))
    if member_count is not None and not known:
        wanted["member_count"] = member_count
    now = {**config, "members": known} if known else dict(config)
    own = {key: value for key, value in wanted.items() if value != now.get(key)}
    for key, other in (("formation", "sub_teams"), ("sub_teams", "formation")):
        if key in own and config.get(other) is not None and other not in own:
            own[other] = None
    members = [member for member in config.get("members", ()) if _name(member) in wanted.get("members", known)]
    check_formation({**config, **own, "members": members} if members else {**config, **own})
    return Placement(own, {})


def _is_own(knob: str, value: object) -> bool:
    """Whether a step has a key for a knob, and Victor reads this value as what it says."""
    keys = ("formation", "members", "tool_budget", "timeout_seconds")
    return knob in keys and value not in NOT_READ_BY_VICTOR


def _know_members(spec: TeamSpec, change: TeamPlan) -> None:
    named = [*(change.members or ()), *(change.member_budgets or ())]
    named += [name for group in change.sub_teams or () for name in group]
    unknown = next((name for name in named if name not in spec.member_ids), None)
    if unknown is not None:
        hint = did_you_mean(unknown, spec.member_ids)
        raise PlanError(f"team {spec.team_id!r} has no member {unknown!r}", hint=hint)


def _without_leavers(plan: TeamPlan, changed: Mapping[str, Any]) -> TeamPlan:
    """Return a plan without the budgets that it has from before for members who leave now."""
    if "members" not in changed or "member_budgets" in changed or plan.member_budgets is None:
        return plan
    kept = {name: calls for name, calls in plan.member_budgets.items() if name in changed["members"]}
    return evolve(plan, member_budgets=kept or None)


def _check(spec: TeamSpec, settings: Settings, plan: TeamPlan, declared: str) -> None:
    """Make sure that a team can run a plan, and that its step, which declares a formation, stays sound."""
    where = f"{spec.workflow}/{spec.team_id}"
    members = spec.member_ids if plan.members is None else plan.members
    if not members or len(set(members)) != len(members):
        raise PlanError("members: a team needs at least one member, each once", where=where)
    team = [member for member in spec.members if member.id in members]
    if plan.sub_teams is not None:
        in_groups = [name for group in plan.sub_teams for name in group]
        if sorted(in_groups) != sorted(members):
            hint = f"Put each of {', '.join(members)} into one group"
            raise PlanError("sub_teams: the groups don't hold each member once", where=where, hint=hint)
    if plan.formation is not None and not is_known(plan.formation):
        message = f"formation: {plan.formation!r} is not a known formation, here or to this Victor"
        raise PlanError(message, where=where, hint=did_you_mean(plan.formation, FORMATIONS))
    for formation in (plan.formation or declared, declared):
        if not can_form(formation, team):
            hint = f"It can form: {', '.join(feasible_formations(team))}"
            raise PlanError(f"formation: these members can't form {formation!r}", where=where, hint=hint)
    for _, limit, text in settings.limits.crossed_by(plan):
        raise PlanError(text, where=where, hint=f"Change the plan, or limits.{limit}.")


def _notes(settings: Settings, plan: Mapping[str, Any], what: str) -> list[str]:
    set_knobs = [knob for knob, value in plan.items() if value is not None]
    if not set_knobs:
        return []
    notes = [f"{', '.join(set_knobs)}: {what}"]
    if settings.mode in ("off", "observe"):
        notes.append(f"it takes effect in the modes suggest, approve and auto; the file says {settings.mode}")
    return notes


def _name(member: Any) -> str:
    return str(member["id"] if isinstance(member, Mapping) else member)
