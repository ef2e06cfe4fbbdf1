"""Reads scores from JSON Lines: in the plugin's own form, and as Langfuse and LangSmith export theirs.

Each line is one score, and says by its keys which form it has:

| form | run | name | value | source | time |
|---|---|---|---|---|---|
| own | `run_id` or `trace_id` | `name` | `value` | `source` | `at` |
| Langfuse | `traceId` | `name` | `value` | `source` | `timestamp`, `updatedAt` or `createdAt` |
| LangSmith | `trace_id`, `run_id` | `key` | `score`, else `value` | `feedback_source` | `modified_at` or `created_at` |

Both tools give runs ids of their own, so their scores find a run by its trace.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from attrs import frozen

from .._model.score import LONGEST_SCORE_NAME, is_score_name
from .._values.fields import Number
from .._values.names import did_you_mean, nearest
from .._values.nodes import Scalar, WrongValueError, from_plain
from .._values.reading import integer
from ..errors import MetricsError
from .row_fields import Moment, Name

GivenBy = Literal["person", "import"]
"""A person's own word, or another tool's."""

_UNIT: Final = Number(0, 1)
_FINITE: Final = Number()
_NAME: Final = Name()
_MOMENT: Final = Moment()
_SCALE_HINT: Final = "Write a number from 0 to 1, or say what the numbers mean: --scale LOW:HIGH, such as --scale 1:5."
_NO_WORDS: Final = "Give it a number, or leave such lines out with --skip-bad."
_BY_A_PERSON: Final = {"ANNOTATION": True, "API": False, "EVAL": False}
_PEOPLES_TYPES: Final = ("app", "user", "human")
_DEFAULT_NAME: Final = "review"


@frozen
class Scale:
    """What numbers mean that do not go from 0 to 1.

    Attributes:
        low: The number for 0.
        high: The number for 1; it may be the smaller one.
    """

    low: float
    high: float

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Return the scale that a text like `1:5` says.

        Raises:
            MetricsError: It says none.
        """
        low, colon, high = text.partition(":")
        try:
            ends = [_FINITE.read(Scalar(_FINITE.parse(end.strip()), "")) for end in (low, high)]
        except WrongValueError:
            ends = []
        if not colon or len(ends) != 2 or ends[0] == ends[1]:
            hint = "Write LOW:HIGH, the numbers for 0 and for 1, such as 1:5."
            raise MetricsError(f"{text!r} is not a scale", where="--scale", hint=hint)
        return cls(*ends)

    def share(self, value: float) -> float:
        """Return a number of the scale as one from 0 to 1."""
        return (value - self.low) / (self.high - self.low)


@frozen
class GivenScore:
    """A score as a file has it.

    Attributes:
        runs: Ids that may name the run, or its trace, in the order in which to look for them.
        name: What the score is called.
        value: From 0 to 1; None for no opinion.
        source: Where it comes from.
        at: Unix time, seconds; None where it names none.
        where: File and line.
        is_of_part: Whether it is of a part of a run, such as one call of a model.
    """

    runs: tuple[str, ...]
    name: str
    value: float | None
    source: GivenBy
    at: float | None
    where: str
    is_of_part: bool = False


def read_scores(
    lines: Iterable[bytes], name: str, scale: Scale | None = None, bad: list[MetricsError] | None = None
) -> Iterator[GivenScore]:
    """Give the scores of a file.

    Args:
        lines: Its lines.
        name: Its name, for errors.
        scale: What its numbers mean; None for numbers from 0 to 1.
        bad: Gets the errors of lines that can't be used, which are left out then; None to raise the first.

    Raises:
        MetricsError: A line can't be used.
    """
    for number, line in enumerate(lines, 1):
        where = f"{name}:{number}"
        try:
            row = _row(line, where, first=number == 1)
            if row is not None:
                yield _score(row, where, scale)
        except MetricsError as error:
            if bad is None:
                raise
            bad.append(error)


def _row(line: bytes, where: str, *, first: bool) -> Mapping[str, Any] | None:
    try:
        text = line.decode("utf-8-sig" if first else "utf-8").strip()
        row = json.loads(text, parse_int=integer) if text else None
    except UnicodeDecodeError as error:
        raise MetricsError("not UTF-8", where=where, hint="Write the file as UTF-8.") from error
    except (ValueError, RecursionError) as error:
        if first and line.lstrip().startswith(b"["):
            hint = "Write one object a line: jq -c '.[]' FILE"
            raise MetricsError("a JSON array, not JSON Lines", where=where, hint=hint) from error
        said = getattr(error, "msg", "it is nested too deeply")
        hint = 'Write one object a line, such as {"run_id": "5f0c2a91d3e4", "name": "review", "value": 0.8}.'
        raise MetricsError(f"not JSON: {said}", where=where, hint=hint) from error
    if not text or isinstance(row, dict):
        return row
    hint = "Write one object a line: jq -c '.[]' FILE" if isinstance(row, list) else "Write one object a line."
    raise MetricsError("not a JSON object", where=where, hint=hint)


def _score(row: Mapping[str, Any], where: str, scale: Scale | None) -> GivenScore:
    if "traceId" in row or "dataType" in row:
        return _of_langfuse(row, where, scale)
    if "key" in row or "feedback_source" in row:
        return _of_langsmith(row, where, scale)
    return _own(row, where, scale)


def _own(row: Mapping[str, Any], where: str, scale: Scale | None) -> GivenScore:
    given = [key for key in ("run_id", "trace_id") if row.get(key) is not None]
    if not given:
        raise _missing(row, "run_id", ("run_id", "trace_id", "traceId"), where)
    if "value" not in row:
        raise _missing(row, "value", ("value",), where)
    source = row.get("source")
    if source not in (None, "person", "import"):
        hint = did_you_mean(str(source), ("person", "import"), "Write person or import, or leave it out.")
        raise MetricsError(f"source: {source!r} is not a source", where=where, hint=hint)
    return GivenScore(
        tuple(_read(_NAME, row, key, where) for key in given),
        _called(row, "name", where) if row.get("name") is not None else _DEFAULT_NAME,
        _value(row, "value", where, scale),
        source or "import",
        _at(row, ("at",), where),
        where,
    )


def _of_langfuse(row: Mapping[str, Any], where: str, scale: Scale | None) -> GivenScore:
    kind = row.get("dataType")
    if kind not in (None, "NUMERIC", "BOOLEAN"):
        shown = kind if isinstance(kind, str) else "no text"
        raise MetricsError(f"dataType: a score of {shown} is a word, not a number", where=where, hint=_NO_WORDS)
    trace = row.get("traceId")
    source = row.get("source")
    if source is not None and source not in _BY_A_PERSON:
        hint = did_you_mean(str(source), tuple(_BY_A_PERSON), f"Known: {', '.join(_BY_A_PERSON)}.")
        raise MetricsError(f"source: {source!r} is not one of Langfuse's sources", where=where, hint=hint)
    if "value" not in row:
        raise _missing(row, "value", ("value",), where)
    return GivenScore(
        # One without is of a session, or of a data set.
        () if trace is None else (_read(_NAME, row, "traceId", where),),
        _called(row, "name", where),
        _value(row, "value", where, None if kind == "BOOLEAN" else scale),
        "person" if _BY_A_PERSON.get(source or "", False) else "import",
        _at(row, ("timestamp", "updatedAt", "createdAt"), where),
        where,
        is_of_part=row.get("observationId") is not None or trace is None,
    )


def _of_langsmith(row: Mapping[str, Any], where: str, scale: Scale | None) -> GivenScore:
    given = [key for key in ("trace_id", "run_id") if row.get(key) is not None]
    if not given and not row.get("session_id"):
        raise _missing(row, "run_id", ("run_id", "trace_id"), where)
    is_number = row.get("score") is not None or "value" not in row
    if row.get("score") is None and isinstance(row.get("value"), str):
        raise MetricsError("value: a word, and score has no number", where=where, hint=_NO_WORDS)
    origin = row.get("feedback_source")
    kind = origin.get("type") if isinstance(origin, Mapping) else origin
    return GivenScore(
        tuple(_read(_NAME, row, key, where) for key in given),
        _called(row, "key", where),
        _value(row, "score" if is_number else "value", where, scale),
        "person" if kind in _PEOPLES_TYPES else "import",
        _at(row, ("modified_at", "created_at"), where),
        where,
        is_of_part=not given,  # it is of an experiment as a whole
    )


def _read(kind: Any, row: Mapping[str, Any], key: str, where: str) -> Any:
    try:
        return kind.read(from_plain(row.get(key), where))
    except WrongValueError as wrong:
        raise wrong.told(MetricsError, key, where) from wrong


def _called(row: Mapping[str, Any], key: str, where: str) -> str:
    if row.get(key) is None:
        raise _missing(row, key, (key,), where)
    name: str = _read(_NAME, row, key, where)
    if not is_score_name(name):
        hint = f"Write 1 to {LONGEST_SCORE_NAME} characters on a line."
        raise MetricsError(f"{key}: not a name of a score", where=where, hint=hint)
    return name.strip()


def _value(row: Mapping[str, Any], key: str, where: str, scale: Scale | None) -> float | None:
    value = row.get(key)
    if value is None or isinstance(value, bool):
        return None if value is None else float(value)
    number: float = _read(_FINITE, row, key, where)
    share = number if scale is None else scale.share(number)
    if _UNIT.low <= share <= _UNIT.high:
        return share
    if scale is None:
        raise MetricsError(f"{key}: {number:g} is not from 0 to 1", where=where, hint=_SCALE_HINT)
    raise MetricsError(
        f"{key}: {number:g} is not from {scale.low:g} to {scale.high:g}", where=where, hint="Correct it, or --scale."
    )


def _at(row: Mapping[str, Any], keys: Iterable[str], where: str) -> float | None:
    key = next((key for key in keys if row.get(key) is not None), None)
    if key is None:
        return None
    try:
        return _MOMENT.read(from_plain(row.get(key), where))
    except WrongValueError as wrong:
        hint = "Write Unix seconds, or a date and time such as 2026-01-31T12:00:00Z."
        raise MetricsError(f"{key}: {wrong.message}", where=where, hint=hint) from wrong


def _missing(row: Mapping[str, Any], key: str, known: tuple[str, ...], where: str) -> MetricsError:
    near = next((one for one in row if nearest(one, known) is not None), None)
    hint = f"Add {' or '.join(known)}." if near is None else f"Rename `{near}` to `{nearest(near, known)}`."
    return MetricsError(f"{key}: missing", where=where, hint=hint)
