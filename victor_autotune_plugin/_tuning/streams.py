"""Where a process is in the sequences of arms that it draws from.

Every process draws from a stream of its own, so that none has to ask another which arm is next. A stream is a numbered
slot that the store gives, or the file beside the snapshot where the store is not reached yet, and that goes back with
its index; without both, a fresh one is made up. Blocks are balanced within a stream.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from random import Random, SystemRandom
from typing import Final

from attrs import define

from .._model.assignment import TASK_STREAM, stream_of
from .._model.experiment import Phase

MOST_TASKS: Final = 10_000
"""Tasks of an experiment whose occurrences are remembered; the one not seen for longest goes first."""

StreamKey = tuple[str, Phase, str]
"""Experiment id, phase and stage."""


def fresh_name(random: Random, stage: str = "") -> str:
    """Return the name of a stream of a stage that no other process has."""
    return stream_of(stage, f"x{random.getrandbits(48):012x}")


@define
class Slot:
    """A stream that the process holds.

    Attributes:
        name: Its name.
        next_index: Place of the next run.
        source: Who gave it, and so gets it back: `store`, `file`, or `fresh` for none of them.
        end: Place from which on the process must ask before it goes on; None for none.
        reserved: How many places are reserved at a time, so that it asks for more before it comes to the end.
    """

    name: str
    next_index: int = 0
    source: str = "fresh"
    end: int | None = None
    reserved: int = 0

    @property
    def is_low(self) -> bool:
        """Whether it is time to ask for more places, so that no run has to wait for them."""
        return self.end is not None and 2 * (self.end - self.next_index) < self.reserved

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
        self._slots: dict[StreamKey, Slot] = {}
        self._tasks: dict[str, OrderedDict[str, int]] = {}
        self._own = ""  # what the names of its tasks' streams hold, since every process counts a task from 0
        self._replaced: list[tuple[StreamKey, Slot]] = []

    def has(self, key: StreamKey) -> bool:
        """Return whether the process holds a stream for a phase of an experiment, with a place left."""
        slot = self._slots.get(key)
        return slot is not None and not slot.is_used_up

    def of(self, key: StreamKey) -> Slot | None:
        """Return the stream that the process holds, used up or not."""
        return self._slots.get(key)

    def hold(self, key: StreamKey, slot: Slot) -> bool:
        """Hold a stream from now on; return False, and keep the one there is, where the process has one."""
        known = self._slots.get(key)
        if known is not None and not known.is_used_up:
            return False
        if known is not None:
            self._replaced.append((key, known))
        self._slots[key] = slot
        return True

    def take(self, key: StreamKey, task_key: str | None) -> tuple[str, int]:
        """Return stream and index of the next run.

        Args:
            task_key: The run's task, where it is paired within itself: then a task that comes again has a stream of its
                own in this process, of its occurrences, so its runs are spread over both arms, whatever else comes
                between them.
        """
        if task_key is not None:
            seen = self.count(key[0], task_key)
            if seen:
                self._own = self._own or fresh_name(self._random)
                return f"{TASK_STREAM}{self._own}:{task_key}", seen - 1
        slot = self._slots.get(key)
        if slot is None or slot.is_used_up:  # nobody answered in time
            slot = Slot(fresh_name(self._random, key[2]))
            self.hold(key, slot)
        index = slot.next_index
        slot.next_index = index + 1
        return slot.name, index

    def count(self, experiment_id: str, task_key: str) -> int:
        """Count a run of a task in an experiment's test; return how many there were before."""
        tasks = self._tasks.setdefault(experiment_id, OrderedDict())
        seen = tasks.pop(task_key, 0)
        tasks[task_key] = seen + 1
        if len(tasks) > MOST_TASKS:
            tasks.popitem(last=False)
        return seen

    def drop_all_but(self, experiment_ids: Collection[str]) -> None:
        """Forget the streams of experiments that are not open any more."""
        for key in [key for key in self._slots if key[0] not in experiment_ids]:
            self._slots.pop(key, None)
        for experiment_id in [one for one in self._tasks if one not in experiment_ids]:
            self._tasks.pop(experiment_id, None)
        self._replaced = [one for one in self._replaced if one[0][0] in experiment_ids]

    def held(self) -> list[tuple[StreamKey, Slot]]:
        """Return the streams, to give them back."""
        return [*self._slots.items(), *self._replaced]
