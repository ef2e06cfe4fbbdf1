"""The members one by one: who fails, who idles, who is short of tool calls."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from ..model.optimization import Bottleneck, PerformanceInsight
from .durations import as_evidence, usable_rows
from .estimates import contrast, share_of
from .history import Codes, MemberTable, TeamTable

MIN_RUNS: Final = 5
"""Runs in which a member took part from which on it is judged."""

_WEAK: Final = 0.9
"""Success below this factor of the other members' is weak."""

_USELESS: Final = 0.2
"""A member whose success share is below this for all that is known has no part in the result."""

_IDLE: Final = 0.1
"""A member that writes less than this factor of what the others write on average, and calls no tool, is idle."""


def member_figures(table: TeamTable) -> dict[str, dict[str, Any]]:
    """Return the figures of each member.

    Args:
        table: The team's runs.

    Returns:
        By member id: role, runs, success share with interval, mean seconds, mean tool calls, most tool calls in a run
        that it and the team succeeded in, share of runs with refused calls, share of the team's tokens and of its
        tool calls, and the contribution: how much more often the team succeeds when the member does, within tasks
        where possible (None where it can't be told).
    """
    tokens, calls = (
        _totals(table, [getattr(member, name) for member in table.members]) for name in ("tokens", "tool_calls")
    )
    return {member.id: _figures(table, member, tokens, calls) for member in table.members}


def member_insight(table: TeamTable) -> PerformanceInsight | None:
    """Find members that fail more often than the others do, or that do nothing.

    Args:
        table: The team's runs.

    Returns:
        The insight, with every member's figures in `evidence["members"]`, and who is `weak`, `useless`, `idle` or
        `strong`; None when nobody stands out.
    """
    figures = {name: one for name, one in member_figures(table).items() if one["runs"] >= MIN_RUNS}
    if len(figures) < 2:
        return None
    weak, useless, idle = [], [], []
    worst = (0.0, 1.0, 1.0)
    for name, one in figures.items():
        others = [other for key, other in figures.items() if key != name]
        usual = math.fsum(other["success_rate"]["value"] for other in others) / len(others)
        mine = one["success_rate"]
        if mine["value"] < _WEAK * usual and mine["interval"][1] < usual:
            weak.append(name)
            worst = max(worst, (1 - mine["value"] / usual, mine["value"], usual))
            if mine["interval"][1] < _USELESS:
                useless.append(name)
        usual_tokens = math.fsum(other["mean_tokens"] for other in others) / len(others)
        if one["most_tool_calls"] == 0 and usual_tokens > 0 and one["mean_tokens"] < _IDLE * usual_tokens:
            idle.append(name)
            worst = max(worst, (1 - one["mean_tokens"] / usual_tokens, one["mean_tokens"], usual_tokens))
    if not weak and not idle:
        return None
    stand_out = list(dict.fromkeys([*weak, *idle]))
    average = math.fsum(one["success_rate"]["value"] for one in figures.values()) / len(figures)
    strong = [n for n, one in figures.items() if n not in stand_out and one["success_rate"]["value"] >= average]
    severity, current, baseline = worst
    rows, _ = usable_rows(table)
    return PerformanceInsight(
        bottleneck=Bottleneck.UNDERPERFORMING_MEMBER.value,
        severity=min(1.0, severity),
        current_value=current,
        baseline_value=baseline,
        impact_magnitude=len(stand_out) / len(figures),
        recommendation=(
            f"{_list(stand_out)} contribute{'s' if len(stand_out) == 1 else ''} less than the other members: shift "
            "tool calls to those who succeed, or leave out who adds nothing."
        ),
        affected_components=stand_out,
        evidence={
            "weak": weak,
            "useless": useless,
            "idle": idle,
            "strong": strong,
            "members": figures,
            "runs": len(table),
            "formation": table.latest_formation,
            "cost_is_known": bool(np.isfinite(table.cost).mean() >= 0.9),
            "member_durations": as_evidence(rows),
        },
    )


def _figures(table: TeamTable, member: MemberTable, tokens: Codes, calls: Codes) -> dict[str, Any]:
    team_success = table.success[member.run]
    needed = member.tool_calls[member.success & team_success]
    contribution = contrast(team_success.astype(np.float64), member.success, table.task[member.run])
    return {
        "role": member.role,
        "runs": len(member.run),
        "success_rate": share_of(member.success).to_dict(),
        "mean_seconds": float(member.duration.mean()),
        "mean_tool_calls": float(member.tool_calls.mean()),
        "mean_tokens": float(member.tokens.mean()),
        "most_tool_calls": float(member.tool_calls.max()),
        "needed_tool_calls": float(needed.max()) if len(needed) else None,
        "refused_share": float((member.refused > 0).mean()),
        "token_share": _share(member.tokens, tokens[member.run]),
        "tool_call_share": _share(member.tool_calls, calls[member.run]),
        "contribution": None if contribution is None else contribution.difference,
    }


def _totals(table: TeamTable, columns: list[Any]) -> Any:
    total = np.zeros(len(table))
    for member, column in zip(table.members, columns, strict=True):
        np.add.at(total, member.run, column)
    return total


def _share(part: Any, whole: Any) -> float:
    total = float(whole.sum())
    return float(part.sum()) / total if total > 0 else 0.0


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
