"""What the runs of a process decide from. Its threads replace the parts; a run only reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .snapshot import Snapshot
from .streams import Streams

if TYPE_CHECKING:
    from random import Random

    from .._settings import Settings

_MOST_TEAMS: Final = 10_000


class Memory:
    """The process's copy of what the store knows.

    Attributes:
        snapshot: Live plans and open experiments.
        streams: Where the process is in its streams of arms.
        settings: The settings by which each team ran last in this process.
        last_run_at: Monotonic seconds of the last start of a run.

    Args:
        clock: Monotonic seconds.
        random: What names of fresh streams are drawn from; None for the system's randomness.
    """

    def __init__(self, clock: Callable[[], float], random: Random | None = None) -> None:
        self.snapshot = Snapshot()
        self.streams = Streams(random)
        self.settings: dict[tuple[str, str], Settings] = {}
        self.last_run_at = clock()
        self._clock = clock
        self._confirmed_at = clock()

    @property
    def age(self) -> float:
        """Seconds since the store last confirmed the snapshot."""
        return self._clock() - self._confirmed_at

    def replace(self, snapshot: Snapshot, age: float = 0.0) -> None:
        """Decide from this snapshot from now on, confirmed so many seconds ago."""
        self.snapshot = snapshot
        self._confirmed_at = self._clock() - age

    def confirm(self) -> None:
        """Note that the store has nothing newer."""
        self._confirmed_at = self._clock()

    def remember(self, key: tuple[str, str], settings: Settings) -> None:
        """Keep the settings of a team that runs now; by them it is judged."""
        self.last_run_at = self._clock()
        if self.settings.get(key) is not settings:
            self.settings.pop(key, None)
            self.settings[key] = settings
            if len(self.settings) > _MOST_TEAMS:
                del self.settings[next(iter(self.settings))]
