"""Which tool calls of two members depend on each other, by what they may have touched.

Two calls may change places if neither writes what the other one reads or writes (Bernstein, 1966). Of two that may not,
the member of the earlier one is the source of an edge. The edge is sure where both are known to have touched the same
path, or one a path below the other's.

| call | may have |
|---|---|
| read, write | read or written its paths, and those below; any path where none is known |
| execute, mixed, unclassified | read and written any path, and changed what the network tells |
| network | read what the network tells: two such calls never conflict, nor does one with reads and writes of files |
| failed read | read any path: its message may name files that another member made |
| failed write | read any path, and written its own: a part of it may be done |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from attrs import define, field

from .trace import Called

_ANYTHING: Final = ("execute", "mixed", "unclassified")
_STEPS: Final = 16
"""Paths that are compared between two pauses."""


@define
class _Paths:
    """Paths that a member touched in one way."""

    touched: set[str] = field(factory=set)
    above: set[str] = field(factory=set)

    def add(self, path: str) -> None:
        if path not in self.touched:
            self.touched.add(path)
            self.above.update(_above(path))

    def overlap(self, path: str) -> bool:
        """Return whether a path was touched, or one above or below it."""
        return path in self.touched or path in self.above or any(one in self.touched for one in _above(path))


@define
class _Touched:
    """What a member's calls may have touched so far."""

    read: _Paths = field(factory=_Paths)
    written: _Paths = field(factory=_Paths)
    maybe_written: _Paths = field(factory=_Paths)
    reads_any: bool = False
    writes_any: bool = False
    reads_network: bool = False

    @property
    def has_read(self) -> bool:
        return self.reads_any or bool(self.read.touched)

    @property
    def has_written(self) -> bool:
        return self.writes_any or bool(self.written.touched) or bool(self.maybe_written.touched)

    def paths(self) -> Iterator[tuple[str, bool]]:
        """Give every path, with whether it may have been written."""
        yield from ((path, False) for path in self.read.touched)
        yield from ((path, True) for path in (*self.written.touched, *self.maybe_written.touched))

    def add(self, other: _Touched, step: Callable[[], None]) -> None:
        for mine, new in (
            (self.read, other.read),
            (self.written, other.written),
            (self.maybe_written, other.maybe_written),
        ):
            for path in new.touched:
                mine.add(path)
                step()
        self.reads_any |= other.reads_any
        self.writes_any |= other.writes_any
        self.reads_network |= other.reads_network


def _touched(call: Called) -> _Touched:
    """Return what a call may have touched."""
    if call.access == "network":
        return _Touched(reads_network=True)
    if call.access in _ANYTHING:
        return _Touched(reads_any=True, writes_any=True)
    paths = _Paths()
    for path in call.paths:
        paths.touched.add(path.replace("\\", "/").rstrip("/"))
    reads, somewhere = call.access == "read", not call.paths
    if call.failed:
        return _Touched(reads_any=True, writes_any=somewhere and not reads, maybe_written=_Paths() if reads else paths)
    if reads:
        return _Touched(read=paths, reads_any=somewhere)
    return _Touched(written=paths, writes_any=somewhere)


def conflicts(calls: Iterable[Called], pause: Callable[[], None]) -> Iterator[tuple[str, str, bool]]:
    """Give the conflicts of a run's tool calls.

    Args:
        calls: The calls, in order.
        pause: Called between pieces of work.

    Yields:
        The member that was first, the other one, and whether it is sure; a pair may come again.
    """
    steps = 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps % _STEPS == 0:
            pause()

    so_far: dict[str, _Touched] = {}
    settled: set[tuple[str, str]] = set()
    for call in calls:
        now = _touched(call)
        for other, before in so_far.items():
            step()
            if other == call.member or (other, call.member) in settled:
                continue
            if _surely(before, now, step):
                settled.add((other, call.member))
                yield other, call.member, True
            elif _maybe(before, now, step):
                yield other, call.member, False
        so_far.setdefault(call.member, _Touched()).add(now, step)


def _surely(before: _Touched, now: _Touched, step: Callable[[], None]) -> bool:
    for path in now.written.touched:
        step()
        if before.written.overlap(path) or before.read.overlap(path):
            return True
    for path in now.read.touched:
        step()
        if before.written.overlap(path):
            return True
    return False


def _maybe(before: _Touched, now: _Touched, step: Callable[[], None]) -> bool:
    if (
        (now.writes_any and (before.has_read or before.has_written or before.reads_network))
        or (before.writes_any and (now.has_read or now.has_written or now.reads_network))
        or (now.reads_any and before.has_written)
        or (before.reads_any and now.has_written)
    ):
        return True
    for path, may_write in now.paths():
        step()
        if before.maybe_written.overlap(path):
            return True
        if may_write and (before.written.overlap(path) or before.read.overlap(path)):
            return True
    return False


def _above(path: str) -> Iterator[str]:
    """Give the paths above a path, up to the root, which is empty."""
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
