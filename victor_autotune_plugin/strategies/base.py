"""What a strategy is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from .._model.optimization import OptimizationSuggestion, PerformanceInsight
from .changing import with_change


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
                `limits`, a mapping by the names of the settings, which no suggestion may cross. `config.read_config`
                reads it, whichever form it has.

        Returns:
            Suggestions, in any order; empty when there is nothing to gain. `metadata` names the `metric` that a test
            should decide by (without one it is the settings'), and `needs_person` is True where a limit is loosened.
        """

    def apply(self, config: Mapping[str, Any], suggestion: OptimizationSuggestion) -> dict[str, Any]:
        """Return a config with the suggestion applied, under the keys that the config has.

        Args:
            config: A config; it is not touched.
            suggestion: A suggestion of this strategy.
        """
        return with_change(config, suggestion.suggested_config)
