"""Switch to the formation in which the members' work would take less time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .._analysis.insight_evidence import FormationEvidence, evidence_in
from .._model.optimization import Bottleneck, OptimizationSuggestion, OptimizationType, PerformanceInsight
from .base import BuiltInStrategy
from .config import TeamConfig
from .judgement import Prior, suggestion

_PRIOR: Final = Prior(20, 50, model_error=8)
_SIDE_BY_SIDE: Final = ("parallel", "consensus")
_TRUST: Final = {"own runs": 0.95, "members' times": 0.9, "other teams": 0.8}


class FormationSelectionStrategy(BuiltInStrategy):
    """Suggests the formation that the analysis expects to be faster; medium risk.

    Members that need each other's work (`depends_on`) are not put side by side; where they are and the team fails, the
    sequential formation is suggested.
    """

    name = OptimizationType.FORMATION_SELECTION.value
    risk_level = 0.4

    def suggest_for(self, insights: Sequence[PerformanceInsight], config: TeamConfig) -> list[OptimizationSuggestion]:
        """Suggest the best formation of an insight that the members can form and the limits allow."""
        if config.sub_teams is not None:
            return []
        fails = next((one for one in insights if one.bottleneck == Bottleneck.LOW_SUCCESS_RATE), None)
        found = []
        for insight in insights:
            used = insight.bottleneck.removeprefix(Bottleneck.SUBOPTIMAL_FORMATION)
            if used != insight.bottleneck and config.formation in (None, used):
                found += self._faster(insight, used, config, fails is not None)
        if fails is not None:
            found += self._in_order(fails, config)
        return found

    def _faster(
        self, insight: PerformanceInsight, used: str, config: TeamConfig, fails: bool
    ) -> list[OptimizationSuggestion]:
        for candidate in evidence_in(insight, FormationEvidence).candidates:
            formation, source = candidate.formation, candidate.source
            if formation == used or not self._can_run(formation, config):
                continue
            if formation in _SIDE_BY_SIDE and config.depends_on:
                continue
            if used == "consensus" and fails and source != "own runs":
                continue  # the consensus may be what keeps a failing team from failing more often
            return [
                suggestion(
                    self.name,
                    self.risk_level,
                    insight,
                    config,
                    {"formation": formation},
                    f"Run the team in formation {formation} instead of {used}.",
                    metric="duration",
                    prior=_PRIOR,
                    data=candidate if candidate.runs else None,
                    most=_TRUST.get(source, 0.8),
                    source=source,
                    runs=candidate.runs,
                )
            ]
        return []

    def _in_order(self, insight: PerformanceInsight, config: TeamConfig) -> list[OptimizationSuggestion]:
        if config.formation not in _SIDE_BY_SIDE or not config.depends_on or not self._can_run("sequential", config):
            return []
        return [
            suggestion(
                self.name,
                self.risk_level,
                insight,
                config,
                {"formation": "sequential"},
                f"Run the team in formation sequential instead of {config.formation}: members need each other's work.",
                metric="score",
                prior=_PRIOR,
                data=None,
                source="prior",
                runs=0,
            )
        ]

    @staticmethod
    def _can_run(formation: str, config: TeamConfig) -> bool:
        return formation in config.limits.formations and formation in config.feasible()
