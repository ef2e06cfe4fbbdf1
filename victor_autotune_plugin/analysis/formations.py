"""Would another formation be faster? Own runs answer first, then the members' times, then other teams, then priors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from attrs import frozen

from ..model.optimization import Bottleneck, PerformanceInsight
from ..model.plan import MemberSpec, feasible_formations
from .durations import as_evidence, usable_rows
from .estimates import Contrast, contrast
from .history import RunHistory, TeamTable
from .intervals import Estimate, mean_estimate
from .predictions import comparable, gain, in_formation

OWN_RUNS, MEMBER_TIMES, OTHER_TEAMS, PRIOR = "own runs", "members' times", "other teams", "prior"
"""Where a gain is from, the best source first."""

FleetGains = Mapping[tuple[str, str], Estimate]
"""Gains in percent of other teams that ran both, by (from, to)."""

_PREDICTABLE: Final = ("parallel", "hierarchical", "sequential", "pipeline")
_MIN_OWN_RUNS: Final = 5
_WORSE_SUCCESS: Final = -0.05
"""A formation whose runs succeeded less often by more than this is not called better."""

_PRIORS: Final = {("sequential", "parallel"), ("pipeline", "parallel"), ("consensus", "parallel")}
_PRIOR_GAIN: Final = Estimate(35.0, 20.0, 50.0, 0)
"""Expected of a better formation by the strategy's range, where nothing at all was measured."""


@frozen
class Candidate:
    """A formation that may be better.

    Attributes:
        formation: The formation.
        gain: Less time, in percent.
        source: One of `OWN_RUNS`, `MEMBER_TIMES`, `OTHER_TEAMS`, `PRIOR`.
    """

    formation: str
    gain: Estimate
    source: str


def formation_insight(
    table: TeamTable,
    *,
    members: Sequence[MemberSpec] | None = None,
    formation: str | None = None,
    fleet: FleetGains | None = None,
    is_slow: bool = False,
) -> PerformanceInsight | None:
    """Find out whether the formation of a team wastes time.

    Args:
        table: The team's runs.
        members: The members as configured, or None when they are not known: then nothing needs a supervisor or a
            critic.
        formation: The formation in use; None for that of the latest run.
        fleet: What other teams gained.
        is_slow: Whether the team is slow; without, nothing is suggested that only a prior speaks for.

    Returns:
        The insight, with the better formations in `evidence["candidates"]`, best first, each with its gain in
        percent, the 95 % interval and the source; None when none is expected to be faster.
    """
    used = formation or table.latest_formation
    known = [used == name for name in table.formations]
    under = table.where(np.array(known)[table.formation])
    if not len(under):
        return None
    candidates = _candidates(table, under, used, members, fleet or {}, is_slow)
    if not candidates:
        return None
    best = candidates[0]
    now = float(under.duration[under.success].mean() if under.success.any() else under.duration.mean())
    then = now * (1 - best.gain.value / 100)
    rows, _ = usable_rows(under)
    return PerformanceInsight(
        bottleneck=Bottleneck.SUBOPTIMAL_FORMATION.value + used,
        severity=min(1.0, (now - then) / then) if then > 0 else 1.0,
        current_value=now,
        baseline_value=then,
        impact_magnitude=min(1.0, best.gain.value / 100),
        recommendation=f"Run the members in formation {best.formation} instead of {used}.",
        affected_components=["formation"],
        evidence={
            "formation": best.formation,
            "gain_percent": best.gain.value,
            "gain_interval_percent": [best.gain.low, best.gain.high],
            "runs": best.gain.runs,
            "source": best.source,
            "candidates": [{"formation": c.formation, "source": c.source, **c.gain.to_dict()} for c in candidates],
            "member_durations": as_evidence(rows),
        },
    )


def fleet_gains(history: RunHistory, *, besides: tuple[str, str] | None = None) -> dict[tuple[str, str], Estimate]:
    """Return what teams that ran two formations gained by the one over the other, in percent.

    Args:
        history: Runs of many teams.
        besides: Key of a team that is left out.

    Returns:
        By (from, to), the mean over teams with its interval, for pairs that at least two teams ran.
    """
    logs: dict[tuple[str, str], list[float]] = {}
    for key in history.teams:
        if key == besides:
            continue
        table = history.table(key)
        present = [name for code, name in enumerate(table.formations) if (table.formation == code).any()]
        for used in present if len(present) > 1 else ():
            for other in present:
                found = None if other == used else _own_difference(table, used, other)
                if found is not None:
                    logs.setdefault((used, other), []).append(found.difference)
    return {pair: _percent(mean_estimate(values)) for pair, values in logs.items() if len(values) > 1}


def _candidates(
    table: TeamTable,
    under: TeamTable,
    used: str,
    members: Sequence[MemberSpec] | None,
    fleet: FleetGains,
    is_slow: bool,
) -> list[Candidate]:
    size = int(under.size[-1])
    if members is None:
        feasible: tuple[str, ...] = ("sequential", "parallel", "pipeline", "consensus")
        lead = None
    else:
        took_part = {member.id for member in under.members} or {member.id for member in members}
        team = [member for member in members if member.id in took_part]
        feasible = feasible_formations(team)
        lead = next((member.id for member in team if member.is_supervisor), None)
    rows, _ = usable_rows(under)
    found = []
    for other in feasible:
        if other == used:
            continue
        own = _own_gain(table, used, other)
        if own is not None:
            found.append(Candidate(other, own, OWN_RUNS))
            continue
        if len(rows) > 1 and comparable(used) and other in _PREDICTABLE:
            predicted = gain(rows, in_formation(used, lead), in_formation(other, lead))
            if predicted is not None:
                found.append(Candidate(other, predicted, MEMBER_TIMES))
                continue
        if (used, other) in fleet:
            found.append(Candidate(other, fleet[used, other], OTHER_TEAMS))
        elif is_slow and size > 1 and (used, other) in _PRIORS and not rows:
            found.append(Candidate(other, _PRIOR_GAIN, PRIOR))
    # Sorting is stable, so of two that are equally fast the simpler one comes first.
    return sorted((c for c in found if c.gain.value > 0), key=lambda c: -c.gain.value)


def _own_gain(table: TeamTable, used: str, other: str) -> Estimate | None:
    found = _own_difference(table, used, other)
    if found is None:
        return None
    return _percent(Estimate(found.difference, found.low, found.high, found.runs))


def _own_difference(table: TeamTable, used: str, other: str) -> Contrast | None:
    """Return how much the log of the duration differs, or None without runs enough or when success suffers."""
    codes = [table.formations.index(name) for name in (used, other) if name in table.formations]
    if len(codes) < 2 or any((table.formation == code).sum() < _MIN_OWN_RUNS for code in codes):
        return None
    both = table.where(np.isin(table.formation, codes))
    chosen = both.formation == codes[1]
    success = contrast(both.success.astype(np.float64), chosen, both.task)
    if success is None or success.difference < _WORSE_SUCCESS:
        return None
    return contrast(np.log(np.maximum(both.duration, 1e-3)), chosen, both.task)


def _percent(difference: Estimate) -> Estimate:
    """Return a difference of logs as a gain in percent."""
    value, low, high = (100 * (1 - math.exp(min(x, 50.0))) for x in (difference.value, difference.high, difference.low))
    return Estimate(value, low, high, difference.runs)
