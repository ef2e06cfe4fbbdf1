"""Pairs of the live plan and the one before, run since an alarm: is the live plan worse?

The pairs are assigned by coins, so a change of the world that strikes both plans is no evidence. The metric is decided
by signed ranks at a sequential boundary, or by bets on the signs of the pairs' differences, which find a large harm
sooner; together they convict a plan that is no worse in about 2 of 100 re-verifications, whatever both plans have in
common. Success, score, cost and lost runs each have a boundary of their own. What the alarm was about is convicted more
easily than the rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from .._model.assignment import block_of
from .._model.policy import MORE_IS_BETTER, WatchPolicy
from .._model.run import TREATMENT, Observation
from .betting import LARGEST, Wealth
from .blocks import BlockMeans, BlockRanks
from .boundaries import Boundary, boundary
from .paired import walsh_quantiles
from .primary import TIMED_OUT, log_value, relative_change, work_of
from .twosample import percentile

FIRST_PAIRS: Final = 5
"""Pairs before a first look."""

PAIR_STAKES: Final = (0.3, 0.45, 0.7, 1.0, 1.4)
"""Stakes of the bets: the effects that each is best for, in standard deviations of a pair's difference."""

NAMES: Final = ("metric", "success", "score", "loss", "cost")
"""What is compared; where runs have no score, the share of members that succeeded stands for it."""

LEVELS: Final = {True: 0.018, False: 0.003}
"""Probability, at most, that a boundary ever convicts a plan that is no worse: of what the alarm was about, and of the
rest."""

BET_LEVELS: Final = {True: 0.03, False: 0.004}
"""The same for the bets on the metric."""

NO_NAME_LEVELS: Final = 0.01, 0.015
"""Both where the alarm was about none of them, but another model that answers."""

BETTER_Z: Final = 2.0
"""Evidence of a better metric with which a re-verification may end before its last pair ..."""

BETTER_PAIRS: Final = 8
"""... from so many pairs on."""

COST_RISE: Final = 0.25
"""Relative rise of the cost below which it alone is no reason to roll back."""

LOSS_RISE: Final = 0.1
"""The same for the share of lost and cancelled runs, absolute."""

RUNS_PER_PAIR: Final = 3
"""Runs that have come per pair that is wanted, after which a re-verification ends with the pairs that it has."""


class Reverification:
    """One re-verification.

    Args:
        policy: The rules of the watch.
        spread: Standard deviation of a run's log value that the live plan's last runs had; 0 where it is not known.
        about: What the alarm was about, one of `NAMES`; empty for another model.
    """

    def __init__(self, policy: WatchPolicy, spread: float, about: str) -> None:
        self._policy = policy
        self._spread = math.sqrt(2) * spread or 1.0
        self._metric, self._cost = BlockRanks(), BlockRanks()
        self._means = {name: BlockMeans() for name in ("success", "score", "loss")}
        self._bets = Wealth(PAIR_STAKES)
        self._settled = 0
        self._came = 0
        most = policy.max_pairs
        start, step = min(FIRST_PAIRS / most, 1.0), 1 / most
        levels = {name: LEVELS[name == about] if about else NO_NAME_LEVELS[0] for name in NAMES}
        self._boundaries: dict[str, Boundary] = {
            name: boundary("guardrail" if name == "metric" else "pocock", level, start, step)
            for name, level in levels.items()
        }
        self._bet_height = -math.log(BET_LEVELS[about == "metric"] if about else NO_NAME_LEVELS[1])

    def add(self, run: Observation, *, paired: bool) -> None:
        """Add a run that came since the alarm.

        Args:
            run: The run.
            paired: Whether it is from a stream of this re-verification.
        """
        self._came += 1
        if not paired:
            return
        treatment = run.arm == TREATMENT
        block, _ = block_of(run.stream, run.index)
        self._means["loss"].add(block, -float(bool(run.missing)), treatment=treatment)
        if run.missing:
            return
        self._means["success"].add(block, float(run.success), treatment=treatment)
        work = work_of(run, scored=self._policy.scored)
        if work is not None:
            self._means["score"].add(block, work, treatment=treatment)
        cost = None if self._policy.metric == "cost" else log_value("cost", run)
        if cost is not None:
            self._cost.add(block, cost - math.log1p(COST_RISE) * treatment, treatment=treatment)
        value = metric_value(self._policy, run)
        if value is None:
            return
        self._metric.add(block, value, treatment=treatment)
        for difference in self._metric.differences[self._settled :]:
            self._bets.add(max(min(difference / self._spread, LARGEST), -LARGEST))
            self._settled += 1

    @property
    def pairs(self) -> int:
        """Pairs of which both runs have a value of the metric."""
        return len(self._metric.differences)

    @property
    def z(self) -> float:
        """Evidence that the live plan is worse on the metric."""
        return -self._metric.z if self.pairs >= 2 else 0.0

    def change(self, name: str) -> float:
        """Return the relative change of `metric` or `cost` from the plan before to the live one; NaN without pairs."""
        differences = (self._metric if name == "metric" else self._cost).differences
        if not differences:
            return math.nan
        gain = walsh_quantiles(differences, math.inf, math.inf)[0]
        if name == "cost":
            return relative_change(math.log1p(COST_RISE) - gain)
        return gain if self._policy.metric in MORE_IS_BETTER else relative_change(-gain)

    def evidence(self, name: str) -> tuple[float, float]:
        """Return the evidence of a harm, and the height at which it convicts; one of `NAMES`."""
        if name == "metric":
            return self.z, self._height(name, self.pairs)
        if name == "cost":
            pairs = len(self._cost.differences)
            return (-self._cost.z if pairs >= 2 else 0.0), self._height(name, pairs)
        means = self._means[name]
        return -means.z, self._height(name, means.blocks)

    def _height(self, name: str, pairs: int) -> float:
        return self._boundaries[name].at(pairs / self._policy.max_pairs)

    def values(self, name: str) -> tuple[float, float]:
        """Return the means of the plan before and of the live one: success or score, or the share of lost runs."""
        before, now = self._means[name].means
        return (-before, -now) if name == "loss" else (before, now)

    def harm(self) -> str | None:
        """Return the first harm that is proven, or None."""
        z, height = self.evidence("metric")
        if self.pairs >= FIRST_PAIRS and (z >= height or self._bets.log_e(-1) >= self._bet_height):
            return "metric"
        for name in ("success", "score", "loss", "cost"):
            z, height = self.evidence(name)
            beyond = name == "cost" or -self._means[name].difference > tolerated(self._policy, name)
            if z >= height and beyond:
                return name
        return None

    @property
    def is_better(self) -> bool:
        """Whether it may end before its last pair: the live plan is better, and nothing else looks worse."""
        return (
            self.pairs >= BETTER_PAIRS
            and self.z <= -BETTER_Z
            and all(self.evidence(name)[0] < 1.0 for name in ("success", "score", "loss", "cost"))
        )

    @property
    def is_over(self) -> bool:
        """Whether it has its pairs, or so many runs came that the missing partners are lost."""
        blocks = max(self.pairs, self._means["loss"].blocks)
        return blocks >= self._policy.max_pairs or self._came >= RUNS_PER_PAIR * self._policy.max_pairs


def tolerated(policy: WatchPolicy, name: str) -> float:
    """Return the change of one of `NAMES` up to which nothing is rolled back; relative for the cost, else absolute."""
    shares = {"metric": 0.0, "loss": LOSS_RISE, "cost": COST_RISE}
    return shares.get(name, policy.success_drop)


def metric_value(policy: WatchPolicy, run: Observation) -> float | None:
    """Return a run's value of the metric, less being better; None where it has none."""
    if policy.metric == "score":
        work = work_of(run, scored=policy.scored)
        return None if work is None else -work
    return log_value(policy.metric, run)


def changed(
    policy: WatchPolicy, name: str, control: Iterable[Observation], treatment: Iterable[Observation]
) -> tuple[float, float, float]:
    """Return a figure of both plans, and the harm that its change is: a relative rise, or an absolute one.

    Args:
        policy: The rules of the watch.
        name: A metric, `success` or `loss`. Of duration, cost and tool calls the figure is the median.
        control: Runs of the plan before.
        treatment: Runs of the live plan.
    """
    if name in ("success", "score", "loss"):
        before, now = (_mean(policy, name, runs) for runs in (control, treatment))
        return before, now, now - before if name == "loss" else before - now
    logs = [
        sorted(value for run in runs if not run.missing and (value := log_value(name, run)) is not None)
        for runs in (control, treatment)
    ]
    middle = [percentile(values, 0.5) for values in logs]
    seconds = [math.inf if value >= TIMED_OUT else math.exp(value) for value in middle]
    return seconds[0], seconds[1], 0.0 if middle[0] == middle[1] else relative_change(middle[1] - middle[0])


def _mean(policy: WatchPolicy, name: str, runs: Iterable[Observation]) -> float:
    if name == "loss":
        values = [float(bool(run.missing)) for run in runs]
    else:
        known = [run for run in runs if not run.missing]
        found = (float(run.success) if name == "success" else work_of(run, scored=policy.scored) for run in known)
        values = [value for value in found if value is not None]
    return math.fsum(values) / len(values) if values else math.nan
