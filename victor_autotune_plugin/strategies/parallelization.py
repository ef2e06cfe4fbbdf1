"""Sub-teams side by side, where the whole team in parallel would tear apart what belongs in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any, Final

from .._analysis.intervals import Estimate
from .._analysis.predictions import Seconds, gain, in_formation, in_groups, rows_of
from .._model.optimization import Bottleneck, OptimizationSuggestion, OptimizationType, PerformanceInsight
from .bare import completed
from .base import OptimizationStrategy
from .config import TeamConfig, read_config
from .dependencies import DECLARED, chains, packed
from .judgement import Prior, suggestion

_PRIOR: Final = Prior(30, 50, model_error=8)
_NEARLY: Final = 2.0
"""Percentage points that a further group must gain to be worth it."""


class ParallelizationStrategy(OptimizationStrategy):
    """Suggests sub-teams that run side by side, their members one after another; high risk.

    Members that need each other's work stay together in order. Where all are independent and the whole team may run in
    parallel, that is simpler, and formation selection suggests it.
    """

    name = OptimizationType.PARALLELIZATION.value
    risk_level = 0.7

    def suggest(
        self, insights: Sequence[PerformanceInsight], current_config: Mapping[str, Any]
    ) -> list[OptimizationSuggestion]:
        """Suggest a division for each insight about work that waits without need."""
        config = read_config(current_config)
        if config.sub_teams is not None or len(config.members) < 3:
            return []
        if config.formation not in (None, "sequential", "pipeline"):
            return []
        if "parallel" not in config.bounds.formations or not config.bounds.allows_members(config.ids):
            return []
        found = [
            self._divided(completed(one), config)
            for one in insights
            if one.bottleneck == Bottleneck.SERIAL_INDEPENDENT_WORK
        ]
        return [one for one in found if one is not None]

    def _divided(self, insight: PerformanceInsight, config: TeamConfig) -> OptimizationSuggestion | None:
        units, source = chains(config)
        independent = all(len(unit) == 1 for unit in units)
        if len(units) < 2 or independent:
            return None
        rows = [row for row in rows_of(insight.evidence["member_durations"]) if set(row) >= set(config.ids)]
        if len(rows) < 2:
            return None
        groups, data = _best(units, rows, config.formation or insight.evidence["formation"])
        if data is None:
            return None
        return suggestion(
            self.name,
            self.risk_level,
            insight,
            config,
            {"sub_teams": [list(group) for group in groups]},
            f"Let {len(groups)} sub-teams work side by side: {' | '.join(', '.join(group) for group in groups)}.",
            metric="duration",
            prior=_PRIOR,
            data=data,
            most=0.9 if source == DECLARED else 0.8,
            dependencies=source,
            chains=[list(unit) for unit in units if len(unit) > 1],
            runs=insight.evidence["runs"],
        )


def _best(
    units: Sequence[tuple[str, ...]], rows: Sequence[Seconds], formation: str
) -> tuple[tuple[tuple[str, ...], ...], Estimate | None]:
    """Return the division that takes least, with as few groups as come near it, and its predicted gain."""
    names = [name for unit in units for name in unit]
    mean = {name: fmean(row[name] for row in rows) for name in names}
    own = [{name: row[name] for name in names} for row in rows]
    divisions = [packed(units, mean, count) for count in range(2, len(units) + 1)]
    gains = [gain(own, in_formation(formation), in_groups(groups)) for groups in divisions]
    known = [one.value for one in gains if one is not None]
    if not known:
        return (), None
    near = next(k for k, one in enumerate(gains) if one is not None and one.value >= max(known) - _NEARLY)
    return divisions[near], gains[near]
