"""Switch to the formation in which the members' work would take less time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..analysis.formations import BOTTLENECK
from ..model.optimization import OptimizationPriority, OptimizationSuggestion, OptimizationType, PerformanceInsight
from .base import OptimizationStrategy


class FormationSelectionStrategy(OptimizationStrategy):
    """Suggests the formation that the analysis predicts to be faster; medium risk."""

    name = OptimizationType.FORMATION_SELECTION.value
    risk_level = 0.4

    def suggest(
        self, insights: Sequence[PerformanceInsight], current_config: Mapping[str, Any]
    ) -> list[OptimizationSuggestion]:
        """Suggest the better formation that an insight names.

        Confidence grows with the number of runs behind the prediction, from 0.6 at two runs toward 0.9.
        """
        suggestions = []
        for insight in insights:
            if not insight.bottleneck.startswith(BOTTLENECK):
                continue
            gain, runs = insight.evidence["gain_percent"], insight.evidence["runs"]
            formation = insight.evidence["formation"]
            suggestions.append(
                OptimizationSuggestion(
                    type=self.name,
                    priority=OptimizationPriority.HIGH if gain >= 20 else OptimizationPriority.MEDIUM,
                    description=f"Run the team in formation {formation} instead of {current_config['formation']}.",
                    current_config=dict(current_config),
                    suggested_config={"formation": formation},
                    expected_improvement=gain,
                    confidence=0.9 - 0.6 / runs,
                    risk_level=self.risk_level,
                    metadata=dict(insight.evidence),
                )
            )
        return suggestions
