"""The members: who fails, idles or is short of tool calls; whether there are too many, or they wait without need."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from .._model.optimization import Bottleneck, PerformanceInsight
from .estimates import contrast, share_of
from .insight_evidence import MemberEvidence, MemberFigures, SerialEvidence, SizeEffect, SizeEvidence, mean_estimate
from .run_table import Codes, MemberTable, TeamTable, as_evidence, usable_rows

MIN_RUNS: Final = 5
"""Runs in which a member took part from which on it is judged."""

_WEAK: Final = 0.9
"""Success below this factor of the other members' is weak."""

_USELESS: Final = 0.2
"""A member whose success share is below this for all that is known has no part in the result."""

_IDLE: Final = 0.1
"""A member that writes less than this factor of what the others write on average, and calls no tool, is idle."""


def member_figures(table: TeamTable) -> dict[str, MemberFigures]:
    """Return the figures of each member.

    Returns:
        By member id.
    """
    tokens, calls = (
        _totals(table, [getattr(member, name) for member in table.members]) for name in ("tokens", "tool_calls")
    )
    return {member.id: _figures(table, member, tokens, calls) for member in table.members}


def member_insight(table: TeamTable) -> PerformanceInsight | None:
    """Find members that fail more often than the others do, or that do nothing.

    Returns:
        The insight, with every member's figures in `evidence["members"]`, and who is `weak`, `useless`, `idle` or
        `strong`; None when no member stands out.
    """
    figures = {name: one for name, one in member_figures(table).items() if one.runs >= MIN_RUNS}
    if len(figures) < 2:
        return None
    weak, useless, idle = _weak(figures), [], []
    worst = (0.0, 1.0, 1.0)
    sound = [one for name, one in figures.items() if name not in weak]
    usual = math.fsum(one.success_rate.value for one in sound) / len(sound)
    for name, one in figures.items():
        mine = one.success_rate
        if name in weak:
            worst = max(worst, (1 - mine.value / usual, mine.value, usual))
            if mine.high < _USELESS and name not in table.needed:  # others build on it, whatever it says of itself
                useless.append(name)
        others = [other.mean_tokens for key, other in figures.items() if key != name]
        usual_tokens = math.fsum(others) / len(others)
        if name in table.needed:
            continue
        if one.most_tool_calls == 0 and usual_tokens > 0 and one.mean_tokens < _IDLE * usual_tokens:
            idle.append(name)
            worst = max(worst, (1 - one.mean_tokens / usual_tokens, one.mean_tokens, usual_tokens))
    if not weak and not idle:
        return None
    stand_out = list(dict.fromkeys([*weak, *idle]))
    average = math.fsum(one.success_rate.value for one in figures.values()) / len(figures)
    strong = [n for n, one in figures.items() if n not in stand_out and one.success_rate.value >= average]
    severity, current, baseline = worst
    rows, _ = usable_rows(table, despite=useless)
    return PerformanceInsight(
        bottleneck=Bottleneck.UNDERPERFORMING_MEMBER.value,
        severity=min(1.0, severity),
        current_value=current,
        baseline_value=baseline,
        impact_magnitude=len(stand_out) / len(figures),
        recommendation=(
            f"{_list(stand_out)} contribute{'s' if len(stand_out) == 1 else ''} less than the other members: shift "
            "tool calls to those who succeed, or leave out those who add nothing."
        ),
        affected_components=stand_out,
        evidence=MemberEvidence(
            weak=weak,
            useless=useless,
            idle=idle,
            strong=strong,
            members=figures,
            runs=len(table),
            formation=table.latest_formation,
            cost_is_known=bool(np.isfinite(table.cost).mean() >= 0.9),
            member_durations=as_evidence(rows),
        ),
    )


def _weak(figures: Mapping[str, MemberFigures]) -> list[str]:
    """Return the members that fail more often than the others, in order of the team.

    From the worst on, each is compared with those that are left, until one is not worse: so two weak members do not
    hide each other.
    """
    left = sorted(figures, key=lambda name: figures[name].success_rate.value)
    weak = set()
    while len(left) > 1:
        name, *rest = left
        others = [figures[other] for other in rest]
        usual = math.fsum(other.success_rate.value for other in others) / len(others)
        mine = figures[name].success_rate.value
        if mine >= _WEAK * usual or not _is_worse(figures[name], others, len(figures)):
            break
        weak.add(name)
        left = rest
    return [name for name in figures if name in weak]


def _is_worse(mine: MemberFigures, others: Sequence[MemberFigures], members: int) -> bool:
    """Return whether a member succeeds less often than the others, at 5 % for all members together.

    Two shares are compared with their pooled variance (Fleiss, Statistical Methods for Rates and Proportions, section
    3.1), and the level is divided by the number of members (Bonferroni).
    """
    runs = [one.runs for one in others]
    succeeded = math.fsum(one.runs * one.success_rate.value for one in others)
    own, usual = mine.success_rate.value, succeeded / sum(runs)
    pooled = (mine.runs * own + succeeded) / (mine.runs + sum(runs))
    error = math.sqrt(pooled * (1 - pooled) * (1 / mine.runs + 1 / sum(runs)))
    return error > 0 and (usual - own) / error > NormalDist().inv_cdf(1 - 0.05 / members)


def _figures(table: TeamTable, member: MemberTable, tokens: Codes, calls: Codes) -> MemberFigures:
    team_success = table.success[member.run]
    needed = member.tool_calls[member.success & team_success]
    contribution = contrast(team_success.astype(np.float64), member.success, table.task[member.run])
    return MemberFigures(
        role=member.role,
        runs=len(member.run),
        success_rate=share_of(member.success),
        mean_seconds=float(member.duration.mean()),
        mean_tool_calls=float(member.tool_calls.mean()),
        mean_tokens=float(member.tokens.mean()),
        most_tool_calls=float(member.tool_calls.max()),
        needed_tool_calls=float(needed.max()) if len(needed) else None,
        refused_share=float((member.refused > 0).mean()),
        token_share=_share(member.tokens, tokens[member.run]),
        tool_call_share=_share(member.tool_calls, calls[member.run]),
        contribution=None if contribution is None else contribution.difference,
    )


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


_MOST_MEMBERS: Final = 7
_SECONDS_PER_MEMBER: Final = 30.0
_MIN_RUNS: Final = 3
_SERIAL: Final = 0.8
"""Members' times that add up to at least this share of the team's mean that they work one after another."""


def oversized_insight(table: TeamTable) -> PerformanceInsight | None:
    """Find out whether a team has more members than pay.

    Returns:
        The insight, with each member's figures and what the team's own runs in other sizes say; None when the team has
        at most 7 members who take at most 30 s each, 2 members, or fewer than 3 runs.
    """
    size = int(table.size[-1])
    under = table.where(table.size == size)
    per_member = float(under.duration.mean()) / max(size, 1)
    crowded = size > _MOST_MEMBERS
    slow = per_member > _SECONDS_PER_MEMBER and size > 2 and len(under) >= _MIN_RUNS
    if not crowded and not slow:
        return None
    current, baseline = (float(size), float(_MOST_MEMBERS)) if crowded else (per_member, _SECONDS_PER_MEMBER)
    if crowded and slow and per_member / _SECONDS_PER_MEMBER > size / _MOST_MEMBERS:
        current, baseline = per_member, _SECONDS_PER_MEMBER
    reason = f"{size} members" if baseline == _MOST_MEMBERS else f"{per_member:.3g} s for each of {size} members"
    rows, _ = usable_rows(under)
    smaller = table.size < size
    found = contrast(np.log(np.maximum(table.duration, 1e-3)), smaller, table.task) if smaller.sum() >= 5 else None
    return PerformanceInsight(
        bottleneck=Bottleneck.OVERSIZED_TEAM.value,
        severity=min(1.0, current / baseline - 1),
        current_value=current,
        baseline_value=baseline,
        impact_magnitude=max(0.0, 1 - baseline / current),
        recommendation=f"{reason} is more than usually pays off: 3 to 5 members are enough for most teams.",
        affected_components=["members"],
        evidence=SizeEvidence(
            size=size,
            seconds_per_member=per_member,
            runs=len(under),
            formation=table.latest_formation,
            members=member_figures(under),
            member_durations=as_evidence(rows),
            smaller_sizes=None
            if found is None
            else SizeEffect(log_difference=found.difference, interval=(found.low, found.high), runs=found.runs),
        ),
    )


def serial_insight(table: TeamTable, formation: str | None = None) -> PerformanceInsight | None:
    """Find out whether members who could work side by side work one after another.

    Returns:
        The insight for three members or more in a sequential formation or a pipeline whose times add up to the team's;
        its baseline is the longest member. None otherwise, or with fewer than two runs that tell.
    """
    used = formation or table.latest_formation
    if used not in ("sequential", "pipeline"):
        return None
    under = table.where(np.array([name == used for name in table.formations])[table.formation])
    if not len(under):
        return None
    rows, durations = usable_rows(under)
    whole = [row for row in rows if len(row) >= 3]
    if len(whole) < 2 or len(whole) < len(rows):
        return None
    serial = [sum(row.values()) for row in rows]
    longest = [max(row.values()) for row in rows]
    total = float(durations.sum())
    if total <= 0 or sum(serial) < _SERIAL * total or sum(longest) <= 0:
        return None
    now, then = sum(serial) / len(rows), sum(longest) / len(rows)
    if now <= 1.2 * then:
        return None
    gains = mean_estimate([100 * (1 - a / b) for a, b in zip(longest, serial, strict=True) if b > 0] or [0.0, 0.0])
    return PerformanceInsight(
        bottleneck=Bottleneck.SERIAL_INDEPENDENT_WORK.value,
        severity=min(1.0, now / then - 1),
        current_value=now,
        baseline_value=then,
        impact_magnitude=1 - then / now,
        recommendation="The members work one after another: let those who do not need each other work side by side.",
        affected_components=["formation", "sub_teams"],
        evidence=SerialEvidence(
            formation=used,
            runs=len(rows),
            overlap=1 - min(1.0, sum(serial) / total) if total else 0.0,
            side_by_side_percent=gains,
            members={member.id: {"role": member.role} for member in under.members},
            member_durations=as_evidence(rows),
        ),
    )
