"""What a team is tuned for, and what must hold besides."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from attrs import Attribute, asdict, field, frozen

METRICS: Final = ("duration", "cost", "tool_calls", "score")
"""What can be improved. A lower value is better, but for the score."""


def _weights(value: Mapping[str, float] | str) -> dict[str, float]:
    return {value: 1.0} if isinstance(value, str) else dict(value)


def _known(_: object, attribute: Attribute[Any], value: Mapping[str, float]) -> None:
    wrong = [name for name in value if name not in METRICS]
    if wrong:
        raise ValueError(f"{attribute.name}: {wrong[0]!r} is no metric; there are {', '.join(METRICS)}")
    if not value or not all(math.isfinite(w) and w >= 0 for w in value.values()) or not any(value.values()):
        raise ValueError(f"{attribute.name} must hold a weight above 0, and none below")


@frozen
class Objective:
    """What a team is tuned for.

    The value of a plan is the weighted mean of the logarithms of the metrics, relative to today's plan, so that 20 %
    off one counts as 20 % off another. The score counts as the log odds of the outcome, negative.

    Attributes:
        weights: Weight of each of `METRICS`; a name alone for one metric.
        success_margin: Most that the success share may fall, absolute.
        minimum_improvement: Relative improvement below which a change is not worth a test.
        max_cost_usd: Most that a run may cost on average and in 19 of 20 runs, or None.
        max_p95_seconds: Most that the 95th percentile of the duration may be, or None.
    """

    weights: Mapping[str, float] = field(factory=lambda: {"duration": 1.0}, converter=_weights, validator=_known)
    success_margin: float = 0.05
    minimum_improvement: float = 0.05
    max_cost_usd: float | None = None
    max_p95_seconds: float | None = None

    @property
    def shares(self) -> dict[str, float]:
        """The weights, adding up to 1."""
        total = sum(self.weights.values())
        return {name: weight / total for name, weight in self.weights.items() if weight}

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able data."""
        return asdict(self)
