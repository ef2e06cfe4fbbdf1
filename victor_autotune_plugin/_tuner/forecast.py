"""What each plan would have taken with what the members took lately, and what the regressions see of it."""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np

from .._model.plan import TeamSpec
from .._model.run import MemberOutcome, TeamRun
from .plan_table import CHECKING, KINDS, SIDE_BY_SIDE, Ints, PlanTable
from .prior import DURATION, OUTCOME, SLOTS, TOPOLOGY
from .regression import Floats, cdf, mean_below_zero

WINDOW: Final = 64
"""Runs that are kept."""

UNKNOWN_SD: Final = 0.6
"""Log standard deviation of a member's share of the time of which nothing was seen."""

Rows: TypeAlias = Ints | slice

DURATION_NAMES: Final = list(DURATION)
"""Names of the coefficients of durations, costs and tool calls, in order."""

OUTCOME_NAMES: Final = list(OUTCOME)
"""Names of the coefficients of outcomes, in order."""

DURATION_WORKLOAD: Final = DURATION_NAMES.index("workload")
"""Place of the run's own workload, which no plan has."""

OUTCOME_WORKLOAD: Final = OUTCOME_NAMES.index("workload")
"""The same for outcomes."""

_ORDER = np.array([KINDS.index(name) for name in TOPOLOGY])
_IS_SIDE = np.array([kind in SIDE_BY_SIDE for kind in KINDS])
_IS_CHECKING = np.array([kind in CHECKING for kind in KINDS])


class MemberHistory:
    """Members' log seconds and log tool calls of the last `WINDOW` runs; NaN where a member took no part.

    A member who took no part in a run is filled in with its own mean, moved by how slow the others were.

    Args:
        members: Ids of the team's members, in order.
    """

    def __init__(self, members: tuple[str, ...]) -> None:
        self.members = members
        self.seconds = np.full((WINDOW, len(members)), np.nan)
        self.calls = np.full((WINDOW, len(members)), np.nan)
        self.runs = 0

    @property
    def size(self) -> int:
        """Runs that are kept."""
        return min(self.runs, WINDOW)

    def add(self, run: TeamRun) -> bool:
        """Add a run; return whether it told anything of a member that is known."""
        known = [(index, m) for index, m in self._finished(run) if m.duration_seconds > 0]
        if not known:
            return False
        row = self.runs % WINDOW
        self.seconds[row], self.calls[row] = np.nan, np.nan
        for index, member in known:
            self.seconds[row, index] = math.log(member.duration_seconds)
            self.calls[row, index] = _log_wanted(member)
        self.runs += 1
        return True

    def workload(self, run: TeamRun) -> float:
        """Return by how much the members wanted more tool calls than they usually do, mean log; 0 when unknown.

        Hard tasks use more calls, take longer and fail more: this takes the task off a plan's results.
        """
        if self.size < 2:
            return 0.0
        usual = _means(self.calls[: self.size])
        excess = [_log_wanted(member) - usual[index] for index, member in self._finished(run)]
        seen = [value for value in excess if math.isfinite(value)]
        return max(min(sum(seen) / len(seen), 2.0), -2.0) if seen else 0.0

    def _finished(self, run: TeamRun) -> list[tuple[int, MemberOutcome]]:
        """Return the members that came to an end by themselves: what the others took is only a lower bound."""
        place = {member: index for index, member in enumerate(self.members)}
        return [(place[member.id], member) for member in run.members if member.finished and member.id in place]

    def filled(self) -> tuple[Floats, Floats]:
        """Return log seconds and log calls of every member in every kept run, shape (runs, n) each."""
        return _filled(self.seconds[: self.size]), _filled(self.calls[: self.size])

    def activity(self) -> Floats:
        """Return each member's share of what was done, the mean of its shares of time and of calls, shape (n,)."""
        count = len(self.members)
        if not self.size:
            return np.full(count, 1 / count)
        seconds, calls = (np.exp(values.mean(axis=0)) for values in self.filled())
        return np.asarray((seconds / seconds.sum() + calls / calls.sum()) / 2)


class Forecast:
    """What each plan of a table is predicted to take from its members alone.

    Attributes:
        log_seconds: Mean log seconds relative to the table's first plan, shape (p,).
        log_work: The same of the sum of all members' seconds, which cost goes with.
        log_calls: The same of the tool calls, cut by the budgets.
        variance: Variance of `log_seconds` as an estimate, shape (p,).
        cut: Mean log share of the wanted calls that the budget lets through, shape (p,); 0 or less.
        hurried: Mean log share of the time that the timeout leaves, shape (p,); 0 or less.
        late: Share of runs that the timeout ends, shape (p,).
        left_out: Share of the activity of members who do not work, shape (p,).
    """

    def __init__(self, table: PlanTable, history: MemberHistory) -> None:
        layouts, count = len(table.layouts), len(history.members)
        layout = table.layout
        if history.size:
            seconds, calls = (np.exp(values) for values in history.filled())
        else:
            seconds, calls = np.ones((1, count)), np.ones((1, count))
        taken = np.log(table.seconds(seconds))
        relative = taken - taken[:, layout[0]][:, None]
        runs = len(taken)
        work = np.log(np.maximum(seconds @ table.works.T, 1e-9))
        wanted = np.log(np.maximum(calls @ table.works.T, 1e-9))
        known = 1.0 if history.size else 0.0
        mean = relative.mean(axis=0) * known
        spread = relative.std(axis=0) if runs > 1 else np.zeros(layouts)
        # Few runs say little of the spread between runs: it is drawn towards a usual one, as if seen twice.
        spread2 = (runs * spread**2 + 2 * 0.15**2 * (mean != 0)) / (runs + 2)
        self.log_seconds: Floats = mean[layout]
        changed = (table.takes_part != table.takes_part[layout[0]]).any(axis=1) | (table.kind != table.kind[layout[0]])
        unseen = 0.0 if history.size else UNKNOWN_SD**2
        self.variance: Floats = (spread2 / max(history.size, 1) + unseen * changed)[layout]
        self.log_work: Floats = ((work - work[:, layout[0]][:, None]).mean(axis=0) * known)[layout]
        room = np.log(table.budget) - (wanted.mean(axis=0) if known else np.full(layouts, -np.inf))[layout]
        self.cut: Floats = _cut(room, wanted.std(axis=0)[layout] + 0.1)
        usual = (wanted - wanted[:, layout[0]][:, None]).mean(axis=0) * known
        self.log_calls: Floats = usual[layout] + self.cut - self.cut[0]
        self.left_out: Floats = (1 - table.works @ history.activity())[layout]
        takes = taken.mean(axis=0)[layout] if known else np.full(len(layout), -np.inf)
        takes_sd: Floats = taken.std(axis=0)[layout] + 0.2
        room = np.log(table.timeout) - takes
        self.hurried: Floats = _cut(room, takes_sd)
        self.late: Floats = np.zeros(len(room))
        finite = np.isfinite(room)
        if finite.any():  # most teams have no timeout: it saves a third of a forecast
            with np.errstate(invalid="ignore"):
                self.late = np.where(finite, cdf(-room / takes_sd), 0.0)


def _log_wanted(member: MemberOutcome) -> float:
    """Return the logarithm of the tool calls that a member wanted: those that ran and those that were refused."""
    return math.log(member.tool_calls + member.tool_calls_refused + 0.5)


def _cut(room: Floats, sd: Floats) -> Floats:
    finite = np.isfinite(room)
    if not finite.any():
        return np.zeros(len(room))
    return np.where(finite, mean_below_zero(np.where(finite, room, 0.0), sd), 0.0)


def _means(values: Floats) -> Floats:
    seen = np.isfinite(values)
    count = seen.sum(axis=0)
    total = np.where(seen, values, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _filled(values: Floats) -> Floats:
    """Return the values with what is missing put in as member mean plus how slow the others were in that run."""
    seen = np.isfinite(values)
    if seen.all():
        return values
    means = _means(values)
    means = np.where(np.isfinite(means), means, np.nanmean(means) if np.isfinite(means).any() else 0.0)
    excess = np.where(seen, values - means, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    return np.where(seen, values, means + excess[:, None])


def features_of(table: PlanTable, forecast: Forecast, rows: Rows) -> tuple[Floats, Floats]:
    """Return the features of plans for durations and for outcomes, workload 0.

    Args:
        forecast: What their members make of them.

    Returns:
        Shapes (p, number of `DURATION_NAMES`) and (p, number of `OUTCOME_NAMES`).
    """
    layout = table.layout[rows]
    kind, size = table.kind[layout], table.size[layout]
    is_kind = (kind[:, None] == _ORDER).astype(np.float64)
    log_size, linear = np.log(size / 3)[:, None], (size / 3 - 1)[:, None]
    zero, one = np.zeros((len(layout), 1)), np.ones((len(layout), 1))
    mechanism = forecast.log_seconds[rows][:, None]
    cut, hurried = forecast.cut[rows][:, None], forecast.hurried[rows][:, None]
    duration = np.hstack([one, is_kind, is_kind * log_size, is_kind * linear, mechanism, cut, hurried, zero])
    several = size > 1
    side = (_IS_SIDE[kind] & several)[:, None].astype(np.float64)
    checking = (_IS_CHECKING[kind] & several)[:, None].astype(np.float64)
    left_out, late = forecast.left_out[rows][:, None], forecast.late[rows][:, None]
    spec = table.spec
    chosen = 0.5 if spec.formation in SIDE_BY_SIDE else -0.5
    divides = side * alike_roles(spec), side * chosen
    outcome = np.hstack([one, side, *divides, checking, is_kind, log_size, left_out, left_out**2, -cut, late, zero])
    return duration, outcome


def alike_roles(spec: TeamSpec) -> float:
    """Return how alike the members' roles are, from -0.5 (all differ) to 0.5 (all the same), less for a small team.

    The share of members with the commonest role, by Laplace's rule of succession: two of one role tell little.
    """
    roles = [member.role for member in spec.members]
    return max(roles.count(role) for role in roles) / (len(roles) + 1) - 0.5 if len(roles) > 1 else 0.0


def differences(features: Floats, slots: Ints) -> Floats:
    """Return features of all rows but the last, less the last's, with slots, shape (p - 1, d)."""
    count, size = features.shape
    full = np.zeros((count, size + SLOTS))
    full[:, :size] = features
    tested = np.flatnonzero(slots >= 0)
    full[tested, size + slots[tested]] = 1.0
    return np.asarray(full[:-1] - full[-1])
