"""The statements about scores of runs, and about the runs that people look for."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Dialect,
    Double,
    Integer,
    Text,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    text,
    update,
)

from .._model.score import LABELS
from .session import Statement
from .statement_parts import FINISHED, given, given_or_any, lives, names_of
from .tables import JUDGED, OBSERVED, TEAM, UNSCORED, UNTAKEN, run, score


class ScoreStatements:
    """Those of `Statements` that are about scores; its arguments are those of that.

    `RunScores` runs them.
    """

    def __init__(self, dialect: Dialect, insert: Any, now: Any) -> None:
        self._add_scores(dialect, insert, now)
        self._add_score_reads(dialect)
        self._add_found_runs(dialect)

    def _add_scores(self, dialect: Dialect, insert: Any, now: Any) -> None:
        recorded = insert(score)
        figures = [name for name in names_of(score) if name not in ("run_id", "name")]
        self.record_score = Statement(
            recorded.on_conflict_do_update(
                index_elements=[score.c.run_id, score.c.name],
                set_={name: recorded.excluded[name] for name in figures},
                where=or_(recorded.excluded.at >= score.c.at, score.c.value.is_(None)),
            ),
            dialect,
            names_of(score),
        )
        first = insert(score).on_conflict_do_nothing()
        self.import_score = Statement(first, dialect, names_of(score))
        self.no_opinion = Statement(
            first.values(at=now, seconds=literal_column("0.0")),
            dialect,
            ["run_id", "name", "source", "judge", "why"],
        )
        self.scores_of = Statement(select(score).where(given(score, "run_id")).order_by(score.c.name), dialect)
        self.scored_run = Statement(
            select(run.c.gates, run.c.score_until).where(given(run, "run_id")).with_for_update(), dialect
        )
        self.waiting_treatments = Statement(
            select(func.count().label("runs")).where(
                given(run, *TEAM, "experiment_id"),
                text(UNTAKEN),
                run.c.status == FINISHED,
                run.c.arm == literal_column("'treatment'"),
            ),
            dialect,
        )
        is_open = or_(run.c.observed.is_(None), run.c.missing.is_not(None))
        self.set_score = Statement(update(run).where(given(run, "run_id"), is_open), dialect, ["score", "score_until"])
        self.unscored_runs = Statement(
            select(run.c.run_id, run.c.gates).where(text(UNSCORED), ~lives(now, run.c.process)).with_for_update(of=run),
            dialect,
        )

    def _add_score_reads(self, dialect: Dialect) -> None:
        of_team = given_or_any(run, *TEAM)
        last = select(run).where(
            given_or_any(run, "environment"), given(run, "workflow", "team_id"), run.c.status == FINISHED
        )
        last = last.order_by(run.c.started_at.desc(), run.c.run_id.desc()).limit(bindparam("most"))
        self.last_runs = Statement(last, dialect)
        last_ids = last.with_only_columns(run.c.run_id)
        self.last_scores = Statement(
            select(score).where(score.c.run_id.in_(last_ids)).order_by(score.c.run_id, score.c.name), dialect
        )
        judged = (
            select(*score.columns, run.c.arm)
            .join(run, run.c.run_id == score.c.run_id)
            .where(given(score, "name", "judge"), text(JUDGED), of_team)
            .order_by(score.c.at.desc(), score.c.run_id.desc())
            .limit(bindparam("most"))
        )
        self.judged_runs = Statement(judged, dialect)
        label = score.alias()
        self.labels = Statement(
            select(*label.columns)
            .where(
                label.c.run_id.in_(judged.with_only_columns(score.c.run_id)),
                label.c.source.in_([literal_column(f"'{name}'") for name in LABELS]),
                label.c.value.is_not(None),
            )
            .order_by(label.c.run_id, label.c.name),
            dialect,
        )
        asked = bindparam("of_environment", type_=Text)
        self.scorer_cost = Statement(
            select(func.coalesce(func.sum(score.c.cost_usd), 0.0).label("cost"))
            .outerjoin(run, run.c.run_id == score.c.run_id)
            .where(
                score.c.at >= bindparam("at", type_=Double),
                func.coalesce(asked, run.c.environment, "") == func.coalesce(run.c.environment, ""),
            ),
            dialect,
        )
        rated = select(label.c.run_id).where(
            label.c.run_id == run.c.run_id, label.c.source == literal_column("'person'")
        )
        self.unrated_runs = Statement(
            select(run)
            .where(of_team, run.c.status == FINISHED, ~rated.exists())
            .order_by(run.c.started_at.desc(), run.c.run_id.desc())
            .limit(bindparam("most")),
            dialect,
        )

    def _add_found_runs(self, dialect: Dialect) -> None:
        found = select(run).where(run.c.status != literal_column(f"'{OBSERVED}'"), given_or_any(run, "environment"))
        found = found.order_by(run.c.run_id).limit(bindparam("most"))
        self.run_by_id = Statement(found.where(given(run, "run_id")), dialect)
        self.runs_by_trace = Statement(found.where(given(run, "trace_id")), dialect)
        ids = run.alias()
        begin = func.substr(ids.c.run_id, literal_column("1"), bindparam("length", type_=Integer))
        like = select(ids.c.run_id).where(begin == bindparam("prefix", type_=Text))
        self.runs_by_prefix = Statement(found.where(run.c.run_id.in_(like)), dialect)
