"""Is the P95 of a live plan within its margin of that of the plan before? From the runs of its test and those since.

A test that ends soon can't know. So the question stays open, and by `DEADLINE` runs since the test began it is
answered: proven, or the plan goes back. Few runs of the plan before come after the test, and both plans may have become
slower since, which is no harm. So durations are taken relative to the level of the live plan around their time, as far
as that differs from its level in the test by more than chance explains. A level that the live plan alone lost is what
the sentinel is for.
"""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections import deque
from typing import Final

from .._model.run import TREATMENT, Observation
from .boundaries import GUARDRAIL, NORMAL, boundary
from .noninferiority import TAIL
from .primary import TIMED_OUT, log_value
from .twosample import percentile

DEADLINE: Final = 400
"""Runs since the test began by which the P95 is proven or the plan goes back ..."""

AFTER_TEST: Final = 100
"""... and, after a long test, runs since the promotion."""

FIRST_LOOK: Final = 100
"""Runs since the test began before the first look."""

FIRST_CONTROLS: Final = 10
"""Runs of the plan before without which nothing is said of its P95."""

PROOF_LEVEL: Final = 0.15
"""Probability, at most, that a P95 exactly at its margin is proven."""

LEVEL_RUNS: Final = 20
"""Live runs before and after a run that show the level at its time."""

LONGEST: Final = 100.0
"""Logarithm of a duration in seconds that no run has."""

FAR: Final = math.log(5)
"""Log ratio to the plan before's P95 from which a run is far out ..."""

FAR_SHARE: Final = 0.02
"""... and the share of such runs, beyond the plan before's own, above which nothing is proven."""


class TailProof:
    """The proof of a live plan's P95.

    Args:
        margin: Relative rise that is tolerated.
    """

    def __init__(self, margin: float) -> None:
        self._margin = math.log1p(margin)
        self._control: list[float] = []
        self._live: list[float] = []
        self._raw: list[float] = []
        self._waiting: deque[tuple[float, bool, int]] = deque()
        self._base: tuple[float, float, int] | None = None
        self._since = 0
        self.status = "open"

    @property
    def runs(self) -> int:
        """Runs since the test began."""
        return len(self._control) + len(self._live) + len(self._waiting)

    def learn(self, run: Observation) -> None:
        """Take a run of the test into account."""
        value = log_value("duration", run)
        if value is None or run.missing:
            return
        insort(self._live if run.arm == TREATMENT else self._control, value)
        if run.arm == TREATMENT:
            self._raw.append(value)

    def start(self, *, tested: bool) -> None:
        """End the test: what follows is compared with the level that the live plan had in it."""
        n = len(self._live)
        if not tested or n < FIRST_CONTROLS or len(self._control) < FIRST_CONTROLS:
            self.status = "no data"
            return
        spread = (percentile(self._live, 0.75) - percentile(self._live, 0.25)) / 1.349
        self._base = percentile(self._live, 0.5), spread, n
        self._look()

    def add(self, run: Observation) -> None:
        """Take a run since the promotion into account, until it is decided."""
        if self.status != "open":
            return
        self._since += 1
        value = log_value("duration", run)
        if value is None or run.missing:
            return
        live = run.arm == TREATMENT
        self._waiting.append((value, live, len(self._raw)))
        if live:
            self._raw.append(value)
        over = self.is_overdue
        while self._waiting and (over or self._waiting[0][2] + LEVEL_RUNS < len(self._raw)):
            value, live, place = self._waiting.popleft()
            insort(self._live if live else self._control, value if value == TIMED_OUT else value - self._drift(place))
        self._look()

    def _drift(self, place: int) -> float:
        """Return by how much the level around a place differs from that in the test, less what chance explains."""
        if self._base is None:
            return 0.0
        before, spread, n = self._base
        around = sorted(self._raw[max(place - LEVEL_RUNS, 0) : place + LEVEL_RUNS + 1])
        drift = percentile(around, 0.5) - before
        variance = (1.2533 * spread) ** 2 * (1 / n + 1 / len(around))
        return drift * max(1 - variance / (drift * drift), 0.0) if drift and abs(drift) < TIMED_OUT / 2 else 0.0

    def _look(self) -> None:
        if self.runs >= FIRST_LOOK and self.z >= self.height and not self._far():
            self.status = "proven"

    @property
    def is_overdue(self) -> bool:
        """Whether it is still open although it should be answered by now."""
        return self.status == "open" and self.runs >= DEADLINE and self._since >= AFTER_TEST

    @property
    def height(self) -> float:
        """Height at which it is proven."""
        return boundary(GUARDRAIL, PROOF_LEVEL, FIRST_LOOK / DEADLINE).at(self.runs / DEADLINE)

    @property
    def z(self) -> float:
        """Evidence that less than `TAIL` of the live plan's runs are beyond the margin over the other's P95."""
        m, n = len(self._control), len(self._live)
        if not m or not n:
            return 0.0
        limit = upper_quantile(self._control, 1 - TAIL) + self._margin
        if limit >= TIMED_OUT / 2:
            return 0.0
        above = n - bisect_right(self._live, limit)
        return (
            NORMAL.inv_cdf(1 - few_above(above, n, TAIL * (m + 1), (1 - TAIL) * (m + 1))) if above < TAIL * n else 0.0
        )

    def _far(self) -> bool:
        """Whether more of the live plan's runs than of the other's are far out."""
        limit = upper_quantile(self._control, 1 - TAIL) + FAR
        before, now = (1 - bisect_right(values, limit) / len(values) for values in (self._control, self._live))
        return now > before + FAR_SHARE

    def values(self) -> tuple[float, float, float]:
        """Return both P95 in seconds, without the drift, and the relative rise; NaN without data."""
        if not self._control or not self._live:
            return math.nan, math.nan, math.nan
        before, now = (upper_quantile(values, 1 - TAIL) for values in (self._control, self._live))
        # A quantile between a run that timed out and one that did not is no time, either.
        seconds = tuple(math.inf if value > LONGEST else math.exp(value) for value in (before, now))
        rise = 0.0 if before == now else math.inf if now > LONGEST else math.expm1(now - before)
        return seconds[0], seconds[1], rise


def few_above(count: int, runs: int, a: float, b: float) -> float:
    """Return the probability of at most so many runs above a quantile of another sample, the count itself by half.

    If both samples are alike, the share beyond the a-th largest of a + b - 1 values has a beta distribution, and the
    count a beta-binomial one (the prediction of exceedances: Gumbel and von Schelling 1950).

    Args:
        count: Runs above.
        runs: All runs.
        a: Place of the quantile from above.
        b: Place of the quantile from below.
    """
    term = math.exp(
        math.lgamma(b + runs) - math.lgamma(a + b + runs) + math.lgamma(a + b) - math.lgamma(b)
    )  # none above
    total = 0.0
    for k in range(count):
        total += term
        term *= (runs - k) / (k + 1) * (a + k) / (b + runs - k - 1)
    return min(max(total + term / 2, 1e-12), 1 - 1e-12)


def upper_quantile(ordered: list[float], q: float) -> float:
    """Return the `q` quantile by rule 6 of Hyndman and Fan, whose expected place is `q` in small samples, too."""
    place = q * (len(ordered) + 1)
    below = min(max(int(place), 1), len(ordered))
    above = min(below + 1, len(ordered))
    return ordered[below - 1] + (ordered[above - 1] - ordered[below - 1]) * (place - below if above > below else 0.0)
