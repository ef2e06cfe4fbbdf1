"""Two plans compared within the blocks that their runs were assigned in, many runs at once."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from attrs import frozen

from .._analysis.quantiles import t_975
from .._model.assignment import block_length, shares_of_stream

if TYPE_CHECKING:
    from .._model.experiment import Experiment
    from ..storage.arm_runs import ArmRuns, Marks, Numbers, Places

FEWEST_FOR_INTERVAL: Final = 3
"""Blocks with runs of both plans from which a change has an interval: of fewer it would say nothing."""


@frozen
class Spread:
    """A number that is estimated, and how well it is known.

    Attributes:
        value: The estimate.
        variance: Its variance.
        freedom: Degrees of freedom of the variance.
        third: Its third central moment; 0 where it is symmetric.
    """

    value: float
    variance: float
    freedom: float
    third: float = 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Ends of the 95 % interval.

        Each is the farther one of Student's and of Hall's, which allows for few very slow runs among the few of the
        plan before (Hall, *On the removal of skewness by transformation*, 1992).
        """
        error, t = math.sqrt(self.variance), t_975(max(int(self.freedom), 1))
        skewness = self.third / error**3 if error > 0 else 0.0
        low = self.value - error * max(t, _unskewed_height(t, skewness))
        return low, self.value - error * min(-t, _unskewed_height(-t, skewness))

    @property
    def chance_positive(self) -> float:
        """How sure it is that the true number is above 0, from 0 to 1, with nothing known before.

        Student's distribution by Wallace's approximation (Wallace 1959).
        """
        if self.variance <= 0:
            return 0.5 + 0.5 * ((self.value > 0) - (self.value < 0))
        n, square = self.freedom, self.value * self.value / self.variance
        z = (8 * n + 1) / (8 * n + 3) * math.sqrt(n * math.log1p(square / n))
        return NormalDist().cdf(math.copysign(z, self.value))

    @classmethod
    def total(cls, parts: list[Spread]) -> Spread:
        """Return the sum of independent numbers; its degrees of freedom are Satterthwaite's (1946)."""
        variance = math.fsum(part.variance for part in parts)
        squares = math.fsum(part.variance**2 / part.freedom for part in parts)
        freedom = variance * variance / squares if squares > 0 else min(part.freedom for part in parts)
        third = math.fsum(part.third for part in parts)
        return cls(math.fsum(part.value for part in parts), variance, max(freedom, 1.0), third)


def _unskewed_height(t: float, skewness: float) -> float:
    """Return the height at which a statistic of this skewness is as far out as `t` without."""
    if abs(skewness) < 1e-6:
        return t
    root = 1 + skewness * (t - skewness / 6)
    return 3 / skewness * (math.copysign(abs(root) ** (1 / 3), root) - 1)


def blocks_of(runs: ArmRuns, holdback: float) -> Places:
    """Return the number of the block that each run was assigned in, from 0, shape (runs,).

    Args:
        runs: Runs of one experiment.
        holdback: Share of the runs under its live plan that keep the plan before.
    """
    import numpy as np

    lengths = np.array([[_length(name, held) for name in runs.streams] or [1] for held in (None, holdback)])
    phase = runs.verified.astype(np.int64)
    place = runs.position // lengths[phase, runs.stream]
    stream = 2 * runs.stream + phase
    numbers: Places = np.unique(stream * (int(place.max(initial=0)) + 1) + place, return_inverse=True)[1]
    return numbers


def _length(stream: str, holdback: float | None) -> int:
    """Return the length of a block; 1, in which nothing can be compared, where the shares are none to assign by."""
    try:
        return block_length(shares_of_stream(stream, holdback))
    except ValueError:  # of another store or version
        return 1


def counts(treated: Marks, block: Places) -> tuple[Numbers, Numbers]:
    """Return how many runs of the treatment, and of the control, each block has; shape (blocks,) each."""
    import numpy as np

    blocks = int(block.max(initial=-1)) + 1
    n: Numbers = np.bincount(block[treated], minlength=blocks).astype(float)
    return n, np.bincount(block, minlength=blocks) - n


def weights(treated: Marks, block: Places, sizes: tuple[Numbers, Numbers] | None = None) -> Numbers:
    """Return the weight of each run by which every block counts alike in both arms; 0 in a block of one arm alone.

    Args:
        treated: Whether the run had the treatment, shape (runs,).
        block: Its block.
        sizes: What `counts` says of them; None to count.
    """
    import numpy as np

    n, m = counts(treated, block) if sizes is None else sizes
    of_block = n * m / np.maximum(n + m, 1)
    of_run: Numbers = of_block[block] / np.where(treated, n[block], m[block])
    return of_run


def contrast(
    values: Numbers, treated: Marks, block: Places, sizes: tuple[Numbers, Numbers] | None = None
) -> Spread | None:
    """Return how much higher values of the treatment are than those of the control in the same block.

    Each block gives the difference of its means, and counts by the information that its runs give, n m / (n + m). The
    variance is what the blocks show, with the degrees of freedom of unequal weights.

    Args:
        values: One finite value a run, shape (runs,).
        treated: Whether the run had the treatment.
        block: Its block.
        sizes: What `counts` says of them; None to count.

    Returns:
        The mean difference; None for fewer than `FEWEST_FOR_INTERVAL` blocks with both arms.
    """
    import numpy as np

    n, m = counts(treated, block) if sizes is None else sizes
    both = (n > 0) & (m > 0)
    blocks = int(both.sum())
    if blocks < FEWEST_FOR_INTERVAL:
        return None
    ones = np.bincount(block, weights=np.where(treated, values, 0.0), minlength=len(n))[both] / n[both]
    zeros = np.bincount(block, weights=np.where(treated, 0.0, values), minlength=len(n))[both] / m[both]
    weight = (n * m / np.maximum(n + m, 1))[both]
    weight = weight / weight.sum()
    difference = ones - zeros
    mean = float(weight @ difference)
    squares = float(weight @ weight)
    variance = float((weight**2) @ ((difference - mean) ** 2)) * blocks / (blocks - 1)
    return Spread(mean, variance, max(1 / squares - 1, 1.0))


def gained(values: Numbers, treated: Marks, block: Places) -> tuple[Numbers, Numbers, Marks]:
    """Return what the runs of the treatment gained in each block, against the control's runs of the same block.

    A block's gain is its number of treatment runs, times the difference of the means: what those runs have more than
    they would have had with the plan before.

    Returns:
        The gains, the numbers of treatment runs, and whether the block has both arms; shape (blocks,) each.
    """
    import numpy as np

    n, m = counts(treated, block)
    both: Marks = (n > 0) & (m > 0)
    ones = np.bincount(block, weights=np.where(treated, values, 0.0), minlength=len(n))
    zeros = np.bincount(block, weights=np.where(treated, 0.0, values), minlength=len(n))
    gains: Numbers = np.where(both, ones - n * zeros / np.maximum(m, 1), 0.0)
    return gains, np.where(both, n, 0.0), both


def spread_of_total(gains: Numbers, runs: Numbers) -> Spread | None:
    """Return the sum of the gains of blocks, and how well it is known; None for too few blocks.

    Blocks may be of unequal length, so a block is held against its own share of the mean gain a run.

    Args:
        gains: Gain of each block with both arms, shape (blocks,).
        runs: Number of treatment runs of each.
    """
    blocks = len(gains)
    if blocks < FEWEST_FOR_INTERVAL:
        return None
    total, squares = float(gains.sum()), float(runs @ runs)
    rest = gains - runs * (total / float(runs.sum()))
    variance = float(rest @ rest) * blocks / (blocks - 1)
    third = float((rest**3).sum()) * blocks**2 / ((blocks - 1) * (blocks - 2))
    return Spread(total, variance, max(squares * squares / float((runs**2) @ (runs**2)) - 1, 1.0), third)


def not_measured_since(experiment: Experiment, runs: ArmRuns | None) -> float | None:
    """Return since when a plan is live without a run of the plan before beside it, or None where there is one.

    A run of the plan before comes once a block, and processes take turns, so two blocks are waited for.

    Args:
        experiment: The experiment whose plan is live, or was.
        runs: Its runs; None without one.

    Returns:
        Unix time of the last such run, or of the promotion where none came.
    """
    began = experiment.promoted_at or experiment.created_at
    held = experiment.watch_policy.holdback
    if runs is None:
        return None if held else began
    controls = runs.started_at[~runs.treated]
    last = max(began, float(controls.max(initial=began)))
    after = int((runs.treated & (runs.started_at > last)).sum())
    waited = 2 * _length("", held) if held else 0
    return last if after > waited or (not held and last == began) else None
