"""The fields of a run in a metrics file: their names, and what each accepts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen

from .._model.known_formations import is_misspelt
from .._model.plan import FORMATIONS, SUB_TEAMS
from .._model.run import MemberOutcome
from .._model.text import clean
from .._values.fields import Choice, Flag, Kind, Number, OpenChoice
from .._values.nodes import Node, Scalar, WrongValueError, bounded, from_plain, show

LONGEST_NAME: Final = 10_000
LAST_SECOND: Final = 253_402_300_799.0
"""Unix time of the last second of the year 9999; what lies beyond is not in seconds."""

_DAY_FIRST: Final = re.compile(r"^(\d\d)\.(\d\d)\.(\d{4})(?=$|[ T])")
"""A date with dots, as in 31.01.2026; with dots the day is always first."""


@frozen
class Name(Kind):
    """Text of at most `LONGEST_NAME` characters. They are kept as they are, and made safe when shown."""

    may_be_empty: bool = False

    def read(self, node: Node) -> str:
        """Return the text."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str) and len(value) <= LONGEST_NAME and (self.may_be_empty or value.strip()):
            return value
        hint = "Write text." if self.may_be_empty else "Write text that is not empty."
        raise WrongValueError(f"{show(node)} is not {'text' if self.may_be_empty else 'a name'}", hint, node.where)

    def schema(self) -> dict[str, Any]:
        """Return text, empty or not."""
        return {"type": "string", "minLength": 0 if self.may_be_empty else 1, "maxLength": LONGEST_NAME}


@frozen
class Moment(Kind):
    """Unix seconds, or a date and time of ISO 8601 (UTC where it names no zone)."""

    def read(self, node: Node) -> float:
        """Return Unix seconds."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LAST_SECOND:
            return float(value)
        if isinstance(value, str):
            text = _DAY_FIRST.sub(r"\3-\2-\1", value.strip()).removesuffix(" UTC")
            try:
                moment = datetime.fromisoformat(text)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError):
                pass
        hint = "Write Unix seconds, or a date and time such as 2026-01-31T12:00:00Z."
        if isinstance(value, int | float) and value > LAST_SECOND:
            hint += " A smaller unit can be named: --map timestamp=COLUMN:ms"
        raise WrongValueError(f"{show(node)} is not a time", hint, node.where)

    def parse(self, text: str) -> object:
        """Return the number that the text says, or the text."""
        return Number(0, LAST_SECOND).parse(text)

    def schema(self) -> dict[str, Any]:
        """Return a number or text."""
        return {"type": ["number", "string"]}


SECONDS: Final = Number(0, 1e9)
CALLS: Final = Number(0, 10**12, whole=True)
_FORMATION: Final = OpenChoice("formation", (*FORMATIONS, SUB_TEAMS), is_misspelt)
_NAME: Final = Name()


@frozen
class RowField:
    """A field of a run."""

    name: str
    kind: Kind  # what it accepts
    keys: tuple[str, ...]  # its names in files; of several that a row has, the first counts
    required: bool = False  # whether every run has it

    @property
    def hint(self) -> str:
        """What to write, in words."""
        try:
            self.kind.read(Scalar(None, ""))
        except WrongValueError as wrong:
            return wrong.hint
        return ""


FIELDS: Final = (
    RowField("team_id", _NAME, ("team_id",), required=True),
    RowField("formation", _FORMATION, ("formation", "team_formation"), required=True),
    RowField("member_count", Number(0, 100_000, whole=True), ("member_count",), required=True),
    RowField("success", Flag(), ("success",), required=True),
    RowField("duration_seconds", SECONDS, ("duration_seconds",), required=True),
    RowField("tool_calls", CALLS, ("total_tool_calls", "tool_calls"), required=True),
    RowField("timestamp", Moment(), ("timestamp", "started_at", "start_time"), required=True),
    RowField("workflow", _NAME, ("workflow",)),
    RowField("score", Number(0, 1), ("score",)),
    RowField("member_success_share", Number(0, 1), ("member_success_share",)),
    RowField("cost_usd", Number(0, 1e9), ("cost_usd",)),
    RowField("input_tokens", CALLS, ("input_tokens",)),
    RowField("output_tokens", CALLS, ("output_tokens",)),
    RowField("timed_out", Flag(), ("timed_out",)),
    RowField("cancelled", Flag(), ("cancelled",)),
    RowField("error_class", _NAME, ("error_class",)),
    RowField("task_key", _NAME, ("task_key",)),
    RowField("tool_budget", CALLS, ("tool_budget",)),
    RowField("timeout_seconds", SECONDS, ("timeout_seconds",)),
    RowField("run_id", _NAME, ("run_id",)),
)
"""All fields but `members`."""

_WORDS: Final = {
    **dict.fromkeys(("t", "1.0", "wahr", "vrai", "verdadero", "vero", "verdadeiro", "waar"), True),
    **dict.fromkeys(("f", "0.0", "falsch", "faux", "falso", "onwaar"), False),
}
"""Flags as databases and spreadsheet programs write them, beside those that `Flag` knows."""

MEMBERS: Final = "members"
VICTORS_MEMBERS: Final = "member_metrics"
"""What Victor's `TeamExecutionMetrics` calls them: a mapping by their ids."""

_MEMBER_FIELDS: Final[Mapping[str, Kind]] = {
    "id": _NAME,
    "role": Name(may_be_empty=True),
    "success": Flag(),
    "finished": Flag(),
    "duration_seconds": SECONDS,
    "tool_calls": CALLS,
    "tool_calls_refused": CALLS,
    "llm_calls": CALLS,
    "input_tokens": CALLS,
    "output_tokens": CALLS,
    "error_class": _NAME,
}


def read_field(kind: Kind, key: str, value: object, scale: tuple[int, int] | None = None) -> Any:
    """Return a value as a field holds it.

    Tables have numbers and flags as text, formations as names of an enumeration, and whole numbers as 5.0.

    Args:
        key: What errors call it.
        scale: A product and a quotient that make seconds of its numbers.

    Raises:
        WrongValueError: It is wrong; the message begins with the key.
    """
    plain = kind.parse(value) if isinstance(value, str) else value
    if isinstance(kind, Choice) and isinstance(plain, str):
        plain = plain.strip().rpartition(".")[2].lower()
    elif isinstance(kind, Flag) and isinstance(plain, str):
        plain = _WORDS.get(plain.strip().lower(), plain)
    elif scale is not None and isinstance(plain, int | float) and not isinstance(plain, bool):
        plain = bounded(plain) * scale[0] / scale[1] if isinstance(plain, int) else plain * scale[0] / scale[1]
    elif isinstance(kind, Number) and kind.whole and isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    try:
        return kind.read(from_plain(plain, ""))
    except WrongValueError as wrong:
        raise WrongValueError(clean(f"{key}: {wrong.message}"), wrong.hint) from None


def read_members(value: object) -> tuple[MemberOutcome, ...]:
    """Return the members of a run.

    Raises:
        WrongValueError: They are not a list of members, or one is wrong.
    """
    if not isinstance(value, list):
        raise WrongValueError(f"{MEMBERS}: {show(from_plain(value, ''))} is not a list", "Write a list of members.")
    members = []
    for place, entry in enumerate(value):
        where = f"{MEMBERS}[{place}]"
        if not isinstance(entry, Mapping):
            hint = "Write a mapping with id, success, duration_seconds, …."
            raise WrongValueError(clean(f"{where}: {show(from_plain(entry, ''))} is not a member"), hint)
        if entry.get("id") is None:
            raise WrongValueError(f"{where}.id: is missing", "Give every member an id.")
        known = {
            name: read_field(kind, f"{where}.{name}", entry[name])
            for name, kind in _MEMBER_FIELDS.items()
            if entry.get(name) is not None
        }
        known.setdefault("finished", True)
        models = entry.get("models")
        if models is not None and not (isinstance(models, list) and all(isinstance(name, str) for name in models)):
            shown = clean(show(from_plain(models, "")))
            raise WrongValueError(f"{where}.models: {shown} is not a list of names", "Write a list of names.")
        members.append(MemberOutcome(**known, models=models or ()))
    if len({member.id for member in members}) != len(members):
        raise WrongValueError(f"{MEMBERS}: names a member twice", "Give every member its own id.")
    return tuple(members)
