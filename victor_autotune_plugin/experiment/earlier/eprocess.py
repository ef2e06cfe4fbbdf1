"""Anytime-valid evidence from the pairs of a test: e-processes that need no plan of when to look.

They bet on the signs of the pairs' differences (`experiment.betting`).

The two rules differ in the score of a pair:

* `e_logs`: size of the difference of the logarithms, in units of the spread of the earlier pairs, cut off at
  `LARGEST`, so that a timeout is no more than a very slow run. A mixture e-process on logs.
* `e_ranks`: rank of the size among the pairs so far. Signed-rank betting; a log scale or another makes little
  difference.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from ..._model.policy import E_RULES
from ..._model.run import CONTROL, TREATMENT, Observation
from ..betting import LARGEST, STAKES, Wealth
from ..boundaries import NORMAL
from ..primary import TIMED_OUT, Effect, adjusted_value, relative_change
from ..twosample import percentile

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

FIRST_SPREAD: Final = {"score": 0.3}
"""Spread of a pair's difference that is assumed until four pairs show one; 1 for the logarithms of other metrics."""

SPREAD_PAIRS: Final = 4
"""Earlier pairs from which their own spread is taken."""

MIXTURE_GAIN: Final = 0.7
"""What the stakes beside the best one add to the logarithm of the mixture's wealth, about; for forecasts only."""

STEPS: Final = 30
"""Most steps in which an end of an interval is looked for ..."""

PRECISION: Final = 2e-4
"""... up to this share of the range of the differences."""

QUARTILES_APART: Final = 2 * NORMAL.inv_cdf(0.75)
"""Distance of the quartiles of a normal distribution, in standard deviations."""


@frozen
class EBoundary:
    """Height that the logarithm of an e-value must reach; the counterpart of `boundaries.Boundary`.

    Attributes:
        alpha: Probability, at most, that it is ever reached without an effect.
        start: Information share of the first look.
    """

    alpha: float
    start: float

    def at(self, t: float) -> float:
        """Return the height at information share `t`: `ln(1 / alpha)`, and infinite before `start`."""
        return math.inf if t < self.start * (1 - 1e-9) else -math.log(self.alpha)

    def normal(self, t: float) -> float:
        """Return the standardised sum of the scores with which the height is about reached; for forecasts only.

        With a standardised sum z the best stake has a wealth of about `exp(z ** 2 / 2)`, its share of the mixture.
        """
        return (
            math.inf if math.isinf(self.at(t)) else math.sqrt(2 * (self.at(t) + math.log(len(STAKES)) - MIXTURE_GAIN))
        )


class PairedPrimary:
    """The metric a test decides on, by an e-process over its pairs; see `rank_sum.Primary`.

    A pair is the runs with the indices 2 k and 2 k + 1, when both count and have different arms.

    Args:
        rule: One of `E_RULES`.
        metric: One of `policy.METRICS`.
        task_effects: Log effect of each task key, taken off the values.
    """

    def __init__(self, rule: str, metric: str, task_effects: Mapping[str, float] | None = None) -> None:
        if rule not in E_RULES:
            raise ValueError(f"rule must be one of {', '.join(E_RULES)}, not {rule!r}")
        self._ranked = rule == "e_ranks"
        self._metric = metric
        self._task_effects = task_effects or {}
        self._waiting: dict[tuple[str, int], tuple[str, float]] = {}
        self._differences: list[float] = []
        self._spreads: list[float] = []
        self._ordered: list[float] = []
        self._wealth = Wealth()
        self._control_total, self._controls = 0.0, 0

    def add(self, observation: Observation) -> bool:
        """Add a run; return whether it has a value."""
        value = adjusted_value(self._metric, observation, self._task_effects)
        if value is None:
            return False
        if observation.arm == CONTROL:
            self._control_total += observation.outcome
            self._controls += 1
        pair = observation.stream, observation.index // 2
        other = self._waiting.pop(pair, None)
        if other is None:
            self._waiting[pair] = observation.arm, value
        elif other[0] != observation.arm:
            self._settle(other[1] - value if observation.arm == TREATMENT else value - other[1])
        return True

    def _settle(self, difference: float) -> None:
        """Take a pair into account: control's value minus treatment's, positive when the treatment is better."""
        self._spreads.append(self._spread())
        self._differences.append(difference)
        size = abs(difference)
        if self._ranked:
            insort(self._ordered, size)
            middle = (bisect_left(self._ordered, size) + 1 + bisect_right(self._ordered, size)) / 2
            score = math.sqrt(3) * middle / len(self._ordered)
        else:
            score = min(size / self._spreads[-1], LARGEST)
            insort(self._ordered, difference)
        self._wealth.add(math.copysign(score, difference) if difference else 0.0)

    def _spread(self) -> float:
        """Spread of the earlier pairs' differences; it must not depend on the pair that it scales."""
        if not self._ranked and len(self._ordered) >= SPREAD_PAIRS:
            spread = (percentile(self._ordered, 0.75) - percentile(self._ordered, 0.25)) / QUARTILES_APART
            if 0 < spread < TIMED_OUT / 10:
                return spread
        return FIRST_SPREAD.get(self._metric, 1.0)

    @property
    def z(self) -> float:
        """Logarithm of the e-value that the treatment is better, or with a negative sign that it is worse."""
        direction = 1 if self._wealth.sum >= 0 else -1
        return direction * max(self._wealth.log_e(direction), 0.0)

    @property
    def normal(self) -> float:
        """Standardised sum of the scores, about standard normal without an effect."""
        return self._wealth.sum / math.sqrt(self._wealth.squares) if self._wealth.squares else 0.0

    def effect(self, better: float, worse: float) -> Effect:
        """Return the shift that leaves no sum of scores, with the shifts that the e-process does not reject."""
        if not self._differences:
            return Effect(math.nan, math.nan, math.nan)
        at = self._shifted()
        ends = [at(0, 0.0), at(-1, worse), at(1, better)]  # the treatment's gain: estimate, most, least
        if self._metric == "score":
            base = self._control_total / self._controls
            if not base > 0:
                return Effect(math.nan, math.nan, math.nan)
            estimate, most, least = (gain / base for gain in ends)
            return Effect(estimate, max(least, -1.0), most)
        return Effect(*(relative_change(-gain) for gain in ends))

    def improvement(self) -> float:
        """Return the estimated relative improvement, positive when better."""
        estimate = self.effect(math.inf, math.inf).estimate
        return estimate if self._metric == "score" else -estimate

    def _shifted(self) -> Callable[[int, float], float]:
        """Return a function that finds the gain at which the evidence in a direction has a height.

        Evidence of a gain beyond `g` is that of the differences minus `g`: it falls as `g` grows. Direction 0 is the
        sum of the scores itself.
        """
        import numpy as np

        differences, spreads = np.array(self._differences), np.array(self._spreads)
        finite = differences[np.abs(differences) < TIMED_OUT / 10]
        reach = 1.01 * (1.0 if self._ranked else LARGEST * float(spreads.max()))
        first = float(finite.min()) - reach if finite.size else -1.0
        last = float(finite.max()) + reach if finite.size else 1.0

        def evidence(direction: int, gain: float) -> float:
            scores = _scores(differences - gain, None if self._ranked else spreads)
            total = float(scores.sum())
            return total if direction == 0 else direction * _log_e(scores, direction * total)

        def find(direction: int, height: float) -> float:
            """Return the gain; infinite, away from the estimate, where the height isn't reached."""
            if math.isinf(height):
                return -direction * math.inf
            wanted = direction * height if direction else 0.0
            low, high = first, last
            above, below = evidence(direction, low) - wanted, evidence(direction, high) - wanted
            if above < 0 or below > 0:
                return -math.inf if above < 0 else math.inf
            for step in range(STEPS):
                # Regula falsi and bisection in turn: the evidence is nearly straight, and has steps.
                share = 0.5 if step % 2 or above == below else min(max(above / (above - below), 0.02), 0.98)
                middle = low + share * (high - low)
                found = evidence(direction, middle) - wanted
                if found >= 0:
                    low, above = middle, found
                else:
                    high, below = middle, found
                if high - low <= PRECISION * (last - first):
                    break
            return (low + high) / 2

        return find


def _scores(differences: Floats, spreads: Floats | None) -> Floats:
    """Return the pairs' scores with their signs; without spreads by sequential ranks."""
    import numpy as np

    if spreads is not None:
        return np.clip(differences / spreads, -LARGEST, LARGEST)
    sizes = np.abs(differences)
    earlier, ones = _triangle(sizes.size), np.ones(sizes.size, np.float32)
    up_to = ((sizes[None, :] <= sizes[:, None]) & earlier).astype(np.float32) @ ones  # a product counts fastest
    below = up_to - 1
    if np.unique(sizes).size < sizes.size:
        below = ((sizes[None, :] < sizes[:, None]) & earlier).astype(np.float32) @ ones
    ranks = (up_to.astype(np.float64) + below + 1) / 2
    scores: Any = np.sign(differences) * math.sqrt(3) * ranks / np.arange(1, sizes.size + 1)
    return np.asarray(scores)


@lru_cache(maxsize=1)
def _triangle(size: int) -> NDArray[np.bool_]:
    import numpy as np

    return np.tri(size, dtype=bool)


def _log_e(scores: Floats, total: float) -> float:
    """Return the logarithm of the e-value of scores with this sum; as `Wealth.log_e`."""
    import numpy as np

    stakes = np.array(STAKES)
    x = np.abs(stakes[:, None] * scores[None, :])
    logs = stakes * total - (x + np.log1p(np.exp(-2 * x)) - math.log(2)).sum(axis=1)
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).mean()))
