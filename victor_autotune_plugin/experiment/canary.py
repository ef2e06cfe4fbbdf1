"""The first runs of a treatment: a plan that is far worse is seen before many runs have met it.

Durations are compared by exact rank tests, for a normal approximation is of no use at four runs. Two of them have to
agree: that of two independent samples, which four treatments can reach, and that within the blocks in which the arms
were randomised, which holds its level whatever neighbours have in common, but needs some more runs for a small p-value.
Catastrophes are runs that failed, timed out or went missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from .._model.assignment import block_of
from .._model.run import CONTROL, TREATMENT, Observation
from .blocks import Block, midranks
from .primary import log_value

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CANARY_RUNS: Final = 3
"""Treatment runs that must have finished before the test goes on with halves."""

MOST_CANARY_RUNS: Final = 14
"""Treatment runs after which it does so although they look worse."""

DOUBT_Z: Final = 1.0
"""Evidence of slower runs with which the first ones look worse."""

LAST_TREATMENT: Final = 24
"""Treatment runs that are looked at."""

FIRST_TREATMENT: Final = 4
"""Treatment runs from which durations are compared, and of which two catastrophes are too many."""

SLOWER_P: Final = 0.0021
"""p-value of two samples from which the treatment is slower: four treatments above eight controls have it."""

WITHIN_P: Final = {4: 1 / 256, 5: 1 / 256}
"""p-value within blocks that has to agree, by the number of treatments ..."""

LATER_WITHIN_P: Final = 0.0019
"""... and from six on."""

SCREEN_Z: Final = 2.2
"""Evidence by the normal approximation below which no exact p-value is small enough."""

DOUBT_P: Final = 0.25
"""Probability of as many catastrophes among the first ones, at the control's rate, below which they look bad."""

SAFE_RATE: Final = 0.02
"""Share of control's runs that are catastrophes up to which two of the treatment's end a test ..."""

SAFE_RUNS: Final = 20
"""... of so many control runs, those before the test included. With fewer it takes three, and none in the control."""


class Canary:
    """Looks at the first treatment runs of a test.

    Args:
        before: Catastrophes and runs of the team before the test.

    Attributes:
        treatments: Treatment runs, missing ones included.
        bad_treatments: Catastrophes among the first `FIRST_TREATMENT` of them.
        finished: Treatment runs that did not go missing.
        is_open: Whether the test still has one treatment in four: also while the first ones look slow, or worse than
            the control's rate of catastrophes explains.
    """

    def __init__(self, before: tuple[int, int] = (0, 0)) -> None:
        self._bad_controls, self._controls = before
        self.treatments, self.bad_treatments = 0, 0
        self._runs: list[tuple[float, bool, Block, bool]] = []
        self.finished = 0
        self.is_open = True

    def add(self, run: Observation) -> str | None:
        """Take a run into account; return what is wrong with the treatment, or None.

        The answer is `missing`, `bad` or `slower`.
        """
        bad = bool(run.missing) or run.timed_out or not run.success
        if run.arm == CONTROL:
            self._controls += 1
            self._bad_controls += bad
        else:
            self.treatments += 1
            self.bad_treatments += bad and self.treatments <= FIRST_TREATMENT
            self.finished += not run.missing
        if self.finished > LAST_TREATMENT:
            return None
        if not run.missing:
            value = log_value("duration", run)
            block, length = block_of(run.stream, run.index)
            self._runs.append((value or 0.0, run.arm == TREATMENT, block, length > 2))
        self.is_open = self.is_open and self._stays_open()
        if self.bad_treatments >= 2 and bad and run.arm == TREATMENT and self._is_catastrophe():
            return "missing" if run.missing else "bad"
        return "slower" if self.finished >= FIRST_TREATMENT and self._is_slower() else None

    def _stays_open(self) -> bool:
        if self.finished < CANARY_RUNS:
            return True
        return self.finished < MOST_CANARY_RUNS and (self._look_bad() or self._z() >= DOUBT_Z)

    def _look_bad(self) -> bool:
        rate = (self._bad_controls + 0.5) / (self._controls + 1)  # few controls can't rule out that they fail at times
        runs = min(self.treatments, FIRST_TREATMENT)
        fewer = (math.comb(runs, n) * rate**n * (1 - rate) ** (runs - n) for n in range(self.bad_treatments))
        return 1 - math.fsum(fewer) < DOUBT_P

    def _is_catastrophe(self) -> bool:
        if self._controls >= SAFE_RUNS:
            return self._bad_controls <= SAFE_RATE * self._controls
        return self.bad_treatments >= 3 and not self._bad_controls

    def _z(self) -> float:
        """Return the standardised rank sum of the treatment's durations, positive when they are longer."""
        import numpy as np

        total, n = len(self._runs), self.finished
        if not 0 < n < total:
            return 0.0
        ranks = midranks(np.array([run[0] for run in self._runs]))
        spread = n * (total - n) / (total - 1) * float(ranks.var())
        chosen = math.fsum(rank for rank, run in zip(ranks.tolist(), self._runs, strict=True) if run[1])
        return (chosen - n * (total + 1) / 2) / math.sqrt(spread) if spread > 0 else 0.0

    def _is_slower(self) -> bool:
        import numpy as np

        if self._z() < SCREEN_Z:
            return False
        ranks = np.rint(2 * midranks(np.array([run[0] for run in self._runs]))).astype(int).tolist()
        treated = [run[1] for run in self._runs]
        chosen = sum(rank for rank, arm in zip(ranks, treated, strict=True) if arm)
        if exact_p_value([(ranks, self.finished)], chosen) > SLOWER_P:
            return False
        return exact_p_value(self._strata(ranks), chosen) <= WITHIN_P.get(self.finished, LATER_WITHIN_P) * (1 + 1e-9)

    def _strata(self, ranks: Sequence[int]) -> Iterable[tuple[list[int], int]]:
        """Return the ranks that could have changed places, and how many of them are the treatment's.

        Runs that wait for the other half of their pair are one stratum: each had its arm from a coin of its own.
        """
        blocks: dict[Block, tuple[list[int], list[bool], bool]] = {}
        for rank, (_, treated, block, wide) in zip(ranks, self._runs, strict=True):
            found = blocks.setdefault(block, ([], [], wide))
            found[0].append(rank)
            found[1].append(treated)
        lone: tuple[list[int], list[bool]] = [], []
        for of_block, arms, wide in blocks.values():
            if len(of_block) > 1 or wide:
                yield of_block, sum(arms)
            else:
                lone[0].extend(of_block)
                lone[1].extend(arms)
        if lone[0]:
            yield lone[0], sum(lone[1])


def exact_p_value(strata: Iterable[tuple[Sequence[int], int]], chosen: int) -> float:
    """Return the probability that a sum of randomly chosen numbers is as large as the one that was seen.

    Args:
        strata: Numbers from 0, and how many of them are chosen, all choices of a stratum being equally likely.
        chosen: The sum that was seen.
    """
    import numpy as np

    total: NDArray[np.float64] = np.ones(1)
    for numbers, count in strata:
        total = np.asarray(np.convolve(total, _sums(numbers, count)))
    return float(total[chosen:].sum() / total.sum())


def _sums(numbers: Sequence[int], count: int) -> NDArray[np.float64]:
    """Return the share of the choices of `count` numbers that have each sum, by adding one number after the other."""
    import numpy as np

    if count == len(numbers) or not count:
        alone = np.zeros(sum(numbers) * (count > 0) + 1)
        alone[-1] = 1.0
        return alone
    ways = np.zeros((count + 1, sum(sorted(numbers)[-count:]) + 1))
    ways[0, 0] = 1.0
    for number in numbers:
        ways[1:, number:] += ways[:-1, : ways.shape[1] - number]
    found: NDArray[np.float64] = ways[count] / ways[count].sum()
    return found
