"""One transaction of the store; `Store` holds the contract."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from .._model.experiment import Assignment, Change, Experiment, Phase, TeamState, may_follow
from .._model.run import Observation, PlannedRun, RunStart, TeamRun
from ..errors import AutotuneError, StaleStateError, StoreError
from .connections import this_process
from .failures import is_duplicate
from .rows import (
    assignment_of,
    assignment_values,
    change_of,
    change_values,
    changed_columns,
    experiment_of,
    experiment_values,
    observation_of,
    observation_values,
    remembered_experiment,
    remembered_run,
    remembered_team,
    run_values,
    start_values,
    team_values,
    unknown_run_values,
)
from .session import Session
from .statements import PROGRESS, Statements

_LONGEST_FAULT: Final = 300


class Transaction:
    """Reads and writes that hold together. Get one from `Store.transaction`; `Store` says what each method promises.

    Args:
        session: The session, with its transaction open.
        statements: What it runs.
        backend: `sqlite` or `postgresql`.
    """

    def __init__(self, session: Session, statements: Statements, backend: str) -> None:
        self._query = session.query
        self._write = session.write
        self._sql = statements
        self._locks_rows = backend == "postgresql"
        self._locked: set[str | None] = set()  # experiments whose team is locked by this transaction

    def team(self, workflow: str, team_id: str) -> TeamState:
        """Return the state of a team and lock the team; version 0 and empty when it was never saved."""
        key = {"of_workflow": workflow, "of_team_id": team_id}
        rows = self._query(self._sql.team, key)
        if not rows and self._locks_rows:
            self._make_lockable(workflow, team_id)
            rows = self._query(self._sql.team, key)
        state = remembered_team(rows[0]) if rows else TeamState(workflow, team_id)
        self._locked.add(state.experiment_id)
        return state

    def save_team(self, state: TeamState) -> TeamState:
        """Write the state of a team and return it with its new version.

        Raises:
            StaleStateError: It is of another version than the stored one.
        """
        values = team_values(state)
        of = {"of_workflow": state.workflow, "of_team_id": state.team_id, "of_version": state.version}
        written = self._write(self._sql.update_team, {**values, **of})
        if not written and state.version == 0:
            written = self._write(self._sql.insert_team, values)
        if not written:
            raise StaleStateError(
                f"the state of team {state.team_id!r} in workflow {state.workflow!r} changed after version "
                f"{state.version} was read",
                hint="Read it again and repeat.",
            )
        return evolve(state, version=state.version + 1)

    def experiment(self, experiment_id: str) -> Experiment | None:
        """Return an experiment, or None when there is none of this id."""
        rows = self._query(self._sql.experiment, {"of_id": experiment_id})
        return remembered_experiment(rows[0]) if rows else None

    def experiments_of(self, workflow: str, team_id: str) -> list[Experiment]:
        """Return the experiments of a team, oldest first."""
        of = {"of_workflow": workflow, "of_team_id": team_id}
        return [experiment_of(row) for row in self._query(self._sql.experiments_of, of)]

    def save_experiment(self, experiment: Experiment) -> None:
        """Write a new experiment, or how far a known one came.

        Raises:
            StaleStateError: Its status can't follow the stored one, or it ended and differs.
            StoreError: Something differs that its decision is replayed from.
        """
        self._lock_team(experiment.workflow, experiment.team_id)
        values = experiment_values(experiment)
        rows = self._query(self._sql.experiment, {"of_id": experiment.id})
        if not rows:
            self._write(self._sql.insert_experiment, values)
            return
        stored = experiment_of(rows[0])
        changed = changed_columns(stored, values)
        if not changed:
            return
        if stored.has_ended or not may_follow(stored.status, experiment.status):
            raise StaleStateError(
                f"experiment {experiment.id} is {stored.status} and can't become {experiment.status}"
                if stored.status != experiment.status
                else f"experiment {experiment.id} is {stored.status} and does not change any more",
                hint="Read it again.",
            )
        fixed = sorted(set(changed) - set(PROGRESS))
        if fixed:
            raise StoreError(f"experiment {experiment.id} can't change its {', '.join(fixed)}: start a new experiment")
        self._write(self._sql.update_experiment, {"of_id": experiment.id, **values})

    def assignment_of_unit(self, experiment_id: str, phase: Phase, unit: str) -> Assignment | None:
        """Return what a unit was assigned to, or None."""
        of = {"of_experiment_id": experiment_id, "of_phase": phase, "of_unit": unit}
        rows = self._query(self._sql.assignment, of)
        return assignment_of(rows[0]) if rows else None

    def next_index(self, experiment_id: str, phase: Phase) -> int:
        """Return the index of the next assignment, from 0."""
        self._lock_team_of(experiment_id)
        of = {"of_experiment_id": experiment_id, "of_phase": phase}
        last: int | None = self._query(self._sql.last_position, of)[0].last
        return 0 if last is None else last + 1

    def add_assignment(self, assignment: Assignment) -> None:
        """Append an assignment.

        Raises:
            StaleStateError: Its index or its unit is taken.
        """
        self._lock_team_of(assignment.experiment_id)
        try:
            self._write(self._sql.insert_assignment, assignment_values(assignment))
        except StoreError as error:
            if not is_duplicate(error.__cause__):
                raise
            raise StaleStateError(
                f"index {assignment.index} or unit {assignment.unit!r} of experiment {assignment.experiment_id} "
                f"({assignment.phase}) is taken",
                hint="Ask for the assignment of the unit and for the next index in the same transaction.",
            ) from error

    def start_run(self, start: RunStart, planned: PlannedRun) -> None:
        """Write that a run started in this process; of one that is running already, only its plan."""
        self._write(self._sql.start_run, start_values(start, planned, this_process()))

    def finish_run(self, run: TeamRun) -> bool:
        """Write what a run was and return True, or False when it had been written before."""
        return self._write(self._sql.finish_run, run_values(run, this_process())) > 0

    def add_observation(self, experiment_id: str, phase: Phase, observation: Observation) -> None:
        """Append the observation of a run to those of an experiment; nothing when the run was observed before."""
        self._lock_team_of(experiment_id)
        values = observation_values(experiment_id, phase, observation)
        of = {"of_experiment_id": experiment_id, "of_run_id": observation.run_id}
        if not self._write(self._sql.observe_run, {**of, **values}):
            experiment = self.experiment(experiment_id)
            team = ("", "") if experiment is None else (experiment.workflow, experiment.team_id)
            bare = unknown_run_values(observation.run_id, *team, this_process())
            self._write(self._sql.insert_observed, {**of, **bare, **values})

    def observations(self, experiment_id: str, phase: Phase, after_order: int = 0) -> list[Observation]:
        """Return the observations of a phase in order, those after `after_order`."""
        of = {"of_experiment_id": experiment_id, "of_phase": phase, "after": after_order}
        return [observation_of(row) for row in self._query(self._sql.observations, of)]

    def runs_of(self, workflow: str, team_id: str, limit: int) -> list[TeamRun]:
        """Return the finished runs of a team, newest first, at most `limit`."""
        of = {"of_workflow": workflow, "of_team_id": team_id, "most": limit}
        return [remembered_run(row) for row in self._query(self._sql.finished_runs, of)]

    def add_change(self, change: Change) -> int:
        """Append to the history and return the entry's id; the id it carries is ignored."""
        self._lock_team(change.workflow, change.team_id)
        self._write(self._sql.insert_change, change_values(change))
        of = {"of_workflow": change.workflow, "of_team_id": change.team_id}
        last: int = self._query(self._sql.last_change, of)[0].last
        return last

    def changes_of(self, workflow: str, team_id: str) -> list[Change]:
        """Return the history of a team, oldest first."""
        of = {"of_workflow": workflow, "of_team_id": team_id}
        return [change_of(row) for row in self._query(self._sql.changes, of)]

    def record_fault(self, where: str, error: BaseException | str, at: float, times: int = 1) -> None:
        """Count a fault of the plugin's own.

        Args:
            where: The step that failed.
            error: What it raised, or its text `Class: message`. Only messages of the plugin's own errors are kept,
                since another's may quote a prompt.
            at: Unix time of the last time, seconds.
            times: How often it happened since it was last recorded.
        """
        if isinstance(error, AutotuneError):
            kind = type(error).__qualname__
            shown = f"{kind}: {error}"[:_LONGEST_FAULT]
        else:
            kind = shown = error.partition(":")[0] if isinstance(error, str) else type(error).__qualname__
        values = {"place": where, "error_class": kind, "error": shown, "times": times, "first_at": at, "last_at": at}
        self._write(self._sql.count_fault, values)

    def _lock_team(self, workflow: str, team_id: str) -> None:
        if self._locks_rows:
            self.team(workflow, team_id)

    def _lock_team_of(self, experiment_id: str) -> None:
        """Make later indexes and orders wait until this transaction has committed its own."""
        if self._locks_rows and experiment_id not in self._locked:
            self._query(self._sql.team_of_experiment, {"of_id": experiment_id})
            self._locked.add(experiment_id)

    def _make_lockable(self, workflow: str, team_id: str) -> None:
        """Give a team that was never saved a row to lock: version 0, which counts as never saved."""
        values: dict[str, Any] = {**team_values(TeamState(workflow, team_id)), "version": 0}
        self._write(self._sql.insert_team, values)
