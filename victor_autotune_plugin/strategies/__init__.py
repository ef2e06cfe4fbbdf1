"""From insights to suggestions, one file a strategy. Pure: values in, values out.

    suggestions = rank(BUILT_IN, insights, {"formation": "sequential", "member_count": 5, "limits": {…}})
    changed = strategy.apply(config, suggestion)          # or with_change(config, suggestion.suggested_config)

- `rank(strategies, insights, current_config, names=…, max_risk=…, …)`: what they suggest, best first.
- `BUILT_IN`: the six strategies; `OptimizationStrategy`: the base of your own.
- `read_config(config)`: a config in any of its forms as a `TeamConfig`; raises `PlanError` naming the wrong key.
- `with_change(config, change)`: a config with knobs changed, under the keys that it has.
- `limits` in a config holds the names of the settings' limits as plain values; no suggestion crosses them. The caller
  checks `Limits.crossed_by(plan)` all the same, since strategies of others may.
- A suggestion's `metadata`: `metric` (what a test decides by), `interval_percent` (95 %), `prior_percent`,
  `data_percent` (what the runs alone say, or None), `insight`, `runs`, and `needs_person` for what loosens a limit.
"""

from __future__ import annotations

from .base import OptimizationStrategy
from .changing import with_change
from .config import Bounds, TeamConfig, read_config
from .formation_selection import FormationSelectionStrategy
from .member_selection import MemberSelectionStrategy
from .parallelization import ParallelizationStrategy
from .ranking import MIN_CONFIDENCE, rank
from .team_sizing import TeamSizingStrategy
from .timeout_tuning import TimeoutTuningStrategy
from .tool_budget import ToolBudgetStrategy

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
    "BUILT_IN",
    "MIN_CONFIDENCE",
    "Bounds",
    "FormationSelectionStrategy",
    "MemberSelectionStrategy",
    "OptimizationStrategy",
    "ParallelizationStrategy",
    "TeamConfig",
    "TeamSizingStrategy",
    "TimeoutTuningStrategy",
    "ToolBudgetStrategy",
    "rank",
    "read_config",
    "with_change",
]
