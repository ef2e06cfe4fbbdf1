"""What a page that shows many teams reads of a store: few columns of many runs, and whether anything was written."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from sys import intern
from typing import Any, Final, NamedTuple, Self

from sqlalchemy import CTE, func, or_, select, text, tuple_, union

from .._model.converter import from_plain
from .._model.plan import TeamPlan, TeamSpec
from .connections import Connections
from .listing_statements import LISTED, last_runs, last_spec, scored_run
from .rows import spec
from .run_scores import StoredScores
from .tables import OBSERVED, UNTAKEN, change, lease, run, score, store_row, team

_PAGE: Final = 5_000


@lru_cache(maxsize=4096)
def plan_of(text: str) -> TeamPlan:
    """Return the plan that a listed run was asked to have."""
    return from_plain(TeamPlan, json.loads(text))


class ListedRun(NamedTuple):
    """The row of a run in a list; the fields mean what they mean in `TeamRun`, and are None where it has not ended.

    `seconds` is its duration, `succeeded` its success. `plan_asked` is the plan as JSON text, equal for equal plans:
    many runs share a few.
    """

    run_id: str
    workflow: str
    team_id: str
    environment: str
    status: str
    started_at: float
    mode: str
    plan_asked: str
    experiment_id: str | None
    arm: str | None
    phase: str | None
    seconds: float | None
    succeeded: bool | None
    timed_out: bool | None
    cancelled: bool | None
    cost_usd: float | None
    score: float | None
    member_success_share: float | None
    error_class: str | None

    @property
    def plan(self) -> TeamPlan:
        """The plan that it was asked to have."""
        return plan_of(self.plan_asked)


_made: Final = ListedRun._make  # the class itself takes twice as long

_TRUTH: Final[Mapping[Any, bool | None]] = {None: None, 0: False, 1: True}
"""Truth values by what a database gives for them: SQLite has numbers."""


def _listed(row: Any) -> ListedRun:
    """Return the run of a row; texts that many rows share are kept once, as a page keeps a hundred thousand runs."""
    # fmt: off
    (run_id, workflow, team_id, environment, status, started_at, mode, plan, experiment_id,
     arm, phase, seconds, succeeded, timed_out, cancelled, cost_usd, score, share, error_class) = row
    # fmt: on
    return _made(
        (
            run_id,
            intern(workflow),
            intern(team_id),
            intern(environment),
            intern(status),
            started_at,
            intern(mode),
            intern(plan),
            None if experiment_id is None else intern(experiment_id),
            arm,
            phase,
            seconds,
            _TRUTH[succeeded],
            _TRUTH[timed_out],
            _TRUTH[cancelled],
            cost_usd,
            score,
            share,
            error_class,
        )
    )


class Pulse(NamedTuple):
    """Figures of a store, of which one changes with every write that a page shows.

    Attributes:
        revision: As in `StoreIdentity`.
        paused: Whether all tuning is paused.
        runs: Number of runs.
        running: How many of them have not ended.
        judged: Sum of the numbers of the last judged runs of all teams.
        last_change: Id of the last line of the history.
        scored_at: Time of the newest score, Unix seconds.
    """

    revision: int
    paused: bool
    runs: int
    running: int
    judged: int
    last_change: int
    scored_at: float


def _distinct(which: Any, *names: str) -> CTE:
    """Return the distinct values of columns that an index begins with: it goes from each to the next one.

    Args:
        which: The runs that are looked at, as in the index.
        names: The columns.
    """

    def columns(table: Any) -> list[Any]:
        return [table.c[name] for name in names]

    first = select(*columns(run)).where(which).order_by(*columns(run)).limit(1)
    found = select(first.subquery()).cte("found", recursive=True)
    nearest = []
    for place in range(len(names))[::-1]:  # the next value of the last column under the same others, and so on
        *same, further = names[: place + 1]
        following = select(run.c.run_id).where(which, *(run.c[name] == found.c[name] for name in same))
        following = following.where(run.c[further] > found.c[further])
        nearest.append(following.order_by(*columns(run)).limit(1).correlate(found).scalar_subquery())
    next_id = func.coalesce(*nearest) if len(nearest) > 1 else nearest[0]
    following_run = run.alias("following")
    return found.union_all(
        select(*columns(following_run)).join_from(found, following_run, following_run.c.run_id == next_id)
    )


class RunListing(StoredScores):
    """What a page reads; it takes no lock and sees what is committed."""

    environment: str | None
    _connections: Connections

    def of(self, environment: str | None) -> Self:
        """Return the same store, over the same connections, for another environment; None for all."""
        other = copy.copy(self)
        other.environment = environment
        return other

    def environments(self) -> dict[str, int]:
        """Return how many teams each environment has that any run or state is of, by name.

        An environment whose runs all went missing outside of tests, and that never had another, is not found.
        """
        few = [select(table.c.environment) for table in (team, lease)]
        names = {
            row[0]
            for row in self._connections.execute(
                union(select(run.c.environment).where(run.c.status == "running"), *few)
            )
        }
        for which in (run.c.number.is_not(None), text(UNTAKEN)):
            one = _distinct(which, "environment")
            names.update(row[0] for row in self._connections.execute(select(one.c.environment)))
        found = {}
        for name in sorted(names):
            states = select(team.c.workflow, team.c.team_id).where(team.c.environment == name)
            keys = {tuple(row) for row in self._connections.execute(states)} | self.of(name).last_seen().keys()
            if keys:
                found[name] = len(keys)
        return found

    def last_seen(self) -> dict[tuple[str, str], float]:
        """Return when each team ran last, Unix seconds, by workflow and team id; it looks at one run of each."""
        teams = _distinct(text("true"), "workflow", "team_id")
        last = select(run.c.started_at).where(run.c.workflow == teams.c.workflow, run.c.team_id == teams.c.team_id)
        if self.environment is not None:
            last = last.where(run.c.environment == self.environment)
        latest = last.order_by(run.c.started_at.desc()).limit(1).scalar_subquery()
        rows = self._connections.execute(select(teams.c.workflow, teams.c.team_id, latest.label("last")))
        return {(row.workflow, row.team_id): row.last for row in rows if row.last is not None}

    def pulse(self) -> Pulse:
        """Return the store's pulse: a read of about a millisecond for each 50,000 runs, of indexes and small tables."""
        parts = [
            select(store_row.c.revision).scalar_subquery(),
            select(store_row.c.paused).scalar_subquery(),
            select(func.count()).select_from(run).scalar_subquery(),
            select(func.count()).select_from(run).where(run.c.status == "running").scalar_subquery(),
            select(func.coalesce(func.sum(lease.c.judged), 0)).scalar_subquery(),
            select(func.coalesce(func.max(change.c.id), 0)).scalar_subquery(),
            select(func.coalesce(func.max(score.c.at), 0.0)).scalar_subquery(),
        ]
        named = [one.label(name) for name, one in zip(Pulse._fields, parts, strict=True)]
        rows = self._connections.execute(select(*named))
        found = rows[0]
        return Pulse(
            revision=int(found.revision or 0),
            paused=bool(found.paused),
            runs=int(found.runs),
            running=int(found.running),
            judged=int(found.judged),
            last_change=int(found.last_change),
            scored_at=float(found.scored_at),
        )

    def run_count(self, workflow: str, team_id: str) -> int:
        """Return how many runs a team has, those that go on among them."""
        query = select(func.count()).where(run.c.workflow == workflow, run.c.team_id == team_id)
        query = query.where(run.c.started_at > 0)  # else it is known by its observation alone
        if self.environment is not None:
            query = query.where(run.c.environment == self.environment)
        return int(self._connections.execute(query)[0][0])

    def last_runs(self, workflow: str, team_id: str, limit: int, *, finished: bool = True) -> list[ListedRun]:
        """Return the last runs of a team, newest first: ten times as fast as whole runs.

        Args:
            workflow: Workflow name.
            team_id: Team step id.
            limit: At most so many.
            finished: Only those that finished.
        """
        statement = last_runs(self._connections.target.backend, finished=finished, anywhere=self.environment is None)
        found = self._connections.query(statement, self._last(workflow, team_id, limit), plain=True)
        return [_listed(row) for row in found]

    def last_spec(self, workflow: str, team_id: str) -> tuple[TeamSpec, str] | None:
        """Return how a team was defined in its last run, and the environment of that; None without a run."""
        statement = last_spec(self._connections.target.backend, anywhere=self.environment is None)
        rows = self._connections.query(statement, self._last(workflow, team_id, 1))
        return (spec(rows[0].spec), rows[0].environment) if rows else None

    def is_scored(self, workflow: str, team_id: str, runs: int) -> bool:
        """Return whether one of the last finished runs of a team has a score.

        Args:
            workflow: Workflow name.
            team_id: Team step id.
            runs: How many of them are looked at.
        """
        statement = scored_run(self._connections.target.backend, anywhere=self.environment is None)
        return bool(self._connections.query(statement, self._last(workflow, team_id, runs)))

    def _last(self, workflow: str, team_id: str, most: int) -> dict[str, Any]:
        of = {} if self.environment is None else {"of_environment": self.environment}
        return {**of, "of_workflow": workflow, "of_team_id": team_id, "most": most}

    def listed_runs(self, since: float = 0.0, scored_since: float | None = None) -> Iterator[ListedRun]:
        """Yield runs by their start, oldest first, those that go on among them, page by page.

        Args:
            since: Unix time from which on they started.
            scored_since: Unix time from which on scores bring their runs, whenever these started; None for none.
        """
        wanted = run.c.started_at >= since
        if scored_since is not None:
            scored = select(score.c.run_id).where(score.c.at >= scored_since)
            wanted = or_(wanted, run.c.run_id.in_(scored))
        query = select(*(run.c[name] for name in LISTED)).where(run.c.status != OBSERVED, wanted)
        if self.environment is not None:
            query = query.where(run.c.environment == self.environment)
        query = query.order_by(run.c.started_at, run.c.run_id).limit(_PAGE)
        page = query
        while rows := self._connections.execute(page):
            yield from map(_listed, rows)
            last = rows[-1]
            page = query.where(tuple_(run.c.started_at, run.c.run_id) > tuple_(last.started_at, last.run_id))
