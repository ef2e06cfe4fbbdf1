"""Evidence that a promoted plan does harm, from three sides.

Runs of the promoted plan since the promotion are compared with the *reference* (runs of the test) and with the
*holdback* (runs of the replaced plan since the promotion). The reference is large and old, the holdback small and of
the same time. So the reference raises the alarm, at a boundary that holds the error rate, and the holdback confirms
it, so that a drift which slows both plans down is not taken for a harm.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Sequence
from typing import Final, Protocol

from ..._model.run import CONTROL, TREATMENT, Observation
from ..primary import TIMED_OUT, log_value, shift_quantiles
from ..twosample import RankSum, SumStatistic, Tail, excess_z, percentile


class Harm(Protocol):
    """One way in which a promoted plan can do harm."""

    @property
    def threshold(self) -> float:
        """Change up to which nothing is rolled back."""

    def add(self, run: Observation) -> None:
        """Add a run since the promotion."""

    @property
    def sizes(self) -> tuple[int, int]:
        """Runs of the reference (with the holdback where it joins it) and of the promoted plan."""

    @property
    def exceeds(self) -> bool:
        """Whether the estimate is beyond the threshold."""

    @property
    def statistic(self) -> float:
        """Standardised evidence of harm against the reference."""

    @property
    def confirmation(self) -> float:
        """Standardised evidence of harm against the holdback."""

    @property
    def drift(self) -> float:
        """Standardised evidence that the holdback is worse than the same plan was in the test."""

    def values(self) -> tuple[float, float, float]:
        """Reference, promoted, and change, as in `HarmEvidence`."""


class BelowBaseline:
    """The promoted plan is worse on the primary metric than the plan it replaced, by ranks.

    Args:
        metric: Primary metric.
        controls: The test's control runs.
    """

    threshold: Final = 0.0

    def __init__(self, metric: str, controls: Sequence[Observation]) -> None:
        self._metric = metric
        self._against = RankSum()
        self._concurrent = RankSum()
        self._over_time = RankSum()
        for run in controls:
            self._put(self._against, run, treatment=False)
            self._put(self._over_time, run, treatment=False)

    def _put(self, ranks: RankSum, run: Observation, *, treatment: bool) -> None:
        value = log_value(self._metric, run)
        if value is not None:
            ranks.add(value, treatment=treatment)

    def add(self, run: Observation) -> None:
        """Add a run since the promotion."""
        for ranks in (self._against, self._concurrent):
            self._put(ranks, run, treatment=run.arm == TREATMENT)
        if run.arm == CONTROL:
            self._put(self._over_time, run, treatment=True)

    @property
    def sizes(self) -> tuple[int, int]:
        """Runs of the replaced plan, and of the promoted one."""
        return len(self._against.control), len(self._against.treatment)

    @property
    def exceeds(self) -> bool:
        """Whether the promoted plan's runs are worse more often than not."""
        return self._against.z < 0

    @property
    def statistic(self) -> float:
        """Evidence against the test's control and the holdback together."""
        return -self._against.z

    @property
    def confirmation(self) -> float:
        """Evidence against the holdback alone."""
        return -self._concurrent.z

    @property
    def drift(self) -> float:
        """Evidence that the holdback is worse than the test's control."""
        return -self._over_time.z

    def values(self) -> tuple[float, float, float]:
        """Medians (seconds, US dollars, calls or score) and the Hodges-Lehmann change."""
        return _compare(self._metric, self._against)


class LostGain:
    """The promoted plan is worse than it was in the test, and no better any more than the plan it replaced.

    Args:
        metric: Primary metric.
        controls: The test's control runs.
        treatments: The test's treatment runs.
        baseline: Tells whether the plan is worse than the replaced one.
    """

    threshold: Final = 0.0

    def __init__(
        self,
        metric: str,
        controls: Sequence[Observation],
        treatments: Sequence[Observation],
        baseline: BelowBaseline,
    ) -> None:
        self._metric, self._baseline = metric, baseline
        self._against = RankSum()
        self._concurrent = RankSum()
        before = [v for run in controls if (v := log_value(metric, run)) is not None]
        for run in treatments:
            value = log_value(metric, run)
            if value is not None:
                self._against.add(value, treatment=False)
        gain = shift_quantiles(before, self._against.control, 1, 1)[0] if before and self._against.control else 0.0
        self._gain = gain if abs(gain) < 100 else 0.0

    def add(self, run: Observation) -> None:
        """Add a run since the promotion."""
        value = log_value(self._metric, run)
        if value is None:
            return
        if run.arm == TREATMENT:
            self._against.add(value, treatment=True)
            self._concurrent.add(value, treatment=True)
        else:
            expected = value if value == TIMED_OUT else value + self._gain
            self._concurrent.add(expected, treatment=False)

    @property
    def sizes(self) -> tuple[int, int]:
        """Runs of the promoted plan in the test, and since."""
        return len(self._against.control), len(self._against.treatment)

    @property
    def exceeds(self) -> bool:
        """Whether the gain is gone, by the estimate."""
        return self._baseline.exceeds

    @property
    def statistic(self) -> float:
        """Evidence against the plan's own runs of the test."""
        return -self._against.z

    @property
    def confirmation(self) -> float:
        """Evidence against the holdback, shifted by the gain of the test: what the plan should do today."""
        return -self._concurrent.z

    @property
    def drift(self) -> float:
        """Evidence that the holdback is worse than the test's control."""
        return self._baseline.drift

    def values(self) -> tuple[float, float, float]:
        """Medians of the promoted plan in the test and since, and the Hodges-Lehmann change."""
        return _compare(self._metric, self._against)


class Drop:
    """Fewer runs succeed, or the score is lower, than with the replaced plan.

    Args:
        field: `success`, or `outcome` for what 0.1 called the score.
        controls: The test's control runs.
        threshold: Tolerated drop, absolute.
    """

    def __init__(self, field: str, controls: Sequence[Observation], threshold: float) -> None:
        self._field, self.threshold = field, threshold
        self._against = SumStatistic()
        self._concurrent = SumStatistic()
        self._over_time = SumStatistic()
        for run in controls:
            self._against.add(float(getattr(run, field)), treatment=False)
            self._over_time.add(float(getattr(run, field)), treatment=False)

    def add(self, run: Observation) -> None:
        """Add a run since the promotion."""
        value = float(getattr(run, self._field))
        self._against.add(value, treatment=run.arm == TREATMENT)
        self._concurrent.add(value, treatment=run.arm == TREATMENT)
        if run.arm == CONTROL:
            self._over_time.add(value, treatment=True)

    @property
    def sizes(self) -> tuple[int, int]:
        """Runs of the replaced plan, and of the promoted one."""
        return self._against.n_control, self._against.n_treatment

    @property
    def exceeds(self) -> bool:
        """Whether the drop is beyond the threshold."""
        return self._against.mean_control - self._against.mean_treatment > self.threshold

    @property
    def statistic(self) -> float:
        """Evidence against the test's control and the holdback together."""
        return -self._against.z

    @property
    def confirmation(self) -> float:
        """Evidence against the holdback alone."""
        return -self._concurrent.z

    @property
    def drift(self) -> float:
        """Evidence that the holdback is worse than the test's control."""
        return -self._over_time.z

    def values(self) -> tuple[float, float, float]:
        """Means, and the drop."""
        before, now = self._against.mean_control, self._against.mean_treatment
        return before, now, before - now


class TailRise:
    """The P95 of the duration is higher than with the replaced plan; a run that timed out counts as infinite.

    Args:
        controls: The test's control runs.
        threshold: Tolerated rise, relative.
    """

    def __init__(self, controls: Sequence[Observation], threshold: float) -> None:
        self.threshold = threshold
        self._against = Tail()
        self._test = sorted(map(_seconds, controls))
        self._holdback: list[float] = []
        for value in self._test:
            self._against.add(value, treatment=False)

    def add(self, run: Observation) -> None:
        """Add a run since the promotion."""
        self._against.add(_seconds(run), treatment=run.arm == TREATMENT)
        if run.arm == CONTROL:
            insort(self._holdback, _seconds(run))

    @property
    def sizes(self) -> tuple[int, int]:
        """Runs of the replaced plan, and of the promoted one."""
        return len(self._against.control), len(self._against.treatment)

    @property
    def exceeds(self) -> bool:
        """Whether the P95 rose by more than the threshold."""
        return self.values()[2] > self.threshold

    @property
    def statistic(self) -> float:
        """Evidence that more runs than before are among the slowest."""
        return self._against.z()

    @property
    def confirmation(self) -> float:
        """Evidence that more promoted runs than holdback runs are at or above the replaced plan's P90."""
        limit = percentile(self._against.control, 0.90)
        return excess_z(self._holdback, self._against.treatment, limit)

    @property
    def drift(self) -> float:
        """Evidence that more of the holdback's runs are at or above the P90 that the replaced plan had in the test."""
        return excess_z(self._test, self._holdback, percentile(self._test, 0.90)) if self._test else 0.0

    def values(self) -> tuple[float, float, float]:
        """Both P95 in seconds, and the relative rise."""
        before, now = self._against.percentiles()
        if before == now:
            return before, now, 0.0
        return before, now, now / before - 1 if before > 0 else math.inf


def _seconds(run: Observation) -> float:
    return math.inf if run.timed_out else run.duration_seconds


def _compare(metric: str, ranks: RankSum) -> tuple[float, float, float]:
    if not ranks.control or not ranks.treatment:
        return math.nan, math.nan, math.nan
    shift = shift_quantiles(ranks.control, ranks.treatment, 1, 1)[0]
    before, now = percentile(ranks.control, 0.5), percentile(ranks.treatment, 0.5)
    if metric == "score":
        return -before, -now, shift / -before if before else math.nan
    return _unlog(before), _unlog(now), math.inf if shift > 100 else math.expm1(shift)


def _unlog(value: float) -> float:
    return math.inf if value > 100 else math.exp(value)
