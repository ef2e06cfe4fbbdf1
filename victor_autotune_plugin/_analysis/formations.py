"""Would another formation be faster? Own runs answer first, then the members' times, then other teams, then priors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import permutations
from typing import Final

import numpy as np
from attrs import evolve

from .._model.optimization import Bottleneck, PerformanceInsight
from .._model.plan import MemberSpec, feasible_formations
from .estimates import Contrast, contrast
from .insight_evidence import Estimate, FormationEvidence, FormationGain, mean_estimate
from .predictions import Seconds, comparable, gain, in_formation
from .run_history import RunHistory
from .run_table import Codes, Flags, Floats, TeamTable, as_evidence, usable_rows

OWN_RUNS, MEMBER_TIMES, OTHER_TEAMS, PRIOR = "own runs", "members' times", "other teams", "prior"
"""Where a gain is from, the best source first."""

FleetGains = Mapping[tuple[str, str], Estimate]
"""Gains in percent of other teams that ran both, by (from, to)."""

_PREDICTABLE: Final = ("parallel", "hierarchical", "sequential", "pipeline")
_MIN_OWN_RUNS: Final = 5
_MOST_RUNS: Final = 1000
"""As many of the latest runs in a formation are compared."""

_WORSE_SUCCESS: Final = -0.05
"""A formation whose runs succeeded less often by more than this is not called better."""

_PRIORS: Final = {("sequential", "parallel"), ("pipeline", "parallel"), ("consensus", "parallel")}
_PRIOR_GAIN: Final = Estimate(35.0, 20.0, 50.0, 0)
"""Expected of a better formation by the strategy's range, where nothing at all was measured."""


def formation_insight(
    table: TeamTable,
    *,
    members: Sequence[MemberSpec] | None = None,
    formation: str | None = None,
    fleet: FleetGains | None = None,
    is_slow: bool = False,
) -> PerformanceInsight | None:
    """Find out whether the formation of a team, or else that of its latest run, wastes time.

    Without the members as configured, nothing needs a supervisor or a critic. Unless the team is slow, nothing is
    suggested that only a prior speaks for.

    Returns:
        The insight, with the better formations in `evidence["candidates"]`, best first, each with its gain in
        percent, the 95 % interval and the source; None when none is expected to be faster.
    """
    used = formation or table.latest_formation
    known = [used == name for name in table.formations]
    under = table.where(np.array(known)[table.formation])
    if not len(under):
        return None
    rows, _ = usable_rows(under)
    candidates = _candidates(table, under, rows, used, members, fleet or {}, is_slow)
    if not candidates:
        return None
    best = candidates[0]
    now = float(under.duration[under.success].mean() if under.success.any() else under.duration.mean())
    then = now * (1 - best.value / 100)
    return PerformanceInsight(
        bottleneck=Bottleneck.SUBOPTIMAL_FORMATION.value + used,
        severity=min(1.0, (now - then) / then) if then > 0 else 1.0,
        current_value=now,
        baseline_value=then,
        impact_magnitude=min(1.0, best.value / 100),
        recommendation=f"Run the members in formation {best.formation} instead of {used}.",
        affected_components=["formation"],
        evidence=FormationEvidence(
            formation=best.formation,
            gain_percent=best.value,
            gain_interval_percent=(best.low, best.high),
            runs=best.runs,
            source=best.source,
            candidates=tuple(candidates),
            member_durations=as_evidence(rows),
        ),
    )


def fleet_gains(history: RunHistory, *, besides: tuple[str, str] | None = None) -> dict[tuple[str, str], Estimate]:
    """Return what teams that ran two formations gained by the one over the other, in percent.

    Returns:
        By (from, to), the mean over teams with its interval, for pairs that at least two teams ran.
    """
    logs: dict[tuple[str, str], list[float]] = {}
    for key in history.teams:
        if key == besides:
            continue
        runs = _Runs(history.formations, **history.columns(key, ("formation", "duration", "success", "task")))
        present = runs.present
        for used, other in permutations(present, 2) if len(present) > 1 else ():
            found = runs.difference(used, other)
            if found is not None:
                logs.setdefault((used, other), []).append(found.difference)
    return {pair: _percent(mean_estimate(values)) for pair, values in logs.items() if len(values) > 1}


class _Runs:
    """Runs of one team in several formations, to compare them."""

    def __init__(
        self, formations: tuple[str, ...], formation: Codes, duration: Floats, success: Flags, task: Codes
    ) -> None:
        self._rows = {name: np.flatnonzero(formation == code)[-_MOST_RUNS:] for code, name in enumerate(formations)}
        self._log = np.log(np.maximum(duration, 1e-3))
        self._success = success.astype(np.float64)
        self._task = task
        self._compared: dict[tuple[str, str], tuple[Contrast | None, Contrast | None]] = {}

    @property
    def present(self) -> list[str]:
        """Formations that were run often enough to be compared."""
        return [name for name, rows in self._rows.items() if len(rows) >= _MIN_OWN_RUNS]

    def difference(self, used: str, other: str) -> Contrast | None:
        """Return how much higher the log of the duration is in another formation.

        None without runs enough, or when they succeed less often.
        """
        if used not in self.present or other not in self.present:
            return None
        first, second = sorted((used, other))
        if (first, second) not in self._compared:
            rows = np.concatenate([self._rows[first], self._rows[second]])
            chosen = np.arange(len(rows)) >= len(self._rows[first])
            logs, successes = (
                contrast(values[rows], chosen, self._task[rows]) for values in (self._log, self._success)
            )
            self._compared[first, second] = logs, successes
        logs, successes = self._compared[first, second]
        if logs is None or successes is None:
            return None
        sign = 1 if used == first else -1
        if sign * successes.difference < _WORSE_SUCCESS:
            return None
        return evolve(logs, difference=sign * logs.difference)


def _candidates(
    table: TeamTable,
    under: TeamTable,
    rows: Sequence[Seconds],
    used: str,
    members: Sequence[MemberSpec] | None,
    fleet: FleetGains,
    is_slow: bool,
) -> list[FormationGain]:
    size = int(under.size[-1])
    if members is None:
        feasible: tuple[str, ...] = ("sequential", "parallel", "pipeline", "consensus")
        lead = None
    else:
        took_part = {member.id for member in under.members} or {member.id for member in members}
        team = [member for member in members if member.id in took_part]
        feasible = feasible_formations(team)
        lead = next((member.id for member in team if member.is_supervisor), None)
    runs = _Runs(table.formations, table.formation, table.duration, table.success, table.task)
    found = []
    for other in feasible:
        if other == used:
            continue
        own = runs.difference(used, other)
        if own is not None:
            measured = _percent(own.estimate)
            found.append(_gain(other, measured, OWN_RUNS))
            continue
        if len(rows) > 1 and comparable(used) and other in _PREDICTABLE:
            predicted = gain(rows, in_formation(used, lead), in_formation(other, lead))
            if predicted is not None:
                found.append(_gain(other, predicted, MEMBER_TIMES))
                continue
        if (used, other) in fleet:
            found.append(_gain(other, fleet[used, other], OTHER_TEAMS))
        elif is_slow and size > 1 and (used, other) in _PRIORS and not rows:
            found.append(_gain(other, _PRIOR_GAIN, PRIOR))
    # Sorting is stable, so of two that are equally fast the simpler one comes first.
    return sorted((one for one in found if one.value > 0), key=lambda one: -one.value)


def _gain(formation: str, gain: Estimate, source: str) -> FormationGain:
    return FormationGain(
        value=gain.value, low=gain.low, high=gain.high, runs=gain.runs, formation=formation, source=source
    )


def _percent(difference: Estimate) -> Estimate:
    """Return a difference of logs as a gain in percent."""
    value, low, high = (100 * (1 - math.exp(min(x, 50.0))) for x in (difference.value, difference.high, difference.low))
    return Estimate(value, low, high, difference.runs)
