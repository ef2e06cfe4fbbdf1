"""Replay: what each plan would have taken with what the members took lately, and what the regressions see of it.

Runs of one team differ by their tasks and by chance, mostly in all members alike, so what another layout would have
made of the same spans varies a third as much as durations do. A deadline would have ended the runs that the replay
puts beyond it, and a budget would have refused the calls above it.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen

from .._model.plan import TeamSpec
from .._model.run import MemberOutcome, TeamRun
from .plan_table import CHECKING, KINDS, SIDE_BY_SIDE, PlanTable
from .prior import DURATION, OUTCOME, TOPOLOGY
from .regression import Floats, Ints, cdf, mean_below_zero

WINDOW: Final = 64
"""Runs that are kept."""

UNKNOWN_SD: Final = 0.6
"""Log standard deviation of a member's share of the time of which nothing was seen."""

SETUP_CALLS: Final = 3.0
"""Further calls of its model that keep the event loop as busy as setting a member up and its first one.

On Victor 0.9.5 (benchmarks/replay_on_victor.py) 0.06 s against 0.02 s.
"""

Rows: TypeAlias = Ints | slice

DURATION_NAMES: Final = list(DURATION)
"""Names of the coefficients of durations, costs and tool calls, in order."""

OUTCOME_NAMES: Final = list(OUTCOME)
"""Names of the coefficients of outcomes, in order."""

CROWD: Final = DURATION_NAMES.index("crowd")
"""Place of the log number of model calls in flight, which a run can tell of itself."""

UNSEEN_SHARE: Final = 0.6
"""Share of the effect of a layout on members of equal pace that is expected where no member's time was seen."""

_ORDER = np.array([KINDS.index(name) for name in TOPOLOGY])
_IS_SIDE = np.array([kind in SIDE_BY_SIDE for kind in KINDS])
_IS_CHECKING = np.array([kind in CHECKING for kind in KINDS])


@frozen
class Lately:
    """What each member took in the kept runs; what was not seen is filled in. Arrays of shape (runs, n).

    Attributes:
        seconds: Its seconds.
        calls: Its tool calls.
        setup: Seconds in which setting it up kept the event loop busy; part of `seconds`.
        activity: Its share of what was done, the mean of its shares of time and of calls, shape (n,).
    """

    seconds: Floats
    calls: Floats
    setup: Floats
    activity: Floats


class MemberHistory:
    """What the members took in the last `WINDOW` runs; NaN where a member took no part.

    A member who took no part in a run is filled in with its own mean, moved by how slow the others were.

    Args:
        members: Ids of the team's members, in order.

    Attributes:
        seconds: Log seconds that were a member's own, shape (runs, n): those of the others' setup are left out.
        calls: Log tool calls, shape (runs, n).
        work: Log seconds in which one of its calls kept the event loop busy, shape (runs, n).
        pace: Log seconds for which one of its calls, and the tools after it, were waited for, shape (runs, n).
        alone: Whether its members worked one after the other, shape (runs,).
        runs: Runs so far.
    """

    def __init__(self, members: tuple[str, ...]) -> None:
        self.members = members
        self._place = {member: index for index, member in enumerate(members)}
        self.seconds, self.calls, self.work, self.pace = (np.full((WINDOW, len(members)), np.nan) for _ in range(4))
        self.alone = np.zeros(WINDOW, dtype=bool)
        self.runs = 0
        self._line: tuple[Floats, Floats] | None = None
        self._lately: Lately | None = None

    @property
    def size(self) -> int:
        """Runs that are kept."""
        return min(self.runs, WINDOW)

    def add(self, run: TeamRun, side_by_side: int = 1) -> bool:
        """Add a run; return whether it told anything of a member that is known.

        Args:
            side_by_side: How many of its members worked at the same time.
        """
        known = [(index, m) for index, m in self._finished(run) if m.duration_seconds > 0]
        if not known:
            return False
        row, told = self.runs % WINDOW, [self._split(member, index, side_by_side) for index, member in known]
        for values in (self.seconds, self.calls, self.work, self.pace):
            values[row] = np.nan
        for (index, member), split in zip(known, told, strict=True):
            self.seconds[row, index] = math.log(math.fsum(split))
            self.calls[row, index] = _log_wanted(member)
            self.work[row, index] = math.log(_work(member, side_by_side))
            self.pace[row, index] = _log_pace(member)
        self.alone[row] = side_by_side == 1
        self.runs += 1
        self._line = self._lately = None
        return True

    def spans(self, run: TeamRun, side_by_side: int = 1) -> tuple[Floats, Floats] | None:
        """Return a run's seconds by member once it is set up, and of its setup, shape (1, n) each.

        None where one of its members came to no end of its own.
        """
        if run.timed_out or not run.members:
            return None
        own, setup = np.zeros((1, len(self.members))), np.zeros((1, len(self.members)))
        for member in run.members:
            if not member.finished or member.duration_seconds <= 0 or member.id not in self._place:
                return None
            place = self._place[member.id]
            own[0, place], setup[0, place] = self._split(member, place, side_by_side)
        return own, setup

    def _split(self, member: MemberOutcome, place: int, side_by_side: int) -> tuple[float, float]:
        """Return a member's own seconds once it is set up, and those of its setup.

        Side by side it was there while the others were set up, too: what is its own is told from its usual work.
        """
        work, waited = _work(member, side_by_side), _waited(member)
        if side_by_side > 1 and self.size and member.model_seconds is not None:
            level, slope = self._usual_work()
            if math.isfinite(level[place]):
                work = math.exp(level[place] + slope[place] * _log_pace(member))
        busy = min(work * (SETUP_CALLS + _further_calls(member)), member.duration_seconds - waited)
        setup = min(work * SETUP_CALLS, busy)
        return max(waited + busy - setup, 1e-6), setup

    def _usual_work(self) -> tuple[Floats, Floats]:
        """Return each member's log work of a call as a line over its pace, level and slope; shape (n,), NaN if unknown.

        Work goes with the calls, or, where answers are read as they come, with their time, or is in between. Runs in
        order show it. Those side by side are asked only where there are none.
        """
        if self._line is None:
            work, pace = self.work[: self.size], self.pace[: self.size]
            alone = np.where(self.alone[: self.size, None], work, np.nan)
            work = np.where(np.isfinite(alone).any(axis=0), alone, work)
            seen = np.isfinite(work)
            aside = np.where(seen, pace - _means(np.where(seen, pace, np.nan)), 0.0)
            above = np.where(seen, work - _means(work), 0.0)
            slope = np.clip((aside * above).sum(axis=0) / ((aside**2).sum(axis=0) + 0.1), 0.0, 1.0)
            self._line = _medians(work - slope * pace), slope
        return self._line

    def _finished(self, run: TeamRun) -> list[tuple[int, MemberOutcome]]:
        """Return the members that came to an end by themselves: what the others took is only a lower bound."""
        return [(self._place[m.id], m) for m in run.members if m.finished and m.id in self._place]

    @property
    def lately(self) -> Lately:
        """What the members took in the kept runs; where none is kept, a second and a call each."""
        if self._lately is None:
            self._lately = self._taken()
        return self._lately

    def _taken(self) -> Lately:
        count = len(self.members)
        if not self.size:
            one = np.ones((1, count))
            return Lately(one, one, np.zeros((1, count)), np.full(count, 1 / count))
        log_seconds, log_calls = _filled(self.seconds[: self.size]), _filled(self.calls[: self.size])
        seconds, calls = np.exp(log_seconds), np.exp(log_calls)
        setup = np.minimum(self._setups(), seconds)
        usual, usual_calls = np.exp(log_seconds.mean(axis=0)), np.exp(log_calls.mean(axis=0))
        activity = (usual / usual.sum() + usual_calls / usual_calls.sum()) / 2
        return Lately(seconds, calls, setup, activity)

    def _setups(self) -> Floats:
        work, pace = self.work[: self.size], self.pace[: self.size]
        seen = self.alone[: self.size, None] & np.isfinite(work)
        if not seen.all():
            level, slope = self._usual_work()
            usual = level + slope * np.where(np.isfinite(pace), pace, np.nan_to_num(_means(pace)))
            work = np.where(seen, work, np.nan_to_num(usual, nan=-np.inf))
        return np.asarray(SETUP_CALLS * np.exp(work))


class SpanReplay:
    """What each plan of a table would have taken with the members' recent runs.

    Attributes:
        log_seconds: Mean log seconds relative to the table's first plan, shape (p,).
        log_work: The same of the sum of all members' seconds, which cost goes with.
        log_calls: The same of the tool calls, cut by the budgets.
        variance: Variance of `log_seconds` as an estimate, shape (p,).
        crowd: Log of how many members work at the same time on average, shape (p,).
        cut: Mean log share of the wanted calls that the budget lets through, shape (p,); 0 or less.
        hurried: Mean log share of the time that the timeout leaves, shape (p,); 0 or less.
        late: Share of runs that the timeout ends, shape (p,).
        left_out: Share of the activity of members who do not work, shape (p,).
        base: Mean log seconds of the first plan over the sum of its members'.
    """

    def __init__(self, table: PlanTable, history: MemberHistory) -> None:
        layout, lately = table.layout, history.lately
        first = layout[0]
        # Layouts with the same course take the same; what all members take together depends only on who works.
        course, crew = table.course[layout], table.crew[layout]
        known, seen = (1.0, 1.0) if history.size else (0.0, UNSEEN_SHARE)
        taken = np.log(table.seconds(lately.seconds - lately.setup, lately.setup))
        work = np.log(np.maximum(lately.seconds @ table.crews, 1e-9))
        wanted = np.log(np.maximum(lately.calls @ table.crews, 1e-9))
        relative = taken - taken[:, course[0]][:, None]
        runs = len(taken)
        over_runs = _mean(relative)
        # Few runs say little of the spread between runs: it is drawn towards a usual one, as if seen twice.
        spread = _sd(relative, over_runs) if runs > 1 else np.zeros(len(over_runs))
        mean = over_runs * seen
        spread2 = (runs * spread**2 + 2 * 0.15**2 * (mean != 0)) / (runs + 2)
        self.log_seconds: Floats = mean[course]
        changed = (table.takes_part != table.takes_part[first]).any(axis=1) | (table.kind != table.kind[first])
        unseen = 0.0 if history.size else UNKNOWN_SD**2
        self.variance: Floats = (spread2 / max(history.size, 1))[course] + unseen * changed[layout]
        takes, works, calls = _mean(taken), _mean(work), _mean(wanted)
        self.crowd: Floats = np.maximum(works[crew] - takes[course], 0.0)
        self.base = float(takes[course[0]] - works[crew[0]]) * known
        self.log_work: Floats = (works[crew] - works[crew[0]]) * known
        self.cut: Floats = np.zeros(len(layout))
        if table.is_budgeted:
            room = np.log(table.budget) - (calls[crew] if known else -np.inf)
            self.cut = _cut(room, _sd(wanted, calls)[crew] + 0.1)
        self.log_calls: Floats = (calls[crew] - calls[crew[0]]) * known + self.cut - self.cut[0]
        self.left_out: Floats = (1 - lately.activity @ table.crews)[crew]
        self.hurried: Floats = np.zeros(len(layout))
        self.late: Floats = np.zeros(len(layout))
        if table.is_timed:  # most teams have no timeout: it saves a third of a forecast
            takes_sd = _sd(taken, takes)[course] + 0.2
            room = np.log(table.timeout) - (takes[course] if known else -np.inf)
            self.hurried = _cut(room, takes_sd)
            finite = np.isfinite(room)
            if finite.any():
                with np.errstate(invalid="ignore"):
                    self.late = np.where(finite, cdf(-room / takes_sd), 0.0)


def _work(member: MemberOutcome, side_by_side: int) -> float:
    """Return the seconds in which one of a member's calls kept the event loop busy; next to 0 if that is unknown.

    Args:
        side_by_side: How many members worked at the same time; each is there while all of them are set up.
    """
    busy = member.duration_seconds - _waited(member)
    return max(busy / (SETUP_CALLS * side_by_side + _further_calls(member)), 1e-6)


def _log_pace(member: MemberOutcome) -> float:
    """Return the log seconds for which one of a member's calls was waited for."""
    return math.log(max(_waited(member), 1e-6) / (1 + _further_calls(member)))


def _waited(member: MemberOutcome) -> float:
    """Return the seconds in which a member waited for its model and tools: all, where that was not measured."""
    if member.model_seconds is None:
        return member.duration_seconds
    return min(member.model_seconds + (member.tool_seconds or 0.0), member.duration_seconds)


def _further_calls(member: MemberOutcome) -> int:
    return max(member.llm_calls - 1, 0)


def crowd_of(run: TeamRun) -> float | None:
    """Return the log number of model calls in flight during a run's own; None where that was not measured."""
    timed = [member for member in run.members if member.model_seconds]
    total = math.fsum(member.model_seconds or 0.0 for member in timed)
    if not total:
        return None
    mean = math.fsum((member.model_seconds or 0.0) * member.in_flight for member in timed) / total
    return math.log(mean) if mean >= 1 else 0.0


def _log_wanted(member: MemberOutcome) -> float:
    """Return the logarithm of the tool calls that a member wanted: those that ran and those that were refused."""
    return math.log(member.tool_calls + member.tool_calls_refused + 0.5)


def _cut(room: Floats, sd: Floats) -> Floats:
    finite = np.isfinite(room)
    if not finite.any():
        return np.zeros(len(room))
    return np.where(finite, mean_below_zero(np.where(finite, room, 0.0), sd), 0.0)


def _mean(values: Floats) -> Floats:
    """Return the mean over the runs, shape (l,): numpy's `mean` takes as long to begin as to add up."""
    return np.asarray(np.add.reduce(values, axis=0) / len(values))


def _sd(values: Floats, mean: Floats) -> Floats:
    """Return the standard deviation over the runs, shape (l,)."""
    aside = values - mean
    return np.sqrt(_mean(aside * aside))


def _means(values: Floats) -> Floats:
    """Return the mean of what is known in each column, shape (n,); NaN where nothing is."""
    seen = np.isfinite(values)
    count = seen.sum(axis=0)
    total = np.where(seen, values, 0.0).sum(axis=0)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _medians(values: Floats) -> Floats:
    """Return the (lower) median of what is known in each column, shape (n,); NaN where nothing is."""
    count = np.isfinite(values).sum(axis=0)
    ordered = np.sort(values, axis=0)  # what is missing comes last
    return np.asarray(np.take_along_axis(ordered, np.maximum(count - 1, 0)[None, :] // 2, axis=0)[0])


def _filled(values: Floats) -> Floats:
    """Return the values with what is missing put in as member mean plus how slow the others were in that run."""
    seen = np.isfinite(values)
    if seen.all():
        return values
    means = _means(values)
    means = np.where(np.isfinite(means), means, np.nanmean(means) if np.isfinite(means).any() else 0.0)
    excess = np.where(seen, values - means, 0.0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    return np.where(seen, values, means + excess[:, None])


def features_of(table: PlanTable, replay: SpanReplay, rows: Rows) -> tuple[Floats, Floats]:
    """Return the features of plans for durations and for outcomes.

    Args:
        replay: What their members make of them.

    Returns:
        Shapes (p, number of `DURATION_NAMES`) and (p, number of `OUTCOME_NAMES`).
    """
    layout = table.layout[rows]
    lasting = _features_of_layouts(table)
    duration, outcome = lasting[0][layout], lasting[1][layout]
    cut, left_out = replay.cut[rows], replay.left_out[rows]
    for place, values in zip((-3, -2, -1), (replay.crowd[rows], cut, replay.hurried[rows]), strict=True):
        duration[:, place] = values
    for place, values in zip((-4, -3, -2, -1), (left_out, left_out**2, -cut, replay.late[rows]), strict=True):
        outcome[:, place] = values
    return duration, outcome


def _features_of_layouts(table: PlanTable) -> tuple[Floats, Floats]:
    """Return the features of a table's layouts that runs don't change, the others being 0; they are laid out once."""
    if table.features is None:
        kind, size, spec = table.kind, table.size, table.spec
        is_kind = (kind[:, None] == _ORDER).astype(np.float64)
        log_size = np.log(size / 3)[:, None]
        one, several = np.ones((len(kind), 1)), size > 1
        side = (_IS_SIDE[kind] & several)[:, None].astype(np.float64)
        checking = (_IS_CHECKING[kind] & several)[:, None].astype(np.float64)
        chosen = 0.5 if spec.formation in SIDE_BY_SIDE else -0.5
        divides = side * alike_roles(spec), side * chosen
        duration = np.hstack([one, is_kind, is_kind * log_size, np.zeros((len(kind), 3))])
        outcome = np.hstack([one, side, *divides, checking, is_kind, log_size, np.zeros((len(kind), 4))])
        table.features = duration, outcome
    return table.features


def alike_roles(spec: TeamSpec) -> float:
    """Return how alike the members' roles are, from -0.5 (all differ) to 0.5 (all the same), less for a small team.

    The share of members with the commonest role, by Laplace's rule of succession: two of one role tell little.
    """
    roles = [member.role for member in spec.members]
    return max(roles.count(role) for role in roles) / (len(roles) + 1) - 0.5 if len(roles) > 1 else 0.0
