"""Lets old runs go behind the user's runs: a small piece at a time, when the store thread has nothing else to do."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .. import failsafe
from ..errors import StoreBusyError
from .snapshot import Memory

if TYPE_CHECKING:
    from .._settings.team_settings import RetentionSettings
    from ..storage import Store
    from ..storage.pruning import PruneBound

FIRST_SECONDS: Final = 300.0
"""How long a process runs before it looks for the first time: short ones leave it to others."""

LOOK_SECONDS: Final = 3_600.0
"""How often it looks."""

PAUSE_SECONDS: Final = 0.05
"""Between two pieces of work, of about two milliseconds each; now and then SQLite writes its log back, too."""

BUSY_SECONDS: Final = 1.0
"""How long it leaves a store alone that another process writes to."""


class PruneWork:
    """The pruning of the teams that run in this process, which the store thread does.

    Args:
        memory: Knows these teams.
        retention: Gives the settings.
    """

    def __init__(self, memory: Memory, retention: Callable[[], RetentionSettings]) -> None:
        self._memory = memory
        self._retention = retention
        self._next_look: float | None = None
        self._teams: deque[tuple[str, str]] = deque()
        self._bounds: deque[tuple[tuple[str, str], PruneBound]] = deque()
        self._after = 0

    def step(self, store: Store, now: float) -> float:
        """Do a piece of work where there is any, and return after how many seconds to call again. Raises nothing.

        Args:
            store: The store.
            now: Monotonic seconds.
        """
        if self._next_look is None:
            self._next_look = now + FIRST_SECONDS
        if now < self._next_look:
            return self._next_look - now
        try:
            self._work(store, now)
        except StoreBusyError:  # others write: it can wait
            return BUSY_SECONDS
        except Exception as error:  # whatever it is, runs are recorded as before
            failsafe.report("pruning of old runs", error)
            self._give_up(now)
        if self._teams or self._bounds:
            return PAUSE_SECONDS
        return max(0.0, self._next_look - now)

    def _work(self, store: Store, now: float) -> None:
        if self._bounds:
            self._prune(store)
        elif self._teams:
            self._look(store, self._teams[0])
            self._teams.popleft()  # only now: a store that was busy is asked again
        elif self._has_limit and store.identity().may_prune:
            self._teams.extend(self._memory.settings)
        if not self._teams and not self._bounds:
            self._next_look = now + LOOK_SECONDS

    @property
    def _has_limit(self) -> bool:
        retention = self._retention()
        return retention.runs is not None or retention.days is not None

    def _look(self, store: Store, key: tuple[str, str]) -> None:
        retention = self._retention()
        with store.reading() as transaction:
            # A clock that is a year fast would let all go; where a person says so, it is that person's clock.
            is_known = retention.days is not None and transaction.is_clock_borne_out(*key)
            bounds = transaction.prune_bounds(*key, retention.runs, retention.days if is_known else None)
        self._bounds.extend((key, bound) for bound in bounds)

    def _prune(self, store: Store) -> None:
        key, bound = self._bounds[0]
        with store.transaction(patience=0.0) as transaction:
            piece = transaction.prune(*key, bound, self._after)
        self._after = piece.last
        if piece.is_over:
            self._bounds.popleft()
            self._after = 0

    def _give_up(self, now: float) -> None:
        self._teams.clear()
        self._bounds.clear()
        self._after = 0
        self._next_look = now + LOOK_SECONDS
