"""Would another formation be faster? Answered from what the members of past runs took.

Victor 0.9.5 gives every member the team's goal and not what earlier members wrote, so the time a member takes
does not depend on the formation, and the time of a team is a function of its members' times:

- sequential and pipeline: their sum;
- parallel and consensus (one round): their maximum;
- hierarchical: the supervisor's, plus the maximum of the others'.

A reflection is left out: it lets only two members work, so it is another job and not a faster way to do this one.
The prediction only chooses what to test; whether it is true is what the A/B test finds out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev
from typing import Final

from ..model.optimization import PerformanceInsight
from ..model.plan import MemberSpec, feasible_formations
from ..model.run import TeamRun

BOTTLENECK: Final = "suboptimal_formation_"
"""Prefix of the insight's name; the formation in use follows."""

_COMPARABLE: Final = ("parallel", "hierarchical", "consensus", "sequential", "pipeline")


def predicted_seconds(formation: str, run: TeamRun) -> float | None:
    """Predict how long a past run would have taken in another formation.

    Args:
        formation: One of Victor's formations.
        run: A finished run in which every member was executed.

    Returns:
        Seconds, or None when that can't be told.
    """
    seconds = {member.id: member.duration_seconds for member in run.members}
    if not seconds:
        return None
    if formation in ("sequential", "pipeline"):
        return sum(seconds.values())
    if formation in ("parallel", "consensus"):
        return max(seconds.values())
    if formation == "hierarchical":
        lead = next((m.id for m in run.spec.members if m.is_supervisor and m.id in seconds), None)
        if lead is None or len(seconds) < 2:
            return None
        return seconds.pop(lead) + max(seconds.values())
    return None


def formation_insight(runs: Sequence[TeamRun]) -> PerformanceInsight | None:
    """Find out whether the formation that a team's runs used wastes time.

    Args:
        runs: Finished runs of one team under one plan, in any order. Runs that failed or in which a member did not
            take part are left out.

    Returns:
        The insight, with the better formation, the predicted gain in percent and its 95 % interval (normal
        approximation over runs) in `evidence`; None when no other formation is predicted to be faster, or fewer
        than two runs can be used.
    """
    usable = [run for run in runs if run.success and run.members and all(member.finished for member in run.members)]
    if len(usable) < 2:
        return None
    used = usable[0].plan_used.formation or usable[0].spec.formation
    now = fmean(run.duration_seconds for run in usable)
    best: tuple[float, str] | None = None
    for formation in _COMPARABLE:
        if formation == used or formation not in feasible_formations(_members_of(usable[0])):
            continue
        predictions = [predicted_seconds(formation, run) for run in usable]
        if any(seconds is None for seconds in predictions):
            continue
        mean = fmean(seconds for seconds in predictions if seconds is not None)
        if best is None or mean < best[0]:
            best = mean, formation
    if best is None or best[0] >= now:
        return None
    gains = [
        100 * (1 - (predicted_seconds(best[1], run) or 0.0) / run.duration_seconds)
        for run in usable
        if run.duration_seconds > 0
    ]
    gain = fmean(gains)
    half_width = 1.96 * stdev(gains) / math.sqrt(len(gains)) if len(gains) > 1 else math.inf
    return PerformanceInsight(
        bottleneck=BOTTLENECK + used,
        severity=min(1.0, (now - best[0]) / best[0]) if best[0] > 0 else 1.0,
        current_value=now,
        baseline_value=best[0],
        impact=min(1.0, max(0.0, gain / 100)),
        recommendation=f"Run the members in formation {best[1]} instead of {used}.",
        affected=["formation"],
        evidence={
            "formation": best[1],
            "gain_percent": gain,
            "gain_interval_percent": [gain - half_width, gain + half_width],
            "runs": len(usable),
        },
    )


def _members_of(run: TeamRun) -> tuple[MemberSpec, ...]:
    took_part = {member.id for member in run.members}
    return tuple(member for member in run.spec.members if member.id in took_part)
