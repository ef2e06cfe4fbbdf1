"""The statements of a transaction, built once: SQLAlchemy then compiles each a single time."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from sqlalchemy import Select, Table, Update, and_, bindparam, func, select, text, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import Executable

from .schema import assignment, change, experiment, fault, observation, run, team

_IDENTITY_OF_RUN: Final = {"run_id", "host", "pid", "process_started_at"}


def _is(table: Table, *names: str) -> Any:
    return and_(*(table.c[name] == bindparam(f"of_{name}") for name in names))


def _columns(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _counted(statement: Executable) -> Executable:
    """SQLAlchemy forgets how many rows an insert wrote unless it is told not to."""
    return statement.execution_options(preserve_rowcount=True)


TEAM: Final[Select[Any]] = select(team).where(_is(team, "workflow", "team_id")).with_for_update()
"""A team's row, locked until the end of the transaction where rows can be locked."""

TEAM_OF_EXPERIMENT: Final[Select[Any]] = (
    select(team.c.version)
    .join(experiment, and_(experiment.c.workflow == team.c.workflow, experiment.c.team_id == team.c.team_id))
    .where(_is(experiment, "id"))
    .with_for_update(of=team)
)
"""The same lock, by the id of an experiment of the team."""

UPDATE_TEAM: Final[Update] = update(team).where(_is(team, "workflow", "team_id", "version"))

EXPERIMENT: Final[Select[Any]] = select(experiment).where(_is(experiment, "id"))
UPDATE_EXPERIMENT: Final[Update] = update(experiment).where(_is(experiment, "id"))

ASSIGNMENT: Final[Select[Any]] = select(assignment).where(_is(assignment, "experiment_id", "phase", "unit"))
LAST_POSITION: Final[Select[Any]] = select(func.max(assignment.c.position)).where(
    _is(assignment, "experiment_id", "phase")
)

ORDER_OF_RUN: Final[Select[Any]] = select(observation.c.number).where(_is(observation, "run_id"))
OBSERVATIONS: Final[Select[Any]] = (
    select(observation)
    .where(_is(observation, "experiment_id", "phase"), observation.c.number > bindparam("after"))
    .order_by(observation.c.number)
)

FINISHED_RUNS: Final[Select[Any]] = (
    select(run)
    .where(_is(run, "workflow", "team_id"), run.c.status == "finished")
    .order_by(run.c.started_at.desc(), run.c.run_id.desc())
    .limit(bindparam("most"))
)

EXPERIMENTS_OF: Final[Select[Any]] = (
    select(experiment).where(_is(experiment, "workflow", "team_id")).order_by(experiment.c.created_at, experiment.c.id)
)

CHANGES: Final[Select[Any]] = select(change).where(_is(change, "workflow", "team_id")).order_by(change.c.id)

RUNNING_PROCESSES: Final[Select[Any]] = (
    select(run.c.pid, run.c.process_started_at).where(_is(run, "host"), run.c.status == text("'running'")).distinct()
)
"""Who runs what has not finished on a host. The status is spelt out so that the partial index is used."""

RUNS_OF_PROCESS: Final[Select[Any]] = select(run.c.run_id).where(
    _is(run, "host", "pid", "process_started_at"), run.c.status == text("'running'")
)
MARK_LOST: Final[Update] = (
    update(run)
    .where(_is(run, "host", "pid", "process_started_at"), run.c.status == text("'running'"))
    .values(status="lost")
)


class Writes:
    """The statements that write, which the two databases spell differently.

    Args:
        backend: `sqlite` or `postgresql`.
    """

    def __init__(self, backend: str) -> None:
        insert: Any = sqlite.insert
        if backend == "postgresql":
            from sqlalchemy.dialects import postgresql

            insert = postgresql.insert
        self.team: Executable = _counted(insert(team).on_conflict_do_nothing())
        self.experiment: Executable = insert(experiment)
        self.assignment: Executable = insert(assignment)
        self.observation: Executable = insert(observation).on_conflict_do_nothing().inline()
        self.start: Executable = insert(run).on_conflict_do_nothing()
        finished = insert(run)
        self.finish: Executable = _counted(
            finished.on_conflict_do_update(
                index_elements=[run.c.run_id],
                set_={name: finished.excluded[name] for name in _columns(run) if name not in _IDENTITY_OF_RUN},
                where=run.c.status != "finished",
            )
        )
        self.change: Executable = insert(change)
        happened = insert(fault)
        self.fault: Executable = happened.on_conflict_do_update(
            index_elements=[fault.c.place, fault.c.error_class],
            set_={"times": fault.c.times + 1, "last_at": happened.excluded.last_at},
        )


@cache
def writes(backend: str) -> Writes:
    """Return the statements that write, for `sqlite` or `postgresql`."""
    return Writes(backend)
