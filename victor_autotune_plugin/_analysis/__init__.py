"""From recorded runs to insights. Pure: values in, values out.

    history = RunHistory(team_runs)                      # or _metricfiles.read_history(path).history
    insights = analyze(history)                                    # of its only team; else analyze(history, key=…)

- `RunHistory`: `TeamRun`s or `Row`s of any number of teams in compact columns; `extend(runs)`, `teams`.
- `analyze(history, key=…, spec=…, formation=…, baseline_metrics=…)`: the insights of one team, worst first.
- `analyze_all(history, baseline_metrics=…)`: those of every team, by key.
- `summary(history, key)`: the figures of a team: mean, P95, success share, tool calls, cost, by formation.
- `DEFAULT_BASELINES`: the constants of teams without a history of their own, by the names `baseline_metrics` has.

numpy is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .._model.plan import SUB_TEAMS

if TYPE_CHECKING:
    from .bottlenecks import analyze, analyze_all, summary
    from .estimates import DEFAULT_BASELINES
    from .run_history import Row, RunHistory, row_of
    from .run_table import TeamKey, TeamTable

__all__ = [
    "DEFAULT_BASELINES",
    "SUB_TEAMS",
    "Row",
    "RunHistory",
    "TeamKey",
    "TeamTable",
    "analyze",
    "analyze_all",
    "row_of",
    "summary",
]

_HOMES = {
    "DEFAULT_BASELINES": ".estimates",
    "RunHistory": ".run_history",
    "Row": ".run_history",
    "row_of": ".run_history",
    "TeamKey": ".run_table",
    "TeamTable": ".run_table",
    "analyze": ".bottlenecks",
    "analyze_all": ".bottlenecks",
    "summary": ".bottlenecks",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home, __name__), name)
