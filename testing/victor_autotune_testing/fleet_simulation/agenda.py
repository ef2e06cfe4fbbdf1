"""What happens when: events in the order of their times, on one thread; time passes from one to the next."""

from __future__ import annotations

import heapq
from collections.abc import Callable

_DEEPEST = 3
# Whoever waits in the middle of a step lets others go on inside of it; deeper, time alone passes.


class Agenda:
    """The events that are still to come.

    Attributes:
        now: True time, Unix seconds; every clock of the fleet is set by it, right or wrong.
        stopped: Whether nothing is to happen any more.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self.stopped = False
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._depth = 0

    def at(self, time: float, event: Callable[[], None]) -> None:
        """Have something happen at a time, or at once when that has passed."""
        self._number += 1
        heapq.heappush(self._events, (max(time, self.now), self._number, event))

    def after(self, seconds: float, event: Callable[[], None]) -> None:
        """Have something happen in so many seconds."""
        self.at(self.now + seconds, event)

    def run_until(self, time: float) -> None:
        """Let everything happen that is due until a time."""
        while self._events and self._events[0][0] <= time and not self.stopped:
            due, _, event = heapq.heappop(self._events)
            self.now = max(self.now, due)
            event()
        if not self.stopped:
            self.now = max(self.now, time)

    def wait(self, seconds: float) -> None:
        """Let time pass in the middle of an event; what is due meanwhile happens inside of it."""
        if self._depth < _DEEPEST:
            self._depth += 1
            try:
                self.run_until(self.now + seconds)
            finally:
                self._depth -= 1

    def forget(self) -> None:
        """Let nothing that was to come happen."""
        self._events.clear()
