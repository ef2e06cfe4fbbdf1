"""A circuit breaker: what failed is tried again soon, then less and less often, until it works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

FIRST_SECONDS: Final = 0.1
"""Pause after the first failure: most outages are a restart, or one lost connection."""

LONGEST_SECONDS: Final = 5.0
"""Longest pause."""


class CircuitBreaker:
    """Says whether to try, from what happened before.

    The pause doubles with every failure, and is shortened at random by up to half, so that the processes that lost one
    server do not come back to it all at once (full jitter is not used: a pause of nothing helps no process).

    Args:
        uniform: Returns a random number in [0, 1).
    """

    def __init__(self, uniform: Callable[[], float]) -> None:
        self._uniform = uniform
        self._failures = 0
        self._until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the last try failed: no run should wait for the next one."""
        return self._failures > 0

    def seconds_left(self, now: float) -> float:
        """Return how long to wait before the next try; 0 for now.

        Args:
            now: Monotonic seconds.
        """
        return max(0.0, self._until - now) if self._failures else 0.0

    def succeeded(self) -> None:
        """Note that a try worked."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """Note that a try failed; `now` is in monotonic seconds."""
        self._failures += 1
        pause = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(self._failures - 1, 16))
        self._until = now + pause * (1.0 - 0.5 * self._uniform())
