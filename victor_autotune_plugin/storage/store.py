"""The store: everything the plugin keeps, and the contract that every backend keeps."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, get_args

from attrs import frozen
from sqlalchemy import Select, Table, func, select, text, tuple_

from .._model.data_flow import TeamFlow
from .._model.day_totals import DayTotals, EarlierRuns
from .._model.experiment import STATES, Change, Experiment, ExperimentStatus, Phase, TeamState
from .._model.process import ProcessId
from .._model.run import ARMS, Observation, RunStatus, TeamRun
from .._model.score import Score
from ..errors import StoreError
from ..failsafe import Fault
from .arm_runs import ArmRuns, arm_queries, in_columns, live_count_query, live_runs
from .compaction import Compaction, compact, spare_bytes, write_back
from .connections import Connections
from .in_memory import MemoryConnections
from .journal_entries import Entry, run_of
from .judging import NO_END
from .location import target_of
from .migrate import ensure_schema
from .pruning import day_totals
from .rows import change_of, experiment_of, fault_of, observation_of, score_of, team_flow, team_run, team_state
from .run_batch import RunBatch
from .run_listing import RunListing
from .tables import (
    AWAITING,
    OBSERVED,
    TEAM,
    change,
    day,
    experiment,
    fault,
    lease,
    process,
    run,
    score,
    team,
)
from .transaction import Transaction

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from .._model.quantities import Arm
    from .run_frames import FrameLibrary

_PAGE: Final = 500


@frozen
class StoreIdentity:
    """Which store it is, and what it is at.

    Attributes:
        id: Unique id (UUID4 hex).
        revision: Counts how often the state of any team was saved.
        paused: Whether all tuning is paused.
        may_prune: Whether old runs may go; in a store of an earlier version a person is asked first.
    """

    id: str
    revision: int
    paused: bool = False
    may_prune: bool = True


class Store(RunListing):
    """Runs, teams, experiments, observations, changes and faults, durable and shared by processes.

    `SQLite` (a file in WAL mode) serves the processes of one machine, PostgreSQL those of several.

    # The contract

    Whatever keeps these promises can take the place of this class. `tests/storage` checks them.

    **Everywhere.** Values come back equal to what was given: floats bit for bit, plain data as JSON has it (tuples
    become lists). Only the model's values are kept, never a prompt or an output. Objects may be shared by threads and
    event loops; a child process after a fork may go on using them, unless SQLite is used and the fork happened inside a
    transaction (`StoreUnavailableError`, and the parent goes on). A failure of the database is a
    `StoreUnavailableError` with the URL (without password) and the hint; a schema of a newer version is a
    `StoreVersionError`; data the database refuses is a `StoreError`. Nothing else is raised.

    **Transactions** (`transaction`). All or nothing: an exception inside, a crash, or a kill leaves no trace, and
    after a normal end all is durable against the death of the process. After a statement that the database refused
    nothing is kept, even if the error was swallowed: every later statement and the end raise `StoreError`. Transactions
    are short and never contain an `await`. Those that touch the same team happen one after the other: from `team`,
    `save_team`, `save_experiment`, `add_change` or `add_observation` on, no other gets past such a call for that team
    before this one ended, and the same holds for its lease from `take_lease`, `check_lease` or `number_runs` on. Runs
    lock nothing but their own rows, so a transaction may write those of many teams: to write them in the order of
    their ids keeps two that write the same runs from waiting for each other. (SQLite: the whole transaction holds the
    only write lock.) A lock that stays longer than the busy timeout is a `StoreUnavailableError`. A second transaction
    in the same thread is a `RuntimeError`.

    - `team` returns the stored state, or version 0 and nothing set. It creates nothing that `teams` would show.
    - `save_team` writes if the version given is the version stored (0: none is stored), and returns the state with a
      version greater by 1 and the new revision of the store; otherwise it writes nothing and raises `StaleStateError`.
      Revisions grow in the order of the commits, so that `changed_teams` after the greatest one seen misses none.
    - `save_experiment` writes a new experiment with any status. Of a known one it writes status, times, verdicts, and
      what is asked for, and before its start its prices; a status that may not follow (`STATES`), or any difference
      once it ended, is a `StaleStateError`; a difference in anything else is a `StoreError`. Writing the same again is
      fine.
    - `experiments_of` returns the experiments of a team, `experiments_that_await` those whose state awaits a person or
      whose test asks for a probation, oldest first.
    - `start_run` writes a start; a second start of the same run replaces mode, plan, experiment and arm while the run
      is running, and changes nothing afterwards.
    - `finish_run` returns True and the run is `finished`, whether it was running or never started, or `late` if it was
      lost; False, and nothing changes, if it had ended already.
    - `write_entry` writes what a journal's entry says by one of these; `write_entries` of the store writes many at
      once, as one after the other would, and on PostgreSQL in one trip to the server.
    - `price_run` and `trace_run` change a run that ended as long as it has no number.
    - `record_score` keeps one score of a run and name, the one with the last time, and any opinion rather than none.
      It may come before its run. A run's `score` is that of the gates that `finish_run` names, from the moment when
      each of them has one, None where one has no opinion; an observation keeps its score, and a run one that it came
      with. `import_score` changes no score that is there.
    - `number_runs` numbers the finished runs of a team, and those that were lost from an arm, from 1 in the order of
      the calls, those of one call by start. It leaves out runs of which the cost, the data flow or a score is still
      awaited: the score of a gate for `score_seconds` by the database's clock, of runs that went missing not at all.
      A run of an experiment becomes its observation, with the run's number as its order; one that was lost or cancelled
      is `missing` and has no figures, and stays so when it ends late. Numbers and orders grow in the order of the
      commits, may have gaps, and never change, so that reading after the greatest one seen so far (`runs_after`,
      `observations`, `live_observations`) misses none. Two may number at once.
    - `add_observation` appends one observation a run behind all of its experiment, at its own order if that is behind
      them; for a run that was observed before it changes nothing.
    - `runs_of` and `runs_after` return numbered runs only, `runs_of` newest first and none that was lost.
    - `live_observations` returns what an experiment observes of its live plan: its watch, the control of every test
      against that plan, and what its own test observed after its `decided_order`. `test_runs_since` returns what was
      observed of a team since a time, of any test.
    - `take_stream` gives each stream of an experiment's phase and stage to one process at a time: the lowest that is
      free, at the index after the last; that of a dead process at its next block. `reserve_stream` moves that index on
      in advance, and `give_back_stream` sets it to where its process got.
    - `take_lease` gives a team to one holder at a time. A new holder gets a greater fence; a holder that renews keeps
      it, even after the lease has expired, as long as no other took it. `check_lease` is about the fence alone.
    - `mark_lost` marks runs whose process ended, fell silent, or never gave a sign of life (`beat`), wherever it ran;
      one that writes the start of a run gives one. `release_scores` gives the runs of such processes rows of no opinion
      for their gates that are not external and have none, so that nothing awaits them.
    - `set_drained` never makes the count smaller.
    - `prune` lets runs of a team go that have a number, were judged, and are none of those that `prune_bounds` keeps.
      It adds each to the totals of its day, once, however many prune at once. Of one that is an observation the row
      stays with what that is made of, so that `observations`, `live_observations`, `test_runs_since` and `arm_runs`
      return the same as before; its status is that of an observation without a run. Scores go with their runs; one
      that a person rated stays whole.
    - `import_day` writes totals unless there are some of that day, or runs of that time.
    - `add_change` appends and returns the id, `changes_of` returns them by id, oldest first.
    - `record_fault` keeps one row for each place and class of error, with the first text, the first and the last time,
      and the count. Of errors that are not the plugin's own only the class is kept.

    Leases and signs of life go by the database's clock alone.

    **Reading for people** (`runs` to `counts`, and what `StoredScores` and `RunListing` have). Takes no lock, sees
    what is committed, and reads long histories page by page.

    `open` and `in_memory` make one.

    Args:
        connections: To the database, which is not yet opened.
        process: The process that it belongs to; None for a new identity of this one.
        environment: Environment whose teams it is about; None to read those of all, and to write to the default one.
    """

    def __init__(
        self, connections: Connections, process: ProcessId | None = None, environment: str | None = None
    ) -> None:
        self.url = connections.target.shown
        self.environment = environment
        self._connections = connections
        self._process = process
        self._process_pid = os.getpid()
        self._introduced: str | None = None

    @classmethod
    def open(
        cls,
        url: str,
        *,
        busy_timeout_seconds: float = 0.2,
        deadline_seconds: float = 5.0,
        look_only: bool = False,
        environment: str | None = None,
        process: ProcessId | None = None,
    ) -> Self:
        """Return a store that is ready: created where it is missing, and migrated to this version's schema.

        The file gets mode 0600 and folders that are missing 0700. Several processes may do so at once.

        Args:
            url: `sqlite:///file` or `postgresql+psycopg://user@host/database`.
            busy_timeout_seconds: How long to wait for a lock, in seconds. It blocks the thread.
            deadline_seconds: How long a server may take for an answer, in seconds; the client itself keeps it.
            look_only: Whether to open what is there to read, and neither create nor migrate it. A file that may not be
                written to can be opened by this alone.
            environment: As for the class.
            process: As for the class.

        Raises:
            StoreUnavailableError: The URL is wrong, its driver is missing, or the database can't be reached, created,
                read or written.
            StoreVersionError: A newer version of the plugin wrote it, or an older one and it is only looked at.
        """
        target = target_of(url)
        connections = Connections(
            target, busy_timeout_seconds, ensure_schema, deadline=deadline_seconds, look_only=look_only
        )
        store = cls(connections, process, environment)
        connections.session()
        return store

    @classmethod
    def in_memory(
        cls, clock: Callable[[], float] = time.time, *, process: ProcessId | None = None, store_id: str | None = None
    ) -> Self:
        """Return a new store in memory, for one thread: what a simulation works with.

        Args:
            clock: The database's clock, Unix seconds.
            process: As for the class.
            store_id: Its id; None for a new one.
        """
        store = cls(MemoryConnections(clock, store_id or uuid.uuid4().hex), process)
        store._connections.session()
        return store

    @property
    def process(self) -> ProcessId:
        """The process that it belongs to; a forked child gets a new one."""
        if self._process is None or self._process_pid != os.getpid():
            self._process, self._process_pid = ProcessId.new(), os.getpid()
        return self._process

    def identity(self) -> StoreIdentity:
        """Return which store it is and its revision: one cheap read, to see whether something changed."""
        rows = self._connections.query(self._connections.statements.identity, {})
        if not rows:
            raise StoreError("the store has lost its identity", where=self.url, hint="Restore it from a backup.")
        return StoreIdentity(rows[0].id, rows[0].revision, bool(rows[0].paused), bool(rows[0].may_prune))

    def transaction(self, patience: float | None = None) -> AbstractContextManager[Transaction]:
        """Open a transaction for a `with` block: committed at its end, rolled back when it raises.

        Args:
            patience: How long to wait for a lock, in seconds; None for the busy timeout.

        Raises:
            StoreUnavailableError: The store can't be used, or stayed locked longer than the busy timeout.
            RuntimeError: This thread has one open.
        """
        return self._opened(reads=False, patience=patience)

    def write_entries(self, entries: Sequence[Entry]) -> list[Entry]:
        """Write what entries of this process say, all or nothing, and return those that found no place.

        What completes a run has none before the end of that run is written.

        Args:
            entries: The entries, in their order.

        Raises:
            StoreUnavailableError: The store can't be used, or stayed locked longer than the busy timeout.
            StoreError: It refuses one of them, so none is written.
        """
        batch = RunBatch.of(sorted(entries, key=run_of), self.process.id)
        sql = self._connections.statements
        if sql.write_batch is None or sql.complete_runs is None:
            # All that takes time was done before the lock is taken.
            with self.transaction() as transaction:
                return transaction.write_batch(batch)
        left: Sequence[Entry] = entries
        if self._introduced == self.process.id and not batch.rest and not (batch.has_runs and batch.parts):
            if batch.parts:
                rows = self._connections.run_alone(sql.complete_runs, batch.parts_given())
            else:
                rows = self._connections.run_alone(sql.write_batch, batch.runs_given())
            left = batch.left_over({row.run_id for row in rows})
        if not left:
            return []
        with self.transaction() as transaction:
            return transaction.write_entries(left)

    def reading(self) -> AbstractContextManager[Transaction]:
        """Open a transaction that only reads, and so takes no lock and does not wait for one.

        Raises:
            StoreUnavailableError: The store can't be used.
            RuntimeError: This thread has one open.
        """
        return self._opened(reads=True)

    @contextmanager
    def _opened(self, *, reads: bool, patience: float | None = None) -> Iterator[Transaction]:
        process, connections = self.process, self._connections
        session = connections.begin(patience, reads=reads)
        try:
            is_known = self._introduced == process.id
            backend = connections.target.backend
            transaction = Transaction(
                session,
                connections.statements,
                backend,
                self.environment,
                process,
                is_known,
                reads,
            )
            yield transaction
            transaction.complete()
            session.commit()
        except BaseException:
            connections.rollback(session)
            raise
        if transaction.is_introduced:
            self._introduced = process.id

    # --- reading for people

    def runs(
        self,
        workflow: str | None = None,
        team_id: str | None = None,
        *,
        status: RunStatus | None = None,
        limit: int | None = None,
    ) -> Iterator[TeamRun]:
        """Yield runs, newest first, reading page by page.

        A run that starts meanwhile is not among them.

        Args:
            workflow: Only of this workflow.
            team_id: Only of teams with this id.
            status: Only with this status.
            limit: At most so many; None for all.
        """
        query = self._only(run, workflow, team_id).order_by(run.c.started_at.desc(), run.c.run_id.desc())
        query = query.where(run.c.status != OBSERVED if status is None else run.c.status == status)
        left = limit
        last: Any = None
        while left is None or left > 0:
            page = query.limit(_PAGE if left is None else min(_PAGE, left))
            if last is not None:
                page = page.where(tuple_(run.c.started_at, run.c.run_id) < tuple_(last.started_at, last.run_id))
            rows = self._connections.execute(page)
            for row in rows:
                yield team_run(row)
            if len(rows) < _PAGE:
                return
            last = rows[-1]
            left = None if left is None else left - len(rows)

    def finished_runs(
        self, workflow: str | None = None, team_id: str | None = None, *, limit: int | None = None
    ) -> Iterator[TeamRun]:
        """Return the finished runs, newest first, reading page by page; the arguments are those of `runs`."""
        return self.runs(workflow, team_id, status="finished", limit=limit)

    def runs_frame(
        self,
        workflow: str | None = None,
        team_id: str | None = None,
        *,
        limit: int | None = None,
        library: FrameLibrary | None = None,
    ) -> pd.DataFrame | pl.DataFrame:
        """Return the finished runs as a frame, one row a run, oldest first. Neither prompt nor output is in it.

        Args:
            workflow: Only of this workflow.
            team_id: Only of teams with this id.
            limit: The last so many; None for all.
            library: `pandas` or `polars`; None for the one that the program has imported, else the one that is
                installed, pandas first.

        Returns:
            The columns of `docs/notebooks.md`. Times are in UTC, durations in seconds, cost in US dollars; what a run
            does not have is missing.

        Raises:
            AutotuneError: The library is not installed.
            StoreError: The store can't be used.

        .. versionadded:: 0.2
        """
        from .run_frames import frame

        return frame(reversed([*self.finished_runs(workflow, team_id, limit=limit)]), library)

    def scores(self, workflow: str | None = None, team_id: str | None = None) -> Iterator[Score]:
        """Yield the scores of finished runs by run and name, page by page; the arguments are those of `runs`."""
        of_run = self._only(run, workflow, team_id).where(run.c.status == "finished", run.c.run_id == score.c.run_id)
        query = select(score).where(of_run.with_only_columns(run.c.run_id).exists())
        query = query.order_by(score.c.run_id, score.c.name).limit(_PAGE)
        page = query
        while rows := self._connections.execute(page):
            yield from map(score_of, rows)
            page = query.where(tuple_(score.c.run_id, score.c.name) > tuple_(rows[-1].run_id, rows[-1].name))

    def run(self, run_id: str) -> TeamRun | None:
        """Return a run, or None when there is none of this id."""
        rows = self._connections.execute(select(run).where(run.c.run_id == run_id, run.c.status != OBSERVED))
        return team_run(rows[0]) if rows else None

    def team(self, workflow: str, team_id: str) -> TeamState | None:
        """Return the state of a team, or None when it was never saved.

        Of a team that runs in several environments it is the one that was saved last.
        """
        rows = self._connections.execute(
            self._only(team, workflow, team_id).where(team.c.version > 0).order_by(team.c.revision.desc())
        )
        return team_state(rows[0]) if rows else None

    def teams(self) -> list[TeamState]:
        """Return the states of all teams that were saved, by workflow and team id."""
        query = self._only(team).where(team.c.version > 0).order_by(team.c.workflow, team.c.team_id)
        return [team_state(row) for row in self._connections.execute(query)]

    def experiment(self, experiment_id: str) -> Experiment | None:
        """Return an experiment, or None when there is none of this id."""
        rows = self._connections.execute(select(experiment).where(experiment.c.id == experiment_id))
        return experiment_of(rows[0]) if rows else None

    def experiments(
        self, workflow: str | None = None, team_id: str | None = None, *, status: ExperimentStatus | None = None
    ) -> list[Experiment]:
        """Return experiments, newest first.

        Args:
            workflow: Only of this workflow.
            team_id: Only of teams with this id.
            status: Only with this status.
        """
        query = self._only(experiment, workflow, team_id).order_by(
            experiment.c.created_at.desc(), experiment.c.id.desc()
        )
        if status is not None:
            query = query.where(experiment.c.status == status)
        return [experiment_of(row) for row in self._connections.execute(query)]

    def experiments_that_await(self, workflow: str | None = None, team_id: str | None = None) -> list[Experiment]:
        """Return the experiments that a person is to answer, oldest first; the arguments are those of `runs`."""
        query = self._only(experiment, workflow, team_id).where(text(AWAITING))
        query = query.order_by(experiment.c.created_at, experiment.c.id)
        return [experiment_of(row) for row in self._connections.execute(query)]

    def changes(self, workflow: str | None = None, team_id: str | None = None) -> list[Change]:
        """Return the history, oldest first, so that index -1 is the latest; the arguments are those of `runs`."""
        query = self._only(change, workflow, team_id).order_by(change.c.id)
        return [change_of(row) for row in self._connections.execute(query)]

    def observations(self, experiment_id: str, phase: Phase, *, up_to: int | None = None) -> list[Observation]:
        """Return the observations of a phase of an experiment in order, none after the order `up_to`."""
        query = select(run).where(
            run.c.experiment_id == experiment_id, run.c.phase == phase, run.c.observed.is_not(None)
        )
        if up_to is not None:
            query = query.where(run.c.observed <= up_to)
        return [observation_of(row) for row in self._connections.execute(query.order_by(run.c.observed))]

    def live_observations(self, experiment_id: str, *, up_to: int | None = None) -> list[Observation]:
        """Return what an experiment observes of its live plan, none after the order `up_to`.

        It is what `Transaction.live_observations` says.
        """
        with self.reading() as transaction:
            return transaction.live_observations(experiment_id, up_to=up_to)

    def arm_runs(self, experiment_ids: Iterable[str], *, with_tokens: bool = True) -> dict[str, ArmRuns]:
        """Return the finished runs of some experiments as columns, by the experiment's id; no entry without a run.

        Args:
            experiment_ids: The experiments.
            with_tokens: Whether their tokens are read, too, which takes a third of the time; else they are not known.
        """
        found: dict[str, ArmRuns] = {}
        for query in arm_queries(dict.fromkeys(experiment_ids), with_tokens=with_tokens):
            found.update(in_columns(self._connections.execute(query, plain=True)))
        return found

    def live_counts(
        self, experiment_id: str, decided_order: int | None = None, later_ids: Iterable[str] = ()
    ) -> dict[Arm, int]:
        """Return how many runs that ended the watch over a live plan has seen, by arm; see `live_observations`.

        Args:
            experiment_id: The experiment whose plan is live.
            decided_order: Its `decided_order`.
            later_ids: The tests against that plan.
        """
        query = live_count_query(experiment_id, decided_order, later_ids)
        return dict.fromkeys(ARMS, 0) | {row.arm: int(row.runs) for row in self._connections.execute(query)}

    def has_live_runs(self, experiment_id: str, decided_order: int | None, number: int) -> bool:
        """Return whether the watch over a live plan has seen at least so many runs that ended, later tests' left out.

        Args:
            experiment_id: The experiment whose plan is live.
            decided_order: Its `decided_order`.
            number: How many, from 1.
        """
        after = NO_END if decided_order is None else decided_order
        of = {"of_experiment_id": experiment_id, "after": after, "before": number - 1}
        return bool(self._connections.query(live_runs(self._connections.target.backend), of))

    def day_totals(self, workflow: str | None = None, team_id: str | None = None) -> Iterator[DayTotals]:
        """Yield what is left of runs that are no longer kept in full, by team and day, page by page.

        Args:
            workflow: Only of this workflow.
            team_id: Only of teams with this id.
        """
        place = [day.c[name] for name in (*TEAM, "date")]
        query = self._only(day, workflow, team_id).order_by(*place).limit(_PAGE)
        page = query
        while rows := self._connections.execute(page):
            yield from map(day_totals, rows)
            page = query.where(tuple_(*place) > tuple_(*(getattr(rows[-1], column.name) for column in place)))

    def earlier_runs(self, workflow: str, team_id: str) -> EarlierRuns | None:
        """Return what is known of the runs of a team that are no longer kept in full; None where there are none."""
        return EarlierRuns.of(self.day_totals(workflow, team_id))

    def pruned_until(self) -> dict[tuple[str, str, str], float]:
        """Return when the last run started that is in totals, by environment, workflow and team id; Unix seconds."""
        team_of = [day.c[name] for name in TEAM]
        rows = self._connections.execute(select(*team_of, func.max(day.c.last_at).label("last")).group_by(*team_of))
        return {(row.environment, row.workflow, row.team_id): row.last for row in rows}

    def data_flow(self, workflow: str, team_id: str) -> TeamFlow:
        """Return who used whose work in a team, by the runs that were judged."""
        rows = self._connections.execute(self._only(lease, workflow, team_id))
        return team_flow(rows[0].flow) if rows else TeamFlow()

    def faults(self) -> list[Fault]:
        """Return the recorded faults, oldest first."""
        query = select(fault).order_by(fault.c.first_at, fault.c.place, fault.c.error_class)
        return [fault_of(row) for row in self._connections.execute(query)]

    def counts(self) -> dict[str, int]:
        """Return how much there is of each.

        Returns:
            `teams`, `runs` and of them `runs_running`, `runs_finished`, `runs_lost`, `runs_late`; `experiments` and of
            them `experiments_open` (those that runs take part in); `observations`, `changes`, `faults`.
        """
        by_status = self._by_status(run)
        by_status.pop(OBSERVED, None)
        experiments = self._by_status(experiment)
        counts = {
            "teams": self._count(select(func.count()).select_from(team).where(team.c.version > 0)),
            "runs": sum(by_status.values()),
            **{f"runs_{status}": by_status.get(status, 0) for status in get_args(RunStatus)},
            "experiments": sum(experiments.values()),
            "experiments_open": sum(experiments.get(name, 0) for name, state in STATES.items() if state.takes_runs),
        }
        counts["observations"] = self._count(select(func.count(run.c.observed)))
        tables = {"changes": change, "faults": fault}
        return counts | {name: self._count(select(func.count()).select_from(table)) for name, table in tables.items()}

    def pruned_runs(self, workflow: str | None = None, team_id: str | None = None) -> int:
        """Return how many runs are no longer kept in full; the arguments are those of `runs`."""
        runs = func.coalesce(func.sum(day.c.runs), 0)
        return self._count(self._only(day, workflow, team_id).with_only_columns(runs))

    def unrecorded_runs(self) -> int:
        """Return how many lost runs are of processes that ended as they should, so that their end was not recorded."""
        ended = select(process.c.id).where(process.c.ended)
        return self._count(select(func.count()).where(run.c.status == "lost", run.c.process.in_(ended)))

    def _only(self, table: Table, workflow: str | None = None, team_id: str | None = None) -> Select[Any]:
        """Return the query for the rows of the environment, of a workflow, and of a team; None for all."""
        query = select(table)
        for name, value in zip(TEAM, (self.environment, workflow, team_id), strict=True):
            if value is not None:
                query = query.where(table.c[name] == value)
        return query

    def _count(self, query: Select[Any]) -> int:
        return int(self._connections.execute(query)[0][0])

    def _by_status(self, table: Table) -> dict[str, int]:
        query = select(table.c.status, func.count().label("number")).group_by(table.c.status)
        return {row.status: int(row.number) for row in self._connections.execute(query)}

    def compact(self) -> Compaction:
        """Give room back that runs left when they went; `compaction.compact` says what it takes and raises."""
        return compact(self._connections)

    def spare_bytes(self) -> int:
        """Return how many bytes of the file hold nothing, which `compact` would give back; 0 for a server."""
        return spare_bytes(self._connections)

    def write_back(self) -> None:
        """Empty the log beside an SQLite file into it, so that the next transaction needs no further room for it."""
        write_back(self._connections)

    # --- the end

    def close(self) -> None:
        """Close the connections of all threads. A store that is used again opens new ones.

        A connection in the middle of a transaction stays open until its thread ends.
        """
        self._connections.close()

    def __enter__(self) -> Self:
        """Return the store, to be closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()
