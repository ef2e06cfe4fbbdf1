"""Limits from what successful runs needed: tool calls, and time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final

from attrs import evolve

from .._analysis.insight_evidence import (
    Estimate,
    SpentBudgetEvidence,
    TailEvidence,
    TimeoutEvidence,
    TimingEvidence,
    ToolUseEvidence,
    evidence_in,
)
from .._model.optimization import Bottleneck, OptimizationSuggestion, OptimizationType, PerformanceInsight
from .._model.text import percent
from .base import BuiltInStrategy, Prior
from .config import TeamConfig

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
    prior = Prior(5, 15, model_error=5)

    def answers(
        self, insight: PerformanceInsight, config: TeamConfig, _: Sequence[PerformanceInsight], /
    ) -> Iterator[OptimizationSuggestion | None]:
        """Give a budget for an insight about tool calls."""
        if insight.bottleneck == Bottleneck.EXCESSIVE_TOOL_USAGE:
            yield self._smaller(insight, config)
        elif insight.bottleneck == Bottleneck.UNDERSIZED_BUDGET:
            yield self._larger(insight, config)

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
        return self.suggestion(
            insight,
            config,
            {"tool_budget": budget},
            f"Give the team {budget} tool calls; now it runs {now}{enough}.",
            metric="cost" if evidence.cost_is_known else "tool_calls",
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
        return self.suggestion(
            insight,
            config,
            change,
            "Allow 50 % more tool calls: runs that use up their budget fail more often.",
            metric="success",
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


_ABOVE: Final = 1.2
_MIN_RUNS: Final = 5


class TimeoutTuningStrategy(BuiltInStrategy):
    """Suggests a deadline where the tail is slow; very low risk.

    A longer one than now, where the deadline ends sound runs, is suggested for a person to allow.
    """

    name = OptimizationType.TIMEOUT_TUNING.value
    risk_level = 0.1
    prior = Prior(5, 10, model_error=3)

    def answers(
        self, insight: PerformanceInsight, config: TeamConfig, _: Sequence[PerformanceInsight], /
    ) -> Iterator[OptimizationSuggestion | None]:
        """Give a deadline for an insight about slow or ended runs."""
        if insight.bottleneck == Bottleneck.HIGH_LATENCY_OUTLIERS:
            yield self._shorter(insight, config)
        elif insight.bottleneck == Bottleneck.TIMEOUTS_TOO_TIGHT:
            yield self._longer(insight, config)

    def _shorter(self, insight: PerformanceInsight, config: TeamConfig) -> OptimizationSuggestion | None:
        evidence = evidence_in(insight, TailEvidence)
        usual = evidence.p95_success_seconds
        if not evidence.runs:
            usual = evolve(evidence.p95_seconds, runs=0)
        elif usual is None or usual.runs < _MIN_RUNS:
            return None
        assert usual is not None
        timeout = max(_seconds(_ABOVE * usual.value), config.limits.min_timeout_seconds or 0.0)
        now = _in_force(evidence, config)
        if (now is not None and timeout >= now) or not config.limits.allows_timeout(timeout):
            return None
        saved = next((one for one in evidence.saved_by_timeout if one.cap >= timeout * 0.999), None)
        data: Estimate | None = Estimate(0.0, 0.0, 0.0, usual.runs) if usual.runs else None
        if saved is not None:
            data = saved
        before = "without a deadline" if now is None else f"until {now:g} s"
        return self.suggestion(
            insight,
            config,
            {"timeout_seconds": timeout},
            f"End a run after {timeout:g} s; now it runs {before}, and 95 % of the successful ones end by "
            f"{usual['value']:.3g} s.",
            metric="duration",
            data=data,
            p95_success_seconds=usual.value,
            runs=usual.runs,
        )

    def _longer(self, insight: PerformanceInsight, config: TeamConfig) -> OptimizationSuggestion | None:
        evidence = evidence_in(insight, TimeoutEvidence)
        if evidence.needed_seconds is None:
            return None
        timeout, now = _seconds(evidence.needed_seconds), _in_force(evidence, config)
        if now is None or timeout <= now or not config.limits.allows_timeout(timeout):
            return None
        ended = evidence.timed_out_share.value
        most = 100 * ended / max(1 - ended, 0.01)
        return self.suggestion(
            insight,
            config,
            {"timeout_seconds": timeout},
            f"Let a run take {timeout:g} s instead of {now:g} s: the deadline ends {percent(ended)} of the runs.",
            metric="success",
            # All that is known is that between none and all of the ended runs would have succeeded.
            data=Estimate(most / 2, 0.0, most, evidence.runs),
            needs_person=True,
            runs=evidence.runs,
        )


def _in_force(evidence: TimingEvidence, config: TeamConfig) -> float | None:
    return config.timeout_seconds if config.timeout_seconds is not None else evidence.timeout_seconds


def _seconds(value: float) -> float:
    """Return seconds rounded up for people: to a tenth, from 10 s on to whole ones."""
    return float(math.ceil(value)) if value >= 10 else math.ceil(value * 10) / 10
