"""From recorded runs to insights. Pure: values in, values out.

    history = RunHistory(RunFacts.from_run(run) for run in runs)   # or metricfiles.read_history(path)
    insights = analyze(history)                                    # of its only team; else analyze(history, key=…)

- `RunFacts`: one run. `RunFacts.from_run(team_run)` makes it from a recorded run.
- `RunHistory`: runs of any number of teams in compact columns; `add(run)`, `extend(runs)`, `teams`.
- `analyze(history, key=…, spec=…, formation=…, baseline_metrics=…)`: the insights of one team, worst first.
- `analyze_all(history, baseline_metrics=…)`: those of every team, by key.
- `summary(history, key)`: the figures of a team: mean, P95, success share, tool calls, cost, by formation.
- `DEFAULT_BASELINES`: the constants of teams without a history of their own, by the names `baseline_metrics` has.

numpy is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .facts import SUB_TEAMS, RunFacts

if TYPE_CHECKING:
    from .analyzer import analyze, analyze_all
    from .baselines import DEFAULT_BASELINES
    from .history import RunHistory
    from .summaries import summary
    from .tables import TeamKey, TeamTable

__all__ = [
    "DEFAULT_BASELINES",
    "SUB_TEAMS",
    "RunFacts",
    "RunHistory",
    "TeamKey",
    "TeamTable",
    "analyze",
    "analyze_all",
    "summary",
]

_HOMES = {
    "DEFAULT_BASELINES": ".baselines",
    "RunHistory": ".history",
    "TeamKey": ".tables",
    "TeamTable": ".tables",
    "analyze": ".analyzer",
    "analyze_all": ".analyzer",
    "summary": ".summaries",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home, __name__), name)
