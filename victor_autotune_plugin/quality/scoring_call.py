"""One call of a scorer: whatever it does, a score comes of it, and nothing of the output is in it."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Awaitable, Coroutine
from typing import Any, Final

from attrs import evolve

from .._model.score import SOURCES, Score, ScoreSource
from .scorer import RunOutput, Scored

NO_OPINION: Final = "no opinion"
NOT_A_SCORE: Final = "not a score"
TIMEOUT: Final = "timeout"
"""Why there is no score: the scorer had no opinion, gave something else than a score, or took too long."""

_LONGEST_WHY: Final = 60
_FAILED: Final = "failed: "


def run_scorer(scorer: Any, output: RunOutput) -> Score:
    """Have a scorer score a run, on this thread; a coroutine runs on an event loop of its own, within its time limit.

    Args:
        scorer: A `Scorer`; what it leaves out has its default.
        output: The run, and what it delivered.

    Returns:
        Its score. An error, and anything that is neither a number from 0 to 1 nor None, is no opinion.
    """
    began = time.monotonic()
    found = _asked(scorer, output)
    source: ScoreSource = scorer.source if getattr(scorer, "source", None) in SOURCES else "hook"
    return Score(
        output.run.run_id,
        scorer.name,
        found.value,
        source,
        time.time(),
        judge=found.judge or getattr(scorer, "judge", ""),
        cost_usd=found.cost_usd,
        seconds=time.monotonic() - began,
        why="" if found.value is not None else _why(found.why, source),
        details=found.details,
    )


def _why(said: str, source: ScoreSource) -> str:
    """Return why there is no score; the words of a third party's may quote what the run delivered."""
    own = source != "hook" or said in (NOT_A_SCORE, TIMEOUT) or said.startswith(_FAILED)
    return said[:_LONGEST_WHY] if said and own else NO_OPINION


def _asked(scorer: Any, output: RunOutput) -> Scored:
    try:
        value = scorer.score(output)
        if inspect.isawaitable(value):
            value = _awaited(value, getattr(scorer, "timeout", None))
        return _scored(value)
    except TimeoutError:
        return Scored(None, TIMEOUT)
    except BaseException as error:  # foreign code, on a thread of its own; its text may quote what the run delivered
        return Scored(None, f"{_FAILED}{type(error).__name__}")


def _awaited(value: Awaitable[Any], seconds: Any) -> Any:
    import asyncio  # here, since a command that shows something scores nothing

    limit = seconds if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0 else None

    async def wait() -> Any:
        async with asyncio.timeout(limit):
            return await value

    main: Coroutine[Any, Any, Any] = wait()
    return asyncio.run(main)


def _scored(value: Any) -> Scored:
    """Return what a scorer's own value says, as a plain number."""
    found = value if isinstance(value, Scored) else Scored(value)
    if found.value is None:
        return found
    if _is_share(found.value):
        return evolve(found, value=float(found.value))
    return evolve(found, value=None, why=NOT_A_SCORE)


def _is_share(value: Any) -> bool:
    """Whether a value is a number from 0 to 1, true or false, or None; numpy's numbers count, too."""
    if value is None or isinstance(value, bool):
        return True
    try:
        number = float(value) if not isinstance(value, str | bytes) else math.nan
    except (TypeError, ValueError, OverflowError):
        return False
    return 0 <= number <= 1
