"""What the members of the last runs took, and what each plan would have taken with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from .facts import RunFacts
from .normal import Floats, cdf, mean_below_zero
from .regression import packed, unpacked
from .table import PlanTable

WINDOW: Final = 64
"""Runs that are kept."""

UNKNOWN_SD: Final = 0.6
"""Log standard deviation of a member's share of the time of which nothing was seen."""


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

    def add(self, facts: RunFacts) -> bool:
        """Add a run; return whether it told anything of a member that is known."""
        place = {member: index for index, member in enumerate(self.members)}
        known = [m for m in facts.members if m.id in place and m.finished and m.seconds > 0]
        if not known:
            return False
        row = self.runs % WINDOW
        self.seconds[row], self.calls[row] = np.nan, np.nan
        for member in known:
            self.seconds[row, place[member.id]] = math.log(member.seconds)
            self.calls[row, place[member.id]] = math.log(member.tool_calls + 0.5)
        self.runs += 1
        return True

    def workload(self, facts: RunFacts) -> float:
        """Return by how much the members wanted more tool calls than they usually do, mean log; 0 when unknown.

        Hard tasks use more calls, take longer and fail more: this takes the task off a plan's results.
        """
        if self.size < 2:
            return 0.0
        usual = _means(self.calls[: self.size])
        place = {member: index for index, member in enumerate(self.members)}
        excess = [
            math.log(m.tool_calls + 0.5) - usual[place[m.id]] for m in facts.members if m.id in place and m.finished
        ]
        seen = [value for value in excess if math.isfinite(value)]
        return max(min(sum(seen) / len(seen), 2.0), -2.0) if seen else 0.0

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

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able data."""
        return {
            "members": list(self.members),
            "seconds": packed(self.seconds.ravel()),
            "calls": packed(self.calls.ravel()),
            "runs": self.runs,
        }

    def load(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_dict` wrote; raises `ValueError` when it is not of these members."""
        if tuple(data["members"]) != self.members:
            raise ValueError("the history is of other members")
        if not isinstance(data["runs"], int) or data["runs"] < 0:
            raise ValueError(f"{data['runs']!r} is no number of runs")
        shape = self.seconds.shape
        self.seconds = unpacked(data["seconds"], self.seconds.size).reshape(shape)
        self.calls = unpacked(data["calls"], self.calls.size).reshape(shape)
        self.runs = data["runs"]


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
        self.takes = taken.mean(axis=0)[layout] if known else np.full(len(layout), -np.inf)
        self.takes_sd: Floats = taken.std(axis=0)[layout] + 0.2
        self.left_out: Floats = (1 - table.works @ history.activity())[layout]
        self._timeout = np.log(table.timeout)
        self.hurried, self.late = self.deadlines(np.zeros(len(layout)))

    def deadlines(self, slower: Floats) -> tuple[Floats, Floats]:
        """Return `hurried` and `late` for plans that take longer than predicted, by log `slower`, shape (p,)."""
        room = self._timeout - self.takes - slower
        finite = np.isfinite(room)
        if not finite.any():  # as for most teams, which have no timeout: it saves a third of a forecast
            return np.zeros(len(room)), np.zeros(len(room))
        with np.errstate(invalid="ignore"):
            late = np.where(finite, cdf(-room / self.takes_sd), 0.0)
        return _cut(room, self.takes_sd), late


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
