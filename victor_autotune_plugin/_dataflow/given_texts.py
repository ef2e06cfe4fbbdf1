"""What the texts of a run tell of its data flow: which of them hold what another member wrote before.

Tasks are looked at more closely than other texts, for only the team itself writes them. A task may hold an output of
one word, or a part of a long one; and one that nothing explains may tell of anything that was written before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from attrs import frozen

from .._model.data_flow import Edge
from .overlap import KNOWN, LEAST_GRAMS, Overlaps
from .trace import Given, RunTrace, Wrote
from .words import GRAM, Hashes, Pause, WordReader, Words

_LEAST_DELEGATED: Final = 3
"""Words of a task, at least, for it to be a part of what another member wrote and not there by chance."""

_WINDOW: Final = 1 << 17
"""Bytes that are searched between two pauses."""

_CALL: Final = _WINDOW // 128
"""Bytes that could be searched in the time that it takes to begin."""

_WORD_BYTES: Final = 8
_BEGIN: Final = 8 * _WORD_BYTES


@frozen(eq=False)
class _Written:
    member: int
    text: str
    words: bytes
    is_result: bool


@frozen
class _Unexplained:
    """A task that no whole text explains.

    Attributes:
        task: Its number.
        member: The member whose task it is.
        writers: The members that had written anything.
    """

    task: int
    member: int
    writers: frozenset[int]


class GivenTexts:
    """The texts of a run.

    Args:
        trace: What was noted of the run.
        pause: Called between pieces of work.
    """

    def __init__(self, trace: RunTrace, pause: Pause) -> None:
        self._trace, self._pause = trace, pause
        self._members = {name: number for number, name in enumerate(dict.fromkeys(trace.members))}
        self._goal = trace.goal.strip()
        self._entries = [
            entry
            for entry in trace.entries
            if isinstance(entry, Given | Wrote) and entry.member in self._members and not self._is_goal(entry)
        ]
        self._has_tasks = any(isinstance(entry, Given) and entry.how == "task" for entry in self._entries)
        self._reader = WordReader(pause)
        self._overlaps = Overlaps(len(self._members), len(self._entries), pause)
        self._known: list[tuple[str, bytes]] = []
        self._known_grams: list[Hashes] = []
        self._written: list[_Written] = []
        self._tasks: dict[int, int] = {}
        self._unexplained: list[_Unexplained] = []
        self._searched = 0

    def _is_goal(self, entry: Given | Wrote) -> bool:
        """Return whether a text is the goal itself, which everybody knows."""
        return isinstance(entry, Given) and entry.text.strip() == self._goal

    def edges(self) -> Iterator[Edge]:
        """Give the edges, some more than once."""
        if len(self._members) < 2 or not self._entries:
            return
        names = list(self._members)
        for source, target, channel, sure in self._found():
            yield Edge(names[source], names[target], channel, sure)

    def _found(self) -> Iterator[tuple[int, int, str, bool]]:
        self._pause()
        for text in dict.fromkeys((self._trace.goal, *self._trace.known)):
            self._add_known(text)
        for entry in self._entries:
            member, words = self._members[entry.member], self._reader.words(entry.text)
            task = None
            if isinstance(entry, Wrote):
                number = self._overlaps.written(member, entry.is_result)
                if self._has_tasks and entry.text.strip():
                    self._written.append(_Written(member, entry.text.strip(), words.hashes.tobytes(), entry.is_result))
            else:
                number, task = self._overlaps.given(member, entry.how == "task")
            for grams, _ in self._reader.grams(words):
                self._overlaps.add(number, grams)
            if task is not None:
                self._tasks[task] = member
                sources = set(self._whole_in(member, entry.text, words.hashes.tobytes()))
                yield from ((source, member, "task", True) for source in sources)
                if not sources and not self._is_explained(member, words):
                    writers = frozenset(one.member for one in self._written)
                    self._unexplained.append(_Unexplained(task, member, writers - {member}))
        self._overlaps.compare()
        yield from self._overlapping()

    def _add_known(self, text: str) -> None:
        words = self._reader.words(text)
        for grams, _ in self._reader.grams(words):
            self._overlaps.add(KNOWN, grams)
            if self._has_tasks:
                self._known_grams.append(np.sort(grams))
        if self._has_tasks:
            self._known.append((text, words.hashes.tobytes()))

    def _whole_in(self, member: int, text: str, words: bytes) -> Iterator[int]:
        """Give the members whose whole output a task holds, and those of whose text it is a part."""
        delegated = len(words) >= _LEAST_DELEGATED * _WORD_BYTES and not self._is_known(words)
        for one in self._written:
            if one.member == member:
                continue
            if one.is_result and one.words:
                passed = self._holds(words, one.words) and not self._is_known(one.words)
            else:  # an emoji, say
                passed = one.is_result and one.text in text and not any(one.text in known for known, _ in self._known)
            if passed or (delegated and self._holds(one.words, words)):
                yield one.member

    def _is_known(self, words: bytes) -> bool:
        return any(self._holds(known, words) for _, known in self._known)

    def _is_explained(self, member: int, words: Words) -> bool:
        """Return whether the words of a task are all in what the member knows or made."""
        told = np.zeros(len(words), np.bool_)
        for grams, starts in self._reader.grams(words):
            for known in self._known_grams:
                at = np.minimum(np.searchsorted(known, grams), len(known) - 1)
                hits = starts[known[at] == grams]
                for place in range(GRAM):
                    told[hits + place] = True
                self._pause()
        own = (one.words for one in self._written if one.member == member and one.is_result)
        in_bytes = words.hashes.tobytes()
        for text in (*(known for _, known in self._known), *own):
            for begin in self._places(in_bytes, text):
                told[begin : begin + len(text) // _WORD_BYTES] = True
        return bool(told.all())

    def _holds(self, words: bytes, part: bytes) -> bool:
        return next(self._places(words, part), None) is not None

    def _places(self, words: bytes, part: bytes) -> Iterator[int]:
        """Give the numbers of the words at which a text stands in another one."""
        if not part or len(part) > len(words):
            return
        begin = part[:_BEGIN]  # Python prepares the whole of what it looks for, which takes long
        for first in range(0, len(words), _WINDOW):
            end = first + _WINDOW + len(begin) - 1
            at = words.find(begin, first, end)
            while at >= 0:
                if at % _WORD_BYTES == 0 and words.startswith(part, at):
                    yield at // _WORD_BYTES
                at = words.find(begin, at + 1, end)
            self._searched += min(len(words), _WINDOW) + _CALL
            if self._searched >= _WINDOW:
                self._searched = 0
                self._pause()

    def _overlapping(self) -> Iterator[tuple[int, int, str, bool]]:
        """Give the edges that 5-grams tell, and those of tasks that they don't explain either."""
        overlaps = self._overlaps
        by_tasks: dict[tuple[int, int], int] = {}
        explained = set()
        for task, target in self._tasks.items():
            self._pause()
            for source in range(len(self._members)):
                grams = overlaps.passed_by_task(source, task)
                by_tasks[source, target] = by_tasks.get((source, target), 0) + grams
                if grams >= LEAST_GRAMS:
                    explained.add(task)
                    yield source, target, "task", True
        for target in range(len(self._members)):
            self._pause()
            for source, is_own in overlaps.sources(target):
                mostly = 2 * by_tasks.get((source, target), 0) > overlaps.passed(source, target)
                yield source, target, "task" if mostly else "text", is_own
        for one in self._unexplained:
            if one.task not in explained:
                yield from ((source, one.member, "task", False) for source in one.writers)
