"""One call of a hook: what it raises stops here, and what it answers is checked."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from .. import failsafe
from .._model.experiment import Assignment
from .._model.plan import TeamPlan
from .._model.run import PlannedRun
from .._model.score import is_score_name

if TYPE_CHECKING:
    import pluggy


def answer_of(
    hook: str, implementation: pluggy.HookImpl, arguments: Mapping[str, Any], stops: type[BaseException]
) -> Any:
    """Call one implementation; return None when it raises, or answers with something that the hook can't take.

    Args:
        stops: What stops here. On a hook thread everything does, since it can only be the hook's; on the caller's
            thread a Ctrl-C is the user's.
    """
    try:
        value = implementation.function(*[arguments[name] for name in implementation.argnames])
        if value is None:
            return None
        if inspect.iscoroutine(value):
            value.close()
            raise TypeError("it must be a plain function, not a coroutine function")
        return _checked(hook, value)
    except stops as error:
        where = f"hook {hook} of {implementation.plugin_name!r}"
        try:
            failsafe.report(where, error)
        except stops:  # its message is foreign code too
            failsafe.report(where, RuntimeError("it raised something that can't be shown"))
    return None


def _checked(hook: str, value: Any) -> Any:
    """Return an answer as the hook takes it.

    Raises:
        TypeError: If it is of the wrong kind.
        ValueError: If it is out of range.
    """
    check = _CHECKS.get(hook)
    return None if check is None else check(value)


@frozen
class _Kind:
    kind: type = field()

    def __call__(self, value: Any) -> Any:
        if not isinstance(value, self.kind):
            raise TypeError(f"it must return a {self.kind.__name__} or None, not {type(value).__name__}")
        return value


@frozen
class _Number:
    high: float = field()

    def __call__(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"it must return a number or None, not {type(value).__name__}")
        if not 0 <= value <= self.high or value == math.inf:
            limits = f"from 0 to {self.high:g}" if math.isfinite(self.high) else "of at least 0"
            raise ValueError(f"it must return a finite number {limits}")
        return float(value)


def _planned(value: Any) -> PlannedRun:
    planned: PlannedRun = _Kind(PlannedRun)(value)
    if not isinstance(planned.plan, TeamPlan):
        raise TypeError(f"`plan` must be a TeamPlan, not {type(planned.plan).__name__}")
    if planned.mode not in ("observe", "suggest", "approve", "auto"):
        raise ValueError("`mode` must be observe, suggest, approve or auto")
    if planned.assignment is not None and not isinstance(planned.assignment, Assignment):
        raise TypeError(f"`assignment` must be an Assignment or None, not {type(planned.assignment).__name__}")
    if not isinstance(planned.source, str):
        raise TypeError(f"`source` must be text, not {type(planned.source).__name__}")
    return planned


def _strategies(value: Any) -> list[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError(f"it must return a sequence of strategies or None, not {type(value).__name__}")
    strategies = list(value)
    for one in strategies:
        if not (isinstance(getattr(one, "name", None), str) and callable(getattr(one, "suggest", None))):
            raise TypeError(f"each strategy must have a name and a method suggest, as {type(one).__name__} has not")
    return strategies


def _scorers(value: Any) -> list[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError(f"it must return a sequence of scorers or None, not {type(value).__name__}")
    scorers = list(value)
    for one in scorers:
        name = getattr(one, "name", None)
        if not (is_score_name(name) and callable(getattr(one, "score", None))):
            raise TypeError(f"each scorer must have a name and a method score, as {type(one).__name__} has not")
    if len({one.name for one in scorers}) < len(scorers):
        raise ValueError("each scorer must have a name of its own")
    return scorers


_CHECKS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "plan_team_run": _planned,
    "before_team_run": _Kind(TeamPlan),
    "score_team_run": _Number(1),
    "price_team_run": _Number(math.inf),
    "approve_change": _Kind(bool),
    "add_strategies": _strategies,
    "add_scorers": _scorers,
}
"""What each hook may answer; the others are only told."""
