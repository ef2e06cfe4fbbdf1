"""The runs of all teams in memory, few figures of each, kept up to date by what was written since the last look.

Of a store with more than `MOST_KEPT` runs they are the last ones of each team, as many of one as of the other.
"""

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

MOST_KEPT: Final = 100_000
"""Most runs of a store of which all are kept; of one with more ..."""

KEPT: Final = 75_000
"""... so many are kept of all teams together ..."""

FEWEST_KEPT: Final = 50
"""... and so many of each team at least."""

_STARTED: Final = attrgetter("started_at", "run_id")


class RunIndex:
    """The runs of a store by team, by their start. One thread refreshes it; lists that were given out never change.

    Args:
        store: The store.
        clock: Monotonic seconds.
        wanted: Whether the runs of a team are looked at.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float] = time.monotonic,
        wanted: Callable[[TeamKey], bool] = lambda _: True,
    ) -> None:
        self.read = 0
        """How many runs were read so far."""
        self.kept: int | None = None
        """How many of the last runs of each team are kept; None for all."""
        self._store = store
        self._clock = clock
        self._wanted = wanted
        self._counts: dict[TeamKey, int] = {}
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
        """Return the runs of a team that are kept, oldest first, those that go on among them."""
        return self._teams.get(key, ())

    def count(self, key: TeamKey) -> int:
        """Return how many runs a team has, kept or not."""
        return self._counts.get(key, 0)

    def refresh(self, pulse: Pulse) -> set[TeamKey]:
        """Read what was written since the last time.

        Args:
            pulse: The store's pulse, from before.

        Returns:
            The teams whose runs changed.

        Raises:
            StoreError: If the store can't be used.
        """
        if self._elsewhere < 0 and pulse.runs > MOST_KEPT:
            return self._take_last(pulse)
        since = min([self._last, *self._running.values()])
        scored = self._scored_at if pulse.scored_at > self._scored_at > 0 else None
        changed = self._take(self._store.listed_runs(since, scored))
        self._scored_at = max(self._scored_at, pulse.scored_at)
        # Runs that were written late began before: a journal was drained, an archive imported, or a clock is behind.
        # Those of other environments look the same, so it is not read again and again.
        elsewhere = pulse.runs - self._total
        if elsewhere > self._elsewhere:
            if self._elsewhere >= 0 and self._clock() - self._whole_at > _WHOLE_SECONDS:
                changed |= self._take_all(pulse)
                self._whole_at, self._elsewhere = self._clock(), pulse.runs - self._total
            elif self._elsewhere < 0:
                self._elsewhere = elsewhere
        return changed

    def _take_all(self, pulse: Pulse) -> set[TeamKey]:
        return self._take(self._store.listed_runs()) if self.kept is None else self._take_last(pulse)

    def _take_last(self, pulse: Pulse) -> set[TeamKey]:
        """Read the last runs of each team, and how many it has."""
        counts = {key: self._store.run_count(*key) for key in self._store.last_seen() if self._wanted(key)}
        self.kept = most = max(FEWEST_KEPT, KEPT // max(len(counts), 1))
        changed = {key for key, runs in counts.items() if runs != self._counts.get(key)}
        for key in counts:
            changed |= self._take(self._store.last_runs(*key, most, finished=False)[::-1])
        self._counts, self._total = counts, sum(counts.values())
        self._scored_at = max(self._scored_at, pulse.scored_at)
        self._elsewhere = pulse.runs - self._total
        return changed

    def _take(self, found: Iterable[ListedRun]) -> set[TeamKey]:
        new: dict[TeamKey, dict[str, ListedRun]] = defaultdict(dict)
        for row in found:
            self.read += 1
            if not self._wanted((row.workflow, row.team_id)):
                continue
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
                whole = old[:begin] + merged
                # Trimmed from time to time, since each time copies what stays.
                is_long = self.kept is not None and len(whole) > 2 * self.kept
                self._teams[key] = whole[-self.kept :] if is_long and self.kept else whole
                more = len(merged) - len(known)
                self._total += more
                self._counts[key] = self._counts.get(key, 0) + more
                changed.add(key)
        return changed
