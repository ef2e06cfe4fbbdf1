"""Which member was given what another one wrote: a comparison of all word 5-grams of a run, by their hashes.

What a member wrote counts as its own where nothing told it so before: neither the goal, a role or the context at the
start, nor anything that it was given. Another member got it from there if it was given it later, and had not written it
by itself. Nothing is compared but what was written with what was given, so two members that answer the same share
nothing. A member that only passes on what a third one wrote may be needed too, which makes a suspected edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from .words import Hashes, Pause

LEAST_GRAMS: Final = 3
"""5-grams of a member's own text that another one was given, at least: seven words in a row."""

LEAST_SHARE: Final = 0.05
"""The same, as a share of the member's own text, or of its results."""

ENOUGH_GRAMS: Final = 64
"""So many are enough whatever their share: what is left where a long text is passed on up to a bound, or in part."""

KNOWN: Final = 0
"""Number of all texts that any member may know."""

_BUCKET: Final = 4096
"""Hashes that are sorted and compared between two pauses."""

_CELLS: Final = 8192
"""Pairs of members, times 5-grams, that are compared between two pauses."""

_OWN, _OWN_RESULT, _MADE, _MADE_RESULT = range(4)

_NOBODY: Final = (-1, False, False, -1)


@frozen(eq=False)
class _Texts:
    """What each text is, by its number; 0 is what all know, and the last one stands for never."""

    owner: NDArray[np.intp]
    is_written: NDArray[np.bool_]
    is_result: NDArray[np.bool_]
    task: NDArray[np.intp]


@define
class Overlaps:
    """The texts of a run by their 5-grams, and what of them came from whom to whom.

    Args:
        members: Number of members; they are numbered from 0.
        texts: Most texts that will be added.
        pause: Called between pieces of work.
    """

    members: int
    texts: int
    pause: Pause
    _keys: list[Hashes] = field(init=False, factory=list)
    _rows: list[tuple[int, bool, bool, int]] = field(init=False, factory=lambda: [_NOBODY])
    _tasks: int = field(init=False, default=0)
    _bits: int = field(init=False)
    _texts: _Texts = field(init=False)
    _own: NDArray[np.int64] = field(init=False)
    _passed: NDArray[np.int64] = field(init=False)
    _by_task: NDArray[np.int64] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._bits = (self.texts + 1).bit_length()  # of a hash; they hold the number of its text instead
        self._own = np.zeros((4, self.members, self.members), np.int64)
        self._passed = np.zeros_like(self._own)

    def written(self, member: int, is_result: bool) -> int:
        """Return the number of a text that a member wrote after all that was numbered before."""
        return self._text(member, True, is_result, -1)

    def given(self, member: int, is_task: bool) -> tuple[int, int | None]:
        """Return the number of a text that a member was given after all that was numbered before, and of the task."""
        task = self._tasks if is_task else None
        self._tasks += is_task
        return self._text(member, False, False, -1 if task is None else task), task

    def add(self, text: int, grams: Hashes) -> None:
        """Add 5-grams of a text.

        Args:
            text: Its number; `KNOWN` for what any member may know without another one.
        """
        if len(grams):
            bits = np.uint64(self._bits)
            self._keys.append((grams >> bits << bits) | np.uint64(text))

    def compare(self) -> None:
        """Compare the texts. Afterwards the figures are there."""
        self._by_task = np.zeros((self.members, self._tasks), np.int64)
        owner, is_written, is_result, task = zip(*self._rows, _NOBODY, strict=True)
        self._texts = _Texts(np.array(owner), np.array(is_written), np.array(is_result), np.array(task))
        for bucket in self._buckets():
            self._compare(bucket)

    def sources(self, target: int) -> Iterator[tuple[int, bool]]:
        """Give the members whose text a member was given, each with whether it was their own text."""
        for source in range(self.members):
            if source == target:
                continue
            if self._is_enough(source, target, _OWN) or self._is_enough(source, target, _OWN_RESULT):
                yield source, True
            elif self._is_enough(source, target, _MADE) or self._is_enough(source, target, _MADE_RESULT):
                yield source, False

    def passed(self, source: int, target: int) -> int:
        """Return how many 5-grams of a member's text came to another one."""
        return int(self._passed[_MADE, source, target])

    def passed_by_task(self, source: int, task: int) -> int:
        """Return how many 5-grams of a member's own text came to another one by a task."""
        return int(self._by_task[source, task])

    def _is_enough(self, source: int, target: int, kind: int) -> bool:
        wanted = min(ENOUGH_GRAMS, LEAST_SHARE * self._own[kind, source, target])
        return bool(self._passed[kind, source, target] >= max(LEAST_GRAMS, wanted))

    def _text(self, member: int, is_written: bool, is_result: bool, task: int) -> int:
        self._rows.append((member, is_written, is_result, task))
        return len(self._rows) - 1

    def _buckets(self) -> Iterator[Hashes]:
        """Give the keys in portions; those of one hash stay together."""
        bits = (sum(map(len, self._keys)) // _BUCKET).bit_length()
        bounds = [which << (64 - bits) for which in range(1, 1 << bits)]
        parts: list[tuple[Hashes, list[int]]] = []
        while self._keys:
            some = [self._keys.pop()]
            while self._keys and sum(map(len, some)) + len(self._keys[-1]) <= _BUCKET:
                some.append(self._keys.pop())
            part = np.sort(np.concatenate(some))
            parts.append((part, [0, *np.searchsorted(part, np.array(bounds, np.uint64)).tolist(), len(part)]))
            self.pause()
        for which in range(1 << bits if parts else 0):
            yield np.concatenate([part[cuts[which] : cuts[which + 1]] for part, cuts in parts])
            self.pause()

    def _compare(self, keys: Hashes) -> None:
        """Add what a set of keys tells; all keys of one hash are in it."""
        if not len(keys):
            return
        texts, bits = self._texts, np.uint64(self._bits)
        keys = np.sort(keys)
        keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))]
        hashes = keys >> bits
        text = (keys ^ (hashes << bits)).astype(np.intp)
        begins = np.concatenate(([True], hashes[1:] != hashes[:-1]))
        first = np.flatnonzero(begins)
        size = np.diff(first, append=len(keys))
        known = text[first] == KNOWN
        once = text[first[(size == 1) & ~known]]
        # What stands in one text only was passed to nobody; most of it does.
        once = once[texts.is_written[once]]
        count = np.bincount(texts.owner[once], minlength=self.members)
        in_results = np.bincount(texts.owner[once[texts.is_result[once]]], minlength=self.members)
        self._own += np.stack([count, in_results, count, in_results])[:, :, None]
        shared = (size > 1) & ~known
        number = np.cumsum(shared) - 1
        of_shared = np.repeat(shared, size)
        group, text = np.repeat(number, size)[of_shared], text[of_shared]
        groups = int(shared.sum())
        step = max(64, _CELLS // self.members**2)
        for low in range(0, groups, step):
            self.pause()
            here = slice(*np.searchsorted(group, (low, low + step)))
            self._compare_shared(group[here] - low, text[here], min(step, groups - low))

    def _compare_shared(self, group: NDArray[np.intp], text: NDArray[np.intp], groups: int) -> None:
        """Add what 5-grams tell that stand in several texts.

        Args:
            group: Number of each 5-gram, ascending.
            text: A text in which it stands; ascending, which is the order in time, for each 5-gram.
            groups: Number of 5-grams.
        """
        owner, is_written = self._texts.owner[text], self._texts.is_written[text]
        never = len(self._rows)
        wrote, given = np.full((2, groups, self.members), never, np.intp)
        for when, chosen in ((wrote, is_written), (given, ~is_written)):
            late_first = np.flatnonzero(chosen)[::-1]  # so that the earliest text is the one that stays
            when[group[late_first], owner[late_first]] = text[late_first]
        in_result = np.zeros((groups, self.members), np.bool_)
        chosen = self._texts.is_result[text]
        in_result[group[chosen], owner[chosen]] = True

        own = (wrote < never) & ~(given < wrote)
        origin = np.where(own, wrote, never).min(axis=1, keepdims=True)
        made = own | ((origin < given) & (given < wrote) & (wrote < never))
        kinds = np.stack([own, own & in_result, made, made & in_result])
        not_by_itself = ~(wrote < given)
        self._own += kinds.astype(np.int32).transpose(0, 2, 1) @ not_by_itself.astype(np.int32)

        got = (wrote[:, :, None] < given[:, None, :]) & (given < wrote)[:, None, :]
        some = np.flatnonzero(got.any(axis=(1, 2)))
        if not some.size:
            return
        got, kinds = got[some], kinds[:, some]
        self._passed += (kinds[:, :, :, None] & got).sum(axis=1)
        if self._tasks:
            rows, sources, targets = np.nonzero(kinds[_OWN][:, :, None] & got)
            tasks = self._texts.task[given[some][rows, targets]]
            np.add.at(self._by_task, (sources[tasks >= 0], tasks[tasks >= 0]), 1)
