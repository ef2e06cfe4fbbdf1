"""The shared context as a custom member gets it: a dict that notes whose values the member reads.

Victor merges a context for each execution. Its own sub-agents never look at it; what runs the caller's code may. For
one execution of such a member, a `WatchedContext` takes the place of the merged dict, and does whatever a dict does.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from .notes import MemberNotes
from .shared_values import ReadWatch, values_of

_NOTHING: Final = object()


class WatchedContext(dict[Any, Any]):
    """A dict that tells a `ReadWatch` what is read of it."""

    __slots__ = ("_expected", "_watch")

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watch: ReadWatch | None = None
        self._expected: Iterator[Any] | None = None

    @classmethod
    def of(cls, context: Mapping[str, Any], watch: ReadWatch) -> WatchedContext:
        """Return a context that tells a watch of what is read."""
        _teach_yaml()
        made = cls(context)
        made._watch = watch
        return made

    def end_watch(self) -> None:
        """Note that the execution is over."""
        if self._watch is not None:
            self._watch.end(self)

    # --- reads of one value

    def __getitem__(self, key: Any) -> Any:
        """Return a value. One that is read while all are walked over is part of the walk."""
        value = super().__getitem__(key)
        if self._expected is not None:
            if next(self._expected, _NOTHING) is key:
                return value
            self._expected = None
        self._tell(key, value)
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        """Return a value or the default."""
        value = super().get(key, _NOTHING)
        if value is _NOTHING:
            return default
        self._tell(key, value)
        return value

    def __contains__(self, key: object) -> bool:
        """Return whether there is a value, which tells of whom it would be."""
        value = super().get(key, _NOTHING)
        if value is _NOTHING:
            return False
        self._tell(key, value)
        return True

    def _tell(self, key: Any, value: Any) -> None:
        if self._watch is not None:
            self._watch.read(self, key, value)

    # --- walks over all of it

    def _walked(self) -> None:
        if self._watch is not None:
            self._watch.walk(self)

    def __iter__(self) -> Iterator[Any]:
        """Return an iterator over the keys."""
        self._walked()
        self._expected = iter(list(super().keys())) if self._watch is not None else None
        return super().__iter__()

    def keys(self) -> Any:
        """Return the keys."""
        self._walked()
        self._expected = iter(list(super().keys())) if self._watch is not None else None
        return super().keys()

    def values(self) -> Any:
        """Return the values."""
        self._walked()
        return super().values()

    def items(self) -> Any:
        """Return keys and values."""
        self._walked()
        return super().items()

    def __reversed__(self) -> Iterator[Any]:
        """Return an iterator over the keys, last first."""
        self._walked()
        return super().__reversed__()

    def __eq__(self, other: object) -> bool:
        """Return whether the other one is a dict of the same values."""
        self._walked()
        return super().__eq__(other)

    def __ne__(self, other: object) -> bool:
        """Return the opposite of equality."""
        self._walked()
        return super().__ne__(other)

    __hash__ = None

    def __repr__(self) -> str:
        """Return what a dict shows."""
        self._walked()
        return super().__repr__()

    # --- copies, which are plain dicts

    def _plain(self) -> dict[Any, Any]:
        self._walked()
        return dict(super().items())

    def copy(self) -> dict[Any, Any]:
        """Return a plain dict."""
        return self._plain()

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> dict[Any, Any]:
        """Return a plain dict of copies."""
        made: dict[Any, Any] = {}
        memo[id(self)] = made  # it may hold itself
        for key, value in self._plain().items():
            made[copy.deepcopy(key, memo)] = copy.deepcopy(value, memo)
        return made

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Let it be pickled as a plain dict."""
        return dict, (), None, None, iter(self._plain().items())

    def __or__(self, other: Any) -> Any:
        """Return a plain dict of both."""
        return self._plain() | other if isinstance(other, dict) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        """Return a plain dict of both."""
        return other | self._plain() if isinstance(other, dict) else NotImplemented

    fromkeys = dict.fromkeys

    # --- writes, which reach the dict that others get, too

    def _also(self, key: Any, change: Callable[[dict[Any, Any]], Any]) -> None:
        if self._watch is not None:
            self._watch.wrote(key)
            if self._watch.shared is not None:
                change(self._watch.shared)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Set a value."""
        super().__setitem__(key, value)
        self._also(key, lambda shared: shared.__setitem__(key, value))

    def __delitem__(self, key: Any) -> None:
        """Remove a value."""
        super().__delitem__(key)
        self._also(key, lambda shared: shared.pop(key, None))

    def pop(self, key: Any, *default: Any) -> Any:
        """Remove a value and return it, or the default."""
        value = super().pop(key, _NOTHING)
        if value is _NOTHING:
            return super().pop(key, *default)
        self._tell(key, value)
        self._also(key, lambda shared: shared.pop(key, None))
        return value

    def popitem(self) -> tuple[Any, Any]:
        """Remove the last value, and return it with its key."""
        key, value = super().popitem()
        self._tell(key, value)
        self._also(key, lambda shared: shared.pop(key, None))
        return key, value

    def clear(self) -> None:
        """Remove all values."""
        for key in list(super().keys()):
            del self[key]

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return a value, after setting it where there is none."""
        if not super().__contains__(key):
            self[key] = default
            return default
        return self[key]

    def update(self, /, *args: Any, **kwargs: Any) -> None:
        """Set several values."""
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __ior__(self, other: Any) -> WatchedContext:
        """Set several values."""
        self.update(other)
        return self


_has_taught = False


def _teach_yaml() -> None:
    """Let PyYAML write a watched context as the dict that it is; each of its dumpers has a table by class."""
    global _has_taught
    if _has_taught:
        return
    _has_taught = True
    from yaml.representer import SafeRepresenter

    waiting: list[Any] = [SafeRepresenter]
    while waiting:
        cls = waiting.pop()
        waiting.extend(cls.__subclasses__())
        if "yaml_representers" in vars(cls):
            cls.add_representer(WatchedContext, SafeRepresenter.represent_dict)


def watched(notes: MemberNotes, context: Any, shared: dict[str, Any] | None = None) -> WatchedContext | None:
    """Return a context that notes what is read of it, or None where it is no dict.

    Args:
        context: What Victor gives the member.
        shared: The same dict, where the members after this one get it, too.
    """
    if type(context) is not dict:
        return None
    values = values_of(notes.run)
    values.begin(notes.member, context)
    return WatchedContext.of(context, ReadWatch(notes, values, shared))
