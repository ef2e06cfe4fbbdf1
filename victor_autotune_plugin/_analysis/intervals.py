"""Numbers with their uncertainty, without numpy: what evidence is made of and strategies reckon with."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean
from typing import Any, Final

from attrs import frozen

from .._model.optimization import Evidence

_T_975: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""0.975 quantiles of Student's t for 1 to 10 degrees of freedom."""

Z_975: Final = 1.959964
"""0.975 quantile of the normal distribution."""


@frozen(eq=False)
class Estimate(Evidence):
    """A number with its 95 % interval.

    Attributes:
        value: The number.
        low: Lower end.
        high: Upper end.
        runs: Runs behind it.
    """

    value: float
    low: float
    high: float
    runs: int

    @property
    def standard_deviation(self) -> float:
        """Standard deviation of the normal distribution that has this interval."""
        return (self.high - self.low) / (2 * Z_975)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        data = super().to_dict()
        data["interval"] = [data.pop("low"), data.pop("high")]
        return data


def t_975(freedom: int) -> float:
    """Return the 0.975 quantile of Student's t.

    Args:
        freedom: Degrees of freedom; from 11 on, Fisher's expansion is used, which is right to three digits.
    """
    if freedom <= len(_T_975):
        return _T_975[max(freedom, 1) - 1]
    z = Z_975
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


def mean_estimate(values: Sequence[float]) -> Estimate:
    """Return the mean of at least two values with Student's interval.

    Args:
        values: One value a run.
    """
    count, mean = len(values), fmean(values)
    # `statistics.stdev` reckons with exact fractions, which takes twenty times as long
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    half = t_975(count - 1) * math.sqrt(variance / count)
    return Estimate(mean, mean - half, mean + half, count)
