"""What a strategy is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from ..model.optimization import OptimizationSuggestion, PerformanceInsight


class OptimizationStrategy(ABC):
    """Turns insights into changes that are worth a test.

    Subclass it for a strategy of your own and offer an instance through the hook `add_strategies`.
    """

    name: str
    """Name in the settings and in suggestions."""

    @abstractmethod
    def suggest(
        self, insights: Sequence[PerformanceInsight], current_config: Mapping[str, Any]
    ) -> list[OptimizationSuggestion]:
        """Suggest changes.

        Args:
            insights: What the runs of one team under one plan show.
            current_config: The knobs as they are: `formation`, `members`, `tool_budget`, `timeout_seconds`, …

        Returns:
            Suggestions, in any order; empty when there is nothing to gain.
        """

    def apply(self, config: Mapping[str, Any], suggestion: OptimizationSuggestion) -> dict[str, Any]:
        """Return a config with the suggestion applied.

        Args:
            config: A config; it is not touched.
            suggestion: A suggestion of this strategy.
        """
        return {**config, **suggestion.suggested_config}
