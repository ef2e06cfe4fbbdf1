"""A deadline a fifth above what 95 % of the successful runs took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from attrs import evolve

from .._analysis.insight_evidence import Estimate, TailEvidence, TimeoutEvidence, TimingEvidence, evidence_in
from .._model.optimization import Bottleneck, OptimizationSuggestion, OptimizationType, PerformanceInsight
from .._model.text import percent
from .base import BuiltInStrategy
from .config import TeamConfig
from .judgement import Prior, suggestion

_PRIOR: Final = Prior(5, 10, model_error=3)
_ABOVE: Final = 1.2
_MIN_RUNS: Final = 5


class TimeoutTuningStrategy(BuiltInStrategy):
    """Suggests a deadline where the tail is slow; very low risk.

    A longer one than now, where the deadline ends sound runs, is suggested for a person to allow.
    """

    name = OptimizationType.TIMEOUT_TUNING.value
    risk_level = 0.1

    def suggest_for(self, insights: Sequence[PerformanceInsight], config: TeamConfig) -> list[OptimizationSuggestion]:
        """Suggest a deadline for each insight about slow or ended runs."""
        found: list[OptimizationSuggestion | None] = []
        for insight in insights:
            if insight.bottleneck == Bottleneck.HIGH_LATENCY_OUTLIERS:
                found.append(self._shorter(insight, config))
            elif insight.bottleneck == Bottleneck.TIMEOUTS_TOO_TIGHT:
                found.append(self._longer(insight, config))
        return [one for one in found if one is not None]

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
        return suggestion(
            self.name,
            self.risk_level,
            insight,
            config,
            {"timeout_seconds": timeout},
            f"End a run after {timeout:g} s; now it runs {before}, and 95 % of the successful ones end by "
            f"{usual['value']:.3g} s.",
            metric="duration",
            prior=_PRIOR,
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
        return suggestion(
            self.name,
            self.risk_level,
            insight,
            config,
            {"timeout_seconds": timeout},
            f"Let a run take {timeout:g} s instead of {now:g} s: the deadline ends {percent(ended)} of the runs.",
            metric="score",
            prior=_PRIOR,
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
