"""Where a process is in the sequences of arms that it draws from.

Every process draws from a stream of its own, so that none has to ask another which arm is next. A stream is a numbered
slot that the store gives, or the file beside the snapshot where the store is not reached yet, and that goes back with
its index; without both, a fresh one is made up. Blocks are balanced within a stream.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from random import Random, SystemRandom
from typing import Any, Final

from attrs import define

from .._model.experiment import Phase

MOST_TASKS: Final = 10_000
"""Tasks of an experiment whose occurrences are remembered; the one not seen for longest goes first."""

Key = tuple[str, Phase]
"""Experiment id and phase."""


def fresh_name(random: Random) -> str:
    """Return the name of a stream that no other process has."""
    return f"x{random.getrandbits(48):012x}"


@define
class Slot:
    """A stream that the process holds.

    Attributes:
        name: Its name.
        next_index: Place of the next run.
        source: Who gave it, and so gets it back: `store`, `file`, or `fresh` for none of them.
        end: Place from which on the process must ask before it goes on; None for none.
    """

    name: str
    next_index: int = 0
    source: str = "fresh"
    end: int | None = None

    @property
    def is_used_up(self) -> bool:
        """Whether the process must ask before it goes on."""
        return self.end is not None and self.next_index >= self.end


class Streams:
    """The streams of a process, by experiment and phase.

    Args:
        random: What names of fresh streams are drawn from; None for the system's randomness.
    """

    def __init__(self, random: Random | None = None) -> None:
        self._random = random or SystemRandom()
        self._slots: dict[Key, Slot] = {}
        self._tasks: dict[Key, OrderedDict[str, int]] = {}
        self._replaced: list[tuple[Key, Slot]] = []

    def has(self, key: Key) -> bool:
        """Return whether the process holds a stream for a phase of an experiment, with a place left."""
        slot = self._slots.get(key)
        return slot is not None and not slot.is_used_up

    def of(self, key: Key) -> Slot | None:
        """Return the stream that the process holds, used up or not."""
        return self._slots.get(key)

    def hold(self, key: Key, slot: Slot) -> bool:
        """Hold a stream from now on; return False, and keep the one there is, where the process has one."""
        known = self._slots.get(key)
        if known is not None and not known.is_used_up:
            return False
        if known is not None:
            self._replaced.append((key, known))
        self._slots[key] = slot
        return True

    def take(self, experiment_id: str, phase: Phase, task_key: str | None) -> tuple[str, int]:
        """Return stream and index of the next run.

        A task that comes again has a stream of its own, of its occurrences: so its runs are spread over both arms,
        whatever else comes between them.
        """
        key = experiment_id, phase
        if task_key is not None:
            again = self._came_again(key, task_key)
            if again is not None:
                return f"task:{task_key}", again
        slot = self._slots.get(key)
        if slot is None or slot.is_used_up:  # nobody answered in time
            slot = Slot(fresh_name(self._random))
            self.hold(key, slot)
        index = slot.next_index
        slot.next_index = index + 1
        return slot.name, index

    def drop_all_but(self, experiment_ids: Collection[str]) -> None:
        """Forget the streams of experiments that are not open any more."""
        held: dict[Key, Any]
        for held in (self._slots, self._tasks):
            for key in [key for key in held if key[0] not in experiment_ids]:
                held.pop(key, None)
        self._replaced = [one for one in self._replaced if one[0][0] in experiment_ids]

    def held(self) -> list[tuple[Key, Slot]]:
        """Return the streams, to give them back."""
        return [*self._slots.items(), *self._replaced]

    def _came_again(self, key: Key, task_key: str) -> int | None:
        """Count a run of a task; return its place among the repetitions, or None for the first run."""
        tasks = self._tasks.setdefault(key, OrderedDict())
        seen = tasks.pop(task_key, -1)
        tasks[task_key] = seen + 1
        if len(tasks) > MOST_TASKS:
            tasks.popitem(last=False)
        return None if seen < 0 else seen
