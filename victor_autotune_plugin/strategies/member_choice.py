"""Who takes part: fewer members, toward three to five; none that adds nothing; tool calls for the strong."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from .._analysis.insight_evidence import Estimate, MemberEvidence, MemberFigures, SizeEvidence, evidence_in
from .._analysis.predictions import gain, in_formation, rows_of, without
from .._model.optimization import Bottleneck, OptimizationSuggestion, OptimizationType, PerformanceInsight
from .base import BuiltInStrategy, Prior
from .config import TeamConfig


class TeamSizingStrategy(BuiltInStrategy):
    """Suggests to leave out members that add least where a team is past the point of diminishing returns; low risk.

    Protected members stay, and so do the supervisor of a hierarchical formation, members whose work others need, and
    the only member of a role as long as another role has two.
    """

    name = OptimizationType.TEAM_SIZING.value
    risk_level = 0.2
    prior = Prior(10, 20, model_error=8)

    def answers(
        self, insight: PerformanceInsight, config: TeamConfig, _: Sequence[PerformanceInsight], /
    ) -> Iterator[OptimizationSuggestion | None]:
        """Give a smaller team; by names where they are known, else by number."""
        if insight.bottleneck == Bottleneck.OVERSIZED_TEAM:
            yield self._smaller(insight, config)

    def _smaller(self, insight: PerformanceInsight, config: TeamConfig) -> OptimizationSuggestion | None:
        evidence = evidence_in(insight, SizeEvidence)
        formation = config.formation or evidence.formation
        size = config.member_count or evidence.size
        if formation == "reflection" or config.sub_teams is not None:
            return None
        target = _target(size)
        most = config.limits.max_members
        if most is not None:
            target = min(target, most)
        target = max(target, config.limits.min_members)
        gone: list[str] = []
        change: dict[str, Any] = {}
        if config.members:
            gone = _least(config, evidence.members, formation, size - target)
            kept = [name for name in config.ids if name not in gone]
            if not gone or not config.limits.allows_members(kept) or formation not in config.feasible(kept):
                return None
            change["members"], target = kept, len(kept)
        else:
            if target >= size or not config.limits.allows_size(target):
                return None
            change["member_count"] = target
        who = f": {', '.join(gone)} add{'s' if len(gone) == 1 else ''} least" if gone else ""
        return self.suggestion(
            insight,
            config,
            change,
            f"Reduce the team from {size} members to {target}{who}.",
            metric="duration",
            data=_measured(evidence) or _predicted(evidence, formation, config.lead, gone),
            left_out=gone,
            runs=evidence.runs,
        )


def _target(size: int) -> int:
    if size > 7:
        return 4
    return 5 if size > 5 else min(size, 3)


def _least(config: TeamConfig, figures: Mapping[str, MemberFigures], formation: str, count: int) -> list[str]:
    """Return who is left out: one after another, the member that adds least to those that remain."""
    left = list(config.members)
    gone: list[str] = []
    while len(gone) < count:
        needed = {name for member in left for name in config.depends_on.get(member.id, ())}
        roles = [member.role for member in left]
        free = [
            member
            for member in left
            if member.id not in config.limits.protected_members
            and member.id not in needed
            and not (formation == "hierarchical" and member.is_supervisor)
        ]
        if not free or len(left) == 1:
            break
        # Of equal ones the last goes.
        least = min(reversed(free), key=lambda member: (roles.count(member.role) == 1, _worth(figures.get(member.id))))
        left.remove(least)
        gone.append(least.id)
    return gone


def _worth(figures: MemberFigures | None) -> float:
    """Return what a member adds: its success share, and how much the team's success hangs on it."""
    if figures is None:
        return 0.0
    return figures.success_rate.value + (figures.contribution or 0.0)


def _measured(evidence: SizeEvidence) -> Estimate | None:
    """Return what the team itself gained with fewer members, in percent."""
    found = evidence.smaller_sizes
    if found is None:
        return None
    low, high = found.interval
    value, least, most = (100 * (1 - math.exp(min(x, 50.0))) for x in (found.log_difference, high, low))
    return Estimate(value, least, most, found.runs)


def _predicted(evidence: SizeEvidence, formation: str, lead: str | None, gone: list[str]) -> Estimate | None:
    rows = rows_of(evidence.member_durations)
    now = in_formation(formation, lead)
    return gain(rows, now, without(gone, now)) if gone and rows else None


_STRONG: Final = 1.5
_WEAK: Final = 0.8


class MemberSelectionStrategy(BuiltInStrategy):
    """Suggests to leave out useless and idle members, and another division of the tool calls; medium risk.

    A weak member keeps at least the calls that its successful runs needed, and a budget smaller than what the runs used
    stays: they were made before it, and can't say that it is too large. The team's total is not raised.
    """

    name = OptimizationType.MEMBER_SELECTION.value
    risk_level = 0.4
    prior = Prior(10, 30, model_error=6)

    def answers(
        self, insight: PerformanceInsight, config: TeamConfig, _: Sequence[PerformanceInsight], /
    ) -> Iterator[OptimizationSuggestion | None]:
        """Give a selection and a division for an insight about members."""
        if config.members and config.sub_teams is None and insight.bottleneck == Bottleneck.UNDERPERFORMING_MEMBER:
            yield self._left_out(insight, config)
            yield self._divided(insight, config)

    def _left_out(self, insight: PerformanceInsight, config: TeamConfig) -> OptimizationSuggestion | None:
        evidence = evidence_in(insight, MemberEvidence)
        formation = config.formation or evidence.formation
        if formation == "reflection":
            return None
        gone = _can_go([*evidence.useless, *evidence.idle], config, formation)
        kept = [name for name in config.ids if name not in gone]
        if not gone or not config.limits.allows_members(kept) or formation not in config.feasible(kept):
            return None
        rows, now = rows_of(evidence.member_durations), in_formation(formation, config.lead)
        faster = gain(rows, now, without(gone, now)) if rows else None
        gains = {"duration": faster} if faster is not None else {}
        gains["cost" if evidence.cost_is_known else "tool_calls"] = _cheaper(evidence, gone)
        metric = max(gains, key=lambda name: gains[name].value)
        if evidence.runs and gains[metric].value <= 0:
            return None  # nothing would be saved
        return self.suggestion(
            insight,
            config,
            {"members": kept},
            f"Leave out {', '.join(gone)}: {'they add' if len(gone) > 1 else 'it adds'} nothing.",
            metric=metric,
            data=gains[metric],
            left_out=gone,
            gains=gains,
            runs=evidence.runs,
        )

    def _divided(self, insight: PerformanceInsight, config: TeamConfig) -> OptimizationSuggestion | None:
        evidence = evidence_in(insight, MemberEvidence)
        figures = evidence.members
        weak = [name for name in evidence.weak if name in config.ids and name not in evidence.useless]
        short = [n for n in evidence.strong if n in config.member_budgets and figures[n].refused_share > 0]
        budgets = dict(config.member_budgets)
        for name in weak:
            used = figures[name].most_tool_calls
            before = budgets.get(name, used)
            if before < used:
                continue
            budgets[name] = max(math.ceil(_WEAK * before), math.ceil(figures[name].needed_tool_calls or 0), 1)
            if name in config.member_budgets:
                budgets[name] = min(budgets[name], config.member_budgets[name])
        for name in short:
            budgets[name] = math.floor(_STRONG * budgets[name])
        most = config.limits.max_tool_budget
        changed = {name for name, calls in budgets.items() if calls != config.member_budgets.get(name)}
        if not changed or (most is not None and any(calls > most for calls in budgets.values())):
            return None
        if not short and not any(budgets[name] < figures[name].most_tool_calls for name in weak):
            return None  # no run would reach the smaller budget, so nothing would change
        change: dict[str, Any] = {"member_budgets": budgets}
        if short:
            total = config.tool_budget
            if total is None and all(name in config.member_budgets for name in config.ids):
                total = sum(config.member_budgets[name] for name in config.ids)
            if total is None or not config.limits.allows_budget(total):
                return None  # without a total, more for one would be more for the team, which only a person may allow
            change["tool_budget"] = total
        data = _unblocked(figures, short) if short else _saved(figures, weak)
        return self.suggestion(
            insight,
            config,
            change,
            "Divide the tool calls differently: "
            + ", ".join(f"{name} gets {budgets[name]}" for name in sorted(changed))
            + ".",
            metric=config.quality if short else "cost" if evidence.cost_is_known else "tool_calls",
            data=data,
            bounded=True,
            runs=evidence.runs,
        )


def _can_go(names: Sequence[str], config: TeamConfig, formation: str) -> list[str]:
    """Return which of the members may be left out, in order of the team."""
    wanted = set(names) - set(config.limits.protected_members)
    if formation == "hierarchical" and config.lead is not None:
        wanted.discard(config.lead)
    for needed in config.depends_on.values():
        wanted -= set(needed)
    return [name for name in config.ids if name in wanted]


def _cheaper(evidence: MemberEvidence, gone: Sequence[str]) -> Estimate:
    """Return the members' share of the team's tokens, or of its tool calls where the cost is not known, in percent.

    Shares of sums have no interval of their own here; the strategy's model error stands for it.
    """
    figures = [evidence.members[name] for name in gone if name in evidence.members]
    share = 100 * math.fsum(one.token_share if evidence.cost_is_known else one.tool_call_share for one in figures)
    return Estimate(share, share, share, evidence.runs)


def _saved(figures: Mapping[str, MemberFigures], weak: Sequence[str]) -> Estimate:
    """Return what a fifth less for the weak saves at most, in percent of the team's calls; all from nothing to that."""
    most = 100 * (1 - _WEAK) * math.fsum(figures[name].tool_call_share for name in weak)
    return _up_to(most, min(figures[name].runs for name in weak))


def _unblocked(figures: Mapping[str, MemberFigures], short: Sequence[str]) -> Estimate:
    """Return what quality gains at most if strong members never fail for want of calls; all from nothing to that."""
    lost = [figures[n].refused_share * (1 - figures[n].success_rate.value) for n in short]
    score = math.fsum(one.success_rate.value for one in figures.values())
    most = 100 * math.fsum(lost) / score if score else 0.0
    return _up_to(most, min(figures[name].runs for name in short))


def _up_to(most: float, runs: int) -> Estimate:
    """Return the estimate of what lies anywhere from 0 to a number: mean and central 95 % interval of a uniform one."""
    return Estimate(most / 2, 0.025 * most, 0.975 * most, runs)
