"""Which member wrote what in a team's shared context, and which other one read it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from .._dataflow.trace import ReadValue, Walked
from .notes import MemberNotes, RunNotes, noting

_DEEPEST: Final = 6
_MOST_NODES: Final = 500
"""Parts of a value that are looked at to see whether it changed; beyond them, its sizes tell."""

_PLAIN: Final = (str, bytes, int, float, complex, bool, type(None))
_NOTHING: Final = object()

_SIZED: Final = (dict, list, tuple, set, frozenset, deque)

_MOST_LOOKS: Final = 20
"""Reads of one value, and walks, in one execution that are looked at as they happen; the others when it is over."""

_VICTORS: Final = frozenset(
    {"team_id", "effective_formation", "explicit_supervisor_id", "explicit_manager_id", "max_workers"}
    | {"worktree_plan", "worktree_session", "workspace_isolation_diagnostics", "generator", "critic"}
)
"""Keys that Victor's coordinator sets before any member works."""


class SharedValues:
    """Which member wrote what in the shared context of one run.

    A value that a member may change in place is compared, by a digest, with what it was before and after each execution
    and when it is read. Where several members ran meanwhile, each may have changed it, and none surely has.

    Args:
        context: The run's shared context at the start.
        outputs: The member that delivered a text, by the text; it grows during the run.
    """

    def __init__(self, context: Mapping[str, Any], outputs: Mapping[str, str]) -> None:
        self._start = dict(context)
        self._first: dict[str, Any] = {}
        self._digests: dict[str, tuple[Any, int]] = {}
        self._writers: dict[str, set[str]] = {}
        self._may_have_written: dict[str, set[str]] = {}
        self._outputs = outputs
        self._running: dict[str, int] = {}
        self._lock = threading.RLock()

    def forget(self) -> None:
        """Let go of all values."""
        with self._lock:
            for values in (self._start, self._first, self._digests):
                values.clear()

    def begin(self, member: str, context: Mapping[str, Any]) -> None:
        """Note that an execution of a custom member starts with a context."""
        with self._lock:
            if not (self._first or self._outputs or self._running):
                self._first = dict(context)
            for key, value in context.items():
                if not isinstance(value, _PLAIN):
                    self._compare(key, value)
            self._running[member] = self._running.get(member, 0) + 1

    def end(self, member: str, context: Mapping[str, Any]) -> None:
        """Note that an execution ended."""
        with self._lock:
            for key, value in context.items():
                if not isinstance(value, _PLAIN):
                    self._compare(key, value)
            self._running[member] -= 1
            if not self._running[member]:
                del self._running[member]

    def wrote(self, member: str, key: str) -> None:
        """Note that a member set a value of a context that others get, too."""
        with self._lock:
            self._writers.setdefault(key, set()).add(member)

    def may_have_written(self, key: str) -> set[str]:
        """Return the members of which one has changed a value in place."""
        with self._lock:
            return set(self._may_have_written.get(key, ()))

    def writers(self, key: str, value: Any, stable: Callable[[Any], str], before: Any) -> set[str]:
        """Return the members that wrote a value.

        Args:
            stable: Returns the stable id of a member by Victor's.
            before: What the context says is the member before this one, or None.
        """
        with self._lock:
            if not isinstance(value, _PLAIN):
                self._compare(key, value)
            known = set(self._writers.get(key, ()))
            if known or key in self._may_have_written or self._is_from_the_start(key, value):
                return known
            if key == "previous_agent":
                return {stable(value)}
            if key == "previous_output" and isinstance(value, str):
                by = None if before is None else stable(before)
                if by is not None and self._outputs.get(value) in (by, None):
                    return {by}
            if isinstance(value, str) and value in self._outputs:
                return {self._outputs[value]}
            return set(self._outputs.values())

    def _is_from_the_start(self, key: str, value: Any) -> bool:
        if key in _VICTORS:
            return True
        for start in (self._start, self._first):
            known = start.get(key, _NOTHING)
            if known is value or (known is not _NOTHING and digest(known) == digest(value)):
                return True
        return False

    def _compare(self, key: str, value: Any) -> None:
        before = self._digests.get(key)
        now = digest(value)
        if before is not None and before[0] is value and before[1] != now:
            writers = self._writers if len(self._running) == 1 else self._may_have_written
            writers.setdefault(key, set()).update(self._running)
        self._digests[key] = (value, now)


def plain_items(context: dict[Any, Any]) -> Iterable[tuple[Any, Any]]:
    """Return keys and values of a dict that would note it."""
    return dict.items(context)


def digest(value: Any) -> int:
    """Return a number that changes when a value does, as far as it can be seen within the bounds.

    Only plain data and attributes are looked at, so that no code of the caller's runs.
    """
    left = [_MOST_NODES]

    def of(one: Any, depth: int) -> int:
        left[0] -= 1
        if isinstance(one, _PLAIN):
            return hash((type(one).__name__, one))
        size = len(one) if type(one) in _SIZED else 0
        if left[0] < 0 or depth > _DEEPEST:
            return size
        if isinstance(one, dict):
            return hash((size, *(of(part, depth + 1) for pair in _few(plain_items(one)) for part in pair)))
        if isinstance(one, list | tuple | deque):
            return hash((size, *(of(part, depth + 1) for part in _few(one))))
        if isinstance(one, set | frozenset):
            return hash((size, sum(of(part, depth + 1) for part in _few(one))))
        inner = vars(one) if hasattr(type(one), "__dict__") and hasattr(one, "__dict__") else None
        return hash((type(one).__qualname__, of(inner, depth + 1) if type(inner) is dict else 0))

    def _few(items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            if left[0] < 0:
                return
            yield item

    return of(value, 0)


class ReadWatch:
    """What notes the reads of one execution.

    Args:
        notes: Notes of the member that is executed.
        values: The values of the run's context.
        shared: The dict that others get, too, and that writes have to reach; None where each has its own.
    """

    def __init__(self, notes: MemberNotes, values: SharedValues, shared: dict[str, Any] | None) -> None:
        self._notes = notes
        self._values = values
        self.shared = shared
        self._read: dict[Any, Any] = {}
        self._looks: dict[Any, int] = {}
        self._walks = 0
        self._told: set[tuple[str, ...]] = set()
        self._is_over = False

    def read(self, context: dict[Any, Any], key: Any, value: Any) -> None:
        """Note that a value is read."""
        looks = self._looks.get(key, 0)
        is_known = looks and isinstance(value, _PLAIN) and self._read.get(key, _NOTHING) is value
        if self._is_over or is_known or looks >= _MOST_LOOKS or self._notes.run.is_dropped:
            return
        with noting(self._notes.run):
            self._read[key] = value
            self._looks[key] = looks + 1
            self._note(ReadValue, self._writers(context, key, value))
            self._note(Walked, self._values.may_have_written(key) - {self._notes.member})

    def walk(self, context: dict[Any, Any]) -> None:
        """Note that the whole context is read."""
        if self._is_over or self._walks >= _MOST_LOOKS or self._notes.run.is_dropped:
            return
        self._walks += 1
        with noting(self._notes.run):
            found: set[str] = set()
            for key, value in plain_items(context):
                found |= self._writers(context, key, value) | self._values.may_have_written(key)
            self._note(Walked, found - {self._notes.member})

    def wrote(self, key: Any) -> None:
        """Note that a value is set."""
        if not self._is_over and self.shared is not None:
            with noting(self._notes.run):
                self._values.wrote(self._notes.member, key)

    def end(self, context: dict[Any, Any]) -> None:
        """Note that the execution is over: what it still held may have been changed by others until now."""
        self._values.end(self._notes.member, dict(plain_items(context)))
        self._looks.clear()
        for key, value in list(self._read.items()):
            if not isinstance(value, _PLAIN):
                self.read(context, key, value)
        if self._walks:
            self._walks = 0
            self.walk(context)
        self._is_over = True

    def _writers(self, context: dict[Any, Any], key: Any, value: Any) -> set[str]:
        before = dict.get(context, "previous_agent")
        return self._values.writers(key, value, self._notes.run.stable, before) - {self._notes.member}

    def _note(self, kind: type[ReadValue | Walked], writers: set[str]) -> None:
        names = tuple(sorted(writers))
        if self._notes.run.is_dropped:
            return
        if names and (kind.__name__, *names) not in self._told:
            self._told.add((kind.__name__, *names))
            self._notes.run.trace.note(kind(self._notes.member, names))


def values_of(run: RunNotes) -> SharedValues:
    """Return what is known of the values of a run's context."""
    if run.shared is None:
        run.shared = SharedValues(run.context, run.outputs)
    values: SharedValues = run.shared
    return values
