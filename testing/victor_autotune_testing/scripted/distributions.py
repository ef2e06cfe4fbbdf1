"""Where the numbers of a script come from: latencies in seconds, and token counts."""

from __future__ import annotations

import math
from random import Random
from typing import Any, Protocol

from attrs import Attribute, field, frozen


class Distribution(Protocol):
    """Gives one number at a time."""

    def draw(self, random: Random) -> float:
        """Return the next number, at least 0.

        Args:
            random: Source of randomness; the same state gives the same number.
        """
        ...


def not_negative(_instance: object, attribute: Attribute[Any], value: Any) -> None:
    """Validate that a field holds a finite number of at least 0.

    Raises:
        ValueError: It does not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{attribute.name} must be a number of at least 0, not {value!r}")


def share(_instance: object, attribute: Attribute[Any], value: Any) -> None:
    """Validate that a field holds a number in [0, 1].

    Raises:
        ValueError: It does not.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{attribute.name} must be a number from 0 to 1, not {value!r}")


@frozen
class Constant:
    """Always the same number.

    Attributes:
        value: The number.
    """

    value: float = field(validator=not_negative)

    def draw(self, random: Random) -> float:  # noqa: ARG002 - as the protocol has it
        """Return the number."""
        return self.value


@frozen
class Uniform:
    """Every number between two is as likely as any other.

    Attributes:
        low: The smallest.
        high: The largest.
    """

    low: float = field(validator=not_negative)
    high: float = field(validator=not_negative)

    def __attrs_post_init__(self) -> None:
        if self.high < self.low:
            raise ValueError(f"high ({self.high:g}) must not be below low ({self.low:g})")

    def draw(self, random: Random) -> float:
        """Return a number from low to high."""
        return random.uniform(self.low, self.high)


@frozen
class Lognormal:
    """Skewed to the right, as latencies of models are: half of the numbers lie below the median.

    Attributes:
        median: Half of the numbers are below it.
        sigma: Standard deviation of the natural logarithm; 0.5 puts the 95th percentile at 2.3 times the median.
    """

    median: float = field(validator=not_negative)
    sigma: float = field(validator=not_negative)

    def draw(self, random: Random) -> float:
        """Return `median * exp(sigma * z)` with a standard normal `z`."""
        return self.median * math.exp(self.sigma * random.gauss(0.0, 1.0))


@frozen
class Tailed:
    """Another distribution whose numbers are, rarely, many times as large.

    Attributes:
        body: The distribution of the usual numbers.
        probability: Share of the numbers that are in the tail, in [0, 1].
        factor: What a number in the tail is multiplied by.
    """

    body: Distribution
    probability: float = field(validator=share)
    factor: float = field(validator=not_negative)

    def draw(self, random: Random) -> float:
        """Return a number of the body, multiplied when it falls into the tail."""
        usual = self.body.draw(random)
        return usual * self.factor if random.random() < self.probability else usual


def as_distribution(value: float | Distribution) -> Distribution:
    """Return a plain number as a constant, and a distribution as it is.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, int | float):
        return Constant(value)
    if not callable(getattr(value, "draw", None)):
        raise ValueError(f"expected a number or a distribution, not {value!r}")
    return value
