"""The metric of a test by the rules of 0.1 for independent samples, and what every one of those rules has of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

from ..._model.run import TREATMENT, Observation
from ..primary import Effect, adjusted_value, relative_change, shift_quantiles
from ..twosample import RankSum, SumStatistic


class Primary(Protocol):
    """What a test needs of its metric."""

    def add(self, observation: Observation) -> bool:
        """Add a run; return whether it has a value."""

    @property
    def z(self) -> float:
        """Standardised evidence, positive for an improvement."""

    @property
    def normal(self) -> float:
        """The evidence as a normal score, for forecasts; `z` itself where that is one."""

    def effect(self, better: float, worse: float) -> Effect:
        """Return the effect; the interval holds what is rejected neither at z = `better` nor at z = -`worse`."""

    def improvement(self) -> float:
        """Return the estimated relative improvement, positive when better."""


class RankPrimary:
    """Duration, cost or tool calls, by ranks of the logarithms.

    Args:
        metric: `duration`, `cost` or `tool_calls`.
        task_effects: Log effect of each task key, from runs before the test; taken off the values. The test stays
            exact whatever they are, since the arms don't depend on them.
    """

    def __init__(self, metric: str, task_effects: Mapping[str, float] | None = None) -> None:
        self._metric = metric
        self._task_effects = task_effects or {}
        self._ranks = RankSum()

    def add(self, observation: Observation) -> bool:
        """Add a run; return whether it has a value."""
        value = adjusted_value(self._metric, observation, self._task_effects)
        if value is None:
            return False
        self._ranks.add(value, treatment=observation.arm == TREATMENT)
        return True

    @property
    def z(self) -> float:
        """Standardised evidence, positive for an improvement."""
        return self._ranks.z

    normal = z

    def effect(self, better: float, worse: float) -> Effect:
        """Return the Hodges-Lehmann ratio with the interval that inverts the rank test."""
        ranks = self._ranks
        if not ranks.control or not ranks.treatment:
            return Effect(math.nan, math.nan, math.nan)
        half, deviation = len(ranks.control) * len(ranks.treatment) / 2, ranks.deviation
        high = math.ceil(half + better * deviation - 1e-9) if math.isfinite(better) else math.inf
        low = math.ceil(half + worse * deviation - 1e-9) if math.isfinite(worse) else math.inf
        shifts = shift_quantiles(ranks.control, ranks.treatment, low, high)
        return Effect(*(relative_change(shift) for shift in shifts))

    def improvement(self) -> float:
        """Return 1 minus the Hodges-Lehmann ratio."""
        return -self.effect(math.inf, math.inf).estimate


class ScorePrimary:
    """The graded score, by its mean."""

    def __init__(self) -> None:
        self._sums = SumStatistic()

    def add(self, observation: Observation) -> bool:
        """Add a run; return whether it has a value."""
        self._sums.add(observation.outcome, treatment=observation.arm == TREATMENT)
        return True

    @property
    def z(self) -> float:
        """Standardised evidence, positive for an improvement."""
        return self._sums.z

    normal = z

    def effect(self, better: float, worse: float) -> Effect:
        """Return the relative change of the mean, with the interval of the standardised difference."""
        sums = self._sums
        base = sums.mean_control
        if not sums.n_treatment or not base > 0:
            return Effect(math.nan, math.nan, math.nan)
        change, deviation = sums.mean_treatment - base, sums.deviation
        low = change - better * deviation if math.isfinite(better) else -math.inf
        high = change + worse * deviation if math.isfinite(worse) else math.inf
        return Effect(change / base, max(low / base, -1.0), high / base)

    def improvement(self) -> float:
        """Return the relative rise of the mean."""
        return self.effect(math.inf, math.inf).estimate
