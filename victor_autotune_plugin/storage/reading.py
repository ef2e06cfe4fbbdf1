"""Reading the store for people: lists, counts, and histories that may be long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Select, Table, func, select, tuple_

from .._model.experiment import (
    Assignment,
    Change,
    Experiment,
    ExperimentStatus,
    Phase,
    TeamState,
)
from .._model.run import Observation, RunStatus, TeamRun
from ..failsafe import Fault
from .connections import Connections
from .rows import assignment_of, change_of, experiment_of, fault_of, observation_of, team_run, team_state
from .schema import OBSERVED, assignment, change, experiment, fault, run, team

_PAGE: Final = 500


class Reader:
    """The reading half of `Store`. Nothing here takes a lock, and no cursor stays open between two rows."""

    _connections: Connections

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


def _only(table: Table, workflow: str | None, team_id: str | None) -> Select[Any]:
    query = select(table)
    if workflow is not None:
        query = query.where(table.c.workflow == workflow)
    if team_id is not None:
        query = query.where(table.c.team_id == team_id)
    return query
