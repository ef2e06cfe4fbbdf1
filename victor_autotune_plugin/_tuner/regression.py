"""Bayesian regressions that learn one run at a time, in constant time and space.

The belief about the coefficients is normal, and every observation is a rank-one update of its mean and covariance
(a Kalman filter without dynamics). What is not normal is brought to it: a timeout by the first two moments of the
truncated normal, a slow outlier by its weight under Student's t, a fractional outcome by one Newton step. What
is a single task's or plan's own is learnt beside the regression, as random effects.

The standard normal distribution on arrays is here, too: numpy has none, and scipy is slow to import.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Hashable
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Number = TypeVar("Number", float, Floats)

TAIL_DF: Final = 5.0
"""Degrees of freedom of Student's t for log durations: a run that is several times too slow hardly counts."""

ONE_THREAD: Final = 250_000
"""Multiplications below which OpenBLAS multiplies matrices in one thread."""

MOST_EFFECTS: Final = 256
"""Effects that are remembered; the one that was seen longest ago makes room."""

_LEAST_VARIANCE: Final = 1e-4

FEW: Final = 4
"""Values up to which the functions of the standard library take less time than numpy's begin to."""

_ERF = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def cdf(x: Floats | float) -> Floats:
    """Return P(Z <= x) to within 2e-7 (Abramowitz and Stegun 7.1.26)."""
    values = np.asarray(x, dtype=np.float64)
    if values.size <= FEW:
        return np.array([0.5 * math.erfc(-one / math.sqrt(2)) for one in values.ravel().tolist()]).reshape(values.shape)
    scaled = np.abs(values) / math.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * scaled)
    poly = t * (_ERF[0] + t * (_ERF[1] + t * (_ERF[2] + t * (_ERF[3] + t * _ERF[4]))))
    half = 0.5 * poly * np.exp(-scaled * scaled)
    return np.where(values < 0, half, 1.0 - half)


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
        # Scaled like this, the product is symmetric to the bit, and the covariance stays so.
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
            variance[start : start + step] = np.einsum("ij,ij->i", piece @ self.covariance, piece)
        return features @ self.mean, np.maximum(variance, 0.0)

    def given(self, places: Ints, sd: float) -> Belief:
        """Return the belief if some coefficients are known to be as believed before the first run, nearly.

        Args:
            places: Of the coefficients, shape (k,).
            sd: Standard deviation of how far each is off.
        """
        result = Belief(self.prior_mean, np.sqrt(self.prior_variance))
        # All at once (Kalman): each coefficient is observed as its prior mean.
        across = self.covariance[:, places]
        total = across[places] + sd**2 * np.eye(len(places))
        gain = np.linalg.solve(total, across.T).T
        result.mean = self.mean + gain @ (self.prior_mean - self.mean)[places]
        covariance = self.covariance - gain @ across.T
        result.covariance = (covariance + covariance.T) / 2
        return result

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


class LogRegression:
    """Regression of a positive quantity's logarithm with slow outliers and censoring.

    Args:
        sd: Prior guess of the noise's standard deviation.
        weight: How many runs the guess counts for.
    """

    def __init__(self, belief: Belief, sd: float, weight: float = 4.0) -> None:
        self.belief = belief
        self.weight = weight
        self.variance = sd**2
        self._least_weight = weight

    def learn(self, features: Floats, value: float, *, known: float = 0.0, censored: bool = False) -> None:
        """Take one run into account.

        Args:
            features: Shape (d,).
            value: The logarithm, less any offset; of a run that was cut off, the logarithm at which it was.
            known: Variance of `value` besides the noise, such as that of its task's effect.
            censored: Whether the true value is above `value`.
        """
        mean, spread = self.belief.of(features)
        noise = self.variance + known
        z = (value - mean) / math.sqrt(noise + spread)
        if censored:
            scale = math.sqrt(noise + spread)
            excess = hazard(z)
            self.belief.move(features, excess / scale, excess * (excess - z) / (noise + spread))
            return
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

    def log_likelihood(self, features: Floats, value: float, *, known: float, censored: bool) -> float:
        """Return the log density with which a run was to be expected; the arguments are those of `learn`."""
        mean, spread = self.belief.of(features)
        scale = math.sqrt(self.variance + known + spread)
        z = (value - mean) / scale
        if censored:
            return math.log(max(float(cdf(-z)), 1e-9))
        return -math.log(scale) - (TAIL_DF + 1) / 2 * math.log1p(z * z / TAIL_DF)

    def discount(self, share: float) -> None:
        """Let what was learnt count for a share of what it did."""
        self.belief.discount(share)
        self.weight = max(share * self.weight, self._least_weight)


class MixedBelief:
    """Two beliefs of which one holds: means and variances of both together.

    Args:
        beliefs: The two.
        share: Probability that the second holds.
    """

    def __init__(self, beliefs: tuple[Belief, Belief], share: float) -> None:
        self._beliefs = beliefs
        self._share = share

    def of(self, features: Floats) -> tuple[float, float]:
        """Return mean and variance of one linear combination, `features` of shape (d,)."""
        (mean, variance), (other, more) = (belief.of(features) for belief in self._beliefs)
        return self._mixed(mean, other), self._mixed(variance, more) + self._between * (other - mean) ** 2

    def of_all(self, features: Floats) -> tuple[Floats, Floats]:
        """Return means and variances of many, `features` of shape (p, d)."""
        (mean, variance), (other, more) = (belief.of_all(features) for belief in self._beliefs)
        return self._mixed(mean, other), self._mixed(variance, more) + self._between * (other - mean) ** 2

    def given(self, places: Ints, sd: float) -> MixedBelief:
        """Return both if some coefficients are known to be as believed before; see `Belief.given`."""
        one, other = self._beliefs
        return MixedBelief((one.given(places, sd), other.given(places, sd)), self._share)

    @property
    def _between(self) -> float:
        return self._share * (1 - self._share)

    def _mixed(self, one: Number, other: Number) -> Number:
        return (1 - self._share) * one + self._share * other


class MixedRegression:
    """Two regressions of one quantity, of which one holds: which, their predictions tell.

    Bayesian model averaging (Hoeting et al. 1999).

    Args:
        regressions: The two.
        share: Probability that the second holds, before the first run.
    """

    def __init__(self, regressions: tuple[LogRegression, LogRegression], share: float) -> None:
        self._regressions = regressions
        self._log_odds = self._prior_log_odds = math.log(share / (1 - share))

    @property
    def share(self) -> float:
        """Probability that the second holds."""
        return 1 / (1 + math.exp(-max(min(self._log_odds, 40.0), -40.0)))

    @property
    def belief(self) -> MixedBelief:
        """What both believe of the coefficients."""
        one, other = self._regressions
        return MixedBelief((one.belief, other.belief), self.share)

    @property
    def variance(self) -> float:
        """Variance of the noise."""
        one, other = self._regressions
        return (1 - self.share) * one.variance + self.share * other.variance

    def learn(self, features: Floats, value: float, *, known: float = 0.0, censored: bool = False) -> None:
        """Take one run into account; see `LogRegression.learn`."""
        one, other = (
            regression.log_likelihood(features, value, known=known, censored=censored)
            for regression in self._regressions
        )
        self._log_odds += other - one
        for regression in self._regressions:
            regression.learn(features, value, known=known, censored=censored)

    def discount(self, share: float) -> None:
        """Let what was learnt count for a share of what it did."""
        self._log_odds = self._prior_log_odds + share * (self._log_odds - self._prior_log_odds)
        for regression in self._regressions:
            regression.discount(share)


class OutcomeRegression:
    """Logistic regression of an outcome in [0, 1] (quasi-binomial: Papke and Wooldridge 1996).

    The dispersion is learnt: a graded outcome varies less than a binary one of the same mean and so tells more.

    Args:
        dispersion: Prior guess of the variance over that of a binary outcome.
        weight: How many runs the guess counts for.
    """

    def __init__(self, belief: Belief, dispersion: float = 1.0, weight: float = 10.0) -> None:
        self.belief = belief
        self.dispersion = dispersion
        self.weight = weight
        self._least_weight = weight

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
        self.weight = max(share * self.weight, self._least_weight)


class RandomEffects:
    """What is a task's own, or a plan's: a normal belief for each, which its runs narrow.

    Args:
        sd: Standard deviation over all of them.
    """

    def __init__(self, sd: float) -> None:
        self._variance = sd**2
        self._beliefs: dict[Hashable, tuple[float, float]] = {}

    @property
    def variance_of_new(self) -> float:
        """Variance of one that was never seen; 0 before any was, when the noise has it in it."""
        return self._variance if self._beliefs else 0.0

    @property
    def known(self) -> Collection[Hashable]:
        """What effects are known of."""
        return self._beliefs.keys()

    def of(self, key: Hashable) -> tuple[float, float]:
        """Return mean and variance of an effect."""
        return self._beliefs.get(key, (0.0, self._variance))

    def learn(self, key: Hashable, residual: float, noise: float) -> None:
        """Take a run into account.

        Args:
            key: What the effect is of.
            residual: What nothing else explains.
            noise: Its variance besides the effect.
        """
        if not math.isfinite(residual):
            return
        mean, variance = self._beliefs.pop(key, (0.0, self._variance))
        gain = variance / (variance + noise)
        self._beliefs[key] = mean + gain * (residual - mean), variance * (1 - gain)
        if len(self._beliefs) > MOST_EFFECTS:
            self._beliefs.pop(next(iter(self._beliefs)))
