"""The statements by which old runs go and leave the totals of their days."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Dialect,
    Double,
    Text,
    and_,
    bindparam,
    delete,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)

from .session import Statement
from .statement_parts import FINISHED, NULL, TRUE, given, names_of
from .tables import OBSERVED, TEAM, day, experiment, lease, run, score, store_row

RECENT_SECONDS: Final = 2 * 86_400.0
"""So long a run stays whose scores cost something: they count towards what scorers may spend in a day."""

_WEEK_SECONDS: Final = 7 * 86_400.0
_MONTH_SECONDS: Final = 30 * 86_400.0
# What was recorded so long ago bears a clock out: one that was set a year ahead has a year without a run behind it.

_THESE: Final = {
    "sqlite": "run_id IN (SELECT value FROM json_each(:ids))",
    "postgresql": "run_id IN (SELECT json_array_elements_text(CAST(:ids AS json)))",
}

_DROPPED_TEXTS: Final = ("spec", "plan_asked", "plan_used", "members", "flow", "owners", "gates", "trace_id", "process")
_DROPPED: Final = ("parent_id", "error_class", "cancelled", "number", "grade_until", "score_until")
_NEVER_NULL: Final = {"spec", "entry", "mode", "plan_asked"}

_FIGURES: Final = (
    *("run_id", "number", "observed", "status", "started_at", "duration_seconds", "success", "timed_out", "cancelled"),
    *("cost_usd", "tokens", "tool_calls", "score"),
)


class PruningStatements:
    """The statements that `Pruning` runs.

    Args:
        dialect: The database's dialect.
        insert: Its `insert`.
        now: Its clock.
    """

    def __init__(self, dialect: Dialect, insert: Any, now: Any) -> None:
        numbered = and_(given(run, *TEAM), run.c.number.is_not(None))
        one: Any = literal_column("1")
        kept: Any = bindparam("kept")
        numbers = select(run.c.number).where(numbered).order_by(run.c.number.desc()).limit(one).offset(kept)
        starts = select(run.c.started_at).where(given(run, "workflow", "team_id"))
        starts = starts.order_by(run.c.started_at.desc(), run.c.run_id.desc()).limit(one).offset(kept)
        # Of any status and environment: the indexes alone answer it, however many are kept.
        self.kept_number, self.kept_start = Statement(numbers, dialect), Statement(starts, dialect)
        ended = run.c.status == FINISHED
        self.last_number = Statement(numbers.where(ended), dialect)
        self.last_start = Statement(starts.where(ended, given(run, "environment")), dialect)
        self.judged = Statement(select(lease.c.judged).where(given(lease, *TEAM)), dialect)
        self.now = Statement(select(now.label("now")), dialect)
        ago = now - literal_column(str(_MONTH_SECONDS)), now - literal_column(str(_WEEK_SECONDS))
        ran = exists(select(run.c.run_id).where(run.c.started_at.between(*ago)))
        is_told = exists(select(day.c.date).where(given(day, *TEAM), day.c.last_at.between(*ago)))
        self.is_borne_out = Statement(select(or_(ran, is_told).label("is_borne_out")), dialect)
        self.allow = Statement(update(store_row).values(may_prune=TRUE), dialect)

        recent = and_(score.c.cost_usd.is_not(None), score.c.at > now - literal_column(str(RECENT_SECONDS)))
        is_rated = exists(
            select(score.c.run_id).where(
                score.c.run_id == run.c.run_id, or_(score.c.source == literal_column("'person'"), recent)
            )
        )
        up_to = and_(
            numbered,
            run.c.number > bindparam("after"),
            run.c.number < bindparam("below", type_=BigInteger),
            run.c.number <= bindparam("judged", type_=BigInteger),
        )
        self.candidates = Statement(
            select(*(run.c[name] for name in _FIGURES), is_rated.label("is_rated"))
            .where(up_to)
            .order_by(run.c.number)
            .limit(bindparam("most"))
            .with_for_update(of=run),
            dialect,
        )
        size: Any = sum((func.coalesce(func.length(run.c[name]), 0) for name in _DROPPED_TEXTS), literal_column("0"))
        older = and_(up_to, run.c.started_at < bindparam("before", type_=Double), ~is_rated)
        sample = select(size.label("size")).where(older).limit(bindparam("sampled")).subquery()
        self.counts_at_once = dialect.name == "sqlite"
        self.forecast = Statement(_in_indexes(up_to, is_rated) if self.counts_at_once else _in_rows(older), dialect)
        self.first_start = Statement(
            select(func.min(run.c.started_at).label("first")).where(given(run, "workflow", "team_id")), dialect
        )
        self.first_number = Statement(select(func.min(run.c.number).label("first")).where(numbered), dialect)
        self.size = Statement(select(func.coalesce(func.avg(sample.c.size), 0.0).label("size")), dialect)

        these = text(_THESE[dialect.name]).bindparams(bindparam("ids", type_=Text))
        self.drop_runs = Statement(delete(run).where(these), dialect)
        self.drop_scores = Statement(delete(score).where(these), dialect)
        empty: dict[str, Any] = {name: literal_column("''") for name in _NEVER_NULL}
        others = {name: NULL for name in (*_DROPPED_TEXTS, *_DROPPED) if name not in _NEVER_NULL}
        self.bare_runs = Statement(
            update(run).where(these).values(status=literal_column(f"'{OBSERVED}'"), **empty, **others), dialect
        )

        of_day = given(day, *TEAM, "date")
        self.day = Statement(select(day).where(of_day).with_for_update(), dialect)
        self.insert_day = Statement(insert(day), dialect, names_of(day))
        figures = [name for name in names_of(day) if name not in (*TEAM, "date")]
        self.update_day = Statement(update(day).where(of_day), dialect, figures)
        self.runs_between = Statement(
            select(run.c.run_id)
            .where(
                given(run, *TEAM),
                run.c.started_at >= bindparam("first_at", type_=Double),
                run.c.started_at <= bindparam("last_at", type_=Double),
                run.c.status != literal_column(f"'{OBSERVED}'"),
            )
            .limit(one),
            dialect,
        )


def _in_rows(older: Any) -> Any:
    """Return the query that counts runs by reading each."""
    counted = func.count().label("runs"), func.count(run.c.observed).label("observed")
    return select(*counted, func.max(run.c.started_at).label("last_at")).where(older)


def _in_indexes(up_to: Any, is_rated: Any) -> Any:
    """Return the query that counts runs on SQLite, where each index holds the place of the row: it reads no row.

    Args:
        up_to: Which runs may go by their number.
        is_rated: Whether a run has a score that keeps it.
    """
    place: Any = literal_column("autotune_run.rowid")
    may_go = place.in_(select(place).where(up_to).correlate(None))
    tests = select(experiment.c.id).where(given(experiment, "workflow", "team_id"))
    seen = select(place).where(run.c.experiment_id.in_(tests), run.c.observed.is_not(None)).correlate(None)
    observed = func.coalesce(func.sum(place.in_(seen)), literal_column("0")).label("observed")
    return select(func.count().label("runs"), observed, func.max(run.c.started_at).label("last_at")).where(
        given(run, *TEAM), run.c.started_at < bindparam("before", type_=Double), may_go, ~is_rated
    )
