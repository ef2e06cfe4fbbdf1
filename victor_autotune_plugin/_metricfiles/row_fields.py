"""The fields of a run in a metrics file: their names, what each accepts, and the row that they make."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from attrs import frozen

from .._analysis.run_history import row_of
from .._model.plan import FORMATIONS, SUB_TEAMS
from .._model.run import MemberOutcome, TeamRun
from .._model.text import clean
from .._values.fields import Choice, Flag, Kind, Number
from .._values.nodes import Node, Scalar, WrongValueError, from_plain, show
from ..errors import MetricsError

LONGEST_NAME: Final = 10_000
LAST_SECOND: Final = 253_402_300_799.0
"""Unix time of the last second of the year 9999; what lies beyond is not in seconds."""

_PROBLEMS_KEPT: Final = 20


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
            try:
                moment = datetime.fromisoformat(value.strip())
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
            except (ValueError, OverflowError):
                pass
        hint = "Write Unix seconds, or a date and time such as 2026-01-31T12:00:00Z."
        raise WrongValueError(f"{show(node)} is not a time", hint, node.where)

    def parse(self, text: str) -> object:
        """Return the number that the text says, or the text."""
        return Number(0, LAST_SECOND).parse(text)

    def schema(self) -> dict[str, Any]:
        """Return a number or text."""
        return {"type": ["number", "string"]}


SECONDS: Final = Number(0, 1e9)
CALLS: Final = Number(0, 10**12, whole=True)
_FORMATION: Final = Choice("formation", (*FORMATIONS, SUB_TEAMS))
_NAME: Final = Name()


@frozen
class RowField:
    """A field of a run."""

    name: str
    kind: Kind  # what it accepts
    keys: tuple[str, ...]  # its names in files; of several that a row has, the first counts
    required: bool = False  # whether every run has it


FIELDS: Final = (
    RowField("team_id", _NAME, ("team_id",), required=True),
    RowField("formation", _FORMATION, ("formation", "team_formation"), required=True),
    RowField("member_count", Number(0, 100_000, whole=True), ("member_count",), required=True),
    RowField("success", Flag(), ("success",), required=True),
    RowField("duration_seconds", SECONDS, ("duration_seconds",), required=True),
    RowField("tool_calls", CALLS, ("total_tool_calls", "tool_calls"), required=True),
    RowField("timestamp", Moment(), ("timestamp", "started_at"), required=True),
    RowField("workflow", _NAME, ("workflow",)),
    RowField("score", Number(0, 1), ("score",)),
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

MEMBERS: Final = "members"
PLAIN_KEYS: Final = frozenset(key for one in FIELDS for key in one.keys)

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


class BadRows:
    """Counts bad rows that are skipped, or raises what is wrong with the first."""

    def __init__(self, source: str, *, skip: bool) -> None:
        self.source = source
        self.skipped = 0
        self.problems: list[MetricsError] = []
        self._skip = skip

    def add(self, line: int, message: str, hint: str) -> None:
        """Count a bad row.

        Raises:
            MetricsError: Bad rows are not skipped.
        """
        problem = MetricsError(message, where=f"{self.source}:{line}", hint=hint)
        if not self._skip:
            raise problem
        self.skipped += 1
        if len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(problem)


def run_of_row(row: object) -> dict[str, Any]:
    """Return a run by the names of `FIELDS`, read.

    A row that the plugin exported as a whole (with `spec` and `plan_used`) is read as such.

    Args:
        row: A mapping by the keys of `FIELDS`, and `members`; a None counts as absent. What else is in it is kept
            as it is.

    Raises:
        WrongValueError: A field is missing or wrong; the message begins with its name.
    """
    if not isinstance(row, Mapping):
        hint = "Write one mapping of fields for each run."
        raise WrongValueError(f"{clean(show(from_plain(row, '')))} is not a run", hint)
    if row.get("spec") is not None and row.get("plan_used") is not None:
        row = _recorded(row)
    values: dict[str, Any] = {}
    for one in FIELDS:
        key = next((key for key in one.keys if row.get(key) is not None), None)
        if key is not None:
            values[one.name] = _read(one.kind, key, row[key])
        elif one.required:
            raise WrongValueError(f"{one.keys[0]}: is missing", f"Every run needs it. {_hint(one.kind)}")
    if row.get(MEMBERS) is not None:
        values["members"] = _members(row[MEMBERS])
    return values | {key: value for key, value in row.items() if key not in PLAIN_KEYS and key != MEMBERS}


def _read(kind: Kind, key: str, value: object) -> Any:
    # Tables have numbers and flags as text, formations in upper case, and whole numbers as 5.0.
    plain = kind.parse(value) if isinstance(value, str) else value
    if isinstance(kind, Choice) and isinstance(plain, str):
        plain = plain.strip().lower()
    elif isinstance(kind, Number) and kind.whole and isinstance(plain, float) and plain.is_integer():
        plain = int(plain)
    try:
        return kind.read(from_plain(plain, ""))
    except WrongValueError as wrong:
        raise WrongValueError(clean(f"{key}: {wrong.message}"), wrong.hint) from None


def _hint(kind: Kind) -> str:
    try:
        kind.read(Scalar(None, ""))
    except WrongValueError as wrong:
        return wrong.hint
    return ""


def _members(value: object) -> tuple[MemberOutcome, ...]:
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
            name: _read(kind, f"{where}.{name}", entry[name])
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


def _recorded(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run that the plugin recorded as a row whose values are checked like any other's."""
    from .._model import converter

    try:
        run = row_of(converter.from_plain(TeamRun, row))
    except converter.PlainDataError as error:
        what = f"spec: the run is not as the plugin writes one ({type(error).__name__})"
        raise WrongValueError(what, "Export it again.") from None
    return {**run, MEMBERS: converter.to_plain(run[MEMBERS])}
