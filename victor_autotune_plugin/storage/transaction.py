"""One transaction of the store; `Store` holds the contract."""

from __future__ import annotations

from typing import Any, Final

from attrs import evolve

from ..errors import AutotuneError, StaleStateError, StoreError, StoreUnavailableError
from ..model.run import TeamRun
from ..model.state import Assignment, Change, Experiment, Phase, RunStart, StoredObservation, TeamState, may_follow
from . import statements as sql
from .processes import this_process
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
    team_state,
    team_values,
)
from .run_rows import run_values, start_values, team_run
from .session import Session

_PROGRESS: Final = ("status", "decided_at", "promoted_at", "ended_at", "verdict", "watch_verdict")
# What may change of an experiment. Everything else is what its decision is replayed from.

_LONGEST_FAULT: Final = 300


class Transaction:
    """Reads and writes that hold together. Get one from `Store.transaction`; `Store` says what each method promises.

    Args:
        session: The session, with its transaction open.
        backend: `sqlite` or `postgresql`.
    """

    def __init__(self, session: Session, backend: str) -> None:
        self._run = session.execute
        self._writes = sql.writes(backend)
        self._locks_rows = backend == "postgresql"
        self._locked: set[str | None] = set()  # experiments whose team is locked by this transaction

    def team(self, workflow: str, team_id: str) -> TeamState:
        """Return the state of a team and lock the team; version 0 and empty when it was never saved."""
        key = {"of_workflow": workflow, "of_team_id": team_id}
        row = self._run(sql.TEAM, key).first()
        if row is None and self._locks_rows:
            self._make_lockable(workflow, team_id)
            row = self._run(sql.TEAM, key).first()
        state = TeamState(workflow, team_id) if row is None else team_state(row)
        self._locked.add(state.experiment_id)
        return state

    def save_team(self, state: TeamState) -> TeamState:
        """Write the state of a team and return it with its new version.

        Raises:
            StaleStateError: It is of another version than the stored one.
        """
        values = team_values(state)
        of = {"of_workflow": state.workflow, "of_team_id": state.team_id, "of_version": state.version}
        written = self._run(sql.UPDATE_TEAM, {**values, **of}).rowcount
        if written < 1 and state.version == 0:
            written = self._run(self._writes.team, values).rowcount
        if written < 1:
            raise StaleStateError(
                f"the state of team {state.team_id!r} in workflow {state.workflow!r} changed after version "
                f"{state.version} was read",
                mend="Read it again and repeat.",
            )
        return evolve(state, version=state.version + 1)

    def experiment(self, experiment_id: str) -> Experiment | None:
        """Return an experiment, or None when there is none of this id."""
        row = self._run(sql.EXPERIMENT, {"of_id": experiment_id}).first()
        return None if row is None else experiment_of(row)

    def experiments_of(self, workflow: str, team_id: str) -> list[Experiment]:
        """Return the experiments of a team, oldest first."""
        of = {"of_workflow": workflow, "of_team_id": team_id}
        return [experiment_of(row) for row in self._run(sql.EXPERIMENTS_OF, of)]

    def save_experiment(self, experiment: Experiment) -> None:
        """Write a new experiment, or how far a known one came.

        Raises:
            StaleStateError: Its status can't follow the stored one, or it ended and differs.
            StoreError: Something differs that its decision is replayed from.
        """
        self._lock_team(experiment)
        values = experiment_values(experiment)
        row = self._run(sql.EXPERIMENT, {"of_id": experiment.id}).first()
        if row is None:
            self._run(self._writes.experiment, values)
            return
        stored = experiment_of(row)
        changed = changed_columns(row, values)
        if not changed:
            return
        if stored.has_ended or not may_follow(stored.status, experiment.status):
            raise StaleStateError(
                f"experiment {experiment.id} is {stored.status} and can't become {experiment.status}"
                if stored.status != experiment.status
                else f"experiment {experiment.id} is {stored.status} and does not change any more",
                mend="Read it again.",
            )
        fixed = sorted(set(changed) - set(_PROGRESS))
        if fixed:
            raise StoreError(f"experiment {experiment.id} can't change its {', '.join(fixed)}: start a new experiment")
        self._run(sql.UPDATE_EXPERIMENT, {"of_id": experiment.id, **{name: values[name] for name in changed}})

    def assignment_of_unit(self, experiment_id: str, phase: Phase, unit: str) -> Assignment | None:
        """Return what a unit was assigned to, or None."""
        of = {"of_experiment_id": experiment_id, "of_phase": phase, "of_unit": unit}
        row = self._run(sql.ASSIGNMENT, of).first()
        return None if row is None else assignment_of(row)

    def next_index(self, experiment_id: str, phase: Phase) -> int:
        """Return the index of the next assignment, from 0."""
        self._lock_team_of(experiment_id)
        last = self._run(sql.LAST_POSITION, {"of_experiment_id": experiment_id, "of_phase": phase}).scalar()
        return 0 if last is None else int(last) + 1

    def add_assignment(self, assignment: Assignment) -> None:
        """Append an assignment.

        Raises:
            StaleStateError: Its index or its unit is taken.
        """
        self._lock_team_of(assignment.experiment_id)
        try:
            self._run(self._writes.assignment, assignment_values(assignment))
        except StoreUnavailableError:
            raise
        except StoreError as error:
            raise StaleStateError(
                f"index {assignment.index} or unit {assignment.unit!r} of experiment {assignment.experiment_id} "
                f"({assignment.phase}) is taken",
                mend="Ask for the assignment of the unit and for the next index in the same transaction.",
            ) from error

    def start_run(self, start: RunStart) -> None:
        """Write that a run started in this process; nothing when it is known already."""
        self._run(self._writes.start, start_values(start, this_process()))

    def finish_run(self, run: TeamRun) -> bool:
        """Write what a run was and return True, or False when it had been written before."""
        return self._run(self._writes.finish, run_values(run, this_process())).rowcount > 0

    def add_observation(self, observation: StoredObservation) -> int:
        """Append an observation and return its order; the stored one's when the run was observed before."""
        self._lock_team_of(observation.experiment_id)
        self._run(self._writes.observation, observation_values(observation))
        return int(self._run(sql.ORDER_OF_RUN, {"of_run_id": observation.run_id}).scalar_one())

    def observations(self, experiment_id: str, phase: Phase, after_order: int = 0) -> list[StoredObservation]:
        """Return the observations of a phase in order, those after `after_order`."""
        of = {"of_experiment_id": experiment_id, "of_phase": phase, "after": after_order}
        return [observation_of(row) for row in self._run(sql.OBSERVATIONS, of)]

    def runs_of(self, workflow: str, team_id: str, limit: int) -> list[TeamRun]:
        """Return the finished runs of a team, newest first, at most `limit`."""
        of = {"of_workflow": workflow, "of_team_id": team_id, "most": limit}
        return [team_run(row) for row in self._run(sql.FINISHED_RUNS, of)]

    def add_change(self, change: Change) -> int:
        """Append to the history and return the entry's id; the id it carries is ignored."""
        key: Any = self._run(self._writes.change, change_values(change)).inserted_primary_key
        return int(key.id)

    def changes_of(self, workflow: str, team_id: str) -> list[Change]:
        """Return the history of a team, oldest first."""
        return [change_of(row) for row in self._run(sql.CHANGES, {"of_workflow": workflow, "of_team_id": team_id})]

    def record_fault(self, where: str, error: BaseException | str, at: float) -> None:
        """Count a fault of the plugin's own.

        Args:
            where: The step that failed.
            error: What it raised, or its text `Class: message`. Only messages of the plugin's own errors are kept,
                since another's may quote a prompt.
            at: Unix time, seconds.
        """
        if isinstance(error, AutotuneError):
            kind = type(error).__qualname__
            shown = f"{kind}: {error}"[:_LONGEST_FAULT]
        else:
            kind = shown = error.partition(":")[0] if isinstance(error, str) else type(error).__qualname__
        values = {"place": where, "error_class": kind, "error": shown, "times": 1, "first_at": at, "last_at": at}
        self._run(self._writes.fault, values)

    def _lock_team(self, experiment: Experiment) -> None:
        if self._locks_rows and experiment.id not in self._locked:
            self._make_lockable(experiment.workflow, experiment.team_id)
            self._run(sql.TEAM, {"of_workflow": experiment.workflow, "of_team_id": experiment.team_id})
            self._locked.add(experiment.id)

    def _lock_team_of(self, experiment_id: str) -> None:
        """Make later indexes and orders wait until this transaction has committed its own."""
        if self._locks_rows and experiment_id not in self._locked:
            self._run(sql.TEAM_OF_EXPERIMENT, {"of_id": experiment_id})
            self._locked.add(experiment_id)

    def _make_lockable(self, workflow: str, team_id: str) -> None:
        """Give a team that was never saved a row to lock: version 0, which counts as never saved."""
        values: dict[str, Any] = {**team_values(TeamState(workflow, team_id)), "version": 0}
        self._run(self._writes.team, values)
