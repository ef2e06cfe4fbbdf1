"""How a test of the paired rule ends if its effect has a certain size: when, and with which estimate.

A test stops at a high of its evidence, so its raw estimate is too large on average. `unbiased_drift` returns the effect
whose expected estimate at the end is the one that was seen (Whitehead, *On the bias of maximum likelihood estimation
following a sequential test*, 1986). The expectation is carried from look to look by quadrature (Armitage, McPherson and
Rowe 1969), on fewer looks than a test has.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Final

from attrs import frozen

from .._model.policy import E_RULES, SIGNED_RANK, Policy
from .boundaries import boundary
from .forecast_bet import STAKES, goal_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LOOKS: Final = 48
"""Looks of the recursion, evenly spread over the logarithm of the information."""

NODES: Final = 48
"""Nodes of the quadrature."""

CDF_END, CDF_POINTS = 9.0, 6001
"""Ends and size of the table of the normal distribution function."""

FEWEST_PAIRS: Final = 15
"""Ranks of fewer pairs hardly ever reach the boundary, however large the effect."""

BET_STEP: Final = 1.0
"""Drifts that a bet is placed on are rounded to multiples of it, so that few designs are computed ..."""

LARGEST_BET: Final = 40.0
"""... and none beyond this one."""

HOPE_Z: Final = 2.0
"""A test is futile when even the upper end of this one-sided interval of the effect would hardly pass ..."""

HOPELESS_Z: Final = 2.6
"""... namely with a probability below that of this normal score (0.005)."""


@frozen
class Ending:
    """What is expected of a test with a certain effect.

    Attributes:
        passed: Probability that it has passed by each look, shape (LOOKS,).
        estimate: Expected raw estimate at the end, in standard errors of a whole test.
    """

    passed: tuple[float, ...]
    estimate: float


@frozen
class Design:
    """What the ending of a test depends on.

    Attributes:
        rule: Shape of the boundary, as for `boundaries.boundary`.
        alpha: Probability that a test of two equal plans passes.
        first: Information share of the first look.
        futility: Whether a test that will hardly pass any more ends early.
        bet: Drift that a bet is placed on, as for `ending`, rounded to a multiple of `BET_STEP`; 0 for no bet.
        goal: Logarithm of the wealth with which the bet proves a gain.
    """

    rule: str
    alpha: float
    first: float
    futility: bool
    bet: float = 0.0
    goal: float = math.inf

    @classmethod
    def of(cls, policy: Policy, unit: float = math.nan) -> Design:
        """Return the design of a test; that of an e-process, which needs no boundary, by the one of `signed_rank`.

        Args:
            policy: Its rules.
            unit: Standard error of the log gain at the end of a whole test, without which a bet is left out.
        """
        rule = SIGNED_RANK if policy.rule in E_RULES else policy.rule
        drift = (policy.forecast or 0.0) / unit if policy.has_bet and unit > 0 else 0.0
        bet = min(BET_STEP * max(round(drift / BET_STEP), 1), LARGEST_BET) if drift else 0.0
        least = policy.min_runs_per_arm if bet else max(policy.min_runs_per_arm, FEWEST_PAIRS)
        goal = goal_of(policy) if bet else math.inf
        return cls(rule, policy.proof_alpha, min(least / policy.max_runs_per_arm, 1.0), policy.futility, bet, goal)


@lru_cache(maxsize=32)
def looks(first: float) -> tuple[float, ...]:
    """Return the information shares of the looks, from the first to 1."""
    ratio = (1 / first) ** (1 / (LOOKS - 1)) if first < 1 else 1.0
    return tuple(min(first * ratio**k, 1.0) for k in range(LOOKS))


def futile_below(t: float, last: float) -> float:
    """Return the evidence below which a test is futile at information share `t`.

    By conditional power: `last` is the boundary at the end (Jennison and Turnbull 2000, chapter 10).
    """
    return math.sqrt(t) * (last - HOPELESS_Z * math.sqrt(max(1 - t, 0.0))) - HOPE_Z * (1 - t)


def ending(design: Design, drift: float) -> Ending:
    """Return what is expected of a test.

    Args:
        design: Its rules.
        drift: True effect, in standard errors of a whole test: the expected evidence at its end, had it gone on.
    """
    import numpy as np

    shares = looks(design.first)
    upper, lower = _limits(design)
    nodes, weights = _quadrature()
    total, passed = 0.0, []
    points: Floats = np.zeros(1)
    mass: Floats = np.ones(1)
    before, done = 0.0, 0.0
    for k, t in enumerate(shares):
        step, ends = t - before, k == len(shares) - 1
        if step <= 0:
            passed.append(done)
            continue
        deviation, root = math.sqrt(step), math.sqrt(t)
        high = upper[k] * root
        low = high if ends else max(lower[k] * root, drift * t - 8 * root)
        mean = points + drift * step
        above, below = (high - mean) / deviation, (low - mean) / deviation
        passes = _normal_cdf(-above)
        done += float(mass @ passes)
        passed.append(done)
        stopped = mean * (passes + _normal_cdf(below)) + deviation * (_density(above) - _density(below))
        total += float(mass @ stopped) / t
        target = low + (high - low) * (nodes + 1) / 2
        kernel = _density((target[:, None] - mean[None, :]) / deviation) / deviation
        mass = (kernel @ mass) * weights * (high - low) / 2
        points, before = target, t
    return Ending(tuple(passed), total)


@lru_cache(maxsize=64)
def _limits(design: Design) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the evidence at which a test passes, and below which it is given up, at each look."""
    limits = boundary(design.rule, design.alpha, design.first)
    upper = [limits.at(t) for t in looks(design.first)]
    last = upper[-1]
    if design.bet:
        upper = [min(height, _bet_height(design, t)) for height, t in zip(upper, looks(design.first), strict=True)]
    if not design.futility:
        return tuple(upper), (-math.inf,) * len(upper)
    lower = [futile_below(t, last) for t in looks(design.first)]
    return tuple(upper), tuple(min(pair) for pair in zip(lower, upper, strict=True))


def _bet_height(design: Design, t: float) -> float:
    """Return the evidence at which the wealth of the bet is at its goal, found by bisection."""
    low, high = 0.0, (design.goal + math.log(len(STAKES))) / design.bet + design.bet * t / 2
    for _ in range(30):
        middle = (low + high) / 2
        logs = [stake * design.bet * (middle - stake * design.bet * t / 2) for stake in STAKES]
        is_won = max(logs) > design.goal + 1 or math.fsum(map(math.exp, logs)) >= len(STAKES) * math.exp(design.goal)
        low, high = (low, middle) if is_won else (middle, high)
    return high / math.sqrt(t)


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Floats, Floats]:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return nodes, weights


def _density(x: Floats) -> Floats:
    import numpy as np

    return np.asarray(np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))


@lru_cache(maxsize=1)
def _cdf_table() -> tuple[Floats, Floats]:
    import numpy as np

    grid = np.asarray(np.linspace(-CDF_END, CDF_END, CDF_POINTS), dtype=np.float64)
    return grid, np.array([0.5 * math.erfc(-value / math.sqrt(2)) for value in grid.tolist()])


def _normal_cdf(x: Floats) -> Floats:
    """Return the normal distribution function, shape as `x`, within 1e-6: many times faster than exact ones."""
    import numpy as np

    return np.asarray(np.interp(x, *_cdf_table()))


GRID: Final = tuple(float(drift) for drift in range(-4, 17))
"""Drifts whose expected estimates are computed; beyond them the bias is that of the last one."""


@lru_cache(maxsize=64 * len(GRID))
def _expected_estimate(design: Design, drift: float) -> float:
    return ending(design, drift).estimate


def unbiased_drift(design: Design, raw: float) -> float:
    """Return the drift whose expected raw estimate is the one that was seen; both as in `Ending.estimate`."""
    expected = partial(_expected_estimate, design)
    if not expected(GRID[0]) < raw < expected(GRID[-1]):
        end = GRID[0] if raw <= expected(GRID[0]) else GRID[-1]
        return raw - (expected(end) - end)
    k = bisect_right(GRID, raw, key=expected)  # most drifts are never asked for, and each is a millisecond's work
    below, above = GRID[k - 1], GRID[k]
    return below + (above - below) * (raw - expected(below)) / (expected(above) - expected(below))


@lru_cache(maxsize=64)
def drift_for(design: Design, power: float) -> float:
    """Return the drift with which a whole test passes with a probability, from 0.5 on."""
    low, high = 0.0, 12.0
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (low, middle) if ending(design, middle).passed[-1] >= power else (middle, high)
    return (low + high) / 2


def share_for(design: Design, drift: float, power: float) -> float | None:
    """Return the information share by which a test has passed with a probability; None if the whole test has not."""
    shares, passed = looks(design.first), ending(design, drift).passed
    if passed[-1] < power:
        return None
    k = next(i for i, value in enumerate(passed) if value >= power)
    if k == 0:
        return shares[0]
    part = (power - passed[k - 1]) / (passed[k] - passed[k - 1])
    return shares[k - 1] + part * (shares[k] - shares[k - 1])
