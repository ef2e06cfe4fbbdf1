"""What the data-flow thread does: it finds in the trace of a run that ended which members used whose work.

It takes 10 ms for a team that wrote a book, and pauses between texts, so that no event loop feels it. The trace holds
the run's texts, and goes with this thread's step: what is handed over are members and channels only.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final

from attrs import frozen

from .. import failsafe
from .threads import Breather, breathing

if TYPE_CHECKING:
    from .._dataflow.trace import RunTrace
    from .._model.data_flow import RunFlow
    from .._model.run import TeamRun

MOST_WAITING: Final = 64
"""Traces that wait at most; the data flow of a run beyond them is not found out."""

MOST_CHARACTERS: Final = 8_000_000
"""Text in them at most."""

_FEW_ENTRIES: Final = 256
"""Entries of a trace that take no time to go through."""

_OF_NOTES: Final = "victor_autotune_plugin._dataflow.edges"
_OF_TEXTS: Final = "victor_autotune_plugin._dataflow.given_texts"
# It needs numpy.


@frozen
class TracedRun:
    """A run that ended, and what was noted of it."""

    run: TeamRun
    trace: RunTrace


class FlowWork:
    """The work of the data-flow thread.

    Args:
        done: Called with each run and its data flow, None where it could not be found out.
    """

    def __init__(self, done: Callable[[TeamRun, RunFlow | None], None]) -> None:
        self._done = done
        self._waiting: deque[TracedRun] = deque()
        self._is_at_work = False

    @property
    def is_idle(self) -> bool:
        """Whether no run waits."""
        return not self._waiting and not self._is_at_work

    @property
    def is_full(self) -> bool:
        """Whether no further run is taken."""
        waiting = tuple(self._waiting)
        return len(waiting) >= MOST_WAITING or sum(one.trace.characters for one in waiting) >= MOST_CHARACTERS

    def submit(self, traced: TracedRun) -> None:
        """Take in a run; called on the event loop."""
        self._waiting.append(traced)

    def step(self, _now: float) -> float | None:
        """Find the data flow of the next run; return 0 where others wait, else None."""
        if not self._waiting:
            return None
        self._is_at_work = True
        try:
            traced = self._waiting.popleft()
            flow: RunFlow | None = None
            with failsafe.guard("data flow of a run, which is not known"), _around(traced.trace):
                from .._dataflow.edges import flow_of

                flow = flow_of(traced.trace, Breather())
            self._done(traced.run, flow)
        finally:
            self._is_at_work = False
        return 0.0 if self._waiting else None


def _around(trace: RunTrace) -> AbstractContextManager[None]:
    """Return what lets others go first where the analysis, which pauses between texts, does something long besides."""
    is_loaded = (_OF_TEXTS if trace.characters else _OF_NOTES) in sys.modules
    return nullcontext() if is_loaded and len(trace.entries) <= _FEW_ENTRIES else breathing()
