"""What a strategy is, and all strategies' suggestions in one list, the best first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from .._model.optimization import OptimizationPriority, OptimizationSuggestion, PerformanceInsight
from .config import TeamConfig, read_config, with_change

MIN_CONFIDENCE: Final = 0.6
"""Below it a suggestion is left out."""

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


class BuiltInStrategy(OptimizationStrategy):
    """A strategy that takes the config as it is in this process."""

    def suggest(
        self, insights: Sequence[PerformanceInsight], current_config: Mapping[str, Any]
    ) -> list[OptimizationSuggestion]:
        """Suggest changes of a config in any form."""
        return self.suggest_for(insights, read_config(current_config))

    @abstractmethod
    def suggest_for(self, insights: Sequence[PerformanceInsight], config: TeamConfig) -> list[OptimizationSuggestion]:
        """Suggest changes."""


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
