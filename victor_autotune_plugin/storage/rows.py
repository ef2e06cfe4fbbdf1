"""Between the model's values and the rows of the tables; the runs' are in `run_rows`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from .._model.experiment import Assignment, Change, Experiment, Phase, TeamState
from .._model.run import Observation
from ..failsafe import Fault
from .plain import Values, canonical, decode_optional, encode, encode_optional, plan, spec

_MOST_REMEMBERED: Final = 100


def team_values(state: TeamState) -> Values:
    """Return the row of a team; its version is the one it gets by being saved."""
    return {
        "workflow": state.workflow,
        "team_id": state.team_id,
        "version": state.version + 1,
        "plan": encode(state.plan.to_dict()),
        "fingerprint": state.fingerprint,
        "spec": None if state.spec is None else encode(state.spec.to_dict()),
        "experiment_id": state.experiment_id,
        "paused": state.paused,
        "updated_at": state.updated_at,
    }


def team_state(row: Any) -> TeamState:
    """Read the row of a team."""
    return TeamState(
        workflow=row.workflow,
        team_id=row.team_id,
        version=row.version,
        plan=plan(row.plan),
        fingerprint=row.fingerprint,
        spec=None if row.spec is None else spec(row.spec),
        experiment_id=row.experiment_id,
        paused=bool(row.paused),
        updated_at=row.updated_at,
    )


remembered_team: Final = lru_cache(maxsize=_MOST_REMEMBERED)(team_state)
"""`team_state` for a row that is read again and again: twice a run, and it seldom changes."""


_EXPERIMENT_PLANS: Final = ("control", "treatment")
_EXPERIMENT_DATA: Final = ("policy", "watch_policy", "verdict", "watch_verdict", "task_effects")
_EXPERIMENT_JSON: Final = (*_EXPERIMENT_PLANS, *_EXPERIMENT_DATA)


def experiment_values(experiment: Experiment) -> Values:
    """Return the row of an experiment."""
    values = experiment.to_dict()
    values["task_effects"] = values["task_effects"] or None
    return {**values, **{name: encode_optional(values[name]) for name in _EXPERIMENT_JSON}}


def experiment_of(row: Any) -> Experiment:
    """Read the row of an experiment."""
    values = row._asdict()
    for name in _EXPERIMENT_PLANS:
        values[name] = plan(values[name])
    for name in _EXPERIMENT_DATA:
        values[name] = decode_optional(values[name])
    values["task_effects"] = values["task_effects"] or {}
    return Experiment.from_dict(values)


remembered_experiment: Final = lru_cache(maxsize=_MOST_REMEMBERED)(experiment_of)
"""`experiment_of` for a row that is read again and again, as that of an open experiment is twice a run."""


def changed_columns(row: Any, values: Values) -> list[str]:
    """Return the columns of an experiment in which its row differs from new values; the order of keys is no difference.

    Args:
        row: The row as stored.
        values: What `experiment_values` returned.
    """
    stored = row._asdict()
    return [
        name
        for name, value in values.items()
        if stored[name] != value and (name not in _EXPERIMENT_JSON or canonical(stored[name]) != canonical(value))
    ]


_CHANGE_JSON: Final = ("plan_before", "plan_after", "rollback_plan", "evidence")


def change_values(change: Change) -> Values:
    """Return the row of a change, without its id: the store gives it."""
    values = change.to_dict()
    del values["id"]
    return {**values, **{name: encode_optional(values[name]) for name in _CHANGE_JSON}}


def change_of(row: Any) -> Change:
    """Read the row of a change."""
    values = row._asdict()
    return Change.from_dict({**values, **{name: decode_optional(values[name]) for name in _CHANGE_JSON}})


def assignment_values(assignment: Assignment) -> Values:
    """Return the row of an assignment."""
    return {
        "experiment_id": assignment.experiment_id,
        "phase": assignment.phase,
        "position": assignment.index,
        "arm": assignment.arm,
        "unit": assignment.unit,
        "run_id": assignment.run_id,
    }


def assignment_of(row: Any) -> Assignment:
    """Read the row of an assignment."""
    return Assignment(row.experiment_id, row.phase, row.position, row.arm, row.unit, row.run_id)


def observation_values(experiment_id: str, phase: Phase, observation: Observation) -> Values:
    """Return the columns of a run that its observation is made of."""
    return {
        "experiment_id": experiment_id,
        "phase": phase,
        "position": observation.index,
        "arm": observation.arm,
        "duration_seconds": observation.duration_seconds,
        "success": observation.success,
        "score": observation.score,
        "cost_usd": observation.cost_usd,
        "tool_calls": observation.tool_calls,
        "timed_out": observation.timed_out,
        "task_key": observation.task_key,
    }


def observation_of(row: Any) -> Observation:
    """Read the observation of a run."""
    return Observation(
        index=row.position,
        arm=row.arm,
        duration_seconds=row.duration_seconds,
        success=bool(row.success),
        score=row.score,
        cost_usd=row.cost_usd,
        tool_calls=row.tool_calls,
        timed_out=bool(row.timed_out),
        task_key=row.task_key,
        run_id=row.run_id,
        order=row.observed,
    )


def fault_of(row: Any) -> Fault:
    """Read the row of a fault."""
    return Fault(row.place, row.error, row.times, row.first_at, row.last_at)
