"""Finds in the trace of a run that ended which members used whose work, behind the run.

A short trace takes less than a wake-up of a thread, and the flow that is found before its run is committed costs the
store nothing: so the store thread finds it when it is about to commit. All others are the data-flow thread's: it takes
10 ms for a team that wrote a book, and pauses between texts, so that no event loop feels it. The trace holds the run's
texts, and goes with this step: what is handed over are members and channels only.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
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

SHORT_CHARACTERS: Final = 10_000
"""Text of a trace at most that the store thread looks at, which takes a fraction of a millisecond."""

SHORT_ENTRIES: Final = 64
"""Entries of such a trace at most."""

SHORT_SECONDS: Final = 0.25
"""After how long the data-flow thread takes a short trace, since the store thread commits nothing."""

_FEW_ENTRIES: Final = 256
"""Entries of a trace that take no time to go through."""

_OF_NOTES: Final = "victor_autotune_plugin._dataflow.edges"
_OF_TEXTS: Final = "victor_autotune_plugin._dataflow.given_texts"
# It needs numpy.


@frozen
class TracedRun:
    """A run that ended, what was noted of it, and when that was handed over, in monotonic seconds."""

    run: TeamRun
    trace: RunTrace
    at: float = float("-inf")


class FlowWork:
    """The work of the data-flow thread, and what the store thread does of it.

    Attributes:
        is_before_commit: Whether the store thread finds flows, and takes with it what is submitted by now.

    Args:
        done: Called with each run and its data flow, None where it could not be found out.
    """

    def __init__(self, done: Callable[[TeamRun, RunFlow | None], None]) -> None:
        self._done = done
        self._waiting: deque[TracedRun] = deque()
        self._short: deque[TracedRun] = deque()
        self._is_at_work = self.is_before_commit = False

    @property
    def is_idle(self) -> bool:
        """Whether no run waits."""
        at_work = self._is_at_work or self.is_before_commit
        return not self._waiting and not self._short and not at_work

    @property
    def is_full(self) -> bool:
        """Whether no further run is taken."""
        waiting = (*tuple(self._waiting), *tuple(self._short))
        return len(waiting) >= MOST_WAITING or sum(one.trace.characters for one in waiting) >= MOST_CHARACTERS

    def submit(self, traced: TracedRun) -> float:
        """Take in a run, and return within which time `step` is to be called; called on the event loop."""
        if _is_short(traced.trace):
            self._short.append(traced)
            return SHORT_SECONDS
        self._waiting.append(traced)
        return 0.0

    def before_commit(self) -> None:
        """Find the data flow of the runs whose traces are short; called by the store thread."""
        if not self._short:
            return
        self.is_before_commit = True
        try:
            while self._find_next(self._short):
                pass
        finally:
            self.is_before_commit = False

    def step(self, now: float) -> float | None:
        """Find the data flow of the next run; return after how many seconds to call again, None for no run.

        Args:
            now: Monotonic seconds.
        """
        self._is_at_work = True
        try:
            if not self._find_next(self._waiting):
                with suppress(IndexError):  # the store thread took it
                    left = self._short[0].at + SHORT_SECONDS - now
                    if left > 0:
                        return left
                    self._find_next(self._short)
        finally:
            self._is_at_work = False
        return 0.0 if self._waiting or self._short else None

    def _find_next(self, waiting: deque[TracedRun]) -> bool:
        """Find the data flow of a run; return False where none waits."""
        try:
            traced = waiting.popleft()
        except IndexError:
            return False
        flow: RunFlow | None = None
        with failsafe.guard("data flow of a run, which is not known"), _around(traced.trace):
            from .._dataflow.edges import flow_of

            flow = flow_of(traced.trace, Breather())
        self._done(traced.run, flow)
        return True


def _is_short(trace: RunTrace) -> bool:
    few = trace.characters <= SHORT_CHARACTERS and len(trace.entries) <= SHORT_ENTRIES
    return few and _is_loaded(trace)


def _is_loaded(trace: RunTrace) -> bool:
    return (_OF_TEXTS if trace.characters else _OF_NOTES) in sys.modules


def _around(trace: RunTrace) -> AbstractContextManager[None]:
    """Return what lets others go first where the analysis, which pauses between texts, does something long besides."""
    return nullcontext() if _is_loaded(trace) and len(trace.entries) <= _FEW_ENTRIES else breathing()
