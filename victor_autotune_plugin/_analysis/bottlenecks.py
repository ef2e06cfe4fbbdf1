"""All detectors over the runs of one team, or of every team; and the figures of a team for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from .._model.converter import to_plain
from .._model.optimization import Bottleneck, PerformanceInsight
from .._model.plan import TeamSpec
from .._model.run import TeamRun
from .._values.names import did_you_mean, listed
from ..errors import MetricsError
from .estimates import Baselines, mean_of, p95_of, share_of
from .formations import FleetGains, fleet_gains, formation_insight
from .levels import budget_insight, timeout_insight, workflow_insights
from .members import member_figures, member_insight, oversized_insight, serial_insight
from .run_history import Row, RunHistory
from .run_table import TeamKey, TeamTable

_SLOW = (Bottleneck.SLOW_EXECUTION, Bottleneck.HIGH_LATENCY_OUTLIERS)


def analyze(
    runs: RunHistory | Iterable[TeamRun | Row],
    key: TeamKey | None = None,
    *,
    spec: TeamSpec | None = None,
    formation: str | None = None,
    baseline_metrics: Mapping[str, float] | None = None,
    fleet: FleetGains | None = None,
) -> list[PerformanceInsight]:
    """Find out what is wrong with a team.

    Args:
        key: `(workflow, team_id)` of the team; None for the only one there is.
        spec: The team as configured, where it is known: tells which formations its members can form.
        formation: The formation in use; None for that of the latest run.
        baseline_metrics: What figures are compared with, by the names of `DEFAULT_BASELINES`.
        fleet: What other teams gained by formations; None finds it out from the runs.

    Returns:
        Insights, the most severe first; empty without a run.

    Raises:
        MetricsError: There are several teams and no key, no run of the team, or a wrong baseline.
    """
    history = runs if isinstance(runs, RunHistory) else RunHistory(runs)
    if not len(history) and key is None:
        return []
    chosen = team_key(history, key)
    table = history.table(chosen)
    found = workflow_insights(table, Baselines(table, baseline_metrics))
    is_slow = any(insight.bottleneck in _SLOW for insight in found)
    if fleet is None:
        fleet = fleet_gains(history, besides=chosen) if len(history.teams) > 1 else {}
    further = (
        formation_insight(
            table,
            members=None if spec is None else spec.members,
            formation=formation,
            fleet=fleet,
            is_slow=is_slow,
        ),
        oversized_insight(table),
        serial_insight(table, formation),
        member_insight(table),
        budget_insight(table),
        timeout_insight(table),
    )
    found += [insight for insight in further if insight is not None]
    return sorted(found, key=lambda insight: -insight.severity)


def analyze_all(
    runs: RunHistory | Iterable[TeamRun | Row], *, baseline_metrics: Mapping[str, float] | None = None
) -> dict[TeamKey, list[PerformanceInsight]]:
    """Find out what is wrong with every team.

    Returns:
        Each team's insights, in the order in which the teams first appeared.

    Raises:
        MetricsError: A wrong baseline.
    """
    history = runs if isinstance(runs, RunHistory) else RunHistory(runs)
    # A team's own runs come before the fleet's, so that it is part of the fleet does not matter.
    fleet = fleet_gains(history)
    return {key: analyze(history, key, baseline_metrics=baseline_metrics, fleet=fleet) for key in history.teams}


def team_key(history: RunHistory, key: TeamKey | str | None) -> TeamKey:
    """Return which team is meant: by its key, by an id that only one workflow has, or by None for the only team.

    Raises:
        MetricsError: No team is, or several are; the message names the nearest.
    """
    teams = history.teams
    if key is None and len(teams) == 1:
        return next(iter(teams))
    if isinstance(key, tuple) and key in teams:
        return key
    matching = [team for team in teams if isinstance(key, str) and team[1] == key]
    if len(matching) == 1:
        return matching[0]
    if matching or key is None:
        some = matching or list(teams)
        raise MetricsError(
            f"there are {len(some)} teams{'' if key is None else f' with the id {key!r}'}",
            hint=f"Name one of them: {listed(map(_shown, some))}.",
        )
    names = [team[1] for team in teams]
    wanted = key[1] if isinstance(key, tuple) else key
    raise MetricsError(f"there is no run of team {wanted!r}", hint=did_you_mean(wanted, names))


def _shown(team: TeamKey) -> str:
    return f"{team[0]}/{team[1]}" if team[0] else repr(team[1])


def summary(history: RunHistory, key: TeamKey | str | None = None) -> dict[str, Any]:
    """Return the figures of a team, each with its 95 % interval.

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
        "members": to_plain(member_figures(table)),
    }


def figures(table: TeamTable) -> dict[str, Any]:
    """Return the figures of runs; `cost_usd`, `tokens` and the like are there where all of the runs tell them."""
    data = {
        "duration_seconds": mean_of(table.duration).to_dict(),
        "median_duration_seconds": float(np.median(table.duration)),
        "p95_duration_seconds": p95_of(table.duration).to_dict(),
        "success_rate": share_of(table.success).to_dict(),
        "tool_calls": mean_of(table.tool_calls).to_dict(),
        "timed_out_share": share_of(table.timed_out).to_dict(),
        "members": float(table.size.mean()),
    }
    known = ("score", table.score), ("member_success_share", table.member_success_share)
    for name, column in (("cost_usd", table.cost), ("tokens", table.tokens), *known):
        if np.isfinite(column).all():
            data[name] = mean_of(column).to_dict()
    return data
