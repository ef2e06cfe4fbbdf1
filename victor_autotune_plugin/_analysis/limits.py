"""Limits that bite too early: tool budgets that are spent, deadlines that end sound runs."""

from __future__ import annotations

from typing import Final

import numpy as np

from .._model.optimization import Bottleneck, PerformanceInsight
from .baselines import DEFAULT_BASELINES
from .estimates import contrast, p95_of, share_of
from .insight_evidence import SpentBudgetEvidence, TimeoutEvidence
from .run_table import TeamTable
from .workflow import budget_evidence, last_known, timing_evidence

_TOLERATED: Final = 1 - DEFAULT_BASELINES["success_rate"]
"""Share of runs that may fail for whatever reason."""

_FEW: Final = 5


def budget_insight(table: TeamTable) -> PerformanceInsight | None:
    """Find out whether runs that spend their tool budget fail for it.

    Args:
        table: The team's runs.

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
            f"{100 * share.value:.0f} % of the runs spend their tool budget, and {100 * failing.value:.0f} % of those "
            "fail: a larger budget is for a person to allow."
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

    Args:
        table: The team's runs.

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
            f"{100 * timed_out.value:.0f} % of the runs are ended after {limit:.3g} s, and successful ones need up to "
            f"{needed / 1.2:.3g} s: a longer deadline is for a person to allow."
        ),
        affected_components=["timeout_seconds"],
        evidence=TimeoutEvidence(needed_seconds=needed, **timing_evidence(under)),
    )
