"""The core of the writer: what is to be written, by whom, and when; it has no thread, no I/O and no clock.

```
run ─▶ submit ─▶ store thread: take ─▶ commit ─▶ committed
          └────▶ file thread: due (not committed in time) ─▶ journal ─▶ journaled
```

No run waits for what is in the journal, and it is committed from memory all the same: the file is read again only by
another process after a crash, or by this one when an outage left more than the memory keeps.

Both threads and the runs share it without a lock: what they share are deques, whose ends are atomic, and marks on items
that are set once. An item may be committed and journaled both; the store takes each run once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from attrs import define, field

from .waiting import Signal

if TYPE_CHECKING:
    from ..storage.journal import Entry

MOST_ROWS: Final = 500
"""Most entries in one transaction."""

MOST_IN_MEMORY: Final = 10_000
"""Most entries that wait in memory when neither store nor journal takes them; the oldest are lost, and counted."""

MOST_KEPT: Final = 2_000
"""Entries beyond which those that are in the journal leave the memory; they are read again from there."""

START_COMMIT_SECONDS: Final = 0.01
"""After how long a start that a run waits for goes to the journal."""

END_COMMIT_SECONDS: Final = 0.05
"""After how long the end of a run goes to the journal."""

PART_COMMIT_SECONDS: Final = 1.0
"""After how long what completes a run goes to the journal; no run waits for it."""

SOON_SHARE: Final = 0.5
"""Share of these times after which an entry goes along with one that is late."""

NEVER: Final = math.inf

GATHER_SECONDS: Final = 0.1
"""How long an entry that no run waits for may wait for others: each commit costs more than what is in it."""

END_GATHER_SECONDS: Final = 0.015
"""How long the end of a run waits for others where runs end side by side."""

BUSY_SECONDS: Final = 0.05
"""How long after the end of a run the next one counts as following it."""

ENOUGH_ROWS: Final = 50
"""Entries that wait for no others."""

FIRST_PAUSE_SECONDS: Final = 0.1
"""Pause after the first failure: most outages are a restart, or one lost connection."""

LONGEST_PAUSE_SECONDS: Final = 5.0
"""Longest pause."""


class CircuitBreaker:
    """A circuit breaker: what failed is tried again soon, then less and less often, until it works.

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
        """Return how long to wait before the next try; 0 when it may come at once.

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
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(self._failures - 1, 16))
        self._until = now + pause * (1.0 - 0.5 * self._uniform())


@define(eq=False)
class Item:
    """An entry on its way to the store.

    Attributes:
        entry: What to write.
        at: When it was submitted, monotonic seconds.
        journal_after: Seconds after which it goes to the journal if it is not committed; `NEVER` for what the end of
            the run tells again.
        team: The team that may be judged once it is committed, or None.
        patience: Seconds that it may wait for others to be committed with.
        given_up: Whether it is lost: refused by the store, or too much for the memory.
        is_stored: Whether the store has it.
        is_kept: Whether it is in memory, or else only in the journal.
    """

    entry: Entry
    at: float
    journal_after: float
    team: tuple[str, str] | None = None
    patience: float = 0.0
    given_up: bool = False
    is_stored: bool = False
    is_kept: bool = True
    settled: Signal = field(factory=Signal, init=False)
    """Set when no run needs to wait for it any more."""

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to do for it."""
        return self.is_stored or self.given_up


class WriterCore:
    """What is to be written.

    Args:
        breaker: Of the store.
        on_lost: Called with the number of entries that were lost.
    """

    def __init__(self, breaker: CircuitBreaker, on_lost: Callable[[int], None]) -> None:
        self.breaker = breaker
        self.is_connected = False
        """Whether the store was reached; before, nothing waits for it."""
        self.journal_answers = True
        """Whether the last try to write the journal worked."""
        self._on_lost = on_lost
        self._for_store: deque[Item] = deque()
        self._for_journal: deque[Item] = deque()
        self._journaled: deque[tuple[int, tuple[Item, ...]]] = deque()  # by the last line of an append
        self._in_flight = False
        self._ended_at = -math.inf

    @property
    def store_answers(self) -> bool:
        """Whether to count on the store now."""
        return self.is_connected and not self.breaker.is_open

    @property
    def is_settled(self) -> bool:
        """Whether everything that was submitted is in the store, in the journal, or given up."""
        if self._in_flight:
            return False
        waiting = (*tuple(self._for_store), *tuple(self._for_journal))
        return all(item.settled.is_set or item.journal_after == NEVER for item in waiting)

    @property
    def is_drained(self) -> bool:
        """Whether everything that is in the journal is in the store, too."""
        return all(item.is_done for _, items in tuple(self._journaled) for item in items)

    def submit(self, item: Item) -> None:
        """Take in an entry; called by runs."""
        self._for_journal.append(item)
        self._for_store.append(item)

    def patience_at_end(self, now: float, seconds: float) -> float:
        """Return how long the end of a run may wait for other entries.

        Not at all unless another one ended a moment ago and during this one: runs one after the other, and the only run
        of a host, would wait for nothing.

        Args:
            now: Monotonic seconds.
            seconds: How long the run took.
        """
        before, self._ended_at = self._ended_at, now
        return END_GATHER_SECONDS if now - before < min(seconds, BUSY_SECONDS) else 0.0

    # --- the store's side

    def seconds_until_wanted(self, now: float) -> float:
        """Return how long until something is to be committed; infinity where nothing waits."""
        waiting = tuple(self._for_store)
        if len(waiting) >= ENOUGH_ROWS:
            return 0.0
        return max(0.0, min((item.at + item.patience for item in waiting), default=math.inf) - now)

    def take(self, now: float, most: int = MOST_ROWS) -> list[Item]:
        """Return the entries to commit next; none while the store is left alone.

        Args:
            now: Monotonic seconds.
        """
        batch: list[Item] = []
        if self.breaker.seconds_left(now) > 0:
            return batch
        with suppress(IndexError):
            while len(batch) < most:
                item = self._for_store.popleft()
                if not item.is_done:
                    batch.append(item)
        self._in_flight = bool(batch)
        return batch

    def committed(self, batch: Iterable[Item]) -> None:
        """Note that the store has these."""
        self.breaker.succeeded()
        for item in batch:
            item.is_stored = True
            item.settled.set()
        self._in_flight = False

    def refused(self, item: Item) -> None:
        """Note that the store will never take this one."""
        item.given_up = True
        item.settled.set()

    def not_committed(self, batch: Sequence[Item]) -> None:
        """Queue again what could not be committed; whether that is an outage, the store thread tells the breaker."""
        kept = [item for item in batch if item.journal_after != NEVER and not item.is_done]
        self._for_store.extendleft(reversed(kept))
        self._in_flight = False
        lost = 0
        while len(self._for_store) > MOST_IN_MEMORY:
            item = self._for_store.popleft()
            if item.settled.is_set:
                item.is_kept = False
            else:
                lost += 1
                self.refused(item)
        if lost:
            self._on_lost(lost)

    def left_to_journal(self, batch: Iterable[Item]) -> None:
        """Note that these are no longer in memory."""
        for item in batch:
            item.is_kept = False
        self._in_flight = False

    def drained_line(self, line: int) -> int:
        """Return up to which line the store has what is in the journal.

        Args:
            line: Up to which line it was known to have it.
        """
        while self._journaled:
            last, items = self._journaled[0]
            if last > line and not all(item.is_done for item in items):
                break
            line = max(line, last)
            self._journaled.popleft()
        return line

    def line_to_read(self) -> int:
        """Return up to which line the journal has to be read, since it is not all in memory; 0 for none."""
        gone = (last for last, items in reversed(tuple(self._journaled)) if not all(map(_is_cared_for, items)))
        return next(gone, 0)

    # --- the journal's side

    def due(self, now: float) -> list[Item]:
        """Return the entries that go to the journal now, since the store did not take them in time.

        With one that is late go those that will be soon: a journal is written, and made durable, once for all of them.
        """
        waiting: list[Item] = []
        while self._for_journal:
            item = self._for_journal.popleft()
            if not item.settled.is_set and item.journal_after != NEVER:
                waiting.append(item)
        share = 1.0 if self.store_answers else 0.0
        if any(now - item.at >= share * item.journal_after for item in waiting):
            share *= SOON_SHARE
        due = [item for item in waiting if now - item.at >= share * item.journal_after]
        rest = [item for item in waiting if now - item.at < share * item.journal_after]
        self._for_journal.extendleft(reversed(rest))
        return due

    def seconds_until_due(self, now: float) -> float | None:
        """Return how long until something may be due; None while nothing waits."""
        if not self._for_journal:
            return None
        return max(0.0, min(item.at + item.journal_after for item in tuple(self._for_journal)) - now)

    def journaled(self, items: Sequence[Item], last_line: int) -> None:
        """Note that these are in the journal.

        Args:
            items: What was appended.
            last_line: The number of the last line of it.
        """
        self.journal_answers = True
        self._journaled.append((last_line, tuple(items)))  # before they are settled, or all would seem to be done
        for item in items:
            item.settled.set()
        with suppress(IndexError):
            while len(self._for_store) > MOST_KEPT:
                item = self._for_store.popleft()
                if not item.settled.is_set and item.journal_after != NEVER:
                    self._for_store.appendleft(item)
                    break
                item.is_kept = False

    def not_journaled(self, items: Sequence[Item]) -> None:
        """Queue again what the journal did not take; it goes on waiting for the store, and is tried again."""
        self.journal_answers = False
        self._for_journal.extend(items)


def _is_cared_for(item: Item) -> bool:
    return item.is_kept or item.is_done
