"""What a run's value owes to those before it: neighbours that are alike, a drift, a cycle."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from typing import Final

MEMORIES: Final = (1.0, 0.2, 0.05)
"""Weights of the newest value in the means of the last values that foretell the next one: of one, about 5, and 20."""

RIDGE: Final = (2.0, 100.0, 600.0)
"""Runs' worth of doubt that a mean foretells anything, so that where none does little is taken off. A long mean also
follows a real change, so it is doubted more."""

DECAY: Final = 0.998
"""Weight of what was learnt a run earlier."""

DELAY: Final = 30
"""Runs after which a value is learnt from. A change to the worse also makes values foretell each other, and must not be
learnt before it could be detected."""

RUNS_PER_DELAY: Final = 3
"""Values of the window per run of the delay; where there are few, each is needed."""

LARGEST: Final = 3.0
"""Size at which a value is cut off, in standard deviations, so that a timeout does not dominate what follows."""

UNKNOWN_SPREAD: Final = 1e4
"""A spread beyond it is that of runs that timed out, and not known."""

FIRST: Final = 12
"""Values before the first one is foretold."""

SETTLED: Final = 60
"""Values after which the centre stays."""

QUARTILES_APART: Final = 1.349
"""Distance of the quartiles of a normal distribution, in standard deviations."""

# A mean of independent values with the variance 1 has the variance w / (2 - w); the features are brought back to 1.
_UNITS: Final = tuple(((2 - memory) / memory) ** 0.5 for memory in MEMORIES)


class Prewhitening:
    """Foretells each value from the last ones and returns the rest.

    Ridge regression on three exponential means of the last values, with forgetting, all in standard deviations from the
    median, both robust. Where the past foretells nothing the rest is the value itself.

    Args:
        window: Values that median and quartiles are from.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._last: deque[float] = deque()
        self._ordered: list[float] = []
        self._means = [0.0, 0.0, 0.0]
        self._centre = 0.0
        self._products = [0.0] * 6  # f0 f0, f0 f1, f0 f2, f1 f1, f1 f2, f2 f2
        self._moments = [0.0] * 3
        self._unlearnt: deque[tuple[list[float], float]] = deque()

    def keep_from(self, earlier: Prewhitening) -> None:
        """Start with half the weight of what was learnt on earlier values."""
        self._products = [value / 2 for value in earlier._products]
        self._moments = [value / 2 for value in earlier._moments]

    def residual(self, value: float) -> float:
        """Return a value without what was foretold of its distance from the median, and learn from it."""
        ordered, n = self._ordered, len(self._ordered)
        rest = value
        if n >= FIRST:
            spread, middle = self.spread or 1.0, ordered[n // 2]
            if n <= SETTLED:
                self._centre = middle
            x = min(max((value - middle) / spread, -LARGEST), LARGEST)
            # Written out, as a watch of years does it a hundred thousand times; by `sum` still, so that each bit stays.
            (a, b, c), (unit_a, unit_b, unit_c) = self._means, _UNITS
            features = [unit_a * a, unit_b * b, unit_c * c]
            weight_a, weight_b, weight_c = self._weights()
            foretold = sum((weight_a * features[0], weight_b * features[1], weight_c * features[2]))
            self._unlearnt.append((features, x))
            delay = min(DELAY, n // RUNS_PER_DELAY)
            while len(self._unlearnt) > delay:
                self._learn(*self._unlearnt.popleft())
            fast, slow, slowest = MEMORIES
            self._means = [a + fast * (x - a), b + slow * (x - b), c + slowest * (x - c)]
            # The median moves with the window; seen from a centre that stays, what is foretold does not move with it.
            gain = sum((weight_a * unit_a, weight_b * unit_b, weight_c * unit_c))
            rest = value - foretold * spread - gain * (middle - self._centre)
        self._last.append(value)
        insort(ordered, value)
        if n >= self._window:
            del ordered[bisect_left(ordered, self._last.popleft())]
        return rest

    @property
    def spread(self) -> float:
        """Standard deviation of the window's values; 0 while it is not known."""
        ordered, n = self._ordered, len(self._ordered)
        if n < FIRST:
            return 0.0
        found = (ordered[3 * n // 4] - ordered[n // 4]) / QUARTILES_APART
        return found if found < UNKNOWN_SPREAD else 1.0

    def _learn(self, features: list[float], x: float) -> None:
        a, b, c = features
        p, m = self._products, self._moments
        p[0] = DECAY * p[0] + a * a
        p[1] = DECAY * p[1] + a * b
        p[2] = DECAY * p[2] + a * c
        p[3] = DECAY * p[3] + b * b
        p[4] = DECAY * p[4] + b * c
        p[5] = DECAY * p[5] + c * c
        m[0] = DECAY * m[0] + a * x
        m[1] = DECAY * m[1] + b * x
        m[2] = DECAY * m[2] + c * x

    def _weights(self) -> tuple[float, float, float]:
        """Solve the ridge regression by Cramer's rule."""
        p, (u, v, w) = self._products, self._moments
        a, b, c = p[0] + RIDGE[0], p[1], p[2]
        e, f, i = p[3] + RIDGE[1], p[4], p[5] + RIDGE[2]
        ei, ci, bf = e * i - f * f, c * f - b * i, b * f - c * e
        whole = a * ei + b * ci + c * bf
        ai, be, ae = a * i - c * c, b * c - a * f, a * e - b * b
        return (
            (ei * u + ci * v + bf * w) / whole,
            (ci * u + ai * v + be * w) / whole,
            (bf * u + be * v + ae * w) / whole,
        )
