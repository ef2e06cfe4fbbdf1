"""Statistics of a test within the blocks that its runs were randomised in.

Without an effect each run would have gone the same way in the other arm, and within a block every order of the arms was
as likely. So a statistic that compares treatment with control inside blocks holds its level whatever the
runs of neighbours have in common: a drift, a daily cycle, alternating tasks, an autocorrelation of either sign. Two
independent samples would have the wrong variance there, by the factor 1 - R with the correlation R within a block
(Matts and Lachin, *Properties of permuted-block randomization in clinical trials*, 1988).

A block counts as soon as both arms have a run in it; for pairs that is when the second one finishes, and what has no
partner is left out. All sums are taken up block by block, in microseconds.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from statistics import median
from typing import TYPE_CHECKING, Final

from attrs import define, field

from .task_levels import Levels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Block = Hashable
"""Name of a block."""

PAIRS_INFORMATION: Final = 2.0
"""Information of a block of m and n runs, in units of m n / (m + n): 1 for a pair."""

SCORE_PRIOR: Final = 0.5
"""Two pairs with this difference of scores, one of either sign, are added to their variance: equal scores are not sure
to stay equal."""

UNKNOWN_SIZE: Final = 1e5
"""A difference beyond it, or in a block of more runs an aligned value, is that of a run that timed out. How long it
would have taken is not known, so it counts as a difference of the usual size: deadlines that strike both arms alike
would otherwise have the largest ranks."""


@define
class BlockRanks:
    """Treatment against control by aligned ranks, growing; less is better.

    The values of a block are taken relative to its median and ranked among those of all blocks; the treatment's ranks
    are compared with what any of its block's runs would have had (Hodges and Lehmann, *Rank methods for combination of
    independent experiments*, 1962). For pairs that is Wilcoxon's signed-rank test of their differences.

    Where tasks come again, the level that their runs of both arms show is taken off before the ranks are taken, which
    leaves the differences within a task as they are. A run that lacks its partner then counts by its distance from the
    level of its task: its arm was a fair coin, too. With half of a pair's variance it has half of its information.

    Attributes:
        differences: Control's value minus treatment's, of each pair; positive when the treatment is better.
        levels: What is known of the tasks.
    """

    differences: list[float] = field(factory=list)
    _tasks: list[tuple[str, str]] = field(factory=list)
    _waiting: dict[Block, tuple[float, bool, str]] = field(factory=dict)
    levels: Levels = field(factory=Levels)
    _wide: dict[Block, tuple[list[float], list[bool], list[str]]] = field(factory=dict)
    _aligned: dict[Block, tuple[list[float], list[bool]]] = field(factory=dict)
    _changed: dict[Block, None] = field(factory=dict)
    _gaps: dict[Block, float] = field(factory=dict)
    _z: float | None = None

    def add(self, block: Block, value: float, *, treatment: bool, wide: bool = False, task: str = "") -> None:
        """Add a run's value.

        Args:
            block: Its block.
            value: Its value.
            treatment: Whether its arm is the treatment.
            wide: Whether the block has more than two runs.
            task: Its task; empty for none.
        """
        self._z = None
        if task and value < UNKNOWN_SIZE:
            self.levels.add(task, value)
        if wide:
            values, treated, tasks = self._wide.setdefault(block, ([], [], []))
            values.append(value)
            treated.append(treatment)
            tasks.append(task)
            self._aligned[block] = less_median(values), treated
            self._changed[block] = None
            return
        other = self._waiting.pop(block, None)
        if other is None:
            self._waiting[block] = value, treatment, task
        elif other[1] != treatment:
            self.differences.append(other[0] - value if treatment else value - other[0])
            self._tasks.append((other[2], task) if treatment else (task, other[2]))

    @property
    def unpaired(self) -> int:
        """Runs whose partner has not come, or is lost."""
        return len(self._waiting) + sum(len(values) for values, arms, _ in self._wide.values() if len({*arms}) < 2)

    @property
    def information(self) -> float:
        """Information of all blocks, in pairs."""
        wide = math.fsum(
            PAIRS_INFORMATION * sum(arms) * (len(arms) - sum(arms)) / len(arms) for _, arms, _ in self._wide.values()
        )
        lone = 0.0
        if self.levels.come_again:
            counts = [self.levels.count(task) for _, _, task in self._waiting.values()]
            lone = math.fsum(0.5 * (count - 1) / count for count in counts if count)
        return len(self.differences) + wide + lone

    def block_differences(self) -> list[float]:
        """Return a difference of each block, as `differences`; of wide ones that of the medians."""
        if not self._wide:
            return self.differences
        for block in self._changed:
            values, arms, _ = self._wide[block]
            sides = [[v for v, arm in zip(values, arms, strict=True) if arm is side] for side in (False, True)]
            if all(sides):
                self._gaps[block] = median(sides[0]) - median(sides[1])
        self._changed.clear()
        return self.differences + list(self._gaps.values())

    @property
    def z(self) -> float:
        """Standardised evidence, positive when the treatment's values are smaller; 0 when there is none."""
        if self._z is None:
            signed, wide = self.differences, [part for part in self._aligned.values() if len({*part[1]}) == 2]
            if self.levels.come_again:
                signed, wide = self._adjusted()
            self._z = aligned_z(signed, wide) if wide else _signed_rank_z(signed)
        return self._z

    def _adjusted(self) -> tuple[list[float], list[tuple[list[float], list[bool]]]]:
        """Return differences and wide blocks without the levels of tasks, and lone runs as further differences."""
        effects, middle = self.levels.effects(), self.levels.middle
        level = effects.get
        signed = [
            gap if one == other else gap - level(one, 0.0) + level(other, 0.0)
            for gap, (one, other) in zip(self.differences, self._tasks, strict=True)
        ]
        for value, treatment, task in self._waiting.values():
            if self.levels.count(task) > 1:
                away = middle + effects[task] - value
                signed.append(away if treatment else -away)
        wide = [
            (less_median([value - level(task, 0.0) for value, task in zip(values, tasks, strict=True)]), arms)
            for values, arms, tasks in self._wide.values()
            if len({*arms}) == 2
        ]
        return signed, wide


def less_median(values: list[float]) -> list[float]:
    """Return values less their median."""
    middle = median(values)
    return [value - middle for value in values]


def midranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the ranks of values from 1, equal ones sharing the mean of theirs; shape (n,)."""
    import numpy as np

    ordered = np.sort(values)
    ranks: NDArray[np.float64] = (ordered.searchsorted(values) + ordered.searchsorted(values, "right") + 1) / 2
    return ranks


def _signed_rank_z(differences: list[float]) -> float:
    import numpy as np

    signed = np.array(differences)
    sizes = np.abs(signed)
    unknown = sizes > UNKNOWN_SIZE
    if unknown.any():
        sizes[unknown] = 1.0 if unknown.all() else np.median(sizes[~unknown])
    scores = midranks(sizes) * np.sign(signed)
    squares = scores * scores
    return normalised(float(scores.sum()), float(squares.sum()), 0.0, -2.0 * float(squares @ squares))


def aligned_z(differences: list[float], wide: list[tuple[list[float], list[bool]]]) -> float:
    """Return the evidence of pairs' differences and of wide blocks: their values less the median, and their arms."""
    import numpy as np

    aligned = [value for values, _ in wide for value in values]
    halves = np.array(differences) / 2
    ranks = midranks(np.concatenate((halves, -halves, np.array(aligned))))
    pairs = len(differences)
    scores = (ranks[:pairs] - ranks[pairs : 2 * pairs]) / 2
    squares = scores * scores
    total, variance, third = float(scores.sum()), float(squares.sum()), 0.0
    fourth = -2.0 * float(squares @ squares)
    rest, start = ranks[2 * pairs :].tolist(), 0
    for values, arms in wide:
        part = rest[start : start + len(values)]
        start += len(values)
        mean = sum(part) / len(part)
        moments = sum_moments([mean - rank for rank in part], arms)
        total, variance, third = total + moments[0], variance + moments[1], third + moments[2]
    return normalised(total, variance, third, fourth)


def sum_moments(deviations: list[float], arms: list[bool]) -> tuple[float, float, float]:
    """Return a block's sum over the treatment, and its variance and third cumulant under permutation.

    `deviations` are from the block's mean. (Cochran, *Sampling Techniques*, 1977, sections 2.6 and 2.15.)
    """
    n, total = sum(arms), len(arms)
    found = squares = cubes = 0.0
    for value, arm in zip(deviations, arms, strict=True):
        square = value * value
        squares += square
        cubes += square * value
        if arm:
            found += value
    share = n * (total - n) / (total * (total - 1))
    return found, share * squares, share * (total - 2 * n) / (total - 2) * cubes if total > 2 else 0.0


def normalised(total: float, variance: float, third: float, fourth: float) -> float:
    """Return a sum as a normal score, by the first terms of Cornish and Fisher (1937).

    Args:
        total: The sum, 0 in expectation.
        variance: Its variance.
        third: Its third cumulant.
        fourth: Its fourth cumulant.
    """
    if variance <= 0:
        return 0.0
    z = total / math.sqrt(variance)
    skewness, excess = third / (variance * math.sqrt(variance)), fourth / (variance * variance)
    cubed = z * z * z
    second = skewness * skewness * (4 * cubed - 7 * z) / 36
    return z - skewness * (z * z - 1) / 6 - excess * (cubed - 3 * z) / 24 + second


@define
class _Part:
    """The runs of a block so far, and what they add to the sums of `BlockMeans`."""

    control: list[float] = field(factory=list)
    treatment: list[float] = field(factory=list)
    added: tuple[float, ...] = ()


@define
class BlockMeans:
    """Means of treatment and control within blocks, growing.

    A block is weighted by its information `w = m n / (m + n)`, which is 1/2 for a pair.

    Attributes:
        blocks: Blocks that count.
        control: Number and sum of all of the control's values, also those that have no partner.
        treatment: The same of the treatment.
    """

    blocks: int = 0
    control: tuple[int, float] = (0, 0.0)
    treatment: tuple[int, float] = (0, 0.0)
    _parts: dict[Block, _Part] = field(factory=dict)
    _sums: list[float] = field(factory=lambda: [0.0] * 13)

    def add(self, block: Block, value: float, *, treatment: bool) -> bool:
        """Add a run's value; return whether its block counts."""
        part = self._parts.get(block)
        if part is None:
            part = self._parts[block] = _Part()
        if treatment:
            self.treatment = self.treatment[0] + 1, self.treatment[1] + value
            part.treatment.append(value)
        else:
            self.control = self.control[0] + 1, self.control[1] + value
            part.control.append(value)
        if not part.control or not part.treatment:
            return False
        before, part.added = part.added, _terms(part.control, part.treatment)
        sums = self._sums
        for k, term in enumerate(part.added):
            sums[k] += term - before[k] if before else term
        self.blocks += not before
        return True

    @property
    def means(self) -> tuple[float, float]:
        """Means of control and treatment; NaN without values."""
        (m, control), (n, treatment) = self.control, self.treatment
        return control / m if m else math.nan, treatment / n if n else math.nan

    @property
    def information(self) -> float:
        """Information of all blocks, in pairs."""
        return PAIRS_INFORMATION * self._sums[4]

    @property
    def unpaired(self) -> int:
        """Runs whose partner has not come, or is lost."""
        return sum(len(part.control) + len(part.treatment) for part in self._parts.values() if not part.added)

    @property
    def z(self) -> float:
        """Standardised difference under permutation, positive when the treatment's values are larger."""
        total, variance, third, squares = self._sums[:4]
        return normalised(total, variance, third, 0.0) if variance > 1e-12 * squares else 0.0

    @property
    def difference(self) -> float:
        """Mean difference, treatment minus control, of the blocks; NaN without any."""
        weight, _, t, c = self._sums[4:8]
        return (t - c) / weight if weight else math.nan

    def below(self, ratio: float, more: float, *, prior: float = 0.0) -> float:
        """Return the evidence that the treatment's mean is below `ratio * control + more`, as a normal score.

        It is the t-statistic of the blocks' differences, with the variance that they show. At the limit both sides have
        about the same distribution, so that the differences are symmetric and heavy tails err to the safe side.

        Args:
            ratio: Factor of the control's mean.
            more: What is added to it.
            prior: Size of two pairs, one of either sign, that are added: values that are often equal show too little.
        """
        mean, error, blocks = self.margin(ratio, more, prior=prior)
        if blocks < 3:
            return 0.0
        if error == 0:
            return math.copysign(math.inf, mean) if mean else 0.0
        return normal_of_t(mean / error, blocks - 1)

    def margin(self, ratio: float, more: float, *, prior: float = 0.0) -> tuple[float, float, int]:
        """Return the mean of `ratio * control + more - treatment` over the blocks, its standard error, and how many.

        Arguments are those of `below`; without blocks the mean is NaN.
        """
        weight, squared, t, c, t_squared, c_squared, tt, cc, tc = self._sums[4:]
        extra = 2 if prior else 0
        blocks, weight, squared = self.blocks + extra, weight + 0.5 * extra, squared + 0.25 * extra
        if blocks < 2:
            return math.nan, math.nan, blocks
        mean = (ratio * c - t) / weight + more
        beyond = more - mean
        spread = ratio * ratio * cc + tt - 2 * ratio * tc  # sum of w^2 (u - mean)^2 with u = ratio c + more - t
        spread += (
            2 * beyond * (ratio * c_squared - t_squared) + squared * beyond * beyond + 0.25 * extra * prior * prior
        )
        if spread <= 1e-12 * (tt + cc):
            return (mean if abs(mean) > 1e-9 * (abs(c) + abs(t)) else 0.0), 0.0, blocks
        return mean, math.sqrt(spread * blocks / (blocks - 1)) / weight, blocks


def _terms(control: list[float], treatment: list[float]) -> tuple[float, ...]:
    """Return what a block adds to the sums of `BlockMeans`."""
    m, n = len(control), len(treatment)
    if m == n == 1:  # as below, and faster
        (c,), (t,) = control, treatment
        total, tt, cc, tc = (t - c) / 2, t * t / 4, c * c / 4, t * c / 4
        return total, total * total, 0.0, 4 * (tt + cc), 0.5, 0.25, t / 2, c / 2, t / 4, c / 4, tt, cc, tc
    values = control + treatment
    mean = sum(values) / (m + n)
    total, variance, third = sum_moments([v - mean for v in values], [False] * m + [True] * n)
    w, c, t = m * n / (m + n), sum(control) / m, sum(treatment) / n
    v = w * w
    squares = sum(value * value for value in values)
    return total, variance, third, squares, w, v, w * t, w * c, v * t, v * c, v * t * t, v * c * c, v * t * c


def normal_of_t(t: float, degrees: float) -> float:
    """Return Student's t as a normal score of about the same tail probability (Wallace 1959)."""
    z = math.sqrt(degrees * math.log1p(t * t / degrees))
    return math.copysign(z * (8 * degrees + 1) / (8 * degrees + 3), t)
