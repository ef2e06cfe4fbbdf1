"""The shape of a team: too many members, or members that wait for each other without need."""

from __future__ import annotations

from typing import Final

import numpy as np

from .._model.optimization import Bottleneck, PerformanceInsight
from .durations import as_evidence, usable_rows
from .estimates import contrast
from .insight_evidence import SerialEvidence, SizeEffect, SizeEvidence
from .intervals import mean_estimate
from .members import member_figures
from .run_table import TeamTable

_MOST_MEMBERS: Final = 7
_SECONDS_PER_MEMBER: Final = 30.0
_MIN_RUNS: Final = 3
_SERIAL: Final = 0.8
"""Members' times that add up to at least this share of the team's mean that they work one after another."""


def oversized_insight(table: TeamTable) -> PerformanceInsight | None:
    """Find out whether a team has more members than pay.

    Args:
        table: The team's runs.

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
        recommendation=f"{reason[0].upper()}{reason[1:]} is past the point where more help: 3 to 5 usually do.",
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

    Args:
        table: The team's runs.
        formation: The formation in use; None for that of the latest run.

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
