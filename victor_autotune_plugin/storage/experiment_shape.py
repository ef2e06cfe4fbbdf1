"""What an experiment looks like as plain data in an archive: its own fields, and all that it is replayed from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from attrs import fields

from .._model.experiment import ExperimentStatus
from .._model.policy import GUARDRAILS, HARM_SHARES, METRICS, GuardrailEvidence, HarmEvidence, Policy, WatchPolicy
from .shapes import (
    ARM,
    PHASE,
    PLAN,
    SECONDS,
    TIME,
    Shape,
    ShapeError,
    flag,
    list_of,
    map_of,
    name,
    number,
    one_of,
    optional,
    record,
    text,
    whole,
)

_FIGURE: Final = optional(number())
_RUNS: Final = record({"control": whole, "treatment": whole})


def _policy(read: Callable[[Mapping[str, Any]], object], **needed: Shape) -> Shape:
    """Return the shape of a policy: the engine itself says what is wrong with it."""
    form = record(needed, closed=False)

    def check(value: Any, at: str) -> None:
        form(value, at)
        try:
            read(value)
        except ValueError as error:
            raise ShapeError(at, str(error)) from error

    return check


def _evidence(cls: type, *names: str) -> Shape:
    """Return the shape of a list of evidence: its names are known, its status is text, all else figures."""
    words = {"name": one_of(*names), "status": text}
    return list_of(record({one.name: words.get(one.name, _FIGURE) for one in fields(cls)}, closed=False))


def _two(value: Any, at: str) -> None:
    list_of(_FIGURE)(value, at)
    if len(value) != 2:
        raise ShapeError(at, f"must have two ends, not {len(value)}")


_VERDICT: Final = record(
    {
        "status": text,
        "reason": text,
        "metric": one_of(*METRICS),
        "runs": _RUNS,
        "effect": _FIGURE,
        "interval": _two,
        "statistic": number(),
        "boundary": _FIGURE,
        "error_rate": number(0, 1),
        "minimum_detectable_effect": _FIGURE,
        "runs_needed": optional(whole),
        "guardrails": _evidence(GuardrailEvidence, *GUARDRAILS),
        "sample_ratio_p_value": number(0, 1),
        "ignored": map_of(whole),
    },
    closed=False,
)

_WATCH_VERDICT: Final = record(
    {
        "status": text,
        "reason": text,
        "harm": optional(text),
        "runs": _RUNS,
        "detected_at": optional(whole),
        "effect": _FIGURE,
        "error_rate": number(0, 1),
        "drift": flag,
        "wants_control": flag,
        "evidence": _evidence(HarmEvidence, *HARM_SHARES),
        "ignored": map_of(whole),
    },
    closed=False,
)

_ASSIGNMENT: Final = record({"phase": PHASE, "index": whole, "arm": ARM, "unit": name, "run_id": name})

_OBSERVATION: Final = record(
    {
        "phase": PHASE,
        "run_id": name,
        "index": whole,
        "arm": ARM,
        "duration_seconds": SECONDS,
        "success": flag,
        "score": number(0, 1),
        "cost_usd": optional(SECONDS),
        "tool_calls": whole,
        "timed_out": flag,
        "task_key": optional(text),
    }
)

_OWN: Final[Mapping[str, Shape]] = {
    "id": name,
    "workflow": text,
    "team_id": text,
    "fingerprint": text,
    "strategy": text,
    "description": text,
    "control": PLAN,
    "treatment": PLAN,
    "seed": text,
    "assignment_version": text,
    "policy": _policy(Policy.from_dict, metric=one_of(*METRICS)),
    "watch_policy": _policy(WatchPolicy.from_dict, holdback=number(0, 1)),
    "status": one_of(*get_args(ExperimentStatus)),
    "created_at": TIME,
    "decided_at": optional(TIME),
    "promoted_at": optional(TIME),
    "ended_at": optional(TIME),
    "verdict": optional(_VERDICT),
    "watch_verdict": optional(_WATCH_VERDICT),
    "code_version": text,
    "task_effects": map_of(number()),
}

_EXPERIMENT: Final = record(
    {**_OWN, "assignments": list_of(_ASSIGNMENT), "observations": list_of(_OBSERVATION)}, closed=False
)


def check_experiment(value: Any, at: str) -> None:
    """Accept an experiment with its assignments and observations, if they hold together.

    Args:
        value: The plain data.
        at: The path to it.

    Raises:
        ShapeError: At the first field that is not as it should be.
    """
    _EXPERIMENT(value, at)
    nexts: dict[str, int] = {}
    units: set[tuple[str, str]] = set()
    for number_, one in enumerate(value["assignments"]):
        here = f"assignments[{number_}]"
        expected = nexts.get(one["phase"], 0)
        if one["index"] != expected:
            raise ShapeError(f"{here}.index", f"must be {expected}, the next of its phase, not {one['index']}")
        if (one["phase"], one["unit"]) in units:
            raise ShapeError(f"{here}.unit", "was assigned before")
        nexts[one["phase"]] = expected + 1
        units.add((one["phase"], one["unit"]))
    runs: set[str] = set()
    for number_, one in enumerate(value["observations"]):
        here = f"observations[{number_}]"
        if one["index"] >= nexts.get(one["phase"], 0):
            raise ShapeError(f"{here}.index", f"{one['index']} is not among the assignments")
        if one["run_id"] in runs:
            raise ShapeError(f"{here}.run_id", "was observed before")
        runs.add(one["run_id"])
