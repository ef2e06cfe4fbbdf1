"""A test that is run to its verdict here and now: two ways to do the same, alternately, until the evidence decides.

    trial = Trial(Policy(), seed="any text", runs_per_arm=50)
    while (arm := trial.next_arm) is not None:
        trial.observe(await run(arm))
    trial.result().status        # 'passed', 'failed' or 'inconclusive'

The order is that of `experiment.assign`, random within each pair, so that a drift of the model's speed hits both arms;
the decision is the experiment engine's, which looks after every run and ends the trial as soon as it is sure.
"""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any, Final

from attrs import asdict, evolve, frozen

from .._model.policy import plain
from .._model.run import ARMS, CONTROL, TREATMENT
from ..errors import AutotuneError
from ..experiment import Judge, Observation, Policy, Verdict, assign
from ..experiment.twosample import percentile

FEWEST_RUNS: Final = 10
"""Runs per arm below which nothing is proven."""

Runner = Callable[[dict[str, Any]], Awaitable[Any] | Any]
"""Runs the team with a config, and returns what came of it; see `observed`."""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "duration_seconds": ("duration_seconds", "duration", "total_duration"),
    "success": ("success",),
    "score": ("score",),
    "cost_usd": ("cost_usd", "cost"),
    "tool_calls": ("tool_calls", "total_tool_calls"),
    "timed_out": ("timed_out",),
}
"""Under which names a value may be given, the first that is there counts."""


@frozen
class ArmFigures:
    """What the runs of one arm came to.

    Attributes:
        runs: Number of runs.
        success_rate: Share of them that succeeded, or None without runs.
        median_seconds: Median duration in seconds, or None without runs.
        mean_seconds: Mean duration in seconds, or None without runs.
        p95_seconds: 95th percentile of the duration in seconds by the nearest-rank rule, or None without runs.
        mean_score: Mean score of the runs that have one, or None without such.
        mean_member_success_share: Mean share of members that succeeded, of the runs that tell it, or None without such.
        mean_cost_usd: Mean cost in US dollars of the runs whose price is known, or None without such.
        mean_tool_calls: Mean number of tool calls, or None without runs.
    """

    runs: int
    success_rate: float | None = None
    median_seconds: float | None = None
    mean_seconds: float | None = None
    p95_seconds: float | None = None
    mean_score: float | None = None
    mean_member_success_share: float | None = None
    mean_cost_usd: float | None = None
    mean_tool_calls: float | None = None

    @classmethod
    def of(cls, runs: Sequence[Observation]) -> ArmFigures:
        """Return the figures of some runs."""
        if not runs:
            return cls(0)
        seconds = sorted(run.duration_seconds for run in runs)
        names = ("cost_usd", "score", "member_success_share")
        told = {name: [value for run in runs if (value := getattr(run, name)) is not None] for name in names}
        means = {name: fmean(values) if values else None for name, values in told.items()}
        return cls(
            runs=len(runs),
            success_rate=fmean(run.success for run in runs),
            median_seconds=median(seconds),
            mean_seconds=fmean(seconds),
            p95_seconds=percentile(seconds, 0.95),
            mean_score=means["score"],
            mean_member_success_share=means["member_success_share"],
            mean_cost_usd=means["cost_usd"],
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
        from ..experiment.fixed_sample import summarise

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
    """A test of two arms that run alternately.

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
        if (
            observation.score is None
            and not observation.success
            and any(one.score is not None for one in self._observations)
        ):
            observation = evolve(observation, score=0.0)  # it failed where others are scored: it is worth nothing
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


async def observed(
    runner: Runner, config: dict[str, Any], arm: str, index: int, clock: Callable[[], float] = time.monotonic
) -> Observation:
    """Run a team with a config, and return what it showed.

    Args:
        runner: An async (or plain) function of the config. It returns a mapping or an object with any of `success`,
            `duration_seconds`, `score`, `cost_usd`, `tool_calls` and `timed_out`; or True or False; or None, which is a
            success. A duration that it does not tell is measured. Where it tells scores, a run that failed without one
            has a score of 0. If it raises, the run failed.
        config: The config; it gets a copy of its own.
        index: Its number in the trial.
        clock: Monotonic seconds.

    Raises:
        AutotuneError: If what it returns can't be used.
        asyncio.CancelledError: If the trial is cancelled.
    """
    started = clock()
    try:
        answer = runner(config)
        if inspect.isawaitable(answer):
            answer = await answer
    except Exception:
        return Observation(index, arm, clock() - started, success=False)
    elapsed = clock() - started
    found = _read(answer)
    success = bool(found.get("success", True))
    # A duration of 0 is Victor's way of saying that it was not measured.
    duration = found.get("duration_seconds") or elapsed
    try:
        return Observation(
            index=index,
            arm=arm,
            duration_seconds=float(duration),
            success=success,
            score=None if found.get("score") is None else float(found["score"]),
            cost_usd=None if found.get("cost_usd") is None else float(found["cost_usd"]),
            tool_calls=int(found.get("tool_calls") or 0),
            timed_out=bool(found.get("timed_out", False)),
        )
    except (TypeError, ValueError) as error:
        raise AutotuneError(
            f"the runner's result can't be used: {error}",
            where="runner",
            hint="Return a mapping with success, duration_seconds, score, cost_usd, tool_calls.",
        ) from error


def _read(answer: Any) -> dict[str, Any]:
    if answer is None:
        return {}
    if isinstance(answer, bool):
        return {"success": answer}
    found = {}
    for name, names in _NAMES.items():
        for one in names:
            value = answer.get(one) if isinstance(answer, Mapping) else getattr(answer, one, None)
            if value is not None and not (isinstance(value, float) and math.isnan(value)):
                found[name] = value
                break
    return found
