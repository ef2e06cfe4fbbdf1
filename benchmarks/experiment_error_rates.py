"""Error rates, power and speed of detection of the experiment engine, by simulation through its public API.

    python benchmarks/experiment_error_rates.py [--repetitions N] [--short] [--json FILE] [--data agent_runs.csv]

Without options: 10,000 repetitions for false positives and false rollbacks, 2,000 for power and detection (about
half an hour on two cores). `--short` uses 1,000 and 400. Every figure has its Monte-Carlo standard error. Naive peeking
(Welch's t-test at 5 % after every run) is shown beside the engine.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from victor_autotune_plugin.experiment import Judge, Observation, Policy, Watch, WatchPolicy, assign, task_effects
from victor_autotune_plugin.experiment.fixed import bootstrap_ratio, mann_whitney, welch

Floats = NDArray[np.float64]
Real = dict[str, list[tuple[float, float]]]
Tasks = dict[str, dict[str, dict[str, float]]]


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


def read_real(path: Path | None) -> Real:
    """Return `(duration, reward)` of the real runs by set; empty when there is no file."""
    data: Real = {}
    if path is not None and path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                data.setdefault(row["set"], []).append((float(row["duration_seconds"]), float(row["reward"])))
    return data


def choose(rng: np.random.Generator, data: Real) -> list[tuple[float, float]]:
    """Return the runs of one set, so that a repetition stays within one agent and domain."""
    return data[sorted(data)[int(rng.integers(len(data)))]] if data else []


def read_tasks(path: Path | None) -> Tasks:
    """Return the log duration of each task by domain and set, centred within the set."""
    data: Tasks = {}
    if path is not None and path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                tasks = data.setdefault(row["domain"], {}).setdefault(row["set"], {})
                tasks[row["task_id"]] = math.log(float(row["duration_seconds"]))
        for sets in data.values():
            for name, tasks in sets.items():
                mean = sum(tasks.values()) / len(tasks)
                sets[name] = {task: value - mean for task, value in tasks.items()}
    return {domain: sets for domain, sets in data.items() if len(sets) > 1}


@frozen
class Case:
    """One simulated question.

    Attributes:
        name: What is shown.
        kind: `null`, `power` (a test), `quiet` or `harm` (a watch).
        world: The runs.
        policy: Rules of the test, or of the watch.
        after: The runs after the promotion, for a watch.
        probes: Whether the host gives the watch the control runs that it wants.
    """

    name: str
    kind: str
    world: World
    policy: Policy | WatchPolicy = field(factory=Policy)
    after: World | None = None
    probes: bool = True
    reference_runs: int = 100


def play_test(case: Case, rng: np.random.Generator, data: Real) -> tuple[str, int, bool]:
    """Return the status, runs per arm at the end, and whether naive peeking would have seen a difference."""
    policy = case.policy
    assert isinstance(policy, Policy)
    most = policy.max_runs_per_arm
    seed = str(int(rng.integers(2**62)))
    runs = case.world.draw(rng, [assign(seed, i) for i in range(2 * most)], 0, choose(rng, data))
    judge = Judge(policy)
    for run in runs:
        judge.observe(run)
        if judge.is_final:
            break
    verdict = judge.verdict()
    return verdict.status, max(verdict.runs.values()), naive_peek(runs, policy.min_runs_per_arm)


def naive_peek(runs: list[Observation], least: int) -> bool:
    """Whether Welch's t-test on the raw durations is significant at 5 % at any look from the least number of runs."""
    x = np.array([run.duration_seconds for run in runs])
    arm = np.array([run.arm == "treatment" for run in runs])
    means, variances, counts = [], [], []
    for mask in (arm, ~arm):
        n = np.cumsum(mask)
        mean = np.cumsum(x * mask) / np.maximum(n, 1)
        variance = (np.cumsum(x * x * mask) - n * mean**2) / np.maximum(n - 1, 1)
        means.append(mean)
        variances.append(np.maximum(variance, 1e-100) / np.maximum(n, 1))
        counts.append(n)
    look = (counts[0] >= least) & (counts[1] >= least)
    total = variances[0] + variances[1]
    t = np.abs(means[0] - means[1]) / np.sqrt(total)
    df = total**2 / sum(v**2 / np.maximum(n - 1, 1) for v, n in zip(variances, counts, strict=True))
    critical = 1.959964 + 2.372 / df + 2.82 / df**2  # Cornish-Fisher expansion of the t quantile
    return bool(np.any(look & (t > critical)))


def play_watch(case: Case, rng: np.random.Generator, data: Real) -> tuple[str, int, int]:
    """Return the status, the run after which it was reached, and the control runs until then."""
    policy, after = case.policy, case.after
    assert isinstance(policy, WatchPolicy)
    assert after is not None
    seed = str(int(rng.integers(2**62)))
    pool = choose(rng, data)
    reference = case.world.draw(rng, [assign(seed, i) for i in range(2 * case.reference_runs)], 0, pool)
    watch = Watch(policy, reference=reference)
    shares = {"control": policy.holdback, "treatment": 1 - policy.holdback}
    count = 0
    while not watch.is_final:
        arm = assign(seed + "watch", count, shares)
        if case.probes and watch.wants_control:
            arm = "control"
        watch.observe(after.draw(rng, [arm], count, pool)[0])
        count += 1
    verdict = watch.verdict()
    return verdict.status, verdict.detected_at or count, verdict.runs["control"]


def _chunk(job: tuple[Case, int, int, Real]) -> list[tuple[Any, ...]]:
    case, seed, repetitions, data = job
    rng = np.random.default_rng(seed)
    play: Callable[..., tuple[Any, ...]] = play_test if case.kind in ("null", "power") else play_watch
    return [play(case, rng, data) for _ in range(repetitions)]


def compare_covariates(tasks: Tasks, repetitions: int, gain: float) -> dict[str, Any]:
    """Play tests on real tasks with and without the tasks' earlier runs, on the same runs.

    The runs of a test are one agent's on tasks drawn at random; the earlier runs are the other agents' of the same
    domain on the same tasks.
    """
    rng = np.random.default_rng(77)
    runs: dict[str, list[float]] = {"plain": [], "adjusted": []}
    for _ in range(repetitions):
        sets = tasks[sorted(tasks)[int(rng.integers(len(tasks)))]]
        mine = sorted(sets)[int(rng.integers(len(sets)))]
        others = [name for name in sorted(sets) if name != mine]
        names, seed = sorted(sets[mine]), str(int(rng.integers(2**62)))
        test, history = [], []
        for i in range(400):
            task, arm = names[int(rng.integers(len(names)))], assign(seed, i)
            seconds = math.exp(3 + sets[mine][task]) * (1 - gain if arm == "treatment" else 1)
            common = {"success": True, "score": 1.0, "task_key": f"{i}"}
            test.append(Observation(index=i, arm=arm, duration_seconds=seconds, **common))
            for other in others:
                if task in sets[other]:
                    earlier = math.exp(3 + sets[other][task])
                    history.append(Observation(len(history), "control", duration_seconds=earlier, **common))
        for name, baseline in (("plain", []), ("adjusted", history)):
            judge = Judge(Policy(), task_effects=task_effects("duration", baseline))
            for run in test:
                judge.observe(run)
            verdict = judge.verdict()
            runs[name].append(verdict.runs["treatment"] if verdict.status == "passed" else math.inf)
    row: dict[str, Any] = {
        "case": f"covariates, gain {gain:.0%}, real tasks",
        "kind": "tasks",
        "repetitions": repetitions,
    }
    for name, found in runs.items():
        row[f"{name}_passed"], row[f"{name}_passed_error"] = share(sum(map(math.isfinite, found)), repetitions)
        row[f"{name}_median"], row[f"{name}_runs_80"] = quantile(found, 0.5), quantile(found, 0.8)
    return row


def cover(repetitions: int, sigma: float, n: int = 10) -> dict[str, Any]:
    """Return how often the fixed-sample 95 % intervals of `n` values an arm hold the true ratio."""
    rng = np.random.default_rng(78)
    hits = dict.fromkeys(("welch_logs", "mann_whitney", "bootstrap_t"), 0)
    for k in range(repetitions):
        control = (20 * np.exp(rng.normal(0, sigma, n))).tolist()
        treatment = (16 * np.exp(rng.normal(0, sigma, n))).tolist()
        for name, result in (
            ("welch_logs", welch(control, treatment, logs=True)),
            ("mann_whitney", mann_whitney(control, treatment)),
            ("bootstrap_t", bootstrap_ratio(control, treatment, seed=k, draws=2000)),
        ):
            hits[name] += result.low <= -0.2 <= result.high
    row: dict[str, Any] = {"case": f"coverage, n {n}, sd {sigma}", "kind": "coverage", "repetitions": repetitions}
    for name, count in hits.items():
        row[name], row[f"{name}_error"] = share(count, repetitions)
    return row


def share(hits: int, total: int) -> tuple[float, float]:
    """Return a share in percent and its Monte-Carlo standard error."""
    p = hits / total
    return 100 * p, 100 * math.sqrt(max(p * (1 - p), 1 / total / total) / total)


def quantile(values: list[float], q: float) -> float | None:
    """Return the nearest-rank quantile, or None where it is infinite."""
    value = sorted(values)[max(math.ceil(q * len(values)) - 1, 0)]
    return value if math.isfinite(value) else None


def summarise(case: Case, results: list[tuple[Any, ...]]) -> dict[str, Any]:
    """Return the figures of one case."""
    total = len(results)
    row: dict[str, Any] = {"case": case.name, "kind": case.kind, "repetitions": total}
    if case.kind in ("null", "power"):
        for status in ("passed", "failed", "inconclusive"):
            row[status], row[f"{status}_error"] = share(sum(r[0] == status for r in results), total)
        row["false_positive"], row["false_positive_error"] = share(
            sum(r[0] in ("passed", "failed") for r in results), total
        )
        row["naive_peeking"], row["naive_peeking_error"] = share(sum(r[2] for r in results), total)
        found = [float(r[1]) if r[0] == "passed" else math.inf for r in results]
        row["median_runs"], row["runs_80"] = quantile(found, 0.5), quantile(found, 0.8)
        row["mean_runs_to_end"] = float(np.mean([r[1] for r in results]))
    else:
        row["rolled_back"], row["rolled_back_error"] = share(sum(r[0] == "rolled_back" for r in results), total)
        found = [float(r[1]) if r[0] == "rolled_back" else math.inf for r in results]
        row["median_runs"], row["runs_80"] = quantile(found, 0.5), quantile(found, 0.8)
        row["mean_control_share"] = float(np.mean([r[2] / r[1] for r in results]))
    return row


def cases(real: bool) -> list[Case]:
    """Return all cases."""
    nulls = [World(sigma=0.5), World(), World(sigma=1.0), World(timeouts=0.05)]
    names = ["sd 0.5", "sd 0.7", "sd 1.0", "sd 0.7, 5 % timeouts"]
    found = [Case(f"A/A, {name}", "null", world) for name, world in zip(names, nulls, strict=True)]
    found += [Case(f"A/A, success {p}", "null", World(success=p)) for p in (0.6, 0.8, 0.95)]
    found += [Case(f"A/A on score, success {p}", "null", World(success=p), Policy(metric="score")) for p in (0.6, 0.95)]
    if real:
        found.append(Case("A/A, real runs", "null", World(real=True)))
        found.append(Case("A/A on score, real runs", "null", World(real=True), Policy(metric="score")))
    for rule in ("pocock", "obrien_fleming"):
        found.append(Case(f"A/A, sd 0.7, rule {rule}", "null", World(), Policy(rule=rule)))
    found += [
        Case("gain 20 %", "power", World(gain=0.2)),
        Case("gain 30 %", "power", World(gain=0.3)),
        Case("gain 50 %", "power", World(gain=0.5)),
        Case("gain 20 %, 5 % timeouts", "power", World(gain=0.2, timeouts=0.05)),
        Case("gain 10 %", "power", World(gain=0.1)),
        Case("gain 30 %, success 0.9", "power", World(gain=0.3, success=0.9)),
        Case("gain 50 %, success 0.9", "power", World(gain=0.5, success=0.9)),
    ]
    for rule in ("pocock", "obrien_fleming"):
        for gain in (0.2, 0.3, 0.5):
            found.append(Case(f"gain {gain:.0%}, rule {rule}", "power", World(gain=gain), Policy(rule=rule)))
    if real:
        found.append(Case("gain 30 %, real runs", "power", World(gain=0.3, real=True)))
    found += [
        Case("30 % faster, success -10 points", "power", World(gain=0.3, success=0.9, drop=0.1)),
        Case("30 % faster, success -30 points", "power", World(gain=0.3, success=0.9, drop=0.3)),
        Case("2x slower", "power", World(gain=-1.0)),
        Case("7 of 10 runs 100x slower", "power", World(slow_share=0.7, slow_factor=100)),
        Case("30 % faster, 3 of 10 runs 100x slower", "power", World(gain=0.3, slow_share=0.3, slow_factor=100)),
        Case("30 % faster, 5 % of runs 100x slower", "power", World(gain=0.3, slow_share=0.05, slow_factor=100)),
        Case("50 % faster, 15 % of runs 8x slower", "power", World(gain=0.5, slow_share=0.15, slow_factor=8)),
    ]
    same, watch = World(success=0.9), WatchPolicy()
    found += [
        Case("watch: A/A", "quiet", same, watch, same),
        Case("watch: A/A, sd 1.0", "quiet", evolve(same, sigma=1.0), watch, evolve(same, sigma=1.0)),
        Case("watch: A/A, 5 % timeouts", "quiet", evolve(same, timeouts=0.05), watch, evolve(same, timeouts=0.05)),
        Case("watch: A/A, 23 runs of reference", "quiet", same, watch, same, reference_runs=23),
        Case("watch: A/A, control runs not given", "quiet", same, watch, same, probes=False),
        Case("watch: 20 % better", "quiet", evolve(same, gain=0.2), watch, evolve(same, gain=0.2)),
        Case(
            "watch: 20 % better, both drift 2x", "quiet", evolve(same, gain=0.2), watch, evolve(same, gain=0.2, drift=2)
        ),
        Case("watch: A/A, both drift 1.5x", "quiet", same, watch, evolve(same, drift=1.5)),
        Case("watch: A/A, both drift 3x", "quiet", same, watch, evolve(same, drift=3)),
    ]
    if real:
        found.append(Case("watch: A/A, real runs", "quiet", World(real=True), watch, World(real=True)))
    for name, after in {
        "2x slower": evolve(same, gain=-1.0),
        "3x slower": evolve(same, gain=-2.0),
        "success -30 points": evolve(same, drop=0.3),
        "success -50 points": evolve(same, drop=0.5),
    }.items():
        found.append(Case(f"watch: {name}", "harm", same, watch, after))
        found.append(Case(f"watch: {name}, control runs not given", "harm", same, watch, after, probes=False))
        found.append(Case(f"watch: {name}, 23 runs of reference", "harm", same, watch, after, reference_runs=23))
    found.append(
        Case("watch: 50 % better becomes 3x slower", "harm", evolve(same, gain=0.5), watch, evolve(same, gain=-0.5))
    )
    return found


def run(
    chosen: list[Case], null_repetitions: int, other_repetitions: int, processes: int, data: Real
) -> list[dict[str, Any]]:
    """Simulate the cases and print a line for each."""
    rows = []
    print(f"{'case':<44}{'reps':>6}  {'passed %':>12}{'failed %':>10}{'FP naive':>9}{'median':>8}{'80 %':>6}{'s':>6}")
    with ProcessPoolExecutor(processes) as pool:
        for number, case in enumerate(chosen):
            begin = time.perf_counter()
            repetitions = null_repetitions if case.kind in ("null", "quiet") else other_repetitions
            size = max(repetitions // (processes * 4), 1)
            jobs = [
                (case, 1000 * number + k, min(size, repetitions - k * size), data)
                for k in range(math.ceil(repetitions / size))
            ]
            results = [result for chunk in pool.map(_chunk, jobs) for result in chunk]
            row = summarise(case, results)
            rows.append(row)
            print(line(row, time.perf_counter() - begin), flush=True)
    return rows


def line(row: dict[str, Any], seconds: float) -> str:
    """Return the table's line of one case."""
    runs = [("-" if row[name] is None else f"{row[name]:.0f}") for name in ("median_runs", "runs_80")]
    if "passed" in row:
        middle = f"{row['passed']:>6.2f} ±{row['passed_error']:<4.2f}{row['failed']:>10.2f}{row['naive_peeking']:>9.1f}"
    else:
        middle = f"{row['rolled_back']:>6.2f} ±{row['rolled_back_error']:<4.2f} rolled back      "
    return f"{row['case']:<44}{row['repetitions']:>6}  {middle}{runs[0]:>8}{runs[1]:>6}{seconds:>6.0f}"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, help="repetitions of every case")
    parser.add_argument("--short", action="store_true", help="1,000 and 400 repetitions")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("AGENT_RUNS_CSV"), help="real runs (agent_runs.csv)"
    )
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    nulls, others = (1000, 400) if arguments.short else (10_000, 2_000)
    if arguments.repetitions:
        nulls = others = arguments.repetitions
    data = read_real(arguments.data)
    if not data:
        print("No real runs given (--data agent_runs.csv): their cases are left out.")
    chosen = [case for case in cases(bool(data)) if arguments.only in case.name]
    rows = run(chosen, nulls, others, arguments.processes, data)
    tasks = read_tasks(arguments.data)
    for gain in (0.2, 0.3) if tasks and arguments.only in "covariates" else ():
        rows.append(compare_covariates(tasks, others // 2, gain))
        print({name: value for name, value in rows[-1].items() if name != "kind"})
    for sigma in (0.5, 0.7, 1.0) if arguments.only in "coverage" else ():
        rows.append(cover(others, sigma))
        print({name: value for name, value in rows[-1].items() if name != "kind"})
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
