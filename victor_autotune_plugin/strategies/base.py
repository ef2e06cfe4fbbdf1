"""What a strategy is, how much its change is expected to bring, and all suggestions in one list, the best first."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from attrs import frozen

from .._analysis.insight_evidence import Estimate
from .._analysis.quantiles import Z_975
from .._model.known_formations import FORMATIONS
from .._model.optimization import OptimizationPriority, OptimizationSuggestion, PerformanceInsight, SuggestionMetadata
from .config import TeamConfig, read_config, with_change

MIN_CONFIDENCE: Final = 0.6
"""Below it a suggestion is left out."""

_UNMEASURED: Final = 0.65
"""Confidence of what no run of this team speaks for: enough to be shown and tested."""

_ARRANGING: Final = frozenset({"formation", "team_formation", "sub_teams", "members", "member_count"})
"""Keys of a suggestion that change who works with whom."""

_ORDER: Final = tuple(OptimizationPriority)


class OptimizationStrategy(ABC):
    """Turns insights into changes that are worth a test.

    Subclass it for a strategy of your own and offer an instance through the hook `add_strategies`, or give it to
    `PerformanceAutotuner(strategies=[…])`.
    """

    name: str = ""
    """Name in the settings and in suggestions; without one, the name of the class."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not cls.name:
            cls.name = cls.__name__

    @abstractmethod
    def suggest(
        self, insights: Sequence[PerformanceInsight], current_config: Mapping[str, Any]
    ) -> list[OptimizationSuggestion]:
        """Suggest changes.

        Args:
            insights: What the runs of one team under one plan show.
            current_config: The knobs as they are: `formation`, `members`, `tool_budget`, `timeout_seconds`, …, and
                `limits`, a mapping by the names of the settings, which no suggestion may cross.

        Returns:
            Suggestions, in any order; empty when there is nothing to gain. `metadata` names the `metric` that a test
            should decide by (without one it is the settings'), and `needs_person` is True where a limit is loosened.
        """

    def apply(self, config: Mapping[str, Any], suggestion: OptimizationSuggestion) -> dict[str, Any]:
        """Return a config with the suggestion applied, under the keys that the config has."""
        return with_change(config, suggestion.suggested_config)


@frozen
class Prior:
    """What a strategy usually brings, and how well its gain can be told from past runs."""

    low: float  # usual gain, percent; low to high is one standard deviation around the middle
    high: float
    # Deviation, in percentage points, of a perfectly known prediction: agents behave differently under another plan.
    model_error: float


def expected(prior: Prior, data: Estimate | None) -> Estimate:
    """Return the expected gain: the data's, drawn toward the prior by their precisions.

    Both are taken as normal, so the mean is weighted by the inverse variances (Gelman et al., Bayesian Data Analysis,
    section 2.5).
    """
    mean, variance = (prior.low + prior.high) / 2, ((prior.high - prior.low) / 2) ** 2
    runs = 0
    if data is not None:
        seen = data.standard_deviation**2 + prior.model_error**2
        weight = variance / (variance + seen)
        mean, variance = mean + weight * (data.value - mean), variance * (1 - weight)
        runs = data.runs
    half = Z_975 * math.sqrt(variance)
    return Estimate(mean, mean - half, mean + half, runs)


def confidence(gain: Estimate, *, most: float = 0.9) -> float:
    """Return how sure a gain is: the probability that it is one, times how far so few runs can be trusted."""
    deviation = gain.standard_deviation
    better = 0.5 * (1 + math.erf(gain.value / (deviation * math.sqrt(2)))) if deviation else float(gain.value > 0)
    trust = max(0.0, most - 0.6 / gain.runs) if gain.runs else _UNMEASURED
    return trust * better


def priority(insight: PerformanceInsight, gain: float) -> OptimizationPriority:
    """Return how urgent a change is."""
    if insight.severity >= 0.8 and gain >= 30:
        return OptimizationPriority.CRITICAL
    if gain >= 20 or (insight.severity >= 0.8 and gain >= 10):
        return OptimizationPriority.HIGH
    return OptimizationPriority.MEDIUM if gain >= 8 else OptimizationPriority.LOW


class BuiltInStrategy(OptimizationStrategy):
    """A strategy that takes the config as it is in this process, and answers one insight after another.

    Attributes:
        risk_level: Risk of its changes, 0 to 1.
        prior: What they usually bring.
    """

    risk_level: float
    prior: Prior

    def suggest(
        self, insights: Sequence[PerformanceInsight], current_config: Mapping[str, Any]
    ) -> list[OptimizationSuggestion]:
        """Suggest changes of a config in any form."""
        return self.suggest_for(insights, read_config(current_config))

    def suggest_for(self, insights: Sequence[PerformanceInsight], config: TeamConfig) -> list[OptimizationSuggestion]:
        """Suggest changes; who works with whom is kept in a formation that is not known here."""
        kept = config.formation is not None and config.formation not in FORMATIONS
        answers = (one for insight in insights for one in self.answers(insight, config, insights))
        return [one for one in answers if one is not None and not (kept and _ARRANGING & one.suggested_config.keys())]

    @abstractmethod
    def answers(
        self, insight: PerformanceInsight, config: TeamConfig, insights: Sequence[PerformanceInsight], /
    ) -> Iterable[OptimizationSuggestion | None]:
        """Give a suggestion, or None, for each way to answer an insight, one of all these about the team."""

    def suggestion(
        self,
        insight: PerformanceInsight,
        config: TeamConfig,
        change: Mapping[str, Any],
        description: str,
        *,
        metric: str,
        data: Estimate | None,
        most: float = 0.9,
        bounded: bool = False,
        needs_person: bool = False,
        changes_nothing: bool | None = None,
        **further: Any,
    ) -> OptimizationSuggestion:
        """Return a suggestion with everything that follows from the gain that the data speak of.

        Args:
            insight: The insight that it answers.
            config: The team's config.
            change: The knobs to change.
            description: The change in one sentence.
            metric: What is expected to improve: `duration`, `score`, `success`, `cost` or `tool_calls`. A test decides
                by it.
            data: What the runs say, in percent of the metric.
            most: As for `confidence`.
            bounded: Whether the data say between what the gain lies, whatever such a change usually brings.
            needs_person: Whether it loosens a limit, which only a person may.
            changes_nothing: Whether no run so far would have been different.
            further: Further numbers for the metadata.
        """
        gain = data if bounded and data is not None else expected(self.prior, data)
        return OptimizationSuggestion(
            type=self.name,
            priority=priority(insight, gain.value),
            description=description,
            current_config=config.knobs(),
            suggested_config=dict(change),
            expected_improvement=gain.value,
            confidence=confidence(gain, most=most),
            risk_level=self.risk_level,
            metadata=SuggestionMetadata(
                metric=metric,
                interval_percent=(gain.low, gain.high),
                needs_person=needs_person,
                changes_nothing=changes_nothing,
                further={
                    "prior_percent": [self.prior.low, self.prior.high],
                    "data_percent": None if data is None else Estimate(data.value, data.low, data.high, data.runs),
                    "insight": insight.bottleneck,
                    "severity": insight.severity,
                    **further,
                },
            ),
        )


def rank(
    strategies: Iterable[OptimizationStrategy],
    insights: Sequence[PerformanceInsight],
    current_config: Mapping[str, Any] | TeamConfig,
    *,
    names: Iterable[str] | None = None,
    max_risk: float | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    min_improvement: float = 0.0,
    guard: Callable[[str], AbstractContextManager[object]] = lambda _: nullcontext(),
) -> list[OptimizationSuggestion]:
    """Return what strategies suggest, by priority and then by expected improvement times confidence.

    Args:
        strategies: Strategies to ask.
        insights: What the runs of one team show.
        current_config: The config, or the mapping that `read_config` reads.
        names: Names of the strategies that may suggest; None for all.
        max_risk: Highest risk level that is wanted, 0 to 1.
        min_confidence: Lowest confidence that is wanted.
        min_improvement: Lowest expected improvement that is wanted, percent.
        guard: Given what is being done, returns a context that may swallow a strategy's exception; by default it
            passes.

    Returns:
        Suggestions; equal ones keep the order of the strategies.
    """
    wanted = None if names is None else set(names)
    found: list[OptimizationSuggestion] = []
    config = current_config if isinstance(current_config, TeamConfig) else read_config(current_config)
    for strategy in strategies:
        if wanted is None or strategy.name in wanted:
            with guard(f"strategy {strategy.name!r}"):
                if isinstance(strategy, BuiltInStrategy):
                    found.extend(strategy.suggest_for(insights, config))
                else:
                    given = config.to_dict() if isinstance(current_config, TeamConfig) else current_config
                    found.extend(strategy.suggest(insights, given))
    worth = [
        one
        for one in found
        # Written so that a NaN is left out.
        if one.confidence >= min_confidence
        and one.expected_improvement >= min_improvement
        and (max_risk is None or one.risk_level <= max_risk)
    ]
    return sorted(worth, key=lambda one: (_ORDER.index(one.priority), -one.expected_improvement * one.confidence))
