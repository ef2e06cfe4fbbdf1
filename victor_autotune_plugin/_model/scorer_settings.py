"""A scorer as a person sets it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

from attrs import field, frozen

ScorerKind = Literal["command", "json_schema", "regex", "contains", "python", "victor_verifier", "rubric", "external"]
"""What scores: a command, a JSON Schema, a pattern, words, a Python function, a verifier of Victor's, a model with a
list of checks, or a person or tool outside."""

SCORER_KINDS: Final[tuple[str, ...]] = get_args(ScorerKind)

ACTING_KINDS: Final = ("command", "python", "victor_verifier", "rubric")
"""Those by which the machine acts."""


@frozen
class ScorerSettings:
    """One scorer.

    Attributes:
        name: Its name.
        kind: What scores.
        value: What the kind needs: the words of the command; the schema, or the path of its file; the pattern; the
            texts that must all be there; `package.module:function`; `tests` or `lint`; the checks, each a question
            to be answered by yes or no; or True.
        weight: Its weight in the run's score.
        gates: Whether it decides; else it is only shown. A model decides only once it is trusted.
        timeout: Most seconds that it may take.
        provider: Victor's name of the model's provider; None for that of the run. For a rubric only.
        model: Name of the model. For a rubric only.
        samples: How often the model is asked. For a rubric only.
    """

    name: str
    kind: ScorerKind
    value: Any = field(eq=repr)
    weight: float = 1.0
    gates: bool = True
    timeout: float = 60.0
    provider: str | None = None
    model: str | None = None
    samples: int = 3

    @property
    def definition(self) -> str:
        """Digest of what it does; empty for a judge, which has its own, and for one outside."""
        if self.kind in ("rubric", "external"):
            return ""
        text = json.dumps([self.kind, self.value], sort_keys=True, default=str)
        return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data, as a person would write it."""
        value = list(self.value) if isinstance(self.value, tuple) else self.value
        value = dict(value) if isinstance(value, Mapping) else value
        default = ScorerSettings(self.name, self.kind, None)
        others = ("weight", "gates", "timeout", "provider", "model", "samples")
        changed = {name: getattr(self, name) for name in others if getattr(self, name) != getattr(default, name)}
        return {self.kind: value, **changed}
