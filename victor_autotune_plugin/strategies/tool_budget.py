"""A tool budget no larger than what successful runs needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from .._analysis.insight_evidence import Estimate, SpentBudgetEvidence, ToolUseEvidence, evidence_in
from .._model.optimization import Bottleneck, OptimizationSuggestion, OptimizationType, PerformanceInsight
from .base import BuiltInStrategy
from .config import TeamConfig
from .judgement import Prior, suggestion

_PRIOR: Final = Prior(5, 15, model_error=5)
_SMALLER: Final = 0.65
"""Of the budget in force, between 30 and 40 % less."""

_LARGER: Final = 1.5


class ToolBudgetStrategy(BuiltInStrategy):
    """Suggests a smaller budget where tool calls are far above the baseline; low risk.

    It is never below the most that a successful run needed. A larger one, where runs fail for want of calls, is
    suggested for a person to allow.
    """

    name = OptimizationType.TOOL_BUDGET.value
    risk_level = 0.2

    def suggest_for(self, insights: Sequence[PerformanceInsight], config: TeamConfig) -> list[OptimizationSuggestion]:
        """Suggest a budget for each insight about tool calls."""
        found: list[OptimizationSuggestion | None] = []
        for insight in insights:
            if insight.bottleneck == Bottleneck.EXCESSIVE_TOOL_USAGE:
                found.append(self._smaller(insight, config))
            elif insight.bottleneck == Bottleneck.UNDERSIZED_BUDGET:
                found.append(self._larger(insight, config))
        return [one for one in found if one is not None]

    def _smaller(self, insight: PerformanceInsight, config: TeamConfig) -> OptimizationSuggestion | None:
        evidence = evidence_in(insight, ToolUseEvidence)
        needed = evidence.needed_tool_calls
        if needed is None and evidence.runs:
            return None  # no run succeeded
        in_force = config.tool_budget if config.tool_budget is not None else evidence.tool_budget
        used = evidence.most_tool_calls
        start = used if in_force is None else in_force
        budget = max(math.ceil(_SMALLER * start), math.ceil(needed or 0), config.limits.min_tool_budget or 0)
        if budget >= start or not config.limits.allows_budget(budget):
            return None
        saved = next((entry for entry in evidence.saved_by_budget if entry.cap >= budget), None)
        data: Estimate | None = None if needed is None else Estimate(0.0, 0.0, 0.0, evidence.runs)
        if saved is not None:
            data = saved
        now = "without a budget" if in_force is None else f"with a budget of {in_force:g}"
        enough = "" if needed is None else f", and no successful run needed more than {needed:g}"
        return suggestion(
            self.name,
            self.risk_level,
            insight,
            config,
            {"tool_budget": budget},
            f"Give the team {budget} tool calls; now it runs {now}{enough}.",
            metric="cost" if evidence.cost_is_known else "tool_calls",
            prior=_PRIOR,
            data=data,
            needed_tool_calls=needed,
            changes_nothing=evidence.runs > 0 and budget >= used,
            runs=evidence.runs,
        )

    def _larger(self, insight: PerformanceInsight, config: TeamConfig) -> OptimizationSuggestion | None:
        evidence = evidence_in(insight, SpentBudgetEvidence)
        in_force = config.tool_budget if config.tool_budget is not None else evidence.tool_budget
        change: dict[str, Any] = {}
        if in_force is not None:
            change["tool_budget"] = math.ceil(_LARGER * in_force)
        short = [name for name in insight.affected_components if name in config.member_budgets]
        if short:
            change["member_budgets"] = {
                name: math.ceil(_LARGER * calls) if name in short else calls
                for name, calls in config.member_budgets.items()
            }
        budgets = [change.get("tool_budget"), *change.get("member_budgets", {}).values()]
        most = config.limits.max_tool_budget
        if not change or any(calls is not None and most is not None and calls > most for calls in budgets):
            return None
        if in_force is not None and not config.limits.allows_budget(change["tool_budget"]):
            return None
        return suggestion(
            self.name,
            self.risk_level,
            insight,
            config,
            change,
            "Allow half as many tool calls more: runs that spend their budget fail more often.",
            metric="score",
            prior=_PRIOR,
            data=self._recovered(evidence, insight.baseline_value),
            needs_person=True,
            runs=evidence.runs,
        )

    @staticmethod
    def _recovered(evidence: SpentBudgetEvidence, others: float) -> Estimate | None:
        """Return how much more would succeed if runs that spend their budget failed no more often than the others."""
        share, difference, failing = evidence.spent_share, evidence.difference, evidence.failing_share.value
        success = 1 - share.value * failing - (1 - share.value) * others
        if difference is None or success <= 0:
            return None
        scale = 100 * share.value / success
        return Estimate(scale * difference.value, scale * difference.low, scale * difference.high, share.runs)
