"""The small queries that a list of teams asks for each of them: compiled once, and run by the driver itself."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from sqlalchemy import bindparam, select

from .session import Statement
from .statement_parts import FINISHED, dialect_of, given
from .tables import OBSERVED, TEAM, run, score

LISTED: Final = (
    *("run_id", "workflow", "team_id", "environment", "status", "started_at", "mode", "plan_asked"),
    *("experiment_id", "arm", "phase", "duration_seconds", "success", "timed_out", "cancelled", "cost_usd", "score"),
    *("member_success_share", "error_class"),
)
"""The columns of a run that a list shows."""


def _of_team(*columns: str, anywhere: bool) -> Any:
    """Return the query for the runs of a team, newest first: of one environment, or of all."""
    query = select(*(run.c[name] for name in columns)).where(given(run, *(TEAM[1:] if anywhere else TEAM)))
    return query.order_by(run.c.started_at.desc(), run.c.run_id.desc()).limit(bindparam("most"))


@cache
def last_runs(backend: str, *, finished: bool, anywhere: bool) -> Statement:
    """Return the query for the last runs of a team.

    Args:
        backend: `sqlite` or `postgresql`.
        finished: Only those that finished.
        anywhere: Whether of all environments.
    """
    query = _of_team(*LISTED, anywhere=anywhere)
    return Statement(
        query.where(run.c.status == FINISHED if finished else run.c.status != OBSERVED), dialect_of(backend)
    )


@cache
def last_spec(backend: str, *, anywhere: bool) -> Statement:
    """Return the query for the definition in the last run of a team; the arguments are those of `last_runs`."""
    query = _of_team("spec", "environment", anywhere=anywhere).where(run.c.status != OBSERVED)
    return Statement(query, dialect_of(backend))


@cache
def scored_run(backend: str, *, anywhere: bool) -> Statement:
    """Return the query for a score of the last finished runs of a team; the arguments are those of `last_runs`."""
    last = _of_team("run_id", anywhere=anywhere).where(run.c.status == FINISHED)
    return Statement(select(score.c.run_id).where(score.c.run_id.in_(last)).limit(1), dialect_of(backend))
