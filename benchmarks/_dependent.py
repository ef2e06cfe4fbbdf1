"""Runs that depend on each other: worlds in which two independent samples would have the wrong variance."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from victor_autotune_plugin._model.assignment import pairs_within_tasks, shares_of_stream, stream_of
from victor_autotune_plugin.experiment import Judge, Observation, Policy, Verdict, assign

Floats = NDArray[np.float64]

RUNS_BEFORE = 40
"""Runs of a team before the test."""

PROBATION_PAIRS, PROBATION_CHANCE = 6, 0.9
"""Pairs, and probability to be better, from which a test goes on with 70 % of the runs on the treatment."""


@frozen
class DependentWorld:
    """How the runs of two plans come about, one after the other. Durations have the median 20 s in the control.

    Attributes:
        gain: Relative gain of the treatment's duration.
        sigma: Standard deviation of the log duration, of all its parts together but `pattern` and `phase`.
        family: `normal`, `gamma` or `bimodal`: distribution of the log duration's independent part, or `rounded` for
            durations in steps of 10 s, which tie.
        pattern: Log effects that come again and again in the order of the runs.
        correlation: Autocorrelation of the log durations (AR 1).
        cycle: Amplitude of a cycle of `period` runs in the log duration; part of `sigma`.
        period: Runs in a cycle.
        phase: Size of the jumps of a provider's log speed, one in 40 runs.
        tasks: Recurring tasks.
        task_share: Share of the variance that their effects have.
        zipf: Whether the k-th task comes as often as 1 / k.
        timeouts: Share of runs that a deadline ends after ten times as long.
        success: Success share of the control.
        drop: Drop of the treatment's success share.
        score_parts: Checks that a score is the share of; 0 for the success itself.
        score: Mean score of the control where it has parts.
        score_drop: Drop of the treatment's mean score.
        unscored: Share of runs that get no score, where runs are scored.
        cost_sigma: Standard deviation of the log cost; 0 for no cost.
        cost_rise: Relative rise of the treatment's cost.
        calls_rise: Relative rise of the treatment's tool calls, of 8 on average.
        lost: Share of runs that are lost.
        lost_by_treatment: Further share of the treatment's runs that are lost.
        slow_share: Share of the treatment's runs that are `slow_factor` times slower.
        slow_factor: See `slow_share`.
        canary: Whether the test starts with one treatment in four.
        probation: Share of the tests that go on with 70 % of the runs on a treatment that looks better.
        kept: Whether the change keeps the work, so that the test is over when its plan may go live.
        real: Whether the log durations are those of real runs in their order.
    """

    gain: float = 0.0
    sigma: float = 0.7
    family: str = "normal"
    pattern: tuple[float, ...] = (0.0,)
    correlation: float = 0.0
    cycle: float = 0.0
    period: int = 50
    phase: float = 0.0
    tasks: int = 0
    task_share: float = 0.5
    zipf: bool = False
    timeouts: float = 0.0
    success: float = 1.0
    drop: float = 0.0
    score_parts: int = 0
    score: float = 0.9
    score_drop: float = 0.0
    unscored: float = 0.0
    cost_sigma: float = 0.0
    cost_rise: float = 0.0
    calls_rise: float = 0.0
    lost: float = 0.0
    lost_by_treatment: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 1.0
    canary: bool = False
    probation: float = 0.0
    kept: bool = False
    real: bool = False

    def noise(self, rng: np.random.Generator, n: int, real: list[Floats]) -> tuple[Floats, list[str | None]]:
        """Return the log durations of runs under the control, without the median, and their task keys."""
        keys: list[str | None] = [None] * n
        if self.real:
            found: list[Floats] = []
            while sum(map(len, found)) < n + 60:
                found.append(real[int(rng.integers(len(real)))])
            start = int(rng.integers(40))
            return np.concatenate(found)[start : start + n], keys
        spread = math.sqrt(self.sigma**2 - self.cycle**2 / 2)
        if self.tasks:
            spread *= math.sqrt(1 - self.task_share)
        own = self._independent(rng, n) * spread
        if self.correlation:
            innovations = own * math.sqrt(1 - self.correlation**2)
            for i in range(1, n):
                own[i] = self.correlation * own[i - 1] + innovations[i]
        total = (
            own + np.resize(np.array(self.pattern), n + len(self.pattern))[int(rng.integers(len(self.pattern))) :][:n]
        )
        if self.cycle:
            total = total + self.cycle * np.sin(2 * math.pi * (np.arange(n) / self.period + rng.random()))
        if self.phase:
            total = total + self.phase * np.cumsum((rng.random(n) < 1 / 40) * rng.choice([-1.0, 1.0], n))
        if self.tasks:
            chances = 1 / np.arange(1, self.tasks + 1) if self.zipf else np.ones(self.tasks)
            drawn = rng.choice(self.tasks, n, p=chances / chances.sum())
            total = total + rng.normal(0, self.sigma * math.sqrt(self.task_share), self.tasks)[drawn]
            keys = [f"t{k}" for k in drawn]
        return total, keys

    def _independent(self, rng: np.random.Generator, n: int) -> Floats:
        if self.family == "gamma":
            return (rng.gamma(2.0, 1.0, n) - 2.0) / math.sqrt(2.0)
        if self.family == "bimodal":
            return rng.choice([-1.0, 1.0], n) * 0.9 + rng.normal(0, math.sqrt(0.19), n)
        return rng.normal(0, 1, n)


def play(world: DependentWorld, policy: Policy, rng: np.random.Generator, real: list[Floats]) -> Verdict:
    """Play a test by the shipped engine, each run assigned as the loop does and observed when it ends."""
    most = policy.max_runs_per_arm
    n = math.ceil(2 * most / (1 - world.lost) * 1.6) + 40
    noise, keys = world.noise(rng, n, real)
    draws = rng.random((6, n))
    costs = np.exp(rng.normal(0, max(world.cost_sigma, 1e-9), n))
    calls = rng.poisson(8, n), rng.poisson(8 * (1 + world.calls_rise), n)
    chances = world.score, world.score - world.score_drop
    parts = [rng.binomial(max(world.score_parts, 1), chance, n) / max(world.score_parts, 1) for chance in chances]
    within = pairs_within_tasks(world.tasks, 120)
    fails = 1 - world.success * (1 - world.timeouts) * (1 - world.lost)
    before = int(rng.binomial(RUNS_BEFORE, fails)), RUNS_BEFORE
    judge, seed = Judge(policy, before=before), str(int(rng.integers(2**62)))
    places: dict[str, int] = {}
    seen: dict[str | None, int] = {}
    stage, probation = "canary" if world.canary else "", bool(rng.random() < world.probation)
    for i in range(n):
        stream = stream_of(stage, "a")
        again = seen.get(keys[i], 0)
        if policy.sticky and keys[i] is not None:
            stream, seen[keys[i]] = f"cluster:{keys[i]}", again + 1
        elif within and not stage:
            stream, seen[keys[i]] = f"task:{keys[i]}" if again else stream, again + 1
        index = places.get(stream, 0)
        places[stream] = index + 1
        drawn_from = 0 if stream.startswith("cluster:") else index
        arm = assign(seed, drawn_from, shares_of_stream(stream), stream=stream)
        treated = arm == "treatment"
        lost = bool(draws[0, i] < world.lost + world.lost_by_treatment * treated)
        seconds = 20 * math.exp(noise[i]) * (1 - world.gain if treated else 1.0)
        if treated and draws[1, i] < world.slow_share:
            seconds *= world.slow_factor
        if world.family == "rounded":
            seconds = max(10 * round(seconds / 10), 1)
        late = bool(draws[2, i] < world.timeouts)
        good = bool(draws[3, i] < world.success - (world.drop if treated else 0.0)) and not late
        score = 0.0 if late else float(parts[treated][i]) if world.score_parts else float(good)
        judge.observe(
            Observation(
                index=index,
                stream=stream,
                arm=arm,
                duration_seconds=seconds * (10.0 if late else 1.0),
                success=good and not lost,
                score=None if lost or not policy.scored or draws[4, i] < world.unscored else score,
                member_success_share=float(good),
                cost_usd=float(costs[i]) * 0.01 * (1 + world.cost_rise * treated) if world.cost_sigma else None,
                tool_calls=int(calls[treated][i]),
                timed_out=late,
                task_key=keys[i],
                missing="lost" if lost else "",
            )
        )
        if judge.is_final or (world.kept and judge.may_go_live):
            break
        if stage == "canary":
            stage = judge.verdict().stage.replace("testing", "")
        if probation and not stage and i % 10 == 0:
            told = judge.verdict()
            stage = "probation" if told.pairs >= PROBATION_PAIRS and told.chance_better >= PROBATION_CHANCE else ""
    return judge.verdict()
