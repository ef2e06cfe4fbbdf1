"""Between the model's values and the rows of the tables, with plain data as the text of a column.

JSON keeps every float bit for bit, infinities and NaN included, so a verdict replays exactly.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

from msgspec import to_builtins  # for what is written in every run: three times as fast as `to_plain`

from .._model.converter import PlainDataError, check, from_plain, to_plain
from .._model.data_flow import RunFlow, TeamFlow
from .._model.experiment import Change, Experiment, Phase, TeamState
from .._model.plan import TeamPlan, TeamSpec
from .._model.run import MemberOutcome, Observation, PlannedRun, RunStart, TeamRun, TokenUse
from .._model.score import Gate, Score
from ..errors import StoreError
from ..failsafe import Fault
from .tables import OBSERVED

Values = dict[str, Any]
"""A row by column name."""

_T = TypeVar("_T")

_MOST_TEXTS: Final = 512

_MOST_RUNS: Final = 1000

_MOST_TEAMS: Final = 100


encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, default=to_plain).encode
"""Plain data as text."""

decode: Final = json.loads
"""Text as plain data."""


def canonical(text: str | None) -> str | None:
    """Return the text that is equal for equal data, whatever the order of its keys."""
    return None if text is None else json.dumps(decode(text), sort_keys=True)


@lru_cache(maxsize=_MOST_TEXTS)
def plan(text: str) -> TeamPlan:
    """Read a plan; the runs of a team share a few, so their texts are remembered."""
    return from_plain(TeamPlan, decode(text))


@lru_cache(maxsize=_MOST_TEXTS)
def spec(text: str) -> TeamSpec:
    """Read the definition of a team; remembered like plans."""
    return from_plain(TeamSpec, decode(text))


@lru_cache(maxsize=_MOST_TEXTS)
def text_of(value: TeamPlan | TeamSpec) -> str:
    """Return a plan or a team's definition as text; remembered, since each is written twice a run."""
    return encode(value.to_dict())


def share(name: str, value: float, what: str) -> float:
    """Return a number from 0 to 1; arguments and errors are those of `at_least_zero`."""
    if not 0 <= value <= 1:
        raise StoreError(f"{what} can't be stored: {name} is {value!r}, not a number from 0 to 1")
    return value


def at_least_zero(name: str, value: float, what: str) -> float:
    """Return a number that every backend keeps alike.

    Args:
        name: Attribute that holds it.
        value: The number.
        what: What is about to be stored.

    Raises:
        StoreError: It is negative, infinite or NaN.
    """
    if not math.isfinite(value) or value < 0:
        raise StoreError(f"{what} can't be stored: {name} is {value!r}, not a finite number of at least 0")
    return value


# --- teams, experiments, changes, faults

_JSON: Final[Mapping[type, frozenset[str]]] = {
    TeamState: frozenset({"plan", "spec", "gates", "merged"}),
    Experiment: frozenset(
        {
            "control",
            "treatment",
            "policy",
            "watch_policy",
            "verdict",
            "watch_verdict",
            "task_effects",
            "bad_before",
            "reference",
            "prices",
            "gates",
        }
    ),
    Change: frozenset({"plan_before", "plan_after", "rollback_plan", "evidence"}),
}
"""The columns that hold JSON, by what the row is."""


def _values(value: TeamState | Experiment | Change) -> Values:
    columns = _JSON[type(value)]
    return {
        name: encode(plain) if name in columns and plain is not None else plain
        for name, plain in to_plain(value).items()
    }


def _value(kind: type[_T], row: Any, **others: Any) -> _T:
    # SQLAlchemy's names are a subclass of text, which msgspec takes for no key
    values = {str(name): value for name, value in row._asdict().items()} | others
    texts = {name: decode(values[name]) for name in _JSON[kind] if values[name] is not None}
    return from_plain(kind, values | texts)


def team_values(state: TeamState) -> Values:
    """Return the row of a team; its version is the one it gets by being saved."""
    return {"merged": None, **_values(state), **_no_gates(state), "version": state.version + 1}


def team_state(row: Any) -> TeamState:
    """Read the row of a team."""
    return _value(TeamState, row, paused=bool(row.paused), gates=row.gates or "[]", merged=row.merged or "[]")


remembered_team: Final = lru_cache(maxsize=_MOST_TEAMS)(team_state)
"""`team_state` for a row that is read again and again: twice a run, and it seldom changes."""


def experiment_values(experiment: Experiment) -> Values:
    """Return the row of an experiment."""
    values = _values(experiment)
    empty = {name: None for name in ("task_effects", "reference") if not getattr(experiment, name)}
    return {**values, **empty, **_no_gates(experiment)}


def _no_gates(value: TeamState | Experiment) -> Values:
    return {} if value.gates else {"gates": None}


def experiment_of(row: Any) -> Experiment:
    """Read the row of an experiment."""
    others = {
        "task_effects": row.task_effects or "{}",
        "reference": row.reference or "[]",
        "bad_before": row.bad_before or "[0,0]",
        "gates": row.gates or "[]",
    }
    return _value(Experiment, row, **others)


remembered_experiment: Final = lru_cache(maxsize=_MOST_TEAMS)(experiment_of)
"""`experiment_of` for a row that is read again and again, as that of an open experiment is twice a run."""


def changed_columns(before: Experiment, values: Values) -> list[str]:
    """Return the columns in which an experiment, as it is stored, differs from new values.

    Args:
        before: The experiment as it was read, maybe from a row that another version wrote with fewer or other keys.
        values: What `experiment_values` returned of the new one.
    """
    stored = experiment_values(before)
    texts = _JSON[Experiment]
    return [
        name
        for name, value in values.items()
        if stored[name] != value and (name not in texts or canonical(stored[name]) != canonical(value))
    ]


def change_values(change: Change) -> Values:
    """Return the row of a change, without its id: the store gives it."""
    values = _values(change)
    del values["id"]
    return values


def change_of(row: Any) -> Change:
    """Read the row of a change."""
    return _value(Change, row)


def observation_values(experiment_id: str, phase: Phase, observation: Observation) -> Values:
    """Return the columns of a run that its observation is made of."""
    values: Values = to_builtins(observation)
    del values["order"], values["run_id"]
    values |= {name: values[name] or None for name in ("stream", "missing", "models")}
    return {"experiment_id": experiment_id, "phase": phase, "position": values.pop("index"), **values}


def observation_of(row: Any) -> Observation:
    """Read the observation of a run; one that went missing has no figures, even if the run ended later."""
    if row.missing is not None:
        return Observation(
            index=row.position,
            arm=row.arm,
            duration_seconds=0.0,
            success=False,
            task_key=row.task_key,
            run_id=row.run_id,
            order=row.observed,
            stream=row.stream or "",
            missing=row.missing,
        )
    return Observation(
        index=row.position,
        arm=row.arm,
        duration_seconds=row.duration_seconds,
        success=bool(row.success),
        member_success_share=row.member_success_share,
        score=row.score,
        cost_usd=row.cost_usd,
        tool_calls=row.tool_calls,
        timed_out=bool(row.timed_out),
        task_key=row.task_key,
        run_id=row.run_id,
        order=row.observed,
        stream=row.stream or "",
        models=row.models or "",
    )


def score_values(score: Score) -> Values:
    """Return the row of a score.

    Raises:
        StoreError: One of its values is impossible.
    """
    try:
        values: Values = to_builtins(score)
        check(Score, values)
        return {**values, "details": encode(values["details"]) if values["details"] else None}
    except (PlainDataError, TypeError) as error:
        named = error.field if isinstance(error, PlainDataError) else "details"
        wrong = getattr(score, named, None)
        shown = f" {wrong!r}" if isinstance(wrong, int | float) else ""  # text may be from an output
        what = f"score {score.name!r} of run {score.run_id!r}"
        raise StoreError(f"{what} can't be stored: impossible {named}{shown}") from None


def score_of(row: Any, *others: str) -> Score:
    """Read the row of a score, without the columns in it that are another table's."""
    values = {str(name): value for name, value in row._asdict().items() if name not in others}
    return Score(**{**values, "details": decode(row.details) if row.details else {}})


def gates_of(text: str | None) -> tuple[Gate, ...]:
    """Read gates from the text of a column."""
    return from_plain(tuple[Gate, ...], decode(text)) if text else ()


def fault_of(row: Any) -> Fault:
    """Read the row of a fault."""
    return Fault(row.place, row.error, row.times, row.first_at, row.last_at)


# --- runs


def start_values(start: RunStart, planned: PlannedRun, process_id: str) -> Values:
    """Return the columns that are known when a run starts."""
    assigned = planned.assignment
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
        "phase": None if assigned is None else assigned.phase,
        "position": None if assigned is None else assigned.index,
        "stream": None if assigned is None else assigned.stream,
        "process": process_id,
        "environment": start.environment,
        "owners": _owners({**start.owners, **planned.owners}),
    }


def run_values(run: TeamRun, process_id: str | None, gates: tuple[Gate, ...] = ()) -> Values:
    """Return the row of a run that ended, without what the store adds.

    Args:
        run: The run.
        process_id: The process that ran it; None for one of another store.
        gates: The scorers whose scores make up its score.

    Raises:
        StoreError: Its duration, score or cost is not a finite number of at least 0.
    """
    what = f"run {run.run_id}"
    return {
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
        "stream": run.stream,
        "process": process_id,
        "duration_seconds": at_least_zero("duration_seconds", run.duration_seconds, what),
        "success": bool(run.success),
        "member_success_share": share("member_success_share", run.member_success_share, what),
        "plan_used": text_of(run.plan_used),
        "timed_out": run.timed_out,
        "cancelled": run.cancelled,
        "error_class": run.error_class,
        "cost_usd": None if run.cost_usd is None else at_least_zero("cost_usd", run.cost_usd, what),
        "members": encode(to_builtins(run.members)),
        "tokens": encode(to_builtins(run.tokens)),
        "tool_calls": run.tool_calls,
        "environment": run.environment,
        "owners": _owners(run.owners),
        "flow": None if run.flow is None else encode(to_plain(run.flow)),
        "models": run.models or None,
        "score": None if run.score is None else share("score", run.score, what),
        "trace_id": run.trace_id or None,
        "gates": encode(to_builtins(gates)) if gates else None,
    }


@lru_cache(maxsize=_MOST_TEXTS)
def run_flow(text: str) -> RunFlow:
    """Read the data flow of a run; most runs of a team have the same."""
    return from_plain(RunFlow, decode(text))


@lru_cache(maxsize=_MOST_TEAMS)
def team_flow(text: str | None) -> TeamFlow:
    """Read the data flow of a team; of one that never had any, an empty one."""
    return TeamFlow() if text is None else from_plain(TeamFlow, decode(text))


def _owners(owners: Mapping[str, str]) -> str | None:
    return encode(dict(owners)) if owners else None


def unknown_run_values(run_id: str, workflow: str, team_id: str, environment: str) -> Values:
    """Return the columns that can't be null of a run that is known by its observation alone."""
    return {
        "run_id": run_id,
        "workflow": workflow,
        "team_id": team_id,
        "status": OBSERVED,
        "started_at": 0.0,
        "spec": "",
        "entry": "",
        "mode": "",
        "plan_asked": "",
        "environment": environment,
    }


def team_run(row: Any) -> TeamRun:
    """Read the row of a run; of one that has not finished, what is known only at its end has no meaning."""
    return TeamRun(
        run_id=row.run_id,
        spec=spec(row.spec),
        started_at=row.started_at,
        duration_seconds=row.duration_seconds or 0.0,
        success=bool(row.success),
        member_success_share=row.member_success_share or 0.0,
        score=row.score,
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
        members=from_plain(tuple[MemberOutcome, ...], decode(row.members or "[]")),
        tokens=from_plain(tuple[TokenUse, ...], decode(row.tokens or "[]")),
        status=row.status,
        stream=row.stream,
        number=row.number,
        environment=row.environment,
        owners=decode(row.owners) if row.owners else {},
        flow=run_flow(row.flow) if row.flow else None,
        trace_id=row.trace_id or "",
    )


remembered_run: Final = lru_cache(maxsize=_MOST_RUNS)(team_run)
"""`team_run` for rows that are read again and again, as a team's last runs are whenever a test is looked for."""
