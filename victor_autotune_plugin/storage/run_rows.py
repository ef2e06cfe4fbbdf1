"""Between runs and the rows of `autotune_run`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from attrs import fields_dict

from .._model.run import MemberOutcome, TeamRun, TokenUse
from .._model.state import RunRecord, RunStart
from .plain import Values, at_least_zero, decode, encode, plan, spec, text_of

_T = TypeVar("_T", MemberOutcome, TokenUse)

_KNOWN: Final[dict[type, tuple[str, ...]]] = {kind: tuple(fields_dict(kind)) for kind in (MemberOutcome, TokenUse)}

_MOST_REMEMBERED: Final = 1000


def _list(kind: type[_T], text: str) -> list[_T]:
    known = _KNOWN[kind]
    return [kind(**{name: item[name] for name in known if name in item}) for item in decode(text)]


def _text(items: Sequence[MemberOutcome | TokenUse]) -> str:
    # `asdict` takes twice as long, and this is done after every run
    return encode([{name: getattr(item, name) for name in _KNOWN[type(item)]} for item in items])


def start_values(start: RunStart | TeamRun, process: Values) -> Values:
    """Return the columns that are known when a run starts.

    Args:
        start: The run.
        process: The columns that say which process runs it.
    """
    return {
        "run_id": start.run_id,
        "workflow": start.spec.workflow,
        "team_id": start.spec.team_id,
        "status": "running",
        "started_at": start.started_at,
        "spec": text_of(start.spec),
        "entry": start.entry,
        "parent_id": start.parent_id,
        "task_key": start.task_key,
        "mode": start.mode,
        "plan_asked": text_of(start.plan_asked),
        "experiment_id": start.experiment_id,
        "arm": start.arm,
        **process,
    }


def run_values(run: TeamRun, process: Values) -> Values:
    """Return the whole row of a finished run; `process` as in `start_values`.

    Raises:
        StoreError: Its duration, score or cost is not a finite number of at least 0.
    """
    what = f"run {run.run_id}"
    return {
        **start_values(run, process),
        "status": "finished",
        "phase": run.phase,
        "position": run.index,
        "duration_seconds": at_least_zero("duration_seconds", run.duration_seconds, what),
        "success": bool(run.success),
        "score": at_least_zero("score", run.score, what),
        "plan_used": text_of(run.plan_used),
        "timed_out": run.timed_out,
        "cancelled": run.cancelled,
        "error_class": run.error_class,
        "cost_usd": None if run.cost_usd is None else at_least_zero("cost_usd", run.cost_usd, what),
        "members": _text(run.members),
        "tokens": _text(run.tokens),
    }


def team_run(row: Any) -> TeamRun:
    """Read the row of a finished run."""
    return TeamRun(
        run_id=row.run_id,
        spec=spec(row.spec),
        started_at=row.started_at,
        duration_seconds=row.duration_seconds,
        success=bool(row.success),
        score=row.score,
        entry=row.entry,
        parent_id=row.parent_id,
        task_key=row.task_key,
        mode=row.mode,
        plan_asked=plan(row.plan_asked),
        plan_used=plan(row.plan_used),
        experiment_id=row.experiment_id,
        arm=row.arm,
        phase=row.phase,
        index=row.position,
        timed_out=bool(row.timed_out),
        cancelled=bool(row.cancelled),
        error_class=row.error_class,
        cost_usd=row.cost_usd,
        members=_list(MemberOutcome, row.members),
        tokens=_list(TokenUse, row.tokens),
    )


remembered_run: Final = lru_cache(maxsize=_MOST_REMEMBERED)(team_run)
"""`team_run` for rows that are read again and again, as a team's last runs are whenever a test is looked for."""


def run_record(row: Any) -> RunRecord:
    """Read the row of any run."""
    start = RunStart(
        run_id=row.run_id,
        spec=spec(row.spec),
        started_at=row.started_at,
        entry=row.entry,
        parent_id=row.parent_id,
        task_key=row.task_key,
        mode=row.mode,
        plan_asked=plan(row.plan_asked),
        experiment_id=row.experiment_id,
        arm=row.arm,
    )
    return RunRecord(row.status, start, team_run(row) if row.status == "finished" else None)
