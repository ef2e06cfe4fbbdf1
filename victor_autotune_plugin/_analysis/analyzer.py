"""All detectors over the runs of one team, or of every team."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._model.optimization import Bottleneck, PerformanceInsight
from .._model.plan import TeamSpec
from .._model.run import TeamRun
from .._values.names import did_you_mean, listed
from ..errors import MetricsError
from .baselines import Baselines
from .formations import FleetGains, fleet_gains, formation_insight
from .limits import budget_insight, timeout_insight
from .members import member_insight
from .run_history import RunHistory, RunRow
from .run_table import TeamKey
from .shape import oversized_insight, serial_insight
from .workflow import workflow_insights

_SLOW = (Bottleneck.SLOW_EXECUTION, Bottleneck.HIGH_LATENCY_OUTLIERS)


def analyze(
    runs: RunHistory | Iterable[TeamRun | RunRow],
    key: TeamKey | None = None,
    *,
    spec: TeamSpec | None = None,
    formation: str | None = None,
    baseline_metrics: Mapping[str, float] | None = None,
    fleet: FleetGains | None = None,
) -> list[PerformanceInsight]:
    """Find out what is wrong with a team.

    Args:
        runs: Runs, of other teams too.
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
    runs: RunHistory | Iterable[TeamRun | RunRow], *, baseline_metrics: Mapping[str, float] | None = None
) -> dict[TeamKey, list[PerformanceInsight]]:
    """Find out what is wrong with every team.

    Args:
        runs: Runs of any number of teams.
        baseline_metrics: As for `analyze`.

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
    """Return which team is meant.

    Args:
        history: Runs.
        key: `(workflow, team_id)`, a team id alone where only one workflow has such a team, or None for the only team.

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
