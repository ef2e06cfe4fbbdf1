"""The figures of a team as a whole and its limits: duration, its tail, success, tool calls, budgets, deadlines."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from .._model.optimization import Bottleneck, PerformanceInsight
from .._model.text import percent, seconds
from .estimates import (
    DEFAULT_BASELINES,
    OWN,
    Baseline,
    Baselines,
    capped_gains,
    contrast,
    mean_of,
    p95,
    p95_of,
    share_of,
    typical,
)
from .insight_evidence import (
    SlowEvidence,
    SpentBudgetEvidence,
    SuccessEvidence,
    TailEvidence,
    TimeoutEvidence,
    ToolUseEvidence,
)
from .run_table import Floats, TeamTable

_SLOW, _TAIL, _SUCCESS, _TOOLS = 1.2, 1.5, 0.9, 1.5
"""How far from its baseline a figure may be, as a factor of it."""

_TOOL_WEIGHT = 0.6
"""Share of its relative excess that counts as the severity of too many tool calls."""


def workflow_insights(table: TeamTable, baselines: Baselines) -> list[PerformanceInsight]:
    """Compare a team's figures with their baselines."""
    found = [
        _slow(table, baselines),
        _tail(table, baselines),
        _failing(table, baselines),
        _tool_calls(table, baselines),
    ]
    return [insight for insight in found if insight is not None]


def timing_evidence(table: TeamTable) -> dict[str, Any]:
    """Return what a deadline is chosen from.

    Returns:
        Successful runs' P95 with its interval, the deadline in force and the share of runs that it ended, and what
        deadlines from 1.2 times that P95 on would save of all time (`saved_by_timeout`: seconds, percent with
        interval).
    """
    evidence: dict[str, Any] = {
        "runs": len(table),
        "timeout_seconds": last_known(table.timeout),
        "timed_out_share": share_of(table.timed_out),
    }
    good = table.duration[table.success]
    if len(good) > 1:
        needed = p95_of(good)
        evidence["p95_success_seconds"] = needed
        caps = [1.2 * needed.value * factor for factor in (1.0, 1.25, 1.5, 2.0, 3.0)]
        evidence["saved_by_timeout"] = capped_gains(table.duration, caps)
    return evidence


def budget_evidence(table: TeamTable, history: TeamTable | None = None) -> dict[str, Any]:
    """Return what a tool budget is chosen from; the need of earlier runs, in `history`, counts as well.

    Returns:
        The most tool calls that a successful run needed, mean and most of all runs, the budget in force, and what
        budgets from that need on would save of all calls (`saved_by_budget`: calls, percent with interval).
    """
    known = table if history is None else history
    needed = float(known.tool_calls[known.success].max()) if known.success.any() else None
    most = float(table.tool_calls.max())
    caps = [] if needed is None else sorted({math.ceil(x) for x in np.linspace(needed, max(most, needed), 6)})
    return {
        "runs": len(table),
        "tool_budget": last_known(table.tool_budget),
        "needed_tool_calls": needed,
        "mean_tool_calls": mean_of(table.tool_calls),
        "most_tool_calls": most,
        "cost_is_known": bool(np.isfinite(table.cost).mean() >= 0.9),
        "saved_by_budget": capped_gains(table.tool_calls, caps),
    }


def last_known(values: Floats) -> float | None:
    """Return the value of the last run, or None where it is not known."""
    return float(values[-1]) if len(values) and math.isfinite(values[-1]) else None


def _slow(table: TeamTable, baselines: Baselines) -> PerformanceInsight | None:
    name = "duration_seconds"
    current = baselines.current(name)
    baseline = baselines.of(name, table.duration, lambda runs: float(runs.duration.mean()))
    level, tasks = _level(current.duration, current, baseline)
    if level <= _SLOW * baseline.value or not _is_proven(baseline, worse=1):
        return None
    excess = level / baseline.value - 1
    return PerformanceInsight(
        bottleneck=Bottleneck.SLOW_EXECUTION.value,
        severity=min(1.0, excess),
        current_value=level,
        baseline_value=baseline.value,
        impact_magnitude=1 - baseline.value / level,
        recommendation=(
            f"A run takes {seconds(level)} on average, {percent(excess)} above {_words(baseline)}: look at the "
            "formation, and at members that can work side by side or be left out."
        ),
        affected_components=["formation", "members"],
        evidence=SlowEvidence(
            mean_seconds=mean_of(current.duration), tasks=tasks, baseline=baseline, **timing_evidence(current)
        ),
    )


def _tail(table: TeamTable, baselines: Baselines) -> PerformanceInsight | None:
    name = "p95_duration_seconds"
    current = baselines.current(name)
    baseline = baselines.of(name, table.duration, lambda runs: p95(runs.duration))
    tail = p95_of(current.duration)
    uncertain = baseline.source == OWN and tail.low <= baseline.value
    if tail.value <= _TAIL * baseline.value or uncertain:
        return None
    excess = tail.value / baseline.value - 1
    return PerformanceInsight(
        bottleneck=Bottleneck.HIGH_LATENCY_OUTLIERS.value,
        severity=min(1.0, excess),
        current_value=tail.value,
        baseline_value=baseline.value,
        impact_magnitude=1 - baseline.value / tail.value,
        recommendation=(
            f"One run in twenty takes more than {seconds(tail.value)}, {percent(excess)} above {_words(baseline)}: "
            "set a deadline that ends hanging runs."
        ),
        affected_components=["timeout_seconds"],
        evidence=TailEvidence(p95_seconds=tail, baseline=baseline, **timing_evidence(current)),
    )


def _failing(table: TeamTable, baselines: Baselines) -> PerformanceInsight | None:
    name = "success_rate"
    current = baselines.current(name)
    success = table.success.astype(np.float64)
    baseline = baselines.of(name, success, lambda runs: float(runs.success.mean()))
    level, tasks = _level(current.success.astype(np.float64), current, baseline)
    if level >= _SUCCESS * baseline.value or not _is_proven(baseline, worse=-1):
        return None
    shortfall = 1 - level / baseline.value
    return PerformanceInsight(
        bottleneck=Bottleneck.LOW_SUCCESS_RATE.value,
        severity=min(1.0, shortfall),
        current_value=level,
        baseline_value=baseline.value,
        impact_magnitude=min(1.0, 1 - level),
        recommendation=(
            f"{percent(level)} of the runs succeed, {percent(shortfall)} below {_words(baseline)}: look at the "
            "members that fail, and at budgets and deadlines that are too tight."
        ),
        affected_components=["members", "tool_budget", "timeout_seconds"],
        evidence=SuccessEvidence(
            success_rate=share_of(current.success),
            timed_out_share=share_of(current.timed_out),
            tasks=tasks,
            formation=table.latest_formation,
            runs=len(current),
            baseline=baseline,
        ),
    )


def _tool_calls(table: TeamTable, baselines: Baselines) -> PerformanceInsight | None:
    name = "tool_calls"
    current = baselines.current(name)
    baseline = baselines.of(name, table.tool_calls, lambda runs: float(runs.tool_calls.mean()))
    level, tasks = _level(current.tool_calls, current, baseline)
    if not baseline.value or level <= _TOOLS * baseline.value or not _is_proven(baseline, worse=1):
        return None
    excess = level / baseline.value - 1
    return PerformanceInsight(
        bottleneck=Bottleneck.EXCESSIVE_TOOL_USAGE.value,
        severity=min(1.0, _TOOL_WEIGHT * excess),
        current_value=level,
        baseline_value=baseline.value,
        impact_magnitude=min(1.0, _TOOL_WEIGHT * (1 - baseline.value / level)),
        recommendation=(
            f"A run makes {level:.3g} tool calls on average, {percent(excess)} above {_words(baseline)}: give the "
            "team a budget no larger than what successful runs needed."
        ),
        affected_components=["tool_budget"],
        evidence=ToolUseEvidence(tasks=tasks, baseline=baseline, **budget_evidence(current, table)),
    )


def _level(values: Floats, current: TeamTable, baseline: Baseline) -> tuple[float, int]:
    """Return the figure to judge, with difficulty taken into account, and the number of tasks that did it.

    Against the team's own history, runs are compared within tasks. Against a constant, the typical task counts.
    """
    difference = baseline.difference
    if difference is not None:
        within = difference.within_tasks
        return (baseline.value + difference.difference if within else float(values.mean())), 0
    return typical(values, current.task)


def _is_proven(baseline: Baseline, worse: int) -> bool:
    """Return whether a difference to the team's own history is more than noise; against a constant there is none."""
    difference = baseline.difference
    if baseline.source != OWN:
        return True
    return difference is not None and (difference.low > 0 if worse > 0 else difference.high < 0)


def _words(baseline: Baseline) -> str:
    what = {OWN: "what this team did before", "given": "the given baseline"}.get(baseline.source, "the usual")
    return f"{what} ({baseline.value:.3g})"


_TOLERATED: Final = 1 - DEFAULT_BASELINES["success_rate"]
"""Share of runs that may fail for whatever reason."""

_FEW: Final = 5


def budget_insight(table: TeamTable) -> PerformanceInsight | None:
    """Find out whether runs that spend their tool budget fail for it.

    Returns:
        The insight when runs with refused calls, or with as many calls as allowed, fail more often than the others
        (than 5 % where there are no others), within tasks where possible; None when they don't, or there are fewer
        than 5.
    """
    spent = table.tool_calls >= np.where(np.isfinite(table.tool_budget), table.tool_budget, np.inf)
    refused = np.zeros(len(table))
    short = []
    for member in table.members:
        np.add.at(refused, member.run, member.refused)
        if (member.refused > 0).mean() > _TOLERATED:
            short.append(member.id)
    spent |= refused > 0
    if spent.sum() < _FEW:
        return None
    failed = ~table.success
    failing = share_of(failed[spent])
    others = max(float(failed[~spent].mean()) if (~spent).any() else 0.0, _TOLERATED)
    difference = contrast(failed.astype(np.float64), spent, table.task)
    proven = difference.low > 0 if difference is not None else failing.low > others
    if failing.value <= others or not proven:
        return None
    share = share_of(spent)
    return PerformanceInsight(
        bottleneck=Bottleneck.UNDERSIZED_BUDGET.value,
        severity=min(1.0, failing.value / others - 1),
        current_value=failing.value,
        baseline_value=others,
        impact_magnitude=share.value,
        recommendation=(
            f"{percent(share.value)} of the runs use up their tool budget, and {percent(failing.value)} of those "
            "fail. Only a person may allow a larger budget."
        ),
        affected_components=short or ["tool_budget"],
        evidence=SpentBudgetEvidence(
            spent_share=share,
            failing_share=failing,
            refused_calls_per_run=float(refused[spent].mean()),
            within_tasks=difference is not None and difference.within_tasks,
            difference=None if difference is None else difference.estimate,
            **budget_evidence(table),
        ),
    )


def timeout_insight(table: TeamTable) -> PerformanceInsight | None:
    """Find out whether the deadline ends runs that were on their way to succeed.

    Returns:
        The insight when more runs time out than may fail at all (5 %), and the deadline is less than a fifth above the
        P95 of successful runs; None otherwise.
    """
    timeout = last_known(table.timeout)
    under = table if timeout is None else table.where(table.timeout == timeout)
    timed_out = share_of(under.timed_out)
    good = under.duration[under.success]
    if under.timed_out.sum() < 2 or timed_out.value <= _TOLERATED or len(good) < 2:
        return None
    needed = 1.2 * p95_of(good).value
    limit = timeout if timeout is not None else float(under.duration[under.timed_out].min())
    if needed <= limit:
        return None
    return PerformanceInsight(
        bottleneck=Bottleneck.TIMEOUTS_TOO_TIGHT.value,
        severity=min(1.0, timed_out.value / _TOLERATED - 1),
        current_value=timed_out.value,
        baseline_value=_TOLERATED,
        impact_magnitude=timed_out.value,
        recommendation=(
            f"The deadline of {seconds(limit)} ends {percent(timed_out.value)} of the runs, and successful ones need "
            f"up to {seconds(needed / 1.2)}. Only a person may allow a longer deadline."
        ),
        affected_components=["timeout_seconds"],
        evidence=TimeoutEvidence(needed_seconds=needed, **timing_evidence(under)),
    )
