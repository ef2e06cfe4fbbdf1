"""Where the simulated runs of the experiment benchmarks come from."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from victor_autotune_plugin.experiment import Observation

Real = dict[str, list[tuple[float, float]]]
"""`(duration, reward)` of real runs by set."""

Tasks = dict[str, dict[str, dict[str, float]]]
"""Log duration of each task by domain and set, centred within the set."""


@frozen
class World:
    """How runs of the two plans come about. Durations are log-normal with median 20 s in the control.

    Attributes:
        gain: Relative gain of the treatment's duration; negative when slower.
        sigma: Standard deviation of the log duration.
        timeouts: Share of runs that take ten times as long and are flagged as timed out and failed, in both arms.
        success: Success share of the control.
        drop: Drop of the treatment's success share.
        slow_share: Share of the treatment's runs that are `slow_factor` times slower.
        slow_factor: See `slow_share`.
        drift: Factor on the durations of both arms (watch only: after the promotion).
        real: Draw durations and outcomes from the real runs instead.
    """

    gain: float = 0.0
    sigma: float = 0.7
    timeouts: float = 0.0
    success: float = 1.0
    drop: float = 0.0
    slow_share: float = 0.0
    slow_factor: float = 1.0
    drift: float = 1.0
    real: bool = False

    def draw(
        self, rng: np.random.Generator, arms: list[str], start: int, pool: list[tuple[float, float]]
    ) -> list[Observation]:
        """Return one run for each of `arms`; `pool` holds the real runs to draw from."""
        n = len(arms)
        treated = np.array([arm == "treatment" for arm in arms])
        if self.real:
            picks = rng.integers(len(pool), size=n)
            seconds = np.array([pool[i][0] for i in picks])
            score = np.array([pool[i][1] for i in picks])
            good = score >= 0.5
        else:
            seconds = 20 * np.exp(rng.normal(0.0, self.sigma, n))
            good = rng.random(n) < self.success - self.drop * treated
            score = good.astype(float)
        late = rng.random(n) < self.timeouts
        slow = (rng.random(n) < self.slow_share) & treated
        seconds = seconds * np.where(treated, 1 - self.gain, 1.0) * np.where(late, 10.0, 1.0) * self.drift
        seconds = seconds * np.where(slow, self.slow_factor, 1.0)
        good, score = good & ~late, np.where(late, 0.0, score)
        return [
            Observation(
                index=start + i,
                arm=arms[i],
                duration_seconds=float(seconds[i]),
                success=bool(good[i]),
                score=float(score[i]),
                tool_calls=5,
                timed_out=bool(late[i]),
            )
            for i in range(n)
        ]


def find_real(given: Path | None = None) -> Path | None:
    """Return the file of real runs: the given one, that of `AGENT_RUNS_CSV`, or the one beside the project, or None."""
    named = os.environ.get("AGENT_RUNS_CSV")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "agent_runs.csv"
    for path in (given, Path(named) if named else None, beside):
        if path is not None and path.is_file():
            return path
    return None


def read_real(path: Path | None) -> Real:
    """Return the real runs by set; empty when there is no file."""
    data: Real = {}
    if path is not None:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                data.setdefault(row["set"], []).append((float(row["duration_seconds"]), float(row["reward"])))
    return data


def read_in_order(path: Path | None) -> list[NDArray[np.float64]]:
    """Return the log durations of each set in the order in which its runs started, less their median."""
    found: dict[str, list[tuple[str, float]]] = {}
    if path is not None:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["set"], []).append((row["start_time"], math.log(float(row["duration_seconds"]))))
    logs = [np.array([value for _, value in sorted(found[name])]) for name in sorted(found)]
    return [values - np.median(values) for values in logs]


def choose(rng: np.random.Generator, data: Real) -> list[tuple[float, float]]:
    """Return the runs of one set, so that a repetition stays within one agent and domain."""
    return data[sorted(data)[int(rng.integers(len(data)))]] if data else []


def read_tasks(path: Path | None) -> Tasks:
    """Return the tasks of the domains that several sets share; empty when there is no file."""
    data: Tasks = {}
    if path is not None:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                tasks = data.setdefault(row["domain"], {}).setdefault(row["set"], {})
                tasks[row["task_id"]] = math.log(float(row["duration_seconds"]))
        for sets in data.values():
            for name, tasks in sets.items():
                mean = sum(tasks.values()) / len(tasks)
                sets[name] = {task: value - mean for task, value in tasks.items()}
    return {domain: sets for domain, sets in data.items() if len(sets) > 1}
