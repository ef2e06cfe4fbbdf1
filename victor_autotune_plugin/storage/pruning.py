"""Old runs go, in small transactions, and leave the totals of their days.

Only runs that were judged go, and neither what tuning looks back at nor what it is judged by goes with them. Of a run
that a test or a watch counted the row stays, with the columns of its observation and its tokens, so that decisions
replay and savings are told as before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from .._model.day_totals import DayTotals, bucket_of, by_day, date_of
from .judging import NO_END
from .rows import decode, encode
from .run_scores import RunScores
from .session import Statement

ALWAYS_KEPT: Final = 1_000
"""So many of a team's last runs stay in full, however old they are: what tuning looks back at."""

PIECE: Final = 50
"""Runs that are looked at in one transaction."""

_SAMPLED: Final = 200
_LOOKED: Final = 20_000
_DAY_SECONDS: Final = 86_400.0
_ROW_BYTES: Final = 400
# What a row takes beside its long texts, with its places in the indexes.


@frozen
class PruneBound:
    """Which runs of a team may go: those with a number below one, that started before a time.

    Attributes:
        below: The number.
        before: The time, Unix seconds.
    """

    below: int
    before: float


@frozen
class PrunedPiece:
    """What one transaction did.

    Attributes:
        removed: Runs that went.
        bared: Runs of which what a decision rests on is kept.
        last: Number of the last run that was looked at, to go on after.
        is_over: Whether there is nothing more to look at.
        last_at: Start of the last run that went, of either kind, Unix seconds; None where none did.
    """

    removed: int = 0
    bared: int = 0
    last: int = 0
    is_over: bool = True
    last_at: float | None = None


@frozen
class PruneForecast:
    """What would go of a team.

    Attributes:
        removed: Runs that would go.
        bared: Runs of which what a decision rests on would be kept.
        bytes: About how many bytes that frees.
        last_at: Start of the last of them, Unix seconds; None where there is none.
    """

    removed: int = 0
    bared: int = 0
    bytes: int = 0
    last_at: float | None = None


class Pruning(RunScores):
    """What a transaction says of runs that go; `Transaction` says the rest."""

    def allow_pruning(self) -> None:
        """Write that old runs of this store may go, as a person said."""
        self._write(self._sql.pruning.allow, {})

    def prune_bounds(
        self, workflow: str, team_id: str, runs: int | None, days: float | None, always: int | None = None
    ) -> tuple[PruneBound, ...]:
        """Return which runs of a team may go by a retention; empty for none.

        What is kept are the last ones by their number and by their start, which differ where runs were imported.

        Args:
            workflow: Workflow name.
            team_id: Team step id.
            runs: So many are kept in full; None for no limit.
            days: Older ones go, by the database's clock; None for no limit.
            always: So many of the last are kept, however old they are; None for `ALWAYS_KEPT`.
        """
        always = ALWAYS_KEPT if always is None else always
        sql, of = self._sql.pruning, self._of(workflow, team_id)
        found = []
        more = None if runs is None else self._bound(sql.kept_number, sql.kept_start, of, runs)
        if more is not None:
            found.append(more)
        if days is not None:
            before: float = self._query(sql.now, {})[0].now - days * _DAY_SECONDS
            first = self._query(sql.first_start, of)[0].first
            if first is not None and first < before:
                found.append(PruneBound(NO_END, before))
        # The last that finished are found by reading them, so it comes last.
        last = self._bound(sql.last_number, sql.last_start, of, always) if found else None
        if last is None:
            return ()
        return tuple(PruneBound(min(last.below, one.below), min(last.before, one.before)) for one in found)

    def is_clock_borne_out(self, workflow: str, team_id: str) -> bool:
        """Return whether what is recorded bears the database's clock out, so that the age of runs can be told by it.

        It does where something ran one to four weeks before now, or the totals of the team are of then. A clock that
        was set a year ahead is not borne out for a week, and nor is one of a machine that was off for a year.

        Args:
            workflow: Workflow name.
            team_id: Team step id.
        """
        return bool(self._query(self._sql.pruning.is_borne_out, self._of(workflow, team_id))[0].is_borne_out)

    def _bound(self, number: Statement, start: Statement, of: Mapping[str, Any], kept: int) -> PruneBound | None:
        numbers = self._query(number, {**of, "kept": kept - 1})
        starts = self._query(start, {**of, "kept": kept - 1}) if numbers else []
        return PruneBound(numbers[0].number, starts[0].started_at) if starts else None

    def prune_forecast(self, workflow: str, team_id: str, bounds: Iterable[PruneBound]) -> PruneForecast:
        """Return what would go of a team; PostgreSQL reads all of these runs, some thousands at a time."""
        judged = self._judged(workflow, team_id)
        # One bound holds the other, but for runs that were imported.
        found = [self._forecast(workflow, team_id, bound, judged) for bound in bounds]
        return max(found, key=lambda one: one.removed + one.bared, default=PruneForecast())

    def _forecast(self, workflow: str, team_id: str, bound: PruneBound, judged: int) -> PruneForecast:
        of = {**self._of(workflow, team_id), "before": bound.before, "judged": judged}
        removed = bared = 0
        size, last_at = 0.0, None
        after: int = self._query(self._sql.pruning.first_number, of)[0].first or bound.below
        most = bound.below if self._sql.pruning.counts_at_once else _LOOKED
        while after < bound.below:
            part = {**of, "after": after - 1, "below": min(bound.below, after + most)}
            row = self._query(self._sql.pruning.forecast, part)[0]
            if row.runs and not size:
                size = float(self._query(self._sql.pruning.size, {**part, "sampled": _SAMPLED})[0].size)
            removed, bared = removed + row.runs - row.observed, bared + row.observed
            last_at = max((at for at in (last_at, row.last_at) if at is not None), default=None)
            after += most
        return PruneForecast(removed, bared, round(size * (removed + bared) + _ROW_BYTES * removed), last_at)

    def prune(self, workflow: str, team_id: str, bound: PruneBound, after: int = 0, most: int = PIECE) -> PrunedPiece:
        """Let the next runs of a team go, oldest number first, and add them to the totals of their days.

        Runs stay that a person rated, and those whose scores cost something a moment ago. The team's lease is locked
        meanwhile, so that no run is added up twice when several processes prune.

        Args:
            workflow: Workflow name.
            team_id: Team step id.
            bound: Which runs may go.
            after: Only runs with a greater number.
            most: How many to look at.
        """
        of = {**self._of(workflow, team_id), "judged": self._judged(workflow, team_id)}
        rows = self._query(self._sql.pruning.candidates, {**of, "below": bound.below, "after": after, "most": most})
        old = [row for row in rows if row.started_at < bound.before]
        chosen = [row for row in old if not row.is_rated]
        if chosen:
            self._add_totals(workflow, team_id, chosen)
            removed = [row.run_id for row in chosen if row.observed is None]
            bared = [row.run_id for row in chosen if row.observed is not None]
            for ids, statement in ((removed, self._sql.pruning.drop_runs), (bared, self._sql.pruning.bare_runs)):
                if ids:
                    self._write(statement, {"ids": json.dumps(ids)})
            self._write(self._sql.pruning.drop_scores, {"ids": json.dumps([*removed, *bared])})
            last_at = max(row.started_at for row in chosen)
            return PrunedPiece(len(removed), len(bared), rows[-1].number, len(rows) < most, last_at)
        # Later runs are younger, but for imported ones, whose turn comes.
        return PrunedPiece(0, 0, rows[-1].number if rows else after, len(rows) < most or not old)

    def _judged(self, workflow: str, team_id: str) -> int:
        """Return the number of the last run that was judged, and lock the team's lease."""
        if self._reads:
            rows = self._query(self._sql.pruning.judged, self._of(workflow, team_id))
            return rows[0].judged if rows else 0
        lease = self._lease(workflow, team_id)
        return 0 if lease is None else int(lease.judged)

    def _add_totals(self, workflow: str, team_id: str, rows: Iterable[Any]) -> None:
        environment = self._environment
        self.add_days(by_day(_of_run(row, environment, workflow, team_id) for row in rows).values())

    def add_days(self, totals: Iterable[DayTotals]) -> None:
        """Add to the totals of days."""
        for one in totals:
            of = {"of_date": one.date, **self._of(one.workflow, one.team_id, one.environment)}
            rows = self._query(self._sql.pruning.day, of)
            if rows:
                self._write(self._sql.pruning.update_day, {**of, **_day_values(day_totals(rows[0]) + one)})
            else:
                self._write(self._sql.pruning.insert_day, _day_values(one))

    def import_day(self, totals: DayTotals) -> bool:
        """Write the totals of another store, and return True; False where this one has totals or runs of that time."""
        of = {"of_date": totals.date, **self._of(totals.workflow, totals.team_id, totals.environment)}
        if self._query(self._sql.pruning.day, of):
            return False
        if self._query(self._sql.pruning.runs_between, {**of, "first_at": totals.first_at, "last_at": totals.last_at}):
            return False
        self._write(self._sql.pruning.insert_day, _day_values(totals))
        return True

    def has_day(self, totals: DayTotals) -> bool:
        """Return whether these are the totals that a day has here, so that they hold the same runs."""
        of = {"of_date": totals.date, **self._of(totals.workflow, totals.team_id, totals.environment)}
        return [day_totals(row) for row in self._query(self._sql.pruning.day, of)] == [totals]


def _of_run(row: Any, environment: str, workflow: str, team_id: str) -> DayTotals:
    """Return what a run adds to the totals of its day."""
    lost = row.status in ("lost", "late")
    ended = not lost and not row.cancelled and row.duration_seconds is not None
    tokens = decode(row.tokens) if row.tokens else ()
    seconds = row.duration_seconds if ended else 0.0
    return DayTotals(
        environment,
        workflow,
        team_id,
        date_of(row.started_at),
        row.started_at,
        row.started_at,
        runs=1,
        ended=int(ended),
        succeeded=int(ended and bool(row.success)),
        timed_out=int(ended and bool(row.timed_out)),
        cancelled=int(not lost and bool(row.cancelled)),
        lost=int(lost),
        seconds=seconds,
        durations={bucket_of(seconds): 1} if ended else {},
        tool_calls=row.tool_calls or 0,
        input_tokens=sum(one.get("input_tokens", 0) for one in tokens),
        output_tokens=sum(one.get("output_tokens", 0) for one in tokens),
        cost_usd=row.cost_usd or 0.0,
        priced=int(row.cost_usd is not None),
        score=row.score or 0.0,
        scored=int(row.score is not None),
    )


def day_totals(row: Any) -> DayTotals:
    """Read the row of a day."""
    return DayTotals(**{**row._asdict(), "durations": decode(row.durations)})


def _day_values(totals: DayTotals) -> dict[str, Any]:
    values = totals.to_dict()
    return {**values, "durations": encode(values["durations"])}
