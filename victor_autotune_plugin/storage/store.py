"""The store: everything the plugin keeps, and the contract that every backend keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Select, Table, func, select, tuple_

from .._model.experiment import Assignment, Change, Experiment, ExperimentStatus, Phase, TeamState
from .._model.run import Observation, RunStatus, TeamRun
from ..failsafe import Fault
from .connections import Connections, host, is_alive
from .location import target_of
from .migrate import ensure_schema
from .rows import assignment_of, change_of, experiment_of, fault_of, observation_of, team_run, team_state
from .tables import OBSERVED, assignment, change, experiment, fault, run, team
from .transaction import Transaction

_PAGE: Final = 500


class Store:
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
    are short, never contain an `await`, and are about one team. Those that touch the same team happen one after the
    other: from `team`, `save_experiment`, `add_change`, or for a stored experiment `next_index`, `add_assignment` and
    `add_observation` on, no other gets past such a call for that team before this one ended. (SQLite: the whole
    transaction holds the only write lock.) A lock that stays longer than the busy timeout is a `StoreUnavailableError`.
    A second transaction in the same thread is a `RuntimeError`.

    - `team` returns the stored state, or version 0 and nothing set. It creates nothing that `teams` would show.
    - `save_team` writes if the version given is the version stored (0: none is stored), and returns the state with a
      version greater by 1; otherwise it writes nothing and raises `StaleStateError`.
    - `save_experiment` writes a new experiment with any status. Of a known one it writes status, times and verdicts; a
      status that may not follow (`model.state.TRANSITIONS`), or any difference once it ended, is a `StaleStateError`;
      a difference in anything else is a `StoreError`. Writing the same again is fine.
    - `assignment_of_unit`, `next_index`, `add_assignment`: in one transaction, the indexes of every `(experiment,
      phase)` are 0, 1, 2, … without gap or repetition, and every unit has one. A taken index or unit is a
      `StaleStateError`.
    - `start_run` writes a start; a second start of the same run replaces mode, plan, experiment and arm while the run
      is running, and changes nothing afterwards.
    - `finish_run` returns True and the run is `finished`, whether it was running, lost, or never started; False, and
      nothing changes, if it was finished already.
    - `add_observation` appends one observation a run; for a run that was observed before it changes nothing. Within one
      experiment the orders that `observations` tells grow in the order of the commits, so that reading after the
      greatest order seen so far misses none. They may have gaps.
    - `experiments_of` returns the experiments of a team, oldest first.
    - `runs_of` returns finished runs only, by `started_at`, newest first.
    - `add_change` appends and returns the id, `changes_of` returns them by id, oldest first.
    - `record_fault` keeps one row for each place and class of error, with the first text, the first and the last time,
      and the count. Of errors that are not the plugin's own only the class is kept.

    **Reading for people** (`runs` to `counts`). Takes no lock, sees what is committed, and reads long histories page by
    page.

    **Lost runs** (`mark_lost_runs`). A run is lost when its process, known by host, pid and start time, is dead and
    the run has not finished. One that finishes nevertheless becomes `finished`.

    Args:
        url: `sqlite:///file` or `postgresql+psycopg://user@host/database`.
        busy_timeout_seconds: How long to wait for a lock, in seconds. It blocks the thread: keep it short.
        deadline_seconds: How long a server may take for an answer, in seconds; the client itself keeps it.
        look_only: Whether to open what is there to read, and neither create nor migrate it.

    Raises:
        StoreUnavailableError: The URL is wrong, or its driver is missing. The database is not yet opened.
    """

    def __init__(
        self, url: str, *, busy_timeout_seconds: float = 0.2, deadline_seconds: float = 5.0, look_only: bool = False
    ) -> None:
        target = target_of(url)
        self.url = target.shown
        self._connections = Connections(
            target, busy_timeout_seconds, ensure_schema, deadline=deadline_seconds, look_only=look_only
        )

    @classmethod
    def open(
        cls, url: str, *, busy_timeout_seconds: float = 0.2, deadline_seconds: float = 5.0, look_only: bool = False
    ) -> Self:
        """Return a store that is ready: created where it is missing, and migrated to this version's schema.

        The file gets mode 0600 and folders that are missing 0700. Several processes may do so at once.

        Args:
            url: As for the class.
            busy_timeout_seconds: As for the class.
            deadline_seconds: As for the class.
            look_only: As for the class.

        Raises:
            StoreUnavailableError: It can't be reached, created, read or written.
            StoreVersionError: A newer version of the plugin wrote it, or an older one and it is only looked at.
        """
        store = cls(
            url, busy_timeout_seconds=busy_timeout_seconds, deadline_seconds=deadline_seconds, look_only=look_only
        )
        store._connections.session()
        return store

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Open a transaction for a `with` block: committed at its end, rolled back when it raises.

        Raises:
            StoreUnavailableError: The store can't be used, or stayed locked longer than the busy timeout.
            RuntimeError: This thread has one open.
        """
        session = self._connections.begin()
        try:
            yield Transaction(session, self._connections.statements, self._connections.target.backend)
            session.commit()
        except BaseException:
            self._connections.rollback(session)
            raise

    def mark_lost_runs(self) -> tuple[str, ...]:
        """Mark the runs that a dead process of this host left behind.

        Costs one small query when there are none.

        Returns:
            Ids of the runs that were marked.
        """
        here = host()
        sql = self._connections.statements
        processes = self._connections.session().query(sql.running_processes, {"of_host": here})
        dead = [
            {"of_host": here, "of_pid": process.pid, "of_process_started_at": process.process_started_at}
            for process in processes
            if not is_alive(process.pid, process.process_started_at)
        ]
        if not dead:
            return ()
        lost: list[str] = []
        with self.transaction():
            session = self._connections.session()
            for process in dead:
                lost += (row.run_id for row in session.query(sql.runs_of_process, process))
                session.write(sql.mark_lost, process)
        return tuple(lost)

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
        query = _only(run, workflow, team_id).order_by(run.c.started_at.desc(), run.c.run_id.desc())
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

    def run(self, run_id: str) -> TeamRun | None:
        """Return a run, or None when there is none of this id."""
        rows = self._connections.execute(select(run).where(run.c.run_id == run_id, run.c.status != OBSERVED))
        return team_run(rows[0]) if rows else None

    def team(self, workflow: str, team_id: str) -> TeamState | None:
        """Return the state of a team, or None when it was never saved."""
        rows = self._connections.execute(_only(team, workflow, team_id).where(team.c.version > 0))
        return team_state(rows[0]) if rows else None

    def teams(self) -> list[TeamState]:
        """Return the states of all teams that were saved, by workflow and team id."""
        query = select(team).where(team.c.version > 0).order_by(team.c.workflow, team.c.team_id)
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
        query = _only(experiment, workflow, team_id).order_by(experiment.c.created_at.desc(), experiment.c.id.desc())
        if status is not None:
            query = query.where(experiment.c.status == status)
        return [experiment_of(row) for row in self._connections.execute(query)]

    def changes(self, workflow: str | None = None, team_id: str | None = None) -> list[Change]:
        """Return the history, oldest first, so that index -1 is the latest; the arguments are those of `runs`."""
        query = _only(change, workflow, team_id).order_by(change.c.id)
        return [change_of(row) for row in self._connections.execute(query)]

    def observations(self, experiment_id: str, phase: Phase) -> list[Observation]:
        """Return all observations of a phase of an experiment, in order."""
        query = (
            select(run)
            .where(run.c.experiment_id == experiment_id, run.c.phase == phase, run.c.observed.is_not(None))
            .order_by(run.c.observed)
        )
        return [observation_of(row) for row in self._connections.execute(query)]

    def assignments(self, experiment_id: str) -> list[Assignment]:
        """Return all assignments of an experiment, by phase and index."""
        query = (
            select(assignment)
            .where(assignment.c.experiment_id == experiment_id)
            .order_by(assignment.c.phase, assignment.c.position)
        )
        return [assignment_of(row) for row in self._connections.execute(query)]

    def faults(self) -> list[Fault]:
        """Return the recorded faults, oldest first."""
        query = select(fault).order_by(fault.c.first_at, fault.c.place, fault.c.error_class)
        return [fault_of(row) for row in self._connections.execute(query)]

    def counts(self) -> dict[str, int]:
        """Return how much there is of each.

        Returns:
            `teams`, `runs` and of them `runs_running`, `runs_finished`, `runs_lost`; `experiments` and of them
            `experiments_open` (running or watched); `assignments`, `observations`, `changes`, `faults`.
        """
        by_status = self._by_status(run)
        by_status.pop(OBSERVED, None)
        experiments = self._by_status(experiment)
        counts = {
            "teams": self._count(select(func.count()).select_from(team).where(team.c.version > 0)),
            "runs": sum(by_status.values()),
            **{f"runs_{status}": by_status.get(status, 0) for status in ("running", "finished", "lost")},
            "experiments": sum(experiments.values()),
            "experiments_open": experiments.get("running", 0) + experiments.get("watched", 0),
        }
        counts["observations"] = self._count(select(func.count(run.c.observed)))
        tables = {"assignments": assignment, "changes": change, "faults": fault}
        return counts | {name: self._count(select(func.count()).select_from(table)) for name, table in tables.items()}

    def _count(self, query: Select[Any]) -> int:
        return int(self._connections.execute(query)[0][0])

    def _by_status(self, table: Table) -> dict[str, int]:
        query = select(table.c.status, func.count().label("number")).group_by(table.c.status)
        return {row.status: int(row.number) for row in self._connections.execute(query)}

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


def _only(table: Table, workflow: str | None, team_id: str | None) -> Select[Any]:
    query = select(table)
    if workflow is not None:
        query = query.where(table.c.workflow == workflow)
    if team_id is not None:
        query = query.where(table.c.team_id == team_id)
    return query
