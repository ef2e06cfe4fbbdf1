"""Fewer members, toward three to five."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .._analysis.insight_evidence import Estimate, MemberFigures, SizeEvidence, evidence_in
from .._analysis.predictions import gain, in_formation, rows_of, without
from .._model.optimization import Bottleneck, OptimizationSuggestion, OptimizationType, PerformanceInsight
from .base import BuiltInStrategy
from .config import TeamConfig
from .judgement import Prior, suggestion

_PRIOR: Final = Prior(10, 20, model_error=8)


class TeamSizingStrategy(BuiltInStrategy):
    """Suggests to leave out members that add least where a team is past the point of diminishing returns; low risk.

    Protected members stay, and so do the supervisor of a hierarchical formation, members whose work others need, and
    the only member of a role as long as another role has two.
    """

    name = OptimizationType.TEAM_SIZING.value
    risk_level = 0.2

    def suggest_for(self, insights: Sequence[PerformanceInsight], config: TeamConfig) -> list[OptimizationSuggestion]:
        """Suggest a smaller team; by names where they are known, else by number."""
        found = [self._smaller(one, config) for one in insights if one.bottleneck == Bottleneck.OVERSIZED_TEAM]
        return [one for one in found if one is not None]

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
        return suggestion(
            self.name,
            self.risk_level,
            insight,
            config,
            change,
            f"Reduce the team from {size} members to {target}{who}.",
            metric="duration",
            prior=_PRIOR,
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
