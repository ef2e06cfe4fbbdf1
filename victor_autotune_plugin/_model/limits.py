"""The limits of a team: which plans are allowed."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from .plan import FORMATIONS, TeamPlan


@frozen
class Limits:
    """Limits that no plan of the plugin ever crosses, in any mode. None means no limit.

    Attributes:
        formations: Formations that may be used.
        min_members: Fewest members that take part.
        max_members: Most members that take part.
        protected_members: Ids of members that always take part.
        min_tool_budget: Smallest tool budget of a team, calls.
        max_tool_budget: Largest tool budget of a team, calls.
        min_timeout_seconds: Shortest deadline of a team.
        max_timeout_seconds: Longest deadline of a team.
        max_cost_usd_per_run: Most that a run may cost, US dollars.
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

        A knob that the plan leaves as configured crosses nothing, and the cost of a run shows only afterwards.

        Returns:
            `(knob, limit, what is wrong)` for each, such as `tool_budget`, `max_tool_budget` and
            `tool_budget is 90, more than max_tool_budget, which is 40`.
        """
        crossed: list[tuple[str, str, str]] = []
        if plan.formation is not None and plan.formation not in self.formations:
            text = f"formation is {plan.formation}, which is not one of formations: {', '.join(self.formations)}"
            crossed.append(("formation", "formations", text))
        if plan.sub_teams is not None and "parallel" not in self.formations:
            text = f"sub_teams run in parallel, which is not one of formations: {', '.join(self.formations)}"
            crossed.append(("sub_teams", "formations", text))
        crossed += self._crossed_by_members("members", plan.members)
        if plan.members is None and plan.sub_teams is not None:
            crossed += self._crossed_by_members("sub_teams", [name for group in plan.sub_teams for name in group])
        budgets = [("tool_budget", plan.tool_budget, self.min_tool_budget)]
        budgets += [("member_budgets", budget, None) for _, budget in plan.member_budgets or ()]
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
