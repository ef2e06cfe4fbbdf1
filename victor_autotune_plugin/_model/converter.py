"""The one way between values and plain data: what store rows, archives and `--json` hold.

`msgspec` reads plain data into attrs classes. It is strict about types, ignores keys that a newer version wrote, gives
a missing key its default, and runs the classes' validators. It runs no attrs converters, so the types of the model's
fields are those that it makes. Import this on first use: it loads msgspec.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cache
from math import isfinite
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from attrs import NOTHING, fields, fields_dict, has

from .plan import TeamPlan
from .quantities import NotEmpty, OneOf, Within

_T = TypeVar("_T")

_PLAIN: Final = frozenset({str, int, float, bool, type(None)})

_LEFT_OUT_WHERE_EMPTY: Final = frozenset({"start_from", "merged"})
# Seldom set, and not there in earlier versions: what they wrote, and fingerprints of it, stays as it was.

_LONGEST_SHOWN: Final = 40


class PlainDataError(ValueError):
    """A field of plain data is not as it should be.

    Args:
        field: Its path, such as `members[2].duration_seconds`; empty for the value itself.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


def to_plain(value: Any) -> Any:
    """Return a value as JSON has it. Of a `TeamPlan` only the knobs that are set are there.

    Args:
        value: A value of the model, a collection of them, or what JSON has already. Scalars and arrays of numpy, which
            evidence may hold, become numbers and lists.
    """
    kind: Any = type(value)
    if kind in _PLAIN:
        return value
    if kind is tuple or kind is list:
        return [item if type(item) in _PLAIN else to_plain(item) for item in value]
    if isinstance(value, TeamPlan):
        return {name: to_plain(knob) for name in _names(TeamPlan) if (knob := getattr(value, name)) is not None}
    names = _attributes(kind)
    if names is not None:
        return {
            name: item if type(item) in _PLAIN else to_plain(item)
            for name in names
            if (item := getattr(value, name)) or name not in _LEFT_OUT_WHERE_EMPTY
        }
    if isinstance(value, Mapping):  # evidence, too, which is both and says itself what it is as data
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, Enum):
        return to_plain(value.value)
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, str | int | float):  # a subclass of them
        return value
    if isinstance(value, Iterable):
        return [to_plain(item) for item in value]
    raise TypeError(f"{type(value).__qualname__} is not plain data")


@cache
def _attributes(kind: Any) -> tuple[str, ...] | None:
    """Return the attributes by which a class is told as plain data; None of one that says itself what it is."""
    return None if issubclass(kind, Mapping) or not has(kind) else tuple(_names(kind))


def from_plain(kind: type[_T], data: Any, at: str = "") -> _T:
    """Return the value that plain data stands for.

    Args:
        kind: An attrs class, or a collection of one, such as `tuple[MemberOutcome, ...]`.
        data: What `to_plain` returned, in this version or in another one.
        at: Path to the data, for errors.

    Raises:
        PlainDataError: A key is missing, or a value is of the wrong type or refused by its class.
    """
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        check(kind, data, at)
        raise PlainDataError(at, _without_path(error)) from error


def check(kind: Any, data: Any, at: str = "") -> None:
    """Make sure that plain data of another program is a value's, the bounds of its numbers included.

    Args:
        at: Path to the data, for errors.

    Raises:
        PlainDataError: At the first field that is not as it should be.
    """
    origin = get_origin(kind)
    if origin is Annotated:
        base, *bounds = get_args(kind)
        _check_bounds(base, bounds, data, at)
    elif origin in (Union, types.UnionType):
        if data is not None or type(None) not in get_args(kind):
            check(next(one for one in get_args(kind) if one is not type(None)), data, at)
    elif origin is Literal:
        if data not in get_args(kind):
            raise PlainDataError(at, f"must be one of {', '.join(map(str, get_args(kind)))}, not {_shown(data)}")
    elif origin is tuple:
        _check_items(get_args(kind), data, at)
    elif origin is not None and issubclass(origin, Mapping):
        for key, item in _object(data, at).items():
            check(get_args(kind)[1], item, _join(at, key))
    elif isinstance(kind, type) and has(kind):
        _check_fields(kind, _object(data, at), at)
    elif kind is not Any:
        _check_scalar(kind, data, at)


def _check_fields(cls: type, data: Mapping[str, Any], at: str) -> None:
    hints = _hints(cls)
    for one in fields(cls):
        path = _join(at, one.name)
        if one.name not in data:
            if one.default is NOTHING:
                raise PlainDataError(path, "is missing")
        else:
            check(hints[one.name], data[one.name], path)
    if any(one.validator is not None for one in fields(cls)):
        try:
            msgspec.convert(data, cls)
        except msgspec.ValidationError as error:
            raise PlainDataError(at, _without_path(error)) from error


def _check_items(kinds: tuple[Any, ...], data: Any, at: str) -> None:
    if not isinstance(data, list | tuple):
        raise PlainDataError(at, f"must be a list, not {_shown(data)}")
    if kinds[-1] is Ellipsis:
        kinds = kinds[:1] * len(data)
    if len(data) != len(kinds):
        raise PlainDataError(at, f"must have {len(kinds)} items, not {len(data)}")
    for index, (kind, item) in enumerate(zip(kinds, data, strict=True)):
        check(kind, item, f"{at}[{index}]")


def _check_bounds(base: Any, bounds: list[Any], data: Any, at: str) -> None:
    for bound in bounds:
        if isinstance(bound, OneOf):
            check(Literal[bound.words], data, at)
        elif isinstance(bound, NotEmpty):
            check(base, data, at)
            if not data:
                raise PlainDataError(at, "must not be empty")
        elif isinstance(bound, Within):
            if data is None and bound.may_be_unknown:
                return
            if base is int:
                if isinstance(data, bool) or not isinstance(data, int) or not bound.low <= data <= bound.high:
                    limits = f"from {bound.low:.0f} to {bound.high:.0f}"
                    raise PlainDataError(at, f"must be a whole number {limits}, not {_shown(data)}")
                continue
            check(base, data, at)
            if not bound.low <= data <= bound.high:
                limits = f"from {bound.low:g} to {bound.high:g}" if isfinite(bound.high) else f"at least {bound.low:g}"
                raise PlainDataError(at, f"must be {limits}, not {_shown(data)}")


def _check_scalar(kind: Any, data: Any, at: str) -> None:
    if kind is str:
        fits, expected = isinstance(data, str), "text"
    elif kind is bool:
        fits, expected = isinstance(data, bool), "true or false"
    elif kind is int:
        fits, expected = isinstance(data, int) and not isinstance(data, bool), "a whole number"
    else:  # a huge whole number does not fit into a float
        is_number = isinstance(data, int | float) and not isinstance(data, bool)
        fits, expected = is_number and -1e300 < data < 1e300, "a finite number"
    if not fits:
        raise PlainDataError(at, f"must be {expected}, not {_shown(data)}")


def _object(data: Any, at: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise PlainDataError(at, f"must be an object, not {_shown(data)}")
    return data


def _join(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) > 10**18:
        return "a huge number"  # Python refuses to print the largest
    shown = ascii(value)
    return shown if len(shown) <= _LONGEST_SHOWN else f"{shown[: _LONGEST_SHOWN - 1]}…"


def _without_path(error: Exception) -> str:
    return str(error).split(" - at `$", 1)[0]


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


@cache
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(fields_dict(cls))
