"""From insights to suggestions, one file a strategy. Pure: values in, values out."""

from __future__ import annotations

from .base import OptimizationStrategy
from .formation_selection import FormationSelectionStrategy

BUILT_IN: tuple[OptimizationStrategy, ...] = (FormationSelectionStrategy(),)
"""The strategies that come with the plugin."""

__all__ = ["BUILT_IN", "FormationSelectionStrategy", "OptimizationStrategy"]
