"""Runs of somebody's own function, as observations of a trial."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from ..errors import AutotuneError
from ..experiment import Observation

Runner = Callable[[dict[str, Any]], Awaitable[Any] | Any]
"""Runs the team with a config, and returns what came of it; see `observed`."""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "duration_seconds": ("duration_seconds", "duration", "total_duration"),
    "success": ("success",),
    "score": ("score",),
    "cost_usd": ("cost_usd", "cost"),
    "tool_calls": ("tool_calls", "total_tool_calls"),
    "timed_out": ("timed_out",),
}
"""Under which names a value may be given, the first that is there counts."""


async def observed(
    runner: Runner, config: dict[str, Any], arm: str, index: int, clock: Callable[[], float] = time.monotonic
) -> Observation:
    """Run a team with a config, and return what it showed.

    Args:
        runner: An async (or plain) function of the config. It returns a mapping or an object with any of `success`,
            `duration_seconds`, `score`, `cost_usd`, `tool_calls` and `timed_out`; or True or False; or None, which is a
            success. What it does not tell is measured (the duration) or follows from the success (the score). If it
            raises, the run failed.
        config: The config; it gets a copy of its own.
        arm: The run's arm.
        index: Its number in the trial.
        clock: Monotonic seconds.

    Raises:
        AutotuneError: If what it returns can't be used.
        asyncio.CancelledError: If the trial is cancelled.
    """
    started = clock()
    try:
        answer = runner(config)
        if inspect.isawaitable(answer):
            answer = await answer
    except Exception:
        return Observation(index, arm, clock() - started, success=False, score=0.0)
    elapsed = clock() - started
    found = _read(answer)
    success = bool(found.get("success", True))
    # A duration of 0 is Victor's way of saying that it was not measured.
    duration = found.get("duration_seconds") or elapsed
    try:
        return Observation(
            index=index,
            arm=arm,
            duration_seconds=float(duration),
            success=success,
            score=float(found.get("score", float(success))),
            cost_usd=None if found.get("cost_usd") is None else float(found["cost_usd"]),
            tool_calls=int(found.get("tool_calls") or 0),
            timed_out=bool(found.get("timed_out", False)),
        )
    except (TypeError, ValueError) as error:
        raise AutotuneError(
            f"the runner's result can't be used: {error}",
            where="runner",
            hint="Return a mapping with success, duration_seconds, score, cost_usd, tool_calls.",
        ) from error


def _read(answer: Any) -> dict[str, Any]:
    if answer is None:
        return {}
    if isinstance(answer, bool):
        return {"success": answer}
    found = {}
    for name, names in _NAMES.items():
        for one in names:
            value = answer.get(one) if isinstance(answer, Mapping) else getattr(answer, one, None)
            if value is not None and not (isinstance(value, float) and math.isnan(value)):
                found[name] = value
                break
    return found
