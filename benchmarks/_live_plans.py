"""Worlds of a live plan: what it was proven by, how its runs come about, and what changes when."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from victor_autotune_plugin._model.assignment import REVERIFY, shares_of_stream
from victor_autotune_plugin.experiment import Observation, Watch, WatchPolicy, assign
from victor_autotune_plugin.experiment.boundaries import boundary
from victor_autotune_plugin.experiment.paired import SignedRankPrimary
from victor_autotune_plugin.experiment.watch import PROOF_Z

Floats = NDArray[np.float64]

PASS_LEVEL = 0.045
"""Level of the proof that ends a simulated test."""


@frozen
class Plans:
    """How the runs of both plans come about. Durations have the median 20 s under the plan before.

    Attributes:
        ratio: Factor of the live plan's duration.
        both: Factor of the duration of both.
        slow_share: Share of the live plan's runs that are slow.
        slow_factor: Their further factor.
        success: Share of the plan before's runs that succeed.
        drop: By how much less the live plan's is.
        lost: Share of both plans' runs that are lost.
        lost_live: The same of the live plan alone, further.
        cost: Factor of the live plan's cost.
        models: What answers in the live plan's runs.
    """

    ratio: float = 0.7
    both: float = 1.0
    slow_share: float = 0.0
    slow_factor: float = 1.0
    success: float = 1.0
    drop: float = 0.0
    lost: float = 0.0
    lost_live: float = 0.0
    cost: float = 1.0
    models: str = "openai/small"


@frozen
class Life:
    """The life of a live plan: a test, quiet runs, a change, runs after it.

    Attributes:
        before: How runs come about in the test and until the change.
        after: The same since.
        age: Runs since the promotion at which the change comes.
        runs: Runs after the change.
        test_pairs: Pairs of the test; None for as many as its proof takes.
        sigma: Standard deviation of the log duration, all of it.
        correlation: Autocorrelation of the log durations (AR 1).
        cycle: Amplitude of a daily cycle of the log duration.
        period: Runs in a day.
        costs: Whether runs have a cost.
    """

    before: Plans = Plans()
    after: Plans = Plans()
    age: int = 0
    runs: int = 400
    test_pairs: int | None = 60
    sigma: float = 0.7
    correlation: float = 0.0
    cycle: float = 0.0
    period: int = 50
    costs: bool = False


@frozen
class Lived:
    """What became of a live plan.

    Attributes:
        status: Status of the watch in the end.
        harm: The harm it went back for, or None.
        replaced_after: Runs from the change to the rollback, both plans; infinite without one.
        bad_runs: Runs of the live plan among them.
        opened_after: Runs from the change to the first re-verification after it; infinite without one.
        rounds: Re-verifications since the promotion.
        p95: What is known of the P95.
        live_runs: Runs since the promotion.
        was_proven: Whether the test proved the plan better, by a boundary for as many pairs as it may have.
    """

    status: str
    harm: str | None
    replaced_after: float
    bad_runs: int
    opened_after: float
    rounds: int
    p95: str
    live_runs: int
    was_proven: bool


class _Runs:
    """Makes the runs of a life, one after the other."""

    def __init__(self, life: Life, rng: np.random.Generator, n: int) -> None:
        self._life, self._at = life, 0
        noise = rng.normal(0, 1, n)
        if life.correlation:
            rest = math.sqrt(1 - life.correlation**2)
            for i in range(1, n):
                noise[i] = life.correlation * noise[i - 1] + rest * noise[i]
        phase = life.cycle * np.sin(2 * math.pi * (np.arange(n) / life.period + rng.random()))
        spread = math.sqrt(max(life.sigma**2 - life.cycle**2 / 2, 0.01))
        self._logs = (math.log(20) + spread * noise + phase).tolist()
        self._draws = rng.random((4, n)).T.tolist()
        self._costs = np.exp(rng.normal(math.log(0.01), 0.5, n)).tolist() if life.costs else None

    def next(self, plans: Plans, arm: str, stream: str, index: int) -> Observation:
        """Return the next run."""
        i = self._at
        self._at += 1
        live = arm == "treatment"
        draws = self._draws[i]
        seconds = math.exp(self._logs[i]) * plans.both * (plans.ratio if live else 1.0)
        if live and draws[0] < plans.slow_share:
            seconds *= plans.slow_factor
        good = draws[1] < plans.success - (plans.drop if live else 0.0)
        lost = draws[2] < plans.lost + (plans.lost_live if live else 0.0)
        cost = None if self._costs is None else self._costs[i] * (plans.cost if live else 1.0)
        return Observation(
            index=index,
            arm=arm,  # type: ignore[arg-type]
            duration_seconds=seconds,
            success=good,
            score=float(good),
            cost_usd=cost,
            stream=stream,
            missing="lost" if lost else "",
            models=plans.models if live else "openai/small",
        )


def tested(life: Life, runs: _Runs, seed: str) -> tuple[list[Observation], bool]:
    """Return the runs of the test, and whether it proved the plan better; where not it is promoted all the same."""
    proof, limits = SignedRankPrimary("duration"), boundary("balanced", PASS_LEVEL, 0.05)
    found: list[Observation] = []
    proven = False
    for index in range(2 * (life.test_pairs or 200)):
        run = runs.next(life.before, assign(seed, index, stream="a"), "a", index)
        found.append(run)
        if not run.missing:
            proof.add(run)
        if life.test_pairs is None and index % 2 and index >= 19:
            proven = proof.z >= limits.at(proof.information / 200)
            if proven:
                break
    return found, proof.z >= PROOF_Z if life.test_pairs else proven


def live(life: Life, rng: np.random.Generator) -> Lived:
    """Play one life; runs are assigned as the tuning loop assigns them."""
    policy, seed = WatchPolicy(), str(int(rng.integers(2**62)))
    runs = _Runs(life, rng, 2 * (life.test_pairs or 200) + life.age + life.runs)
    reference, was_proven = tested(life, runs, seed)
    watch = Watch(policy, reference=reference)
    places: dict[str, int] = {}
    replaced, opened, bad, rounds_before = math.inf, math.inf, 0, 0
    end = 0
    for i in range(life.age + life.runs):
        if i == life.age:
            rounds_before = watch.rounds
        stream = f"{REVERIFY}{watch.rounds}:a" if watch.status == "reverifying" else "a"
        index = places.get(stream, 0)
        places[stream] = index + 1
        arm = assign(f"{seed}:watch", index, shares_of_stream(stream, policy.holdback), stream=stream)
        watch.observe(runs.next(life.before if i < life.age else life.after, arm, stream, index))
        end = i + 1
        if i >= life.age:
            bad += arm == "treatment"
            if watch.rounds > rounds_before:
                opened = min(opened, i - life.age + 1)
        if watch.is_final:
            replaced = i - life.age + 1
            break
    verdict = watch.verdict()
    return Lived(verdict.status, verdict.harm, replaced, bad, opened, watch.rounds, verdict.p95, end, was_proven)
