"""What a check of `doctor` found."""

from __future__ import annotations

from typing import Any, Final

from attrs import asdict, frozen

OK: Final = "ok"
WARN: Final = "warn"
BAD: Final = "bad"


@frozen
class Check:
    """What was looked at and found.

    Attributes:
        name: What was looked at.
        status: `ok`, `warn`: worth knowing, or `bad`: something is wrong.
        found: What was found.
        hint: What to do about it, or None.
    """

    name: str
    status: str
    found: str
    hint: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; `mend` is what 0.1 called the hint, and goes in 0.3."""
        return asdict(self) | {"mend": self.hint}
