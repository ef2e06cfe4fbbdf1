"""Error rates, power and speed of detection of the experiment engine, by simulation through its public API.

    python benchmarks/experiment_error_rates.py [--repetitions N] [--short] [--json FILE] [--data agent_runs.csv]

Without options: 10,000 repetitions for false positives and false rollbacks, 2,000 for power and detection (about
half an hour on two cores). `--short` uses 1,000 and 400, `--only "to reach"` plays only the cases with a wanted figure.
Every figure has its Monte-Carlo standard error. Others' methods (`_peers`) see the same runs.
"""

from __future__ import annotations

import argparse
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

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._peers import PEERS, decide
from benchmarks._report import show
from benchmarks._worlds import Real, Tasks, World, choose, find_real, read_real, read_tasks
from victor_autotune_plugin._model.policy import ALL_RULES
from victor_autotune_plugin.experiment import Judge, Observation, Policy, Watch, WatchPolicy, assign, task_effects
from victor_autotune_plugin.experiment.fixed_sample import bootstrap_ratio, mann_whitney, welch

Wanted = dict[str, float]
"""Figures to reach by name: at most, for errors and runs; at least, for `power`, and for coverage 94 to 96 %."""


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
        reference_runs: Runs of the test in each arm, for a watch.
        wanted: Figures to reach.
    """

    name: str
    kind: str
    world: World
    policy: Policy | WatchPolicy = field(factory=Policy)
    after: World | None = None
    probes: bool = True
    reference_runs: int = 100
    wanted: Wanted = field(factory=dict)


def play_test(case: Case, rng: np.random.Generator, data: Real) -> tuple[str, int, dict[str, float]]:
    """Return the status, runs per arm at the end, and at how many runs per arm each peer sees a difference."""
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
    return verdict.status, max(verdict.runs.values()), decide(runs, policy.min_runs_per_arm)


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


METHODS = ("welch_logs", "mann_whitney", "bootstrap_t")


def cover(repetitions: int, sigma: float, n: int = 10) -> dict[str, Any]:
    """Return how often the fixed-sample 95 % intervals of `n` values an arm hold the true ratio."""
    rng = np.random.default_rng(78)
    hits = dict.fromkeys(METHODS, 0)
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
        for peer in PEERS:
            seen = [r[2][peer] for r in results]
            row[peer], row[f"{peer}_error"] = share(sum(map(math.isfinite, seen)), total)
            row[f"{peer}_median"] = quantile(seen, 0.5)
        row["power"], row["power_error"] = row["passed"], row["passed_error"]
        found = [float(r[1]) if r[0] == "passed" else math.inf for r in results]
        row["median_runs"], row["runs_80"] = quantile(found, 0.5), quantile(found, 0.8)
        row["mean_runs_to_end"] = float(np.mean([r[1] for r in results]))
    else:
        row["rolled_back"], row["rolled_back_error"] = share(sum(r[0] == "rolled_back" for r in results), total)
        found = [float(r[1]) if r[0] == "rolled_back" else math.inf for r in results]
        row["median_runs"], row["runs_80"] = quantile(found, 0.5), quantile(found, 0.8)
        row["mean_control_share"] = float(np.mean([r[2] / r[1] for r in results]))
    return row


FALSE: Wanted = {"false_positive": 5.5}


def cases(real: bool) -> list[Case]:
    """Return all cases."""
    nulls = [World(sigma=0.5), World(), World(sigma=1.0), World(timeouts=0.05)]
    names = ["sd 0.5", "sd 0.7", "sd 1.0", "sd 0.7, 5 % timeouts"]
    found = [Case(f"A/A, {name}", "null", world, wanted=FALSE) for name, world in zip(names, nulls, strict=True)]
    found += [Case(f"A/A, success {p}", "null", World(success=p), wanted=FALSE) for p in (0.6, 0.8, 0.95)]
    on_score = Policy(metric="score")
    found += [Case(f"A/A on score, success {p}", "null", World(success=p), on_score, wanted=FALSE) for p in (0.6, 0.95)]
    if real:
        found.append(Case("A/A, real runs", "null", World(real=True), wanted=FALSE))
        found.append(Case("A/A on score, real runs", "null", World(real=True), on_score, wanted=FALSE))
    others = [rule for rule in ALL_RULES if rule != Policy().rule]
    for rule in others:
        found.append(Case(f"A/A, sd 0.7, rule {rule}", "null", World(), Policy(rule=rule), wanted=FALSE))
        timeouts = World(timeouts=0.05)
        found.append(Case(f"A/A, 5 % timeouts, rule {rule}", "null", timeouts, Policy(rule=rule), wanted=FALSE))
    found += [
        Case("gain 20 %", "power", World(gain=0.2), wanted={"power": 79}),
        Case("gain 30 %", "power", World(gain=0.3), wanted={"power": 99, "median_runs": 60, "runs_80": 95}),
        Case("gain 50 %", "power", World(gain=0.5), wanted={"median_runs": 23, "runs_80": 33}),
        Case("gain 20 %, 5 % timeouts", "power", World(gain=0.2, timeouts=0.05), wanted={"power": 79}),
        Case("gain 10 %", "power", World(gain=0.1)),
        Case("gain 30 %, success 0.9", "power", World(gain=0.3, success=0.9)),
        Case("gain 50 %, success 0.9", "power", World(gain=0.5, success=0.9)),
    ]
    for rule in others:
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
        Case("watch: A/A", "quiet", same, watch, same, wanted={"rolled_back": 2}),
        Case("watch: A/A, sd 1.0", "quiet", evolve(same, sigma=1.0), watch, evolve(same, sigma=1.0)),
        Case("watch: A/A, 5 % timeouts", "quiet", evolve(same, timeouts=0.05), watch, evolve(same, timeouts=0.05)),
        Case("watch: A/A, 23 runs of reference", "quiet", same, watch, same, reference_runs=23),
        Case("watch: A/A, control runs not given", "quiet", same, watch, same, probes=False),
        Case(
            "watch: 20 % better",
            "quiet",
            evolve(same, gain=0.2),
            watch,
            evolve(same, gain=0.2),
            wanted={"rolled_back": 1},
        ),
        Case(
            "watch: 20 % better, both drift 2x", "quiet", evolve(same, gain=0.2), watch, evolve(same, gain=0.2, drift=2)
        ),
        Case("watch: A/A, both drift 1.5x", "quiet", same, watch, evolve(same, drift=1.5)),
        Case("watch: A/A, both drift 3x", "quiet", same, watch, evolve(same, drift=3)),
    ]
    if real:
        found.append(Case("watch: A/A, real runs", "quiet", World(real=True), watch, World(real=True)))
    for name, after, median, runs_80 in (
        ("2x slower", evolve(same, gain=-1.0), 24, 37),
        ("3x slower", evolve(same, gain=-2.0), 13, 18),
        ("success -30 points", evolve(same, drop=0.3), 37, 57),
        ("success -50 points", evolve(same, drop=0.5), 19, 26),
    ):
        wanted = {"median_runs": median, "runs_80": runs_80}
        found.append(Case(f"watch: {name}", "harm", same, watch, after, wanted=wanted))
        found.append(Case(f"watch: {name}, control runs not given", "harm", same, watch, after, probes=False))
        found.append(Case(f"watch: {name}, 23 runs of reference", "harm", same, watch, after, reference_runs=23))
    found.append(
        Case("watch: 50 % better becomes 3x slower", "harm", evolve(same, gain=0.5), watch, evolve(same, gain=-0.5))
    )
    return found


def run(
    chosen: list[Case], null_repetitions: int, other_repetitions: int, processes: int, data: Real
) -> list[dict[str, Any]]:
    """Simulate the cases, and say on standard error how far it is."""
    rows = []
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
            seconds = time.perf_counter() - begin
            print(f"{number + 1} of {len(chosen)}: {case.name}, {seconds:.0f} s", file=sys.stderr, flush=True)
    return rows


def shown(row: dict[str, Any]) -> dict[str, Any]:
    """Return the table's row of one case."""
    tests = "passed" in row
    name = "passed" if tests else "rolled_back"
    return {
        "case": row["case"],
        "reps": row["repetitions"],
        "passed %": f"{row[name]:.2f} ±{row[f'{name}_error']:.2f}{'' if tests else ' back'}",
        "failed %": f"{row['failed']:.2f}" if tests else "",
        "median runs": _whole(row["median_runs"]),
        "80 % by": _whole(row["runs_80"]),
        **{peer.replace("_", " "): f"{row[peer]:.1f}" if tests else "" for peer in PEERS},
    }


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def reached(case: Case, row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the figures to reach of one case, with what was measured."""
    found = []
    for name, wanted in case.wanted.items():
        value = row[name]
        met = value is not None and (value >= wanted if name == "power" else value <= wanted)
        found.append(
            {
                "case": case.name,
                "figure": name,
                "measured": value,
                "error": row.get(f"{name}_error"),
                "wanted": f"{'at least' if name == 'power' else 'at most'} {wanted:g}",
                "met": met,
            }
        )
    return found


def covered(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the coverages of one row of `cover` beside what is wanted."""
    return [
        {
            "case": row["case"],
            "figure": name,
            "measured": row[name],
            "error": row[f"{name}_error"],
            "wanted": "94 to 96",
            "met": 94 <= row[name] <= 96,
        }
        for name in METHODS
    ]


def shown_covariates(row: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the table's rows of by how much known tasks shorten tests."""
    return [
        {
            "case": f"{row['case']}, {name}",
            "reps": row["repetitions"],
            "passed %": f"{row[f'{name}_passed']:.1f} ±{row[f'{name}_passed_error']:.1f}",
            "median runs": _whole(row[f"{name}_median"]),
            "80 % by": _whole(row[f"{name}_runs_80"]),
        }
        for name in ("plain", "adjusted")
    ]


def shown_figure(one: dict[str, Any]) -> dict[str, Any]:
    """Return the table's row of one figure that was to be reached."""
    error = "" if one["error"] is None else f" ±{one['error']:.2f}"
    return {
        "to reach": f"{one['case']}: {one['figure'].replace('_', ' ')}",
        "measured": "-" if one["measured"] is None else f"{one['measured']:.2f}{error}",
        "wanted": one["wanted"],
        "met": "yes" if one["met"] else "NO",
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, help="repetitions of every case")
    parser.add_argument("--short", action="store_true", help="1,000 and 400 repetitions")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--data", type=Path, help="real runs (agent_runs.csv)")
    parser.add_argument("--only", default="", help="only cases whose name contains this, or 'to reach'")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    nulls, others = (1000, 400) if arguments.short else (10_000, 2_000)
    if arguments.repetitions:
        nulls = others = arguments.repetitions
    path = find_real(arguments.data)
    data, only = read_real(path), arguments.only
    if not data:
        print("No real runs given (--data agent_runs.csv): their cases are left out.")
    chosen = [case for case in cases(bool(data)) if only in case.name or (only == "to reach" and case.wanted)]
    rows = run(chosen, nulls, others, arguments.processes, data)
    figures = [figure for case, row in zip(chosen, rows, strict=True) for figure in reached(case, row)]
    if rows:
        note = "peers: share of tests in which each sees a difference on the same runs, looking as `_peers` says"
        show("Verdicts of tests, and rollbacks of promotions", [shown(row) for row in rows], None, note)
    known: list[dict[str, Any]] = []
    tasks = read_tasks(path)
    for gain in (0.2, 0.3) if tasks and only in "covariates to reach" else ():
        rows.append(compare_covariates(tasks, others // 2, gain))
        known += shown_covariates(rows[-1])
    for sigma in (0.5, 0.7, 1.0) if only in "coverage to reach" else ():
        rows.append(cover(nulls, sigma))
        figures += covered(rows[-1])
    if known:
        show("Tests with what is known of their tasks", known, None)
    if figures:
        show("Figures to reach", [shown_figure(one) for one in figures], None)
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "to_reach": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
