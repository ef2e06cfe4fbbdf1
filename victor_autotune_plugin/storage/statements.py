"""The statements of a transaction: written with SQLAlchemy, compiled once, and run by the driver itself.

A write lock is held while they run, so nothing is compiled then: compiling the first time takes longer than a whole
transaction, and with several processes that start together each would wait for the compiling of all others.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from sqlalchemy import Dialect, Table, and_, bindparam, case, func, literal_column, select, update

from .session import Statement
from .tables import assignment, change, experiment, fault, run, team

_IDENTITY_OF_RUN: Final = {"run_id", "workflow", "team_id", "started_at", "host", "pid", "process_started_at"}
"""What never changes of a run. To set it again all the same would write two indexes again."""

_FINISHED: Final[Any] = literal_column("'finished'")
_RUNNING: Final[Any] = literal_column("'running'")

PROGRESS: Final = ("status", "decided_at", "promoted_at", "ended_at", "verdict", "watch_verdict")
"""What may change of an experiment. Everything else is what its decision is replayed from."""


START_COLUMNS: Final = (
    *("run_id", "workflow", "team_id", "status", "started_at", "spec", "entry", "parent_id", "task_key", "mode"),
    *("plan_asked", "experiment_id", "arm", "phase", "position", "host", "pid", "process_started_at"),
)
"""The columns of a run that are known when it starts."""

NEEDED_COLUMNS: Final = tuple(column.name for column in run.columns if not column.nullable)
"""The columns of a run that are never null."""

_PLANNED: Final = ("mode", "plan_asked", "experiment_id", "arm", "phase", "position")
"""Of these, what may change before the team starts."""


_OBSERVATION: Final = (
    *("experiment_id", "phase", "position", "arm", "duration_seconds", "success", "score", "cost_usd", "tool_calls"),
    *("timed_out", "task_key"),
)
"""The columns that an observation is made of: once it has its order, they never change."""


class Statements:
    """All statements for one database.

    Args:
        dialect: Its dialect.
        insert: Its `insert`.
    """

    def __init__(self, dialect: Dialect, insert: Any) -> None:
        def to(table: Table, statement: Any, *, without: str = "") -> Statement:
            return Statement(statement, dialect, (name for name in _names(table) if name != without))

        # `for update` locks rows; SQLite, whose transactions hold the only write lock, has no such clause.
        self.team = Statement(select(team).where(_is(team, "workflow", "team_id")).with_for_update(), dialect)
        self.team_of_experiment = Statement(
            select(team.c.version)
            .join(experiment, and_(experiment.c.workflow == team.c.workflow, experiment.c.team_id == team.c.team_id))
            .where(_is(experiment, "id"))
            .with_for_update(of=team),
            dialect,
        )
        self.insert_team = to(team, insert(team).on_conflict_do_nothing())
        self.update_team = to(team, update(team).where(_is(team, "workflow", "team_id", "version")))

        self.experiment = Statement(select(experiment).where(_is(experiment, "id")), dialect)
        self.experiments_of = Statement(
            select(experiment)
            .where(_is(experiment, "workflow", "team_id"))
            .order_by(experiment.c.created_at, experiment.c.id),
            dialect,
        )
        self.insert_experiment = to(experiment, insert(experiment))
        self.update_experiment = Statement(update(experiment).where(_is(experiment, "id")), dialect, PROGRESS)

        phase = _is(assignment, "experiment_id", "phase")
        self.assignment = Statement(select(assignment).where(phase, _is(assignment, "unit")), dialect)
        self.last_position = Statement(select(func.max(assignment.c.position).label("last")).where(phase), dialect)
        self.insert_assignment = to(assignment, insert(assignment))

        start = insert(run)
        self.start_run = Statement(
            start.on_conflict_do_update(
                index_elements=[run.c.run_id],
                set_={name: start.excluded[name] for name in _PLANNED},
                where=run.c.status == _RUNNING,
            ),
            dialect,
            START_COLUMNS,
        )
        finish = insert(run)
        known_at_the_end = [name for name in _names(run) if name not in (*_IDENTITY_OF_RUN, "observed")]
        kept = {
            name: case((run.c.observed.is_(None), finish.excluded[name]), else_=run.c[name]) for name in _OBSERVATION
        }
        self.finish_run = to(
            run,
            finish.on_conflict_do_update(
                index_elements=[run.c.run_id],
                set_={name: finish.excluded[name] for name in known_at_the_end} | kept,
                where=run.c.status != _FINISHED,
            ),
            without="observed",
        )
        self.finished_runs = Statement(
            select(run)
            .where(_is(run, "workflow", "team_id"), run.c.status == _FINISHED)
            .order_by(run.c.started_at.desc(), run.c.run_id.desc())
            .limit(bindparam("most")),
            dialect,
        )
        # The status is spelt out in these so that the partial index on running runs is used.
        process = and_(_is(run, "host", "pid", "process_started_at"), run.c.status == _RUNNING)
        self.running_processes = Statement(
            select(run.c.pid, run.c.process_started_at).where(_is(run, "host"), run.c.status == _RUNNING).distinct(),
            dialect,
        )
        self.runs_of_process = Statement(select(run.c.run_id).where(process), dialect)
        self.mark_lost = Statement(update(run).where(process).values(status=literal_column("'lost'")), dialect)

        others = run.alias()
        following = (
            select(func.coalesce(func.max(others.c.observed), 0) + 1)
            .where(others.c.experiment_id == bindparam("of_experiment_id"), others.c.observed.is_not(None))
            .scalar_subquery()
        )
        self.observe_run = Statement(
            update(run).where(_is(run, "run_id"), run.c.observed.is_(None)).values(observed=following),
            dialect,
            _OBSERVATION,
        )
        self.insert_observed = Statement(
            insert(run).values(observed=following).on_conflict_do_nothing(), dialect, (*NEEDED_COLUMNS, *_OBSERVATION)
        )
        self.observations = Statement(
            select(*(run.c[name] for name in ("run_id", "observed", *_OBSERVATION)))
            .where(_is(run, "experiment_id", "phase"), run.c.observed > bindparam("after"))
            .order_by(run.c.observed),
            dialect,
        )

        history = _is(change, "workflow", "team_id")
        self.insert_change = to(change, insert(change).inline(), without="id")
        self.last_change = Statement(select(func.max(change.c.id).label("last")).where(history), dialect)
        self.changes = Statement(select(change).where(history).order_by(change.c.id), dialect)

        happened = insert(fault)
        self.count_fault = to(
            fault,
            happened.on_conflict_do_update(
                index_elements=[fault.c.place, fault.c.error_class],
                set_={"times": fault.c.times + happened.excluded.times, "last_at": happened.excluded.last_at},
            ),
        )


def _names(table: Table) -> list[str]:
    return [column.name for column in table.columns]


def _is(table: Table, *names: str) -> Any:
    return and_(*(table.c[name] == bindparam(f"of_{name}") for name in names))


@cache
def statements(backend: str) -> Statements:
    """Return the statements for `sqlite` or `postgresql`."""
    if backend == "sqlite":
        from sqlalchemy.dialects import sqlite
        from sqlalchemy.dialects.sqlite import pysqlite

        return Statements(pysqlite.dialect(), sqlite.insert)
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.dialects.postgresql import psycopg

    dialect: Any = psycopg.dialect
    return Statements(dialect(), postgresql.insert)
