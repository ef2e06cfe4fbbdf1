"""The figures of a team, for people and for before/after tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._model.optimization import plain
from .analyzer import team_key
from .estimates import mean_of, p95_of, share_of
from .members import member_figures
from .run_history import RunHistory
from .run_table import TeamKey, TeamTable


def summary(history: RunHistory, key: TeamKey | str | None = None) -> dict[str, Any]:
    """Return the figures of a team, each with its 95 % interval.

    Args:
        history: Runs.
        key: The team; None for the only one.

    Returns:
        `runs`, `first` and `last` (Unix seconds), `figures` of all runs, `formations` with the figures of each, and
        `members`.

    Raises:
        MetricsError: There is no such team, or several.
    """
    table = history.table(team_key(history, key))
    codes = [code for code in range(len(table.formations)) if (table.formation == code).any()]
    return {
        "workflow": table.key[0],
        "team_id": table.key[1],
        "runs": len(table),
        "first": float(table.timestamp[0]),
        "last": float(table.timestamp[-1]),
        "figures": figures(table),
        "formations": {table.formations[code]: figures(table.where(table.formation == code)) for code in codes},
        "members": plain(member_figures(table)),
    }


def figures(table: TeamTable) -> dict[str, Any]:
    """Return the figures of runs; `cost_usd` and `tokens` are there where all of the runs tell them.

    Args:
        table: At least one run.
    """
    data = {
        "duration_seconds": mean_of(table.duration).to_dict(),
        "median_duration_seconds": float(np.median(table.duration)),
        "p95_duration_seconds": p95_of(table.duration).to_dict(),
        "success_rate": share_of(table.success).to_dict(),
        "score": mean_of(table.score).to_dict(),
        "tool_calls": mean_of(table.tool_calls).to_dict(),
        "timed_out_share": share_of(table.timed_out).to_dict(),
        "members": float(table.size.mean()),
    }
    for name, column in (("cost_usd", table.cost), ("tokens", table.tokens)):
        if np.isfinite(column).all():
            data[name] = mean_of(column).to_dict()
    return data
