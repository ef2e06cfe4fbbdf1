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
    best: tuple[float, str, list[float]] | None = None
    for formation in _COMPARABLE:
        if formation == used or formation not in feasible_formations(_members_of(usable[0])):
            continue
        gains = [gain for run in usable if (gain := _gain_percent(run, used, formation)) is not None]
        if len(gains) == len(usable) and (best is None or fmean(gains) > best[0]):
            best = fmean(gains), formation, gains
    if best is None or best[0] <= 0:
        return None
    gain, formation, gains = best
    half_width = 1.96 * stdev(gains) / math.sqrt(len(gains))
    now = fmean(run.duration_seconds for run in usable)
    then = now * (1 - gain / 100)
    return PerformanceInsight(
        bottleneck=BOTTLENECK + used,
        severity=min(1.0, (now - then) / then) if then > 0 else 1.0,
        current_value=now,
        baseline_value=then,
        impact_magnitude=min(1.0, gain / 100),
        recommendation=f"Run the members in formation {formation} instead of {used}.",
        affected_components=["formation"],
        evidence={
            "formation": formation,
            "gain_percent": gain,
            "gain_interval_percent": [gain - half_width, gain + half_width],
            "runs": len(usable),
        },
    )


def _gain_percent(run: TeamRun, used: str, formation: str) -> float | None:
    """Predict the gain of another formation, in percent of the time that the one in use is predicted to take.

    Two predictions are compared, and not a prediction with the measured time, or formations that amount to the same
    would look better than each other by what Victor itself takes.
    """
    now, then = predicted_seconds(used, run), predicted_seconds(formation, run)
    return None if not now or then is None else 100 * (1 - then / now)


def _members_of(run: TeamRun) -> tuple[MemberSpec, ...]:
    took_part = {member.id for member in run.members}
    return tuple(member for member in run.spec.members if member.id in took_part)
