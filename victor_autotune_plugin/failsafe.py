"""Faults of the plugin's own: caught, logged once, remembered for `victor autotune doctor`.

Whatever goes wrong inside the plugin while a team runs ends here, so the run goes on as if the plugin were
not there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Hashable
from typing import Any, Final

from attrs import evolve, frozen

logger = logging.getLogger("victor_autotune_plugin")

_MOST_KINDS: Final = 200
_LONGEST_MESSAGE: Final = 300
_MOST_LOGGED: Final = 1_000


@frozen
class Fault:
    """A kind of fault and how often it happened in this process.

    Attributes:
        where: The step of the way of a run that failed, such as `store.start_run`.
        error: Class and message of the first such error.
        count: How many times.
        first_at: Unix time of the first, seconds.
        last_at: Unix time of the last, seconds.
    """

    where: str
    error: str
    count: int
    first_at: float
    last_at: float


_lock = threading.Lock()
_seen: dict[tuple[str, str], Fault] = {}
_logged: set[Hashable] = set()


def report(where: str, error: BaseException, *, log: bool = True) -> None:
    """Remember a fault, and log it if it is the first of its kind in this process.

    Args:
        where: The step that failed.
        error: What it raised.
        log: False if it is logged already.
    """
    try:
        _report(where, error, log)
    except Exception:  # a log handler that raises, too little memory or stack: nothing is left to tell it with
        return


def _report(where: str, error: BaseException, log: bool) -> None:
    kind = type(error).__qualname__
    text = f"{kind}: {_message(error)}"
    key = (where, kind)
    now = time.time()
    with _lock:
        known = _seen.get(key)
        if known is not None:
            _seen[key] = evolve(known, count=known.count + 1, last_at=now)
            return
        if len(_seen) >= _MOST_KINDS:
            return
        _seen[key] = Fault(where, text, 1, now, now)
    if log:
        logger.warning(
            "autotune: %s failed, and the run goes on without it (logged once; see `victor autotune doctor`): %s",
            where,
            text,
        )


def log_once(what: Hashable, message: str, *values: Any) -> None:
    """Log a warning, unless it was logged in this process.

    Args:
        what: Tells it from others.
        message: The text, with a place for each value, as for `logging`.
        values: What stands in these places.
    """
    with _lock:
        if what in _logged:
            return
        if len(_logged) >= _MOST_LOGGED:
            _logged.clear()
        _logged.add(what)
    logger.warning(message, *values)


def _message(error: BaseException) -> str:
    """Return the first line of an error's message, cut short; an error that can't be shown has none."""
    try:
        return str(error).partition("\n")[0][:_LONGEST_MESSAGE]
    except BaseException as fault:
        if isinstance(fault, KeyboardInterrupt):
            raise
        return "(its message can't be shown)"


class guard:  # noqa: N801 - reads as a statement
    """Runs a block whose failure must not reach the user's run.

    Args:
        where: The step, as in `report`.
        foreign: Whether the block calls code of the application's, such as a span processor, that may raise anything.
            Nothing in such a block awaits, so a cancellation that it raises is not the run's.
    """

    __slots__ = ("_foreign", "_where")

    def __init__(self, where: str, *, foreign: bool = False) -> None:
        self._where = where
        self._foreign = foreign

    def __enter__(self) -> None:
        """Start the block."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Report an `Exception` and go on after the block; let everything else through, Ctrl-C always."""
        if error is None or isinstance(error, KeyboardInterrupt):
            return False
        if not (self._foreign or isinstance(error, Exception)):
            return False
        report(self._where, error)
        return True


def seen() -> tuple[Fault, ...]:
    """Return the faults of this process, oldest first."""
    with _lock:
        return tuple(sorted(_seen.values(), key=lambda fault: fault.first_at))


def forget() -> None:
    """Forget all faults and what was logged once, so that the next of each kind is logged again."""
    with _lock:
        _seen.clear()
        _logged.clear()
