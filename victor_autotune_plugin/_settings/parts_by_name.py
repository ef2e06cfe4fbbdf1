"""A mapping whose keys are names that the user chooses, such as scorers and webhooks."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import Any, Final, Generic, TypeVar

from attrs import frozen

from .._model.score import LONGEST_SCORE_NAME, is_score_name
from .._values.fields import Kind
from .._values.nodes import Node, Scalar, Table, WrongValueError, is_null, show

T = TypeVar("T")

NOT_BLANK: Final = {"pattern": r"\S"}
"""What the JSON Schema asks of a text that says something."""


@frozen
class PartsByName(Kind, Generic[T]):
    """Parts by name, in the order in which they were written."""

    @abstractmethod
    def no_mapping(self, node: Node) -> WrongValueError:
        """Return the error of a value that is not a mapping."""

    @abstractmethod
    def read_part(self, name: str, node: Node) -> T:
        """Return the part that stands under a name.

        Raises:
            WrongValueError: If it can't be one.
        """

    def read_name(self, key: Scalar) -> str:
        """Return the name that a key is."""
        return str(key.value).strip() if key.value is not None else ""

    def read(self, node: Node) -> tuple[T, ...]:
        """Return them in order."""
        if is_null(node):
            return ()
        if not isinstance(node, Table):
            raise self.no_mapping(node)
        found: dict[str, T] = {}
        for key, value in node.pairs:
            name = self.read_name(key)
            if not is_score_name(name):
                hint = f"Write 1 to {LONGEST_SCORE_NAME} characters on a line."
                raise WrongValueError(f"{show(Scalar(name, key.where))} is not a name", hint, key.where)
            if name in found:
                raise WrongValueError(f"'{name}' is given twice", "Leave one of them out.", key.where)
            found[name] = self.read_part(name, value)
        return tuple(found.values())

    def parse(self, text: str) -> Any:
        """Return the mapping that the text holds as JSON, or the text if it holds none."""
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return text
