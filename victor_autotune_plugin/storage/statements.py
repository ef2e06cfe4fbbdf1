"""The statements of a transaction: written with SQLAlchemy, compiled once, and run by the driver itself.

A write lock is held while they run, so nothing is compiled then: compiling the first time takes longer than a whole
transaction, and with several processes that start together each would wait for the compiling of all others.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Dialect,
    Double,
    Integer,
    Table,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)

from .outbox_statements import OutboxStatements
from .pruning_statements import PruningStatements
from .run_statements import (
    FIGURES,
    GIVEN_BY_STORE,
    NEEDED_COLUMNS,
    PLACE,
    START_COLUMNS,
    batch,
    completion,
    locking,
    numbering,
    on_end,
    on_start,
)
from .score_statements import ScoreStatements
from .session import Statement
from .statement_parts import FINISHED, LATE, LOST, NULL, RUNNING, TRUE, dialect_of, given, lives, names_of
from .tables import (
    AWAITING,
    TEAM,
    UNTAKEN,
    change,
    experiment,
    fault,
    lease,
    process,
    run,
    score,
    store_row,
    stream,
    team,
)

_NOW: Final[dict[str, Any]] = {
    "sqlite": literal_column("((julianday('now') - 2440587.5) * 86400.0)", Double),
    "postgresql": literal_column("CAST(extract(epoch from clock_timestamp()) AS double precision)", Double),
}
"""The database's clock, Unix seconds."""

_CLOCK_JUMP_SECONDS: Final = 60.0
# A lease that ends later than anybody would ask for was written before the clock was set back.

PROGRESS: Final = (
    *("status", "decided_at", "promoted_at", "ended_at", "verdict", "watch_verdict"),
    *("promotion", "asks_for", "rounds", "decided_order"),
)
"""What may change of an experiment. Everything else is what its decision is replayed from."""

OF_START: Final = ("prices", "control_id")
"""What is settled when its test starts, and may change until then."""


_OBSERVATION: Final = (*PLACE, *FIGURES, "missing")
"""The columns that an observation is made of: once it has its order, they never change. Only one that went missing has
no figures, so those of its run may come later."""


class Statements(ScoreStatements):
    """All statements for one database.

    Args:
        dialect: Its dialect.
        insert: Its `insert`.
        now: Its clock.
    """

    def __init__(self, dialect: Dialect, insert: Any, now: Any) -> None:
        super().__init__(dialect, insert, now)
        self.outbox = OutboxStatements(dialect, insert, now)
        self.pruning = PruningStatements(dialect, insert, now)

        def to(table: Table, statement: Any, *without: str) -> Statement:
            return Statement(statement, dialect, (name for name in names_of(table) if name not in without))

        # `for update` locks rows; SQLite, whose transactions hold the only write lock, has no such clause.
        self.team = Statement(select(team).where(given(team, *TEAM)).with_for_update(), dialect)
        self.read_team = Statement(select(team).where(given(team, *TEAM)), dialect)
        self.insert_team = to(team, insert(team).on_conflict_do_nothing())
        self.update_team = to(team, update(team).where(given(team, *TEAM, "version")), "revision")
        self.count_revision = Statement(update(store_row).values(revision=store_row.c.revision + 1), dialect)
        self.pause_all = Statement(update(store_row).where(given(store_row, "paused")), dialect, ["paused"])
        self.identity = Statement(select(store_row), dialect)
        self.revision = Statement(select(store_row.c.revision), dialect)
        self.set_revision = Statement(update(team).where(given(team, *TEAM)), dialect, ["revision"])
        self.next_revision = None
        if dialect.name == "postgresql":
            counted = update(store_row).values(revision=store_row.c.revision + 1).returning(store_row.c.revision)
            count = counted.cte("counted")
            told = update(team).where(given(team, *TEAM)).values(revision=count.c.revision)
            self.next_revision = Statement(select(told.returning(team.c.revision).cte("told").c.revision), dialect)
        self.changed_teams = Statement(
            select(team)
            .where(given(team, "environment"), team.c.revision > bindparam("after"), team.c.version > 0)
            .order_by(team.c.revision, team.c.workflow, team.c.team_id),
            dialect,
        )

        self.experiment = Statement(select(experiment).where(given(experiment, "id")), dialect)
        self.experiments_of = Statement(
            select(experiment).where(given(experiment, *TEAM)).order_by(experiment.c.created_at, experiment.c.id),
            dialect,
        )
        self.experiments_that_await = Statement(
            select(experiment)
            .where(given(experiment, "environment"), text(AWAITING))
            .order_by(experiment.c.created_at, experiment.c.id),
            dialect,
        )
        self.insert_experiment = to(experiment, insert(experiment))
        self.update_experiment = Statement(update(experiment).where(given(experiment, "id")), dialect, PROGRESS)
        self.update_unstarted = Statement(
            update(experiment).where(given(experiment, "id")), dialect, (*PROGRESS, *OF_START)
        )

        self.start_run = Statement(on_start(insert(run)), dialect, START_COLUMNS)
        finish = insert(run).values(
            grade_until=now + bindparam("grade_seconds", type_=Double),
            score_until=now + bindparam("score_seconds", type_=Double),
        )
        self.finish_run = to(run, on_end(finish), *GIVEN_BY_STORE)
        ended = and_(given(run, "run_id"), run.c.status.in_([FINISHED, LATE]), run.c.number.is_(None))
        until = case((bindparam("is_last", type_=Boolean) == TRUE, NULL), else_=run.c.grade_until)
        late = update(run).where(ended).values(grade_until=until)
        self.price_run = Statement(late, dialect, ["cost_usd"])
        self.trace_run = Statement(late, dialect, ["flow"])
        numbered = (
            select(run)
            .where(given(run, *TEAM), run.c.number <= bindparam("up_to"), run.c.status == FINISHED)
            .order_by(run.c.number.desc())
            .limit(bindparam("most"))
        )
        self.runs_of = Statement(numbered, dialect)
        self.scores_of_runs = Statement(
            select(score)
            .where(score.c.run_id.in_(numbered.with_only_columns(run.c.run_id)))
            .order_by(score.c.run_id, score.c.name),
            dialect,
        )
        self.runs_after = Statement(
            select(run)
            .where(given(run, *TEAM), run.c.number > bindparam("after"))
            .order_by(run.c.number)
            .limit(bindparam("most")),
            dialect,
        )
        self.write_batch = Statement(batch(insert, now), dialect) if dialect.name == "postgresql" else None
        self.complete_runs = Statement(completion(), dialect) if dialect.name == "postgresql" else None
        self._add_processes(dialect, insert, now)
        self._add_judging(dialect, insert, now)
        self._add_observations(dialect, insert)

        history = given(change, *TEAM)
        self.insert_change = to(change, insert(change).inline(), "id")
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

    def _add_observations(self, dialect: Dialect, insert: Any) -> None:
        others = run.alias()
        last = (
            select(func.coalesce(func.max(others.c.observed), 0))
            .where(others.c.experiment_id == bindparam("of_experiment_id"), others.c.observed.is_not(None))
            .scalar_subquery()
        )
        asked = bindparam("order", type_=BigInteger)
        following = case((asked > last, asked), else_=last + 1)
        is_unseen = and_(given(run, "run_id"), run.c.observed.is_(None))
        self.observe_run = Statement(update(run).where(is_unseen).values(observed=following), dialect, _OBSERVATION)
        self.observe_missing = Statement(
            update(run).where(is_unseen).values(observed=following), dialect, (*PLACE, "missing")
        )
        self.insert_observed = Statement(
            insert(run).values(observed=following).on_conflict_do_nothing(), dialect, (*NEEDED_COLUMNS, *_OBSERVATION)
        )
        columns = [run.c[name] for name in ("run_id", "observed", *_OBSERVATION)]
        part = and_(run.c.observed > bindparam("after"), run.c.observed <= bindparam("up_to", type_=BigInteger))
        self.observations = Statement(
            select(*columns).where(given(run, "experiment_id", "phase"), part).order_by(run.c.observed), dialect
        )
        self.runs_as_control = Statement(
            select(*columns)
            .join(experiment, run.c.experiment_id == experiment.c.id)
            .where(given(experiment, "control_id"), run.c.phase == "test", run.c.arm == "control", part),
            dialect,
        )
        self.late_test_runs = Statement(
            select(*columns)
            .join(experiment, run.c.experiment_id == experiment.c.id)
            .where(given(experiment, "id"), run.c.phase == "test", run.c.observed > experiment.c.decided_order, part),
            dialect,
        )
        self.observed_since = Statement(
            select(*columns, run.c.started_at).where(
                given(run, *TEAM),
                run.c.started_at >= bindparam("at", type_=Double),
                run.c.observed.is_not(None),
                run.c.phase == literal_column("'test'"),
            ),
            dialect,
        )

    def _add_processes(self, dialect: Dialect, insert: Any, now: Any) -> None:
        known = ("id", "host", "pid", "started_at")
        beat = insert(process).values(beat_at=now)
        self.beat = Statement(
            beat.on_conflict_do_update(
                index_elements=[process.c.id],
                set_={name: beat.excluded[name] for name in ("host", "pid", "started_at", "beat_at")}
                | {"ended": False},
            ),
            dialect,
            known,
        )
        self.end_process = Statement(update(process).where(given(process, "id")).values(ended=TRUE), dialect)
        self.lost_runs = Statement(
            select(run.c.run_id)
            .where(
                run.c.status == RUNNING,
                ~lives(now, run.c.process),
            )
            .with_for_update(of=run),
            dialect,
        )
        self.mark_lost = Statement(
            update(run).where(given(run, "run_id"), run.c.status == RUNNING).values(status=LOST), dialect
        )
        self.drained = Statement(select(process.c.drained).where(given(process, "id")), dialect)
        drain = insert(process)
        self.set_drained = Statement(
            drain.on_conflict_do_update(
                index_elements=[process.c.id],
                set_={"drained": drain.excluded.drained},
                where=process.c.drained < drain.excluded.drained,
            ),
            dialect,
            (*known, "beat_at", "drained"),
        )

        slot = given(stream, "experiment_id", "phase", "name")
        self.streams = Statement(
            select(
                stream.c.name,
                stream.c.next_index,
                stream.c.process,
                lives(now, stream.c.process).label("is_taken"),
            ).where(given(stream, "experiment_id", "phase")),
            dialect,
        )
        self.insert_stream = Statement(insert(stream).on_conflict_do_nothing(), dialect, names_of(stream))
        # To wait for another taker locks what it took; two that go on to each other's slots would then wait for ever.
        seen = stream.alias()
        free = (
            select(seen.c.name)
            .where(
                given(seen, "experiment_id", "phase", "name"),
                func.coalesce(seen.c.process, "") == bindparam("of_process"),
                seen.c.next_index == bindparam("of_next_index"),  # it may have been taken and asked back meanwhile
            )
            .with_for_update(skip_locked=True)
        )
        self.take_stream = Statement(
            update(stream).where(given(stream, "experiment_id", "phase"), stream.c.name.in_(free)),
            dialect,
            ["process", "next_index"],
        )
        further = case((stream.c.next_index < bindparam("index"), bindparam("index")), else_=stream.c.next_index)
        self.move_stream = Statement(
            update(stream).where(slot, stream.c.next_index < bindparam("index")).values(next_index=bindparam("index")),
            dialect,
        )
        own = update(stream).where(slot, given(stream, "process"))
        self.reserve_stream = Statement(own.values(next_index=further), dialect)
        self.give_back_stream = Statement(own.values(process=NULL, next_index=bindparam("index")), dialect)

    def _add_judging(self, dialect: Dialect, insert: Any, now: Any) -> None:
        team_of_lease = given(lease, *TEAM)
        take = insert(lease).values(expires_at=now + bindparam("seconds", type_=Double))
        self.take_lease = Statement(
            take.on_conflict_do_update(
                index_elements=[lease.c[name] for name in TEAM],
                set_={
                    "holder": take.excluded.holder,
                    "fence": case((lease.c.holder == take.excluded.holder, lease.c.fence), else_=lease.c.fence + 1),
                    "expires_at": take.excluded.expires_at,
                },
                where=or_(
                    lease.c.holder == take.excluded.holder,
                    lease.c.expires_at <= now,
                    lease.c.expires_at > take.excluded.expires_at + _CLOCK_JUMP_SECONDS,
                ),
            ),
            dialect,
            [*TEAM, "holder", "fence", "judged"],
        )
        self.insert_lease = Statement(insert(lease).on_conflict_do_nothing(), dialect, names_of(lease))
        self.lease = Statement(select(lease).where(team_of_lease).with_for_update(), dialect)
        self.save_judged = Statement(update(lease).where(team_of_lease), dialect, ["judged", "flow"])
        self.give_back_lease = Statement(
            update(lease).where(team_of_lease, given(lease, "holder", "fence")), dialect, ["holder", "expires_at"]
        )

        is_due = and_(
            text(UNTAKEN),
            or_(run.c.grade_until.is_(None), run.c.grade_until <= now),
            or_(run.c.score_until.is_(None), run.c.score_until <= now),
        )
        untaken = and_(given(run, *TEAM), is_due)
        self.untaken = Statement(
            select(run.c.run_id, run.c.experiment_id, run.c.phase, run.c.status, run.c.cancelled, run.c.process)
            .where(untaken)
            .order_by(run.c.started_at, run.c.run_id)
            .limit(bindparam("most")),
            dialect,
        )
        asks = bindparam("of_holder", type_=Text)

        def held_by_another(environment: Any, of: Any) -> Any:
            named = (lease.c.environment == environment, lease.c.workflow == of.workflow, lease.c.team_id == of.team_id)
            holds = (asks != "", lease.c.holder != asks, lease.c.expires_at.between(now, now + _CLOCK_JUMP_SECONDS))
            return select(lease.c.holder).where(*named, *holds).exists()

        waiting = and_(untaken, ~held_by_another(run.c.environment, run.c))
        self.has_untaken = Statement(select(run.c.run_id).where(waiting).limit(1), dialect)
        # Numbered by a judge that died, or lost its lease, before it had judged them.
        of_leased = (run.c[name] == lease.c[name] for name in TEAM)
        last_number = select(func.max(run.c.number)).where(*of_leased, run.c.number.is_not(None)).scalar_subquery()
        held = and_(asks != "", lease.c.holder != asks, lease.c.expires_at.between(now, now + _CLOCK_JUMP_SECONDS))
        behind = and_(lease.c.judged < last_number, ~held)
        self.is_behind = Statement(select(lease.c.judged).where(team_of_lease, behind), dialect)
        self.untaken_teams = self.teams_behind = None
        if dialect.name == "postgresql":
            teams = func.json_to_recordset(cast(bindparam("teams", type_=Text), JSON))
            named = teams.table_valued(column("workflow", Text), column("team_id", Text))
            named = named.render_derived(name="named", with_types=True)
            of_named = and_(
                given(run, "environment"),
                run.c.workflow == named.c.workflow,
                run.c.team_id == named.c.team_id,
                is_due,
            )
            # Whether a team is held is asked once for each, not for each of its runs.
            free = ~held_by_another(bindparam("of_environment"), named.c)
            self.untaken_teams = Statement(
                select(named).where(free, select(run.c.run_id).where(of_named).exists()), dialect
            )
            of_it = and_(
                given(lease, "environment"),
                lease.c.workflow == named.c.workflow,
                lease.c.team_id == named.c.team_id,
                behind,
            )
            self.teams_behind = Statement(select(named).where(select(lease.c.judged).where(of_it).exists()), dialect)
        self.last_number = Statement(
            select(func.max(run.c.number).label("last")).where(given(run, *TEAM), run.c.number.is_not(None)), dialect
        )
        self.last_order = Statement(
            select(func.max(run.c.observed).label("last")).where(
                given(run, "experiment_id"), run.c.observed.is_not(None)
            ),
            dialect,
        )
        self.number_runs = self.lock_runs = self.free_lease = None
        if dialect.name == "postgresql":
            self.number_runs = Statement(numbering(), dialect)
            self.lock_runs = Statement(locking(), dialect)
            self.free_lease = Statement(
                select(lease.c.holder).where(team_of_lease).with_for_update(skip_locked=True), dialect
            )
            self.any_lease = Statement(select(lease.c.holder).where(team_of_lease), dialect)
        self.number_run = Statement(
            update(run)
            .where(given(run, "run_id"))
            .values(
                observed=func.coalesce(run.c.observed, bindparam("order", type_=Integer)),
                missing=case((run.c.observed.is_(None), bindparam("how", type_=Text)), else_=run.c.missing),
            ),
            dialect,
            ["number"],
        )

    def compile(self) -> None:
        """Compile all of them that are not yet."""
        for group in (self, self.outbox, self.pruning):
            for one in vars(group).values():
                if isinstance(one, Statement) and "sql" not in vars(one):
                    one.compile()


@cache
def statements(backend: str) -> Statements:
    """Return the statements for `sqlite` or `postgresql`."""
    if backend == "sqlite":
        from sqlalchemy.dialects.sqlite import insert
    else:
        from sqlalchemy.dialects.postgresql import insert  # type: ignore[assignment]
    return Statements(dialect_of(backend), insert, _NOW[backend])
