"""What the settings accept as scorers: `quality.scorers`, by name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen

from .._model.scorer_settings import ACTING_KINDS, SCORER_KINDS, ScorerSettings
from .._values.fields import Choice, Flag, Kind, NameList, Number, OrNone, Text
from .._values.names import did_you_mean, listed
from .._values.nodes import Items, Node, Scalar, Table, WrongValueError, show
from .parts_by_name import NOT_BLANK, PartsByName

_FUNCTION: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


@frozen
class Duration(Kind):
    """A time: seconds, or a number with its unit, such as 90s, 30m, 24h or 7d.

    Attributes:
        of: What the number of seconds must be.
    """

    of: Number

    def read(self, node: Node) -> float:
        """Return the seconds."""
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, str):
            found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([smhd])\s*", value)
            if found is None:
                hint = "Write seconds, or a number with its unit: 90s, 30m, 24h, 7d."
                raise WrongValueError(f"{show(node)} is not a time", hint, node.where)
            return self.of.read(Scalar(float(found[1]) * _UNITS[found[2]], node.where))
        return self.of.read(node)

    def parse(self, text: str) -> object:
        """Return the number that the text says, or the text with its unit."""
        return self.of.parse(text)

    def schema(self) -> dict[str, Any]:
        """Return a number, or text with a unit; that this is within the bounds is beyond JSON Schema."""
        inner = self.of.schema()
        return {**inner, "type": [inner["type"], "string"], "pattern": r"^\s*\d+(\.\d+)?\s*[smhd]\s*$"}


@frozen
class CommandWords(Kind):
    """The words of a command: a list, or one text that is split as a shell would."""

    def read(self, node: Node) -> tuple[str, ...]:
        """Return the words."""
        if isinstance(node, Items):
            words = tuple(Text(may_be_empty=True).read(item) for item in node.items)
        else:
            text = Text().read(node)
            try:
                words = tuple(shlex.split(text))
            except ValueError as error:
                raise WrongValueError(f"{show(node)}: {error}".lower(), "Close the quotes.", node.where) from error
        if not words or not words[0].strip():
            raise WrongValueError("the command is empty", "Write a program and its arguments.", node.where)
        return words

    def schema(self) -> dict[str, Any]:
        """Return text, or a list of texts."""
        return {"type": ["string", "array"], **NOT_BLANK, "items": {"type": "string"}, "minItems": 1}


@frozen
class _TextOrTexts(Kind):
    """One text, or a list of different ones."""

    def read(self, node: Node) -> tuple[str, ...]:
        return NameList(Text(), least=1).read(node) if isinstance(node, Items) else (Text().read(node),)

    def schema(self) -> dict[str, Any]:
        return {
            "type": ["string", "array"],
            **NOT_BLANK,
            "items": Text().schema(),
            "minItems": 1,
            "uniqueItems": True,
        }


@frozen
class _Pattern(Kind):
    """A regular expression."""

    def read(self, node: Node) -> str:
        text = Text().read(node)
        try:
            re.compile(text)
        except (re.error, RecursionError, OverflowError) as error:
            hint = "Write a regular expression of Python's, in single quotes."
            raise WrongValueError(f"{show(node)} is not a regular expression: {error}", hint, node.where) from error
        return text

    def schema(self) -> dict[str, Any]:
        return Text().schema()


@frozen
class _Function(Kind):
    """A Python function, `package.module:function`."""

    def read(self, node: Node) -> str:
        text = Text().read(node).strip()
        if _FUNCTION.fullmatch(text) is None:
            raise WrongValueError(f"{show(node)} names no function", "Write package.module:function.", node.where)
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\s*[^\s:]+:[^\s:]+\s*$"}


@frozen
class _JsonSchema(Kind):
    """A JSON Schema, or the path of a file that holds one."""

    def read(self, node: Node) -> str | Mapping[str, Any]:
        if not isinstance(node, Table):
            return Text().read(node)
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for

        schema = node.plain()
        if not isinstance(schema.get("$schema", ""), str):
            raise WrongValueError("this is not a JSON Schema: $schema is not text", "Correct it.", node.where)
        try:
            validator_for(schema).check_schema(schema)
        except SchemaError as error:
            path = ".".join(map(str, error.absolute_path)) or "it"
            raise WrongValueError(f"this is not a JSON Schema: {path} is wrong", "Correct it.", node.where) from error
        return schema

    def schema(self) -> dict[str, Any]:
        return {"type": ["string", "object"], **NOT_BLANK}


@frozen
class _Yes(Kind):
    """True."""

    def read(self, node: Node) -> bool:
        if Flag().read(node):
            return True
        raise WrongValueError("external is false", "Write true, or leave the scorer out.", node.where)

    def schema(self) -> dict[str, Any]:
        return {"enum": [True]}


_VALUES: Final[Mapping[str, Kind]] = {
    "command": CommandWords(),
    "json_schema": _JsonSchema(),
    "regex": _Pattern(),
    "contains": _TextOrTexts(),
    "python": _Function(),
    "victor_verifier": Choice("verifier", ("tests", "lint")),
    "rubric": _TextOrTexts(),
    "external": _Yes(),
}
_OPTIONS: Final[Mapping[str, Kind]] = {"weight": Number(0, 1_000, above=True), "gates": Flag()}
_TIMEOUT: Final[Mapping[str, Kind]] = {"timeout": Duration(Number(0, 3_600, above=True))}
_OF_RUBRIC: Final[Mapping[str, Kind]] = {
    "provider": OrNone(Text()),
    "model": OrNone(Text()),
    "samples": Number(1, 20, whole=True),
}


def _options(kind: str) -> Mapping[str, Kind]:
    timeout = {} if kind == "external" else _TIMEOUT
    return {**_OPTIONS, **timeout, **(_OF_RUBRIC if kind == "rubric" else {})}


@frozen
class Scorers(PartsByName[ScorerSettings]):
    """Scorers by name."""

    def no_mapping(self, node: Node) -> WrongValueError:
        """Return the error, which shows what stands there."""
        hint = "Write names, each with its scorer: {tests: {command: [python, -m, pytest]}}."
        return WrongValueError(f"{show(node)} is not a mapping", hint, node.where)

    def read_name(self, key: Scalar) -> str:
        """Return the name that a key is, which must be a text."""
        return Text().read(Scalar(str(key.value) if key.value is not None else "", key.where)).strip()

    def read_part(self, name: str, node: Node) -> ScorerSettings:
        """Return the scorer that stands under a name."""
        return _scorer(name, node)

    def schema(self) -> dict[str, Any]:
        """Return a mapping, each of whose values is one kind of scorer."""
        kinds = [
            {
                "type": "object",
                "properties": {
                    kind: value.schema(),
                    **{name: of.schema() for name, of in _options(kind).items()},
                },
                "required": [kind],
                "additionalProperties": False,
            }
            for kind, value in _VALUES.items()
        ]
        return {
            "type": ["object", "null"],
            "propertyNames": NOT_BLANK,
            "additionalProperties": {"oneOf": kinds},
        }


def _scorer(name: str, node: Node) -> ScorerSettings:
    if not isinstance(node, Table):
        hint = f"Write its kind and what that needs: {{command: …}}. Kinds: {listed(SCORER_KINDS)}."
        raise WrongValueError(f"{name}: {show(node)} is not a mapping", hint, node.where)
    read: dict[str, Any] = {}
    kinds = [str(key.value) for key, _ in node.pairs if str(key.value) in _VALUES]
    if len(set(kinds)) != 1:
        message = f"{name} has {'two kinds: ' + ' and '.join(kinds[:2]) if kinds else 'no kind'}"
        unknown = next((str(key.value) for key, _ in node.pairs if str(key.value) not in _options("rubric")), None)
        hint = f"Write one of {listed(SCORER_KINDS)}."
        if not kinds and unknown is not None:
            hint = did_you_mean(unknown, SCORER_KINDS, hint)
        raise WrongValueError(message, hint, node.where)
    kind = kinds[0]
    known = {kind: _VALUES[kind], **_options(kind)}
    for key, value in node.pairs:
        option = str(key.value)
        if option in read:
            raise WrongValueError(f"{name}.{option} is given twice", "Leave one of them out.", key.where)
        if option not in known:
            only = "It belongs to a rubric." if option in _OF_RUBRIC else did_you_mean(option, known)
            raise WrongValueError(f"{name}.{option} is not known", only, key.where)
        try:
            read[option] = known[option].read(value)
        except WrongValueError as wrong:
            place = wrong.where or value.where
            raise WrongValueError(f"{name}.{option}: {wrong.message}", wrong.hint, place) from wrong
    given = read.pop(kind)
    return ScorerSettings(name, kind, given, **read)  # type: ignore[arg-type]  # one of the kinds


def harmless_scorers(scorers: tuple[ScorerSettings, ...]) -> tuple[ScorerSettings, ...]:
    """Return the scorers by which the machine does not act."""
    return tuple(one for one in scorers if one.kind not in ACTING_KINDS)


def plain_scorers(scorers: tuple[ScorerSettings, ...]) -> dict[str, Any]:
    """Return scorers as a person would write them."""
    return {one.name: one.to_dict() for one in scorers}
