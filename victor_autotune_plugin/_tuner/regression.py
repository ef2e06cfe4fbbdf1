"""Bayesian regressions that learn one run at a time, in constant time and space.

The belief about the coefficients is normal, and every observation is a rank-one update of its mean and covariance
(a Kalman filter without dynamics). What is not normal is brought to it: a timeout by the first two moments of the
truncated normal, a slow outlier by its weight under Student's t, a fractional outcome by one Newton step.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from .normal import Floats, hazard

TAIL_DF: Final = 5.0
"""Degrees of freedom of Student's t for log durations: a run that is several times too slow hardly counts."""

ONE_THREAD: Final = 250_000
"""Multiplications below which OpenBLAS multiplies matrices in one thread."""

_LEAST_VARIANCE: Final = 1e-4


class Belief:
    """A normal belief about coefficients.

    Args:
        mean: Prior means, shape (d,).
        sd: Prior standard deviations, shape (d,); independent.
    """

    def __init__(self, mean: Floats, sd: Floats) -> None:
        self.prior_mean = np.array(mean, dtype=np.float64)
        self.prior_variance = np.array(sd, dtype=np.float64) ** 2
        self.mean = self.prior_mean.copy()
        self.covariance: Floats = np.diag(self.prior_variance)

    def move(self, features: Floats, shift: float, shrink: float) -> None:
        """Apply a rank-one update.

        Args:
            features: Shape (d,).
            shift: Factor on covariance @ features that is added to the mean.
            shrink: Factor on its outer product that is taken from the covariance.
        """
        direction = self.covariance @ features
        self.mean += direction * shift
        # Scaled like this the product is symmetric to the bit, so that a stored half of it is the whole.
        scaled = direction * math.sqrt(max(shrink, 0.0))
        self.covariance -= np.outer(scaled, scaled)

    def of(self, features: Floats) -> tuple[float, float]:
        """Return mean and variance of one linear combination, `features` of shape (d,)."""
        return float(features @ self.mean), max(float(features @ self.covariance @ features), 0.0)

    def of_all(self, features: Floats) -> tuple[Floats, Floats]:
        """Return means and variances of many, `features` of shape (p, d)."""
        variance = np.empty(len(features))
        # In pieces that a BLAS does not share among threads: on busy cores waiting for them takes most of a decision.
        step = max(ONE_THREAD // features.shape[1] ** 2, 1)
        for start in range(0, len(features), step):
            piece = features[start : start + step]
            variance[start : start + step] = ((piece @ self.covariance) * piece).sum(axis=1)
        return features @ self.mean, np.maximum(variance, 0.0)

    def forget(self, places: list[int]) -> None:
        """Set coefficients back to the prior, independent of the others."""
        self.mean[places] = self.prior_mean[places]
        self.covariance[places, :] = 0.0
        self.covariance[:, places] = 0.0
        self.covariance[places, places] = self.prior_variance[places]

    def discount(self, share: float) -> None:
        """Let what was learnt count for a share of what it did: a power prior (Ibrahim and Chen 2000).

        Args:
            share: In [0, 1]; 1 changes nothing, 0 leaves the prior.
        """
        prior = np.diag(1 / self.prior_variance)
        now = np.linalg.inv(self.covariance)
        precision = share * now + (1 - share) * prior
        weighted = share * (now @ self.mean) + (1 - share) * (self.prior_mean / self.prior_variance)
        inverse = np.linalg.inv(precision)
        self.covariance = np.asarray((inverse + inverse.T) / 2, dtype=np.float64)
        self.mean = self.covariance @ weighted

    def to_dict(self) -> dict[str, str]:
        """Return the belief as JSON-able text, exact to the bit. The prior is not in it."""
        lower = self.covariance[np.tril_indices(len(self.mean))]
        return {"mean": packed(self.mean), "covariance": packed(lower)}

    def load(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_dict` wrote.

        Raises:
            ValueError: If it is not a belief of this many coefficients.
        """
        size = len(self.mean)
        mean, lower = unpacked(data["mean"], size), unpacked(data["covariance"], size * (size + 1) // 2)
        covariance: Floats = np.zeros((size, size))
        covariance[np.tril_indices(size)] = lower
        covariance = covariance + np.tril(covariance, -1).T
        if not (np.isfinite(mean).all() and np.isfinite(covariance).all() and (np.diag(covariance) >= 0).all()):
            raise ValueError("the belief is not finite, or has a negative variance")
        self.mean, self.covariance = mean, covariance


class LogRegression:
    """Regression of a positive quantity's logarithm with slow outliers and censoring.

    Args:
        belief: Prior of the coefficients.
        sd: Prior guess of the noise's standard deviation.
        weight: How many runs the guess counts for.
    """

    def __init__(self, belief: Belief, sd: float, weight: float = 4.0) -> None:
        self.belief = belief
        self.weight = weight
        self.variance = sd**2
        self._prior = sd**2, weight

    def learn(self, features: Floats, value: float, *, known: float = 0.0, censored: bool = False) -> float:
        """Take one run into account.

        Args:
            features: Shape (d,).
            value: The logarithm, less any offset; of a run that was cut off, the logarithm at which it was.
            known: Variance of `value` besides the noise, such as that of its task's effect.
            censored: Whether the true value is above `value`.

        Returns:
            The residual before learning, in standard deviations of its prediction.
        """
        mean, spread = self.belief.of(features)
        noise = self.variance + known
        z = (value - mean) / math.sqrt(noise + spread)
        if censored:
            scale = math.sqrt(noise + spread)
            excess = hazard(z)
            self.belief.move(features, excess / scale, excess * (excess - z) / (noise + spread))
            return max(z, 0.0)
        # An outlier counts as if its noise were larger; only the slow side has a long tail.
        outlying = (TAIL_DF + 1) / (TAIL_DF + z * z) if z > 0 else 1.0
        outlying = min(outlying, 1.0)
        total = noise / outlying + spread
        self.belief.move(features, (value - mean) / total, 1 / total)
        residual = (value - mean) ** 2 * self.variance / (noise + spread)
        self.weight += 1
        share = (TAIL_DF + 1) / (TAIL_DF + z * z)
        self.variance += (share * residual - self.variance) / self.weight
        self.variance = max(self.variance, _LEAST_VARIANCE)
        return z

    def discount(self, share: float) -> None:
        """Let what was learnt count for a share of what it did."""
        self.belief.discount(share)
        self.weight = max(share * self.weight, self._prior[1])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able data."""
        return {**self.belief.to_dict(), "variance": self.variance, "weight": self.weight}

    def load(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_dict` wrote; raises `ValueError` when it is not that."""
        self.belief.load(data)
        self.variance, self.weight = positive(data["variance"]), positive(data["weight"])


class OutcomeRegression:
    """Logistic regression of an outcome in [0, 1] (quasi-binomial: Papke and Wooldridge 1996).

    The dispersion is learnt: a graded outcome varies less than a binary one of the same mean and so tells more.

    Args:
        belief: Prior of the coefficients.
        dispersion: Prior guess of the variance over that of a binary outcome.
        weight: How many runs the guess counts for.
    """

    def __init__(self, belief: Belief, dispersion: float = 1.0, weight: float = 10.0) -> None:
        self.belief = belief
        self.dispersion = dispersion
        self.weight = weight
        self._prior = dispersion, weight

    def learn(self, features: Floats, value: float) -> None:
        """Take one run into account: `features` of shape (d,) and its outcome in [0, 1]."""
        mean, spread = self.belief.of(features)
        # The chance averaged over the belief (MacKay 1992) keeps one step from overshooting.
        chance = 1 / (1 + math.exp(-max(min(mean / math.sqrt(1 + math.pi * spread / 8), 30.0), -30.0)))
        weight = max(chance * (1 - chance), 0.01)
        precision = weight / self.dispersion
        shrink = precision / (1 + precision * spread)
        self.belief.move(features, (value - chance) / self.dispersion / (1 + precision * spread), shrink)
        self.weight += 1
        excess = (value - chance) ** 2 / (weight * (1 + precision * spread))
        self.dispersion += (min(excess, 4.0) - self.dispersion) / self.weight
        self.dispersion = min(max(self.dispersion, 0.1), 1.0)

    def discount(self, share: float) -> None:
        """Let what was learnt count for a share of what it did."""
        self.belief.discount(share)
        self.weight = max(share * self.weight, self._prior[1])

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-able data."""
        return {**self.belief.to_dict(), "dispersion": self.dispersion, "weight": self.weight}

    def load(self, data: Mapping[str, Any]) -> None:
        """Take over what `to_dict` wrote; raises `ValueError` when it is not that."""
        self.belief.load(data)
        self.dispersion, self.weight = positive(data["dispersion"]), positive(data["weight"])


def packed(values: Floats) -> str:
    """Return float64 values as base64 text, little-endian."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f8").tobytes()).decode()


def unpacked(text: Any, size: int) -> Floats:
    """Return what `packed` wrote; raises `ValueError` when it is not `size` values."""
    values = np.frombuffer(base64.b64decode(str(text), validate=True), dtype="<f8").astype(np.float64)
    if len(values) != size:
        raise ValueError(f"{len(values)} values where {size} belong")
    return values


def positive(value: Any) -> float:
    """Return a finite number above 0; raises `ValueError` for anything else."""
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{value!r} is no number above 0")
    return float(value)
