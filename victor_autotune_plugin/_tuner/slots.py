"""Places in the coefficients for layouts that have an effect of their own."""

from __future__ import annotations

from typing import Final

import numpy as np

from .normal import Floats
from .prior import Coefficients
from .regression import Belief
from .table import Ints

SLOTS: Final = 12
"""Layouts that have an effect of their own at once; the one with the fewest runs makes room."""


def differences(features: Floats, slots: Ints) -> Floats:
    """Return features of all rows but the last, less the last's, with slots, shape (p - 1, d)."""
    count, size = features.shape
    full = np.zeros((count, size + SLOTS))
    full[:, :size] = features
    tested = np.flatnonzero(slots >= 0)
    full[tested, size + slots[tested]] = 1.0
    return np.asarray(full[:-1] - full[-1])


def belief_of(prior: Coefficients, own_sd: float, level: float | None) -> Belief:
    """Return the belief of a prior with slots; `level` replaces the intercept's mean."""
    means = [mean for mean, _ in prior.values()]
    if level is not None:
        means[list(prior).index("intercept")] = level
    sds = [sd for _, sd in prior.values()]
    return Belief(np.array(means + [0.0] * SLOTS), np.array(sds + [own_sd] * SLOTS))
