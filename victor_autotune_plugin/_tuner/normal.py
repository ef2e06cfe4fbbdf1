"""The standard normal distribution on arrays; numpy has none, and scipy is slow to import."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def cdf(x: Floats | float) -> Floats:
    """Return P(Z <= x) to within 2e-7 (Abramowitz and Stegun 7.1.26)."""
    scaled = np.abs(np.asarray(x, dtype=np.float64)) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * scaled)
    poly = t * (_ERF[0] + t * (_ERF[1] + t * (_ERF[2] + t * (_ERF[3] + t * _ERF[4]))))
    half = 0.5 * poly * np.exp(-scaled * scaled)
    return np.where(np.asarray(x) < 0, half, 1.0 - half)


def pdf(x: Floats | float) -> Floats:
    """Return the density at x."""
    values = np.asarray(x, dtype=np.float64)
    return np.asarray(np.exp(-0.5 * values * values) / np.sqrt(2 * np.pi))


def hazard(x: float) -> float:
    """Return E[Z | Z > x], the inverse Mills ratio; its asymptote far out, where the tail can't be computed."""
    if x > 5:
        return x + 1 / x - 2 / x**3
    return float(pdf(x)) / float(cdf(-x))


def mean_below_zero(mean: Floats, sd: Floats) -> Floats:
    """Return E[min(0, X)] for X ~ N(mean, sd^2)."""
    spread = np.maximum(sd, 1e-9)
    z = mean / spread
    return mean * cdf(-z) - spread * pdf(z)


def sigmoid(x: Floats | float) -> Floats:
    """Return the logistic function."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -40, 40))))
