"""A test that is run to its verdict here and now: two ways to do the same, in turn, until the evidence decides.

    trial = Trial(Policy(), seed="any text", runs_per_arm=50)
    while (arm := trial.next_arm) is not None:
        trial.observe(await run(arm))
    trial.result().status        # 'passed', 'failed' or 'inconclusive'

The order is that of `experiment.assign`, random within each pair, so that a drift of the model's speed hits both arms;
the decision is the experiment engine's, which looks after every run and ends the trial as soon as it is sure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any, Final

from attrs import asdict, evolve, frozen

from .._model.policy import plain
from ..experiment import ARMS, CONTROL, TREATMENT, Judge, Observation, Policy, Verdict, assign
from ..experiment.twosample import percentile

FEWEST_RUNS: Final = 10
"""Runs per arm below which nothing is proven."""


@frozen
class ArmFigures:
    """What the runs of one arm came to.

    Attributes:
        runs: Number of runs.
        success_rate: Share of them that succeeded, or None without runs.
        median_seconds: Median duration in seconds, or None without runs.
        mean_seconds: Mean duration in seconds, or None without runs.
        p95_seconds: 95th percentile of the duration in seconds by the nearest-rank rule, or None without runs.
        mean_score: Mean graded outcome, or None without runs.
        mean_cost_usd: Mean cost in US dollars of the runs whose price is known, or None without such.
        mean_tool_calls: Mean number of tool calls, or None without runs.
    """

    runs: int
    success_rate: float | None = None
    median_seconds: float | None = None
    mean_seconds: float | None = None
    p95_seconds: float | None = None
    mean_score: float | None = None
    mean_cost_usd: float | None = None
    mean_tool_calls: float | None = None

    @classmethod
    def of(cls, runs: Sequence[Observation]) -> ArmFigures:
        """Return the figures of some runs."""
        if not runs:
            return cls(0)
        seconds = sorted(run.duration_seconds for run in runs)
        costs = [run.cost_usd for run in runs if run.cost_usd is not None]
        return cls(
            runs=len(runs),
            success_rate=fmean(run.success for run in runs),
            median_seconds=median(seconds),
            mean_seconds=fmean(seconds),
            p95_seconds=percentile(seconds, 0.95),
            mean_score=fmean(run.score for run in runs),
            mean_cost_usd=fmean(costs) if costs else None,
            mean_tool_calls=fmean(run.tool_calls for run in runs),
        )

    def metrics(self) -> dict[str, float]:
        """Return the figures that are known, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@frozen
class TrialResult:
    """How a trial stands.

    Attributes:
        status: `passed`, `failed` or `inconclusive`.
        reason: Why, in a sentence.
        verdict: The engine's verdict, which is `running` where the runs ended before the evidence was enough.
        control: Figures of the control's runs.
        treatment: Figures of the treatment's runs.
        observations: All runs, in their order.
        seed: Seed of the order of the arms.
    """

    status: str
    reason: str
    verdict: Verdict
    control: ArmFigures
    treatment: ArmFigures
    observations: tuple[Observation, ...]
    seed: str

    @property
    def improvement_percent(self) -> float:
        """Estimated improvement of the primary metric in percent; 0.0 where nothing was measured."""
        effect = self.verdict.effect
        if not math.isfinite(effect):
            return 0.0
        return 100 * effect * (1 if self.verdict.metric == "score" else -1) + 0.0  # never -0.0

    def fixed_sample(self) -> list[dict[str, Any]]:
        """Return the textbook comparisons of the two samples, for the record.

        They hold for a number of runs that was fixed before; the verdict does not rest on them.

        Returns:
            What `experiment.fixed.Comparison` holds, for each method that these runs are enough for.
        """
        from ..experiment.summary import summarise

        found = summarise(self.verdict.metric, self.observations, seed=int(self.seed, 16) % 2**32)
        return [{key: plain(value) for key, value in asdict(one).items()} for one in found]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "status": self.status,
            "reason": self.reason,
            "improvement_percent": self.improvement_percent,
            "test": self.verdict.to_dict(),
            "control": asdict(self.control),
            "treatment": asdict(self.treatment),
            "fixed_sample": self.fixed_sample(),
            "seed": self.seed,
            "observations": [observation.to_dict() for observation in self.observations],
        }


class Trial:
    """A test of two arms that are run in turn.

    Args:
        policy: How it decides; its longest test is replaced by `runs_per_arm`.
        seed: Seed of the order of the arms, hexadecimal digits.
        runs_per_arm: Most runs in each arm. Below `FEWEST_RUNS` they are run and nothing is proven.
    """

    def __init__(self, policy: Policy, *, seed: str, runs_per_arm: int) -> None:
        least = min(policy.min_runs_per_arm, max(runs_per_arm, FEWEST_RUNS))
        policy = evolve(policy, max_runs_per_arm=max(runs_per_arm, least), min_runs_per_arm=least)
        self._judge = Judge(policy)
        self._seed = seed
        self._most = 2 * runs_per_arm
        self._observations: list[Observation] = []

    @property
    def next_arm(self) -> str | None:
        """The arm of the next run, or None when the trial is over."""
        index = len(self._observations)
        return None if self._judge.is_final or index >= self._most else assign(self._seed, index)

    @property
    def next_index(self) -> int:
        """The number of the next run, from 0."""
        return len(self._observations)

    @property
    def reason(self) -> str:
        """What the evidence says so far, in a sentence."""
        return self._judge.verdict().reason

    def observe(self, observation: Observation) -> None:
        """Take the next run into account.

        Args:
            observation: The run, of arm `next_arm`; its index is `next_index`.
        """
        self._observations.append(observation)
        self._judge.observe(observation)

    def result(self) -> TrialResult:
        """Return how the trial stands; one that did not come to its end is inconclusive."""
        verdict = self._judge.verdict()
        arms: Mapping[str, ArmFigures] = {
            arm: ArmFigures.of([run for run in self._observations if run.arm == arm]) for arm in ARMS
        }
        return TrialResult(
            status=verdict.status if verdict.is_final else "inconclusive",
            reason=verdict.reason,
            verdict=verdict,
            control=arms[CONTROL],
            treatment=arms[TREATMENT],
            observations=tuple(self._observations),
            seed=self._seed,
        )
