"""The runs of all teams in memory, few figures of each, kept up to date by what was written since the last look."""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..storage import Store
    from ..storage.run_listing import ListedRun, Pulse

TeamKey = tuple[str, str]
"""Workflow and team id."""

_WHOLE_SECONDS: Final = 30.0
"""So many seconds pass at least between two readings of all runs."""

_STARTED: Final = attrgetter("started_at", "run_id")


class RunIndex:
    """The runs of a store by team, by their start. One thread refreshes it; lists that were given out never change.

    Args:
        store: The store.
        clock: Monotonic seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self.read = 0
        """How many runs were read so far."""
        self._store = store
        self._clock = clock
        self._teams: dict[TeamKey, list[ListedRun]] = {}
        self._running: dict[str, float] = {}
        self._total = 0
        self._elsewhere = -1
        self._last = 0.0
        self._scored_at = 0.0
        self._whole_at = -math.inf

    def teams(self) -> Sequence[TeamKey]:
        """Return the teams that have a run."""
        return list(self._teams)

    def runs(self, key: TeamKey) -> Sequence[ListedRun]:
        """Return the runs of a team, oldest first, those that go on among them."""
        return self._teams.get(key, ())

    def refresh(self, pulse: Pulse) -> set[TeamKey]:
        """Read what was written since the last time.

        Args:
            pulse: The store's pulse, from before.

        Returns:
            The teams whose runs changed.

        Raises:
            StoreError: If the store can't be used.
        """
        since = min([self._last, *self._running.values()])
        scored = self._scored_at if pulse.scored_at > self._scored_at > 0 else None
        changed = self._take(self._store.listed_runs(since, scored))
        self._scored_at = max(self._scored_at, pulse.scored_at)
        # Runs that were written late began before: a journal was drained, an archive imported, or a clock is behind.
        # Those of other environments look the same, so it is not read again and again.
        elsewhere = pulse.runs - self._total
        if elsewhere > self._elsewhere:
            if self._elsewhere >= 0 and self._clock() - self._whole_at > _WHOLE_SECONDS:
                changed |= self._take(self._store.listed_runs())
                self._whole_at, self._elsewhere = self._clock(), pulse.runs - self._total
            elif self._elsewhere < 0:
                self._elsewhere = elsewhere
        return changed

    def _take(self, found: Iterable[ListedRun]) -> set[TeamKey]:
        new: dict[TeamKey, dict[str, ListedRun]] = defaultdict(dict)
        for row in found:
            self.read += 1
            new[row.workflow, row.team_id][row.run_id] = row
            self._last = max(self._last, row.started_at)
            if row.status == "running":
                self._running[row.run_id] = row.started_at
            else:
                self._running.pop(row.run_id, None)
        changed = set()
        for key, rows in new.items():
            old = self._teams.get(key, [])
            begin = bisect_left(old, min(row.started_at for row in rows.values()), key=attrgetter("started_at"))
            known = {row.run_id: row for row in old[begin:]}
            if any(known.get(run_id) != row for run_id, row in rows.items()):
                merged = sorted((known | rows).values(), key=_STARTED)
                self._teams[key] = old[:begin] + merged
                self._total += len(merged) - len(known)
                changed.add(key)
        return changed
