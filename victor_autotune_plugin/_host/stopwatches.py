"""How long members' models and tools took, and how many calls of models were under way meanwhile."""

from __future__ import annotations

import threading
import time
from typing import Final


class Stopwatch:
    """Seconds in which at least one of several overlapping pieces of work was under way."""

    def __init__(self) -> None:
        self.running = 0
        self._seconds = 0.0
        self._since = 0.0

    def start(self) -> None:
        """Note that a piece of work begins."""
        if self.running == 0:
            self._since = time.monotonic()
        self.running += 1

    def stop(self) -> None:
        """Note that one ended."""
        self.running -= 1
        if self.running == 0:
            self._seconds += time.monotonic() - self._since

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._seconds + (time.monotonic() - self._since if self.running else 0.0)


class InFlight:
    """How many calls of models are under way in this process; calls may come from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls = 0
        self._area = 0.0
        self._at = 0.0

    def begin(self) -> tuple[float, float]:
        """Note that a call begins; return what `end` needs to know of its beginning."""
        with self._lock:
            now = self._advance()
            self._calls += 1
            return now, self._area

    def end(self, begun: tuple[float, float]) -> tuple[float, float]:
        """Note that a call ended; return its seconds, and the mean number of calls under way meanwhile, itself one."""
        with self._lock:
            now = self._advance()
            self._calls -= 1
            seconds = now - begun[0]
            return seconds, (self._area - begun[1]) / seconds if seconds > 0 else float(self._calls + 1)

    def _advance(self) -> float:
        """Add what has passed to the integral of the number of calls over time."""
        now = time.monotonic()
        self._area += self._calls * (now - self._at)
        self._at = now
        return now


in_flight: Final = InFlight()
"""Of this process."""
