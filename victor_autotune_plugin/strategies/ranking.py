"""All strategies' suggestions in one list, the best first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from .._model.optimization import OptimizationPriority, OptimizationSuggestion, PerformanceInsight
from .base import OptimizationStrategy

MIN_CONFIDENCE: Final = 0.6
"""Below it a suggestion is left out."""

_ORDER: Final = tuple(OptimizationPriority)


def rank(
    strategies: Iterable[OptimizationStrategy],
    insights: Sequence[PerformanceInsight],
    current_config: Mapping[str, Any],
    *,
    names: Iterable[str] | None = None,
    max_risk: float | None = None,
    min_confidence: float = MIN_CONFIDENCE,
    min_improvement: float = 0.0,
    guard: Callable[[str], AbstractContextManager[object]] = lambda _: nullcontext(),
) -> list[OptimizationSuggestion]:
    """Return what strategies suggest, by priority and then by expected improvement times confidence.

    Args:
        strategies: Who is asked.
        insights: What the runs of one team show.
        current_config: The knobs as they are, with `limits` where there are any; as for `OptimizationStrategy.suggest`.
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
    for strategy in strategies:
        if wanted is None or strategy.name in wanted:
            with guard(f"strategy {strategy.name!r}"):
                found.extend(strategy.suggest(insights, current_config))
    worth = [
        one
        for one in found
        # Written so that a NaN is left out.
        if one.confidence >= min_confidence
        and one.expected_improvement >= min_improvement
        and (max_risk is None or one.risk_level <= max_risk)
    ]
    return sorted(worth, key=lambda one: (_ORDER.index(one.priority), -one.expected_improvement * one.confidence))
