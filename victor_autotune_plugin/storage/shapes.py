"""What runs, changes and the states of teams look like as plain data, to find out which field of foreign data is wrong.

A shape is a function of a value and the path to it; it returns nothing, and raises `ShapeError` at the first field that
is not as it should be.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, get_args

from attrs import NOTHING, fields

from .._model.experiment import Actor, ChangeAction, Phase, TeamState
from .._model.plan import FORMATIONS, MemberSpec
from .._model.run import MemberOutcome, TokenUse

Shape = Callable[[Any, str], None]

_MOST: Final = 2**31 - 1


class ShapeError(ValueError):
    """A field is not as it should be.

    Args:
        field: Its path, such as `members[2].duration_seconds`; empty for the value itself.
        message: What is wrong.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


def text(value: Any, at: str) -> None:
    """Accept text."""
    if not isinstance(value, str):
        raise ShapeError(at, f"must be text, not {_shown(value)}")


def name(value: Any, at: str) -> None:
    """Accept text that is not empty."""
    text(value, at)
    if not value:
        raise ShapeError(at, "must not be empty")


def flag(value: Any, at: str) -> None:
    """Accept true and false."""
    if not isinstance(value, bool):
        raise ShapeError(at, f"must be true or false, not {_shown(value)}")


def number(low: float = -math.inf, high: float = math.inf) -> Shape:
    """Return the shape of a finite number within bounds."""

    def check(value: Any, at: str) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not -1e300 < value < 1e300:  # a huge whole number is no float
            raise ShapeError(at, f"must be a finite number, not {_shown(value)}")
        if not low <= value <= high:
            bounds = f"from {low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
            raise ShapeError(at, f"must be {bounds}, not {_shown(value)}")

    return check


def whole(value: Any, at: str) -> None:
    """Accept whole numbers from 0 that every database holds."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise ShapeError(at, f"must be a whole number from 0 to {_MOST}, not {_shown(value)}")


def one_of(*known: str) -> Shape:
    """Return the shape of one of some words."""

    def check(value: Any, at: str) -> None:
        if value not in known:
            raise ShapeError(at, f"must be one of {', '.join(known)}, not {_shown(value)}")

    return check


def optional(shape: Shape) -> Shape:
    """Return the shape that accepts null, too."""

    def check(value: Any, at: str) -> None:
        if value is not None:
            shape(value, at)

    return check


def list_of(shape: Shape, *, least: int = 0) -> Shape:
    """Return the shape of a list whose items have a shape."""

    def check(value: Any, at: str) -> None:
        if not isinstance(value, list):
            raise ShapeError(at, f"must be a list, not {_shown(value)}")
        if len(value) < least:
            raise ShapeError(at, "must not be empty")
        for index, item in enumerate(value):
            shape(item, f"{at}[{index}]")

    return check


def map_of(shape: Shape) -> Shape:
    """Return the shape of an object with any keys whose values have a shape."""

    def check(value: Any, at: str) -> None:
        _object(value, at)
        for key, item in value.items():
            shape(item, _join(at, key))

    return check


def record(required: Mapping[str, Shape], maybe: Mapping[str, Shape] | None = None, *, closed: bool = True) -> Shape:
    """Return the shape of an object.

    Args:
        required: Shapes of the fields that must be there.
        maybe: Shapes of the fields that may be missing.
        closed: Whether other fields are refused.
    """
    known = {**required, **(maybe or {})}

    def check(value: Any, at: str) -> None:
        _object(value, at)
        for key in required:
            if key not in value:
                raise ShapeError(_join(at, key), "is missing")
        for key, item in value.items():
            if key in known:
                known[key](item, _join(at, key))
            elif closed:
                raise ShapeError(_join(at, key), f"is not known; known are {', '.join(known)}")

    return check


def _object(value: Any, at: str) -> None:
    if not isinstance(value, Mapping):
        raise ShapeError(at, f"must be an object, not {_shown(value)}")


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) > 10**18:
        return "a huge number"  # Python refuses to print the largest
    shown = ascii(value)
    return shown if len(shown) <= 40 else f"{shown[:39]}…"


def _of_class(cls: type, shapes: Mapping[str, Shape]) -> Shape:
    """Return the shape of an attrs class whose fields with a default may be missing."""
    needed = {one.name for one in fields(cls) if one.default is NOTHING}
    return record({key: shapes[key] for key in needed}, {key: shapes[key] for key in shapes if key not in needed})


SECONDS: Final = number(0)
"""A duration, or an amount of money."""

TIME: Final = number(0, 253_402_300_799)
"""Unix time until the end of the year 9999."""

ARM: Final = one_of("control", "treatment")
"""An arm of an experiment."""

PHASE: Final = one_of(*get_args(Phase))
"""A phase of an experiment."""

PLAN: Final = record(
    {},
    {
        "formation": one_of(*FORMATIONS),
        "members": list_of(name, least=1),
        "tool_budget": whole,
        "member_budgets": map_of(whole),
        "timeout_seconds": SECONDS,
        "sub_teams": list_of(list_of(name, least=1), least=1),
    },
)
"""A `TeamPlan`."""

_SPEC: Final = record(
    {
        "workflow": text,
        "team_id": text,
        "formation": one_of(*FORMATIONS),
        "members": list_of(
            _of_class(
                MemberSpec,
                {
                    "id": name,
                    "role": text,
                    "tool_budget": optional(whole),
                    "is_supervisor": flag,
                    "formation_role": optional(text),
                    "model": optional(text),
                },
            )
        ),
    },
    {"tool_budget": optional(whole), "timeout_seconds": optional(SECONDS), "max_iterations": optional(whole)},
)

_MEMBER: Final = _of_class(
    MemberOutcome,
    {
        "id": name,
        "role": text,
        "success": flag,
        "finished": flag,
        "duration_seconds": SECONDS,
        "tool_calls": whole,
        "tool_calls_refused": whole,
        "llm_calls": whole,
        "input_tokens": whole,
        "output_tokens": whole,
        "models": list_of(text),
        "error_class": optional(text),
    },
)

_TOKENS: Final = _of_class(TokenUse, {"model": text, "input_tokens": whole, "output_tokens": whole})

RUN: Final = record(
    {
        "run_id": name,
        "spec": _SPEC,
        "started_at": TIME,
        "duration_seconds": SECONDS,
        "success": flag,
        "score": number(0, 1),
        "entry": text,
        "parent_id": optional(text),
        "task_key": optional(text),
        "mode": text,
        "plan_asked": PLAN,
        "plan_used": PLAN,
        "experiment_id": optional(text),
        "arm": optional(ARM),
        "phase": optional(PHASE),
        "index": optional(whole),
        "timed_out": flag,
        "cancelled": flag,
        "error_class": optional(text),
        "cost_usd": optional(SECONDS),
        "members": list_of(_MEMBER),
        "tokens": list_of(_TOKENS),
    },
    closed=False,
)
"""A `TeamRun`; the totals that `to_dict` adds are not looked at."""

CHANGE: Final = record(
    {
        "at": TIME,
        "workflow": text,
        "team_id": text,
        "action": one_of(*get_args(ChangeAction), "rejected"),
        "actor": one_of(*get_args(Actor)),
        "reason": text,
        "plan_before": PLAN,
        "plan_after": PLAN,
    },
    {
        "id": optional(whole),
        "experiment_id": optional(text),
        "rollback_plan": optional(PLAN),
        "improvement_percent": optional(number()),
        "evidence": record({}, {"takes_back": list_of(whole)}, closed=False),
    },
    closed=False,
)
"""A `Change`."""

TEAM: Final = _of_class(
    TeamState,
    {
        "workflow": text,
        "team_id": text,
        "version": whole,
        "plan": PLAN,
        "fingerprint": optional(text),
        "spec": optional(_SPEC),
        "experiment_id": optional(text),
        "paused": flag,
        "updated_at": TIME,
    },
)
"""A `TeamState`."""
