"""Between runs and the rows of `autotune_run`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from attrs import fields_dict

from .._model.run import MemberOutcome, PlannedRun, RunStart, TeamRun, TokenUse
from .plain import Values, at_least_zero, decode, encode, plan, spec, text_of
from .schema import OBSERVED

_T = TypeVar("_T", MemberOutcome, TokenUse)

_KNOWN: Final[dict[type, tuple[str, ...]]] = {kind: tuple(fields_dict(kind)) for kind in (MemberOutcome, TokenUse)}

_MOST_REMEMBERED: Final = 1000


def _list(kind: type[_T], text: str) -> list[_T]:
    known = _KNOWN[kind]
    return [kind(**{name: item[name] for name in known if name in item}) for item in decode(text)]


def _text(items: Sequence[MemberOutcome | TokenUse]) -> str:
    # `asdict` takes twice as long, and this is done after every run
    return encode([{name: getattr(item, name) for name in _KNOWN[type(item)]} for item in items])


def start_values(start: RunStart, planned: PlannedRun, process: Values) -> Values:
    """Return the columns that are known when a run starts.

    Args:
        start: The run.
        planned: Its plan.
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
        "mode": planned.mode,
        "plan_asked": text_of(planned.plan),
        "experiment_id": planned.experiment_id,
        "arm": planned.arm,
        "phase": None if planned.assignment is None else planned.assignment.phase,
        "position": None if planned.assignment is None else planned.assignment.index,
        **process,
    }


def run_values(run: TeamRun, process: Values) -> Values:
    """Return the whole row of a finished run; `process` as in `start_values`.

    Raises:
        StoreError: Its duration, score or cost is not a finite number of at least 0.
    """
    what = f"run {run.run_id}"
    return {
        **process,
        "run_id": run.run_id,
        "workflow": run.spec.workflow,
        "team_id": run.spec.team_id,
        "status": "finished",
        "started_at": run.started_at,
        "spec": text_of(run.spec),
        "entry": run.entry,
        "parent_id": run.parent_id,
        "task_key": run.task_key,
        "mode": run.mode,
        "plan_asked": text_of(run.plan_asked),
        "experiment_id": run.experiment_id,
        "arm": run.arm,
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
        "tool_calls": run.tool_calls,
    }


def unknown_run_values(run_id: str, workflow: str, team_id: str, process: Values) -> Values:
    """Return the columns that can't be null of a run that is known by its observation alone."""
    return {
        **process,
        "run_id": run_id,
        "workflow": workflow,
        "team_id": team_id,
        "status": OBSERVED,
        "started_at": 0.0,
        "spec": "",
        "entry": "",
        "mode": "",
        "plan_asked": "",
    }


def team_run(row: Any) -> TeamRun:
    """Read the row of a run; of one that has not finished, what is known only at its end has no meaning."""
    return TeamRun(
        run_id=row.run_id,
        spec=spec(row.spec),
        started_at=row.started_at,
        duration_seconds=row.duration_seconds or 0.0,
        success=bool(row.success),
        score=row.score or 0.0,
        entry=row.entry,
        parent_id=row.parent_id,
        task_key=row.task_key,
        mode=row.mode,
        plan_asked=plan(row.plan_asked),
        plan_used=plan(row.plan_used or "{}"),
        experiment_id=row.experiment_id,
        arm=row.arm,
        phase=row.phase,
        index=row.position,
        timed_out=bool(row.timed_out),
        cancelled=bool(row.cancelled),
        error_class=row.error_class,
        cost_usd=row.cost_usd,
        members=_list(MemberOutcome, row.members or "[]"),
        tokens=_list(TokenUse, row.tokens or "[]"),
        status=row.status,
    )


remembered_run: Final = lru_cache(maxsize=_MOST_REMEMBERED)(team_run)
"""`team_run` for rows that are read again and again, as a team's last runs are whenever a test is looked for."""
