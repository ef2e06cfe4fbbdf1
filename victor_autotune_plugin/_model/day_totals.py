"""What is left of runs that are no longer kept in full: totals of a team and day."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

from attrs import field, fields, frozen

from .converter import to_plain
from .quantities import Count, Dollars, Name, Seconds, UnixTime, Within
from .text import count, number, percent, seconds, usd

_STEP: Final = math.log(1.1)
# Buckets of durations grow by 10 %, so that a quantile is off by 5 % at most.

_SHORTEST_SECONDS: Final = 1e-3
_LATEST: Final = 253_402_300_799.0

LargeCount = Annotated[int, Within(0, 2**62)]
"""A whole number from 0 that adds up many runs."""


def date_of(at: float) -> str:
    """Return the date in UTC of a Unix time, as in 2026-11-29."""
    return datetime.fromtimestamp(min(max(at, 0.0), _LATEST), UTC).date().isoformat()


def bucket_of(seconds: float) -> str:
    """Return the name of the bucket that a duration is counted in."""
    return str(math.ceil(math.log(max(seconds, _SHORTEST_SECONDS)) / _STEP))


@frozen
class DayTotals:
    """What the runs of a team that started on one day, and are no longer kept in full, were together.

    Attributes:
        environment: Environment of the runs.
        workflow: Workflow name.
        team_id: Team step id.
        date: The day in UTC, as in 2026-11-29.
        first_at: Start of the first of the runs, Unix seconds.
        last_at: Start of the last of them.
        runs: How many there were.
        ended: Of these, those that came to an end and were not cancelled.
        succeeded: Of these, those that succeeded.
        timed_out: Of those that ended, how many were ended by their timeout.
        cancelled: Runs that were cancelled.
        lost: Runs whose end was never recorded, or came after they were given up.
        seconds: Sum of the durations of those that ended.
        durations: How many of these took how long: counts by bucket, which `bucket_of` gives.
        tool_calls: Tool calls of all runs.
        input_tokens: Prompt tokens of all runs.
        output_tokens: Completion tokens of all runs.
        cost_usd: Cost of those with a known price, US dollars.
        priced: How many these are.
        score: Sum of the scores of those that have one.
        scored: How many these are.
    """

    environment: Name
    workflow: Name
    team_id: Name
    date: Name
    first_at: UnixTime
    last_at: UnixTime
    runs: Count = 0
    ended: Count = 0
    succeeded: Count = 0
    timed_out: Count = 0
    cancelled: Count = 0
    lost: Count = 0
    seconds: Seconds = 0.0
    durations: Mapping[str, Count] = field(factory=dict)
    tool_calls: LargeCount = 0
    input_tokens: LargeCount = 0
    output_tokens: LargeCount = 0
    cost_usd: Dollars = 0.0
    priced: Count = 0
    score: Seconds = 0.0
    scored: Count = 0

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What tells it from all others."""
        return self.environment, self.workflow, self.team_id, self.date

    def __add__(self, other: Self) -> Self:
        """Return the totals of both, under the names of the first."""
        durations = dict(self.durations)
        for bucket, runs in other.durations.items():
            durations[bucket] = durations.get(bucket, 0) + runs
        sums = {name: getattr(self, name) + getattr(other, name) for name in _SUMS}
        return type(self)(
            *self.key,
            min(self.first_at, other.first_at),
            max(self.last_at, other.last_at),
            durations=durations,
            **sums,
        )

    def quantile(self, share: float) -> float | None:
        """Return about how long a share of the runs that ended took at most, in seconds; None where none ended.

        Args:
            share: From 0 to 1; 0.5 for the median. The answer is off by 5 % at most.
        """
        rank, seen = share * sum(self.durations.values()), 0
        for bucket, runs in sorted((int(name), runs) for name, runs in self.durations.items()):
            seen += runs
            if seen >= rank and runs:
                return math.exp((bucket - 0.5) * _STEP)
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        plain: dict[str, Any] = to_plain(self)
        return plain


_SUMS: Final = tuple(
    one.name
    for one in fields(DayTotals)
    if one.name not in ("environment", "workflow", "team_id", "date", "first_at", "last_at", "durations")
)


def by_day(totals: Iterable[DayTotals]) -> dict[tuple[str, str, str, str], DayTotals]:
    """Add up the totals of the same team and day, and return them by their key, in its order."""
    found: dict[tuple[str, str, str, str], DayTotals] = {}
    for one in totals:
        known = found.get(one.key)
        found[one.key] = one if known is None else known + one
    return dict(sorted(found.items()))


@frozen
class EarlierRuns:
    """What is known of the runs of a team that are no longer kept in full, all days together.

    Attributes:
        days: Days on which they started.
        total: Their totals; its date is the first day.
    """

    days: int
    total: DayTotals

    @classmethod
    def of(cls, totals: Iterable[DayTotals]) -> EarlierRuns | None:
        """Add up the totals of a team, and return what they are together; None without any."""
        days, first, last = 0, math.inf, -math.inf
        sums: dict[str, Any] = dict.fromkeys(_SUMS, 0)
        durations: Counter[str] = Counter()
        key = None
        for one in totals:
            days += 1
            key = one.key if key is None else min(key, one.key)
            first, last = min(first, one.first_at), max(last, one.last_at)
            durations.update(one.durations)
            for name in _SUMS:
                sums[name] += getattr(one, name)
        return None if key is None else cls(days, DayTotals(*key, first, last, durations=dict(durations), **sums))

    @property
    def sentence(self) -> str:
        """How many they are, of when, and their figures, in a sentence."""
        one, said = self.total, self.to_dict()
        dates = dict.fromkeys((date_of(one.first_at), date_of(one.last_at)))
        kept = f"{count(one.runs, 'earlier run')} ({' to '.join(dates)})"
        figures = [f"{percent(said['success_rate'])} ok", f"median {seconds(said['median_seconds'])}"]
        figures += [f"mean {seconds(said['mean_seconds'])}"] if one.ended else []
        figures += [f"mean cost {usd(said['mean_cost_usd'])}"] if one.priced else []
        figures += [f"mean score {number(said['mean_score'])}"] if one.scored else []
        told = f": {', '.join(figures)}" if one.ended else ""
        return f"{kept} {'is' if one.runs == 1 else 'are'} kept as daily totals{told}."

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; `median_seconds` and `p95_seconds` are off by 5 % at most."""
        one = self.total
        return {
            "runs": one.runs,
            "days": self.days,
            "first_at": one.first_at,
            "last_at": one.last_at,
            "success_rate": one.succeeded / one.ended if one.ended else None,
            "median_seconds": one.quantile(0.5),
            "p95_seconds": one.quantile(0.95),
            "mean_seconds": one.seconds / one.ended if one.ended else None,
            "mean_cost_usd": one.cost_usd / one.priced if one.priced else None,
            "mean_score": one.score / one.scored if one.scored else None,
        }
