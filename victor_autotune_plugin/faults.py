"""Faults of the plugin's own: caught, logged once, remembered for `victor autotune doctor`.

Whatever goes wrong inside the plugin while a team runs ends here, so the run goes on as if the plugin were
not there.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from attrs import evolve, frozen

logger = logging.getLogger("victor_autotune_plugin")

_MOST_KINDS: Final = 200


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


def report(where: str, error: BaseException) -> None:
    """Remember a fault, and log it if it is the first of its kind in this process.

    Args:
        where: The step that failed.
        error: What it raised.
    """
    key = (where, type(error).__qualname__)
    now = time.time()
    with _lock:
        known = _seen.get(key)
        if known is not None:
            _seen[key] = evolve(known, count=known.count + 1, last_at=now)
            return
        if len(_seen) >= _MOST_KINDS:
            return
        _seen[key] = Fault(where, f"{type(error).__qualname__}: {error}", 1, now, now)
    logger.warning(
        "autotune: %s failed, and the run goes on without it (logged once; see `victor autotune doctor`): %s: %s",
        where,
        type(error).__qualname__,
        error,
    )


@contextmanager
def guard(where: str) -> Iterator[None]:
    """Run a block whose failure must not reach the user's run.

    Args:
        where: The step, as in `report`.
    """
    try:
        yield
    except Exception as error:
        report(where, error)


def seen() -> tuple[Fault, ...]:
    """Return the faults of this process, oldest first."""
    with _lock:
        return tuple(sorted(_seen.values(), key=lambda fault: fault.first_at))


def forget() -> None:
    """Forget all faults, so that the next of each kind is logged again."""
    with _lock:
        _seen.clear()
