"""The fields of a run in a metrics file: their names, what each accepts, and `RunFacts` from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import fields, frozen

from .._analysis.facts import RunFacts
from .._model.run import MemberOutcome, TeamRun
from .values import (
    MOST_CALLS,
    MOST_MEMBERS,
    MOST_SECONDS,
    WrongFieldError,
    flag,
    formation,
    label,
    number,
    show,
    text,
    time,
    whole,
)


@frozen
class Field:
    """A field of a run.

    Attributes:
        name: Attribute of `RunFacts`.
        read: Reads a value; its `ValueError` says what is accepted.
        keys: Names in files, the one that is written first.
        required: Whether every run has it.
    """

    name: str
    read: Callable[[object], Any]
    keys: tuple[str, ...]
    required: bool = False


FIELDS: Final = (
    Field("team_id", text, ("team_id",), required=True),
    Field("formation", formation, ("formation", "team_formation"), required=True),
    Field("member_count", whole(0, MOST_MEMBERS), ("member_count",), required=True),
    Field("success", flag, ("success",), required=True),
    Field("duration_seconds", number(0, MOST_SECONDS), ("duration_seconds",), required=True),
    Field("tool_calls", whole(0, MOST_CALLS), ("total_tool_calls", "tool_calls"), required=True),
    Field("timestamp", time, ("timestamp", "started_at"), required=True),
    Field("workflow", text, ("workflow",)),
    Field("score", number(0, 1), ("score",)),
    Field("cost_usd", number(0, 1e9), ("cost_usd",)),
    Field("input_tokens", whole(0, MOST_CALLS), ("input_tokens",)),
    Field("output_tokens", whole(0, MOST_CALLS), ("output_tokens",)),
    Field("timed_out", flag, ("timed_out",)),
    Field("cancelled", flag, ("cancelled",)),
    Field("error_class", text, ("error_class",)),
    Field("task_key", text, ("task_key",)),
    Field("tool_budget", whole(0, MOST_CALLS), ("tool_budget",)),
    Field("timeout_seconds", number(0, MOST_SECONDS), ("timeout_seconds",)),
    Field("run_id", text, ("run_id",)),
)
"""All fields but `members`."""

MEMBERS: Final = "members"
_KNOWN: Final = frozenset(key for one in FIELDS for key in one.keys) | {MEMBERS}

_MEMBER_FIELDS: Final[Mapping[str, Callable[[object], Any]]] = {
    "id": text,
    "role": label,
    "success": flag,
    "finished": flag,
    "duration_seconds": number(0, MOST_SECONDS),
    "tool_calls": whole(0, MOST_CALLS),
    "tool_calls_refused": whole(0, MOST_CALLS),
    "llm_calls": whole(0, MOST_CALLS),
    "input_tokens": whole(0, MOST_CALLS),
    "output_tokens": whole(0, MOST_CALLS),
    "error_class": text,
}


def facts_of(row: object) -> RunFacts:
    """Return the run that a row describes.

    A row that the plugin exported as a whole (with `spec` and `plan_used`) is read as such.

    Args:
        row: A mapping by the keys of `FIELDS`, and `members`; a None counts as absent.

    Raises:
        WrongFieldError: A field is missing or wrong.
    """
    if not isinstance(row, Mapping):
        raise WrongFieldError("", f"{show(row)} is not a run", "Write one mapping of fields for each run.")
    if "spec" in row and "plan_used" in row:
        return _recorded(row)
    values: dict[str, Any] = {}
    for one in FIELDS:
        key = next((key for key in one.keys if row.get(key) is not None), None)
        if key is None:
            if one.required:
                raise WrongFieldError(one.keys[0], "is missing", f"Every run needs it: {_accepted(one)}.")
            continue
        values[one.name] = _read(one.read, key, row[key])
    if row.get(MEMBERS) is not None:
        values["members"] = _members(row[MEMBERS])
    extra = {key: value for key, value in row.items() if key not in _KNOWN}
    return RunFacts(**values, extra=extra)


def row_of(run: RunFacts) -> dict[str, Any]:
    """Return a run as the row that `facts_of` reads back; what is not known is left out.

    Args:
        run: The run.
    """
    row = {**run.extra}
    defaults = {attribute.name: attribute.default for attribute in fields(RunFacts)}
    for one in FIELDS:
        value = getattr(run, one.name)
        if one.required or one.name == "score" or value != defaults[one.name]:
            row[one.keys[0]] = value
    if run.members:
        row[MEMBERS] = [
            {
                **{name: getattr(member, name) for name in _MEMBER_FIELDS if getattr(member, name) is not None},
                **({"models": list(member.models)} if member.models else {}),
            }
            for member in run.members
        ]
    return row


def known_keys() -> frozenset[str]:
    """Return the keys that a row may have besides further ones."""
    return _KNOWN


def _read(read: Callable[[object], Any], key: str, value: object) -> Any:
    try:
        return read(value)
    except ValueError as wrong:
        raise WrongFieldError(key, f"is {show(value)}", f"Write {wrong}.") from None


def _accepted(one: Field) -> str:
    try:
        one.read(None)
    except ValueError as wrong:
        return str(wrong)
    return "a value"


def _members(value: object) -> list[MemberOutcome]:
    if not isinstance(value, list):
        raise WrongFieldError(MEMBERS, f"is {show(value)}", "Write a list of members.")
    members = []
    for place, entry in enumerate(value):
        where = f"{MEMBERS}[{place}]"
        if not isinstance(entry, Mapping):
            raise WrongFieldError(where, f"is {show(entry)}", "Write a mapping with id, success, duration_seconds, ….")
        if entry.get("id") is None:
            raise WrongFieldError(f"{where}.id", "is missing", "Give every member an id.")
        known = {
            name: _read(read, f"{where}.{name}", entry[name])
            for name, read in _MEMBER_FIELDS.items()
            if entry.get(name) is not None
        }
        known.setdefault("finished", True)
        models = entry.get("models")
        if models is not None and not (isinstance(models, list) and all(isinstance(name, str) for name in models)):
            raise WrongFieldError(f"{where}.models", f"is {show(models)}", "Write a list of names.")
        members.append(MemberOutcome(**known, models=models or ()))
    if len({member.id for member in members}) != len(members):
        raise WrongFieldError(MEMBERS, "names a member twice", "Give every member an id of its own.")
    return members


def _recorded(row: Mapping[str, Any]) -> RunFacts:
    try:
        facts = RunFacts.from_run(TeamRun.from_dict(row))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WrongFieldError(
            "spec", f"the run is not as the plugin writes one ({type(error).__name__})", "Export it again."
        ) from None
    # Its values are checked like any other's.
    return facts_of(row_of(facts))
