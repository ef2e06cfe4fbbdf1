"""From insights to suggestions. Pure: values in, values out.

    suggestions = rank(BUILT_IN, insights, TeamConfig.of(spec, plan, limits))      # or {"formation": …, "members": …}
    changed = strategy.apply(config, suggestion)          # or with_change(config, suggestion.suggested_config)

- `base`: `OptimizationStrategy`, the base of your own; `rank`, what strategies suggest, best first.
- `config`: a team's config as a `TeamConfig`; `read_config` and `with_change` for one that is a mapping.
- `BUILT_IN`: the six strategies.

No suggestion of the six crosses the config's `limits`. The caller checks `Limits.crossed_by(plan)` all the same, since
strategies of others may.
"""

from __future__ import annotations

from .arrangement import FormationSelectionStrategy, ParallelizationStrategy
from .base import OptimizationStrategy
from .budget_and_deadline import TimeoutTuningStrategy, ToolBudgetStrategy
from .member_choice import MemberSelectionStrategy, TeamSizingStrategy

BUILT_IN: tuple[OptimizationStrategy, ...] = (
    TeamSizingStrategy(),
    FormationSelectionStrategy(),
    ToolBudgetStrategy(),
    TimeoutTuningStrategy(),
    MemberSelectionStrategy(),
    ParallelizationStrategy(),
)
"""The strategies that come with the plugin."""

__all__ = [
    "FormationSelectionStrategy",
    "MemberSelectionStrategy",
    "OptimizationStrategy",
    "ParallelizationStrategy",
    "TeamSizingStrategy",
    "TimeoutTuningStrategy",
    "ToolBudgetStrategy",
]
