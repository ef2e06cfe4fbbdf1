"""Error rates, runs and what is told of tests by the rule `signed_rank`, in worlds whose runs depend on each other.

    python benchmarks/dependent_worlds.py [--repetitions N] [--short] [--crossings] [--only TEXT] [--rule RULE]

By the shipped engine, in one process: 1,000 repetitions for error rates and 300 for power and guardrails (20 minutes),
or N; `--crossings` plays 10,000 of the primary metric alone in three minutes. `--rule balanced` shows what the rule for
independent samples does with the same runs.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, field, frozen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._dependent import DependentWorld as World
from benchmarks._dependent import Floats, play
from benchmarks._report import parser, show
from benchmarks._worlds import find_real, read_in_order
from victor_autotune_plugin._model.policy import PASS_SHARE, SIGNED_RANK
from victor_autotune_plugin.experiment import Policy
from victor_autotune_plugin.experiment.boundaries import boundary

FALSE = 5.5
"""Percent of equal plans that may get a verdict."""


@frozen
class Case:
    """One simulated question.

    Attributes:
        name: What is shown.
        kind: `null`, `power`, or `margin` for a treatment that is worse by a margin or more.
        world: The runs.
        policy: Rules of the test but its rule.
        promoted: Most percent that may pass, or None.
        median: Most runs an arm in the median, or None.
        runs_80: Most runs an arm in 80 %, or None.
    """

    name: str
    kind: str
    world: World
    policy: Policy = field(factory=Policy)
    promoted: float | None = None
    median: int | None = None
    runs_80: int | None = None


def cases(with_real: bool) -> list[Case]:
    """Return all cases."""
    log = math.log
    worlds = {
        "independent, sd .3": World(sigma=0.3),
        "independent, sd .7": World(),
        "independent, sd 1.5": World(sigma=1.5),
        "gamma": World(family="gamma"),
        "bimodal": World(family="bimodal"),
        "ties": World(family="rounded"),
        "5 % timeouts": World(timeouts=0.05),
        "15 % timeouts": World(timeouts=0.15),
        "alternating x2": World(pattern=(0.0, log(2))),
        "alternating x3": World(pattern=(0.0, log(3))),
        "alternating x5": World(pattern=(0.0, log(5))),
        "three calls, first slow": World(pattern=(log(4), 0.0, 0.0)),
        "AR .5": World(correlation=0.5),
        "AR -.5": World(correlation=-0.5),
        "AR .8": World(correlation=0.8),
        "daily cycle": World(cycle=0.6),
        "provider phases": World(phase=log(2)),
        "12 tasks": World(tasks=12),
        "40 tasks": World(tasks=40),
        "Zipf tasks": World(tasks=100, zipf=True),
        "12 tasks, 10 % lost": World(tasks=12, lost=0.1),
        "10 % lost": World(lost=0.1),
        "success .6": World(success=0.6),
        "success .95": World(success=0.95),
        "canary": World(canary=True),
        "canary, probation": World(canary=True, probation=True),
        "canary, probation, AR .5": World(canary=True, probation=True, correlation=0.5),
        "canary, probation, x3": World(canary=True, probation=True, pattern=(0.0, log(3))),
    }
    if with_real:
        worlds["real runs in order"] = World(real=True)
    found = [Case(f"A/A {name}", "null", world, promoted=FALSE) for name, world in worlds.items()]
    on_score = Policy(metric="score")
    found += [Case(f"A/A on score, {p}", "null", World(success=p), on_score, FALSE) for p in (0.6, 0.9, 0.99)]
    found.append(Case("A/A on score, 5 checks", "null", World(score_parts=5), on_score, FALSE))
    quick = Policy(prove_success=False)
    for name, gain, world, median, most in (
        ("independent", 0.2, World(), None, None),
        ("independent", 0.3, World(), 64, 97),
        ("independent", 0.5, World(), 26, 36),
        ("5 % timeouts", 0.2, World(timeouts=0.05), None, None),
        ("AR .5", 0.3, World(correlation=0.5), 40, 60),
        ("AR .8", 0.3, World(correlation=0.8), None, None),
        ("daily cycle", 0.3, World(cycle=0.6), 40, 60),
        ("alternating x5", 0.3, World(pattern=(0.0, log(5))), None, None),
        ("12 tasks", 0.3, World(tasks=12), 35, None),
        ("40 tasks", 0.3, World(tasks=40), 43, None),
        ("12 tasks, 10 % lost", 0.3, World(tasks=12, lost=0.1), 38, None),
        ("canary, probation", 0.3, World(canary=True, probation=True), None, None),
    ):
        found.append(Case(f"{100 * gain:.0f} % {name}", "power", evolve(world, gain=gain), quick, None, median, most))
    proven = World(success=0.95, cost_sigma=0.5)
    found.append(Case("30 %, all proven", "power", evolve(proven, gain=0.3), Policy(), None, 94, 124))
    found.append(Case("50 %, all proven", "power", evolve(proven, gain=0.5), Policy(), None, 82, 113))
    kept = World(success=0.95)
    found.append(Case("30 %, work kept", "power", evolve(kept, gain=0.3), quick, None, 62, 96))
    found.append(Case("50 %, work kept", "power", evolve(kept, gain=0.5), quick, None, 26, 35))
    found.append(Case("score .90 to .99", "power", World(success=0.9, drop=-0.09), on_score))
    for times, most_promoted in ((1.0, 10.0), (1.5, 2.0)):
        for name, world in (
            ("success .7", World(success=0.7, drop=0.1 * times)),
            ("success .9", World(success=0.9, drop=0.1 * times)),
            ("success 1", World(success=1.0, drop=0.1 * times)),
            ("success .9, AR .5", World(success=0.9, drop=0.1 * times, correlation=0.5)),
            ("score of 5", World(score_parts=5, score_drop=0.1 * times)),
            ("cost, sd .5", World(cost_sigma=0.5, cost_rise=0.25 * times)),
            ("cost, sd 1", World(cost_sigma=1.0, cost_rise=0.25 * times)),
            ("tool calls", World(calls_rise=0.5 * times)),
        ):
            found.append(Case(f"{times:g} margins: {name}", "margin", evolve(world, gain=0.5), promoted=most_promoted))
    return found


def measure(case: Case, repetitions: int, seed: int, rule: str, real: list[Floats]) -> dict[str, Any]:
    """Play a case and return its row."""
    rng, policy = np.random.default_rng(seed), evolve(case.policy, rule=rule)
    verdicts = [play(case.world, policy, rng, real) for _ in range(repetitions)]
    counts = {status: sum(v.status == status for v in verdicts) for status in ("passed", "failed")}
    judged = counts["passed"] + (counts["failed"] if case.kind == "null" else 0)
    share = judged / repetitions
    error = math.sqrt(max(share * (1 - share), 1 / repetitions) / repetitions)
    ends = sorted(float(max(v.runs.values())) if v.status == "passed" else math.inf for v in verdicts)
    median, runs_80 = (ends[math.ceil(q * repetitions) - 1] for q in (0.5, 0.8))
    truth = -case.world.gain
    told = [v.effect for v in verdicts if v.status == "passed" and math.isfinite(v.effect)]
    holds = sum(not (truth < v.interval[0] or truth > v.interval[1]) for v in verdicts)
    met = (
        (case.promoted is None or 100 * share <= case.promoted)
        and (case.median is None or median <= case.median)
        and (case.runs_80 is None or runs_80 <= case.runs_80)
    )
    with_interval = case.policy.metric == "duration"
    return {
        "case": case.name,
        "reps": repetitions,
        "passed %": f"{100 * counts['passed'] / repetitions:.2f}",
        "failed %": f"{100 * counts['failed'] / repetitions:.2f}",
        "rate %": f"{100 * share:.2f} ±{100 * error:.2f}",
        "median": "-" if math.isinf(median) else f"{median:.0f}",
        "80 % by": "-" if math.isinf(runs_80) else f"{runs_80:.0f}",
        "told": f"{100 * float(np.mean(told)):.0f}" if told and with_interval else "",
        "holds %": f"{100 * holds / repetitions:.1f}" if with_interval else "",
        "met": "" if case.promoted is None and case.median is None else "yes" if met else "no",
    }


def crossings(
    world: World, repetitions: int, seed: int, real: list[Floats], least: int = 10, most: int = 200
) -> Floats:
    """Return the pairs after which the primary metric of equal plans first crosses its boundary; infinite where never.

    All repetitions at once, which is fast enough for 10,000: without guardrails and early ends, so errors are counted
    in full. Only for worlds in pairs. The statistic is that of `BlockRanks`; a test holds the two together.
    """
    rng = np.random.default_rng(seed)
    limits = boundary(SIGNED_RANK, Policy().alpha * PASS_SHARE, least / most)
    logs = np.array([world.noise(rng, 2 * most, real)[0] for _ in range(repetitions)])
    gaps = (logs[:, 0::2] - logs[:, 1::2]) * rng.choice([-1.0, 1.0], (repetitions, most))
    first = np.full(repetitions, np.inf)
    for pairs in range(least, most + 1):
        z = signed_rank_z(gaps[:, :pairs])
        first[np.isinf(first) & (z >= limits.at(pairs / most))] = pairs
    return first


def show_crossings(arguments: argparse.Namespace, real: list[Floats]) -> None:
    """Print how often the primary metric of equal plans crosses its boundary, in worlds of pairs without timeouts."""
    rows = []
    for number, case in enumerate(cases(bool(real))):
        unlike = case.world.timeouts or case.world.tasks or case.world.canary or case.world.lost
        if case.kind != "null" or unlike or case.policy.metric == "score" or arguments.only not in case.name:
            continue
        n = arguments.repetitions or 10_000
        share = float(np.isfinite(crossings(case.world, n, 7000 + number, real)).mean())
        error = 100 * math.sqrt(max(share * (1 - share), 1 / n) / n)
        rows.append({"case": case.name, "reps": n, "false passes %": f"{100 * share:.2f} ±{error:.2f}"})
        print(rows[-1], file=sys.stderr, flush=True)
    show("False passes of the signed rank of pairs, wanted 4.5", rows, arguments.json)


def signed_rank_z(gaps: Floats) -> Floats:
    """Return the corrected signed-rank statistic of each row of continuous values, shape (repetitions,)."""
    count = gaps.shape[1]
    ranks = np.empty(gaps.shape)
    np.put_along_axis(ranks, np.argsort(np.abs(gaps), axis=1), np.arange(1.0, count + 1), axis=1)
    squares = (np.arange(1.0, count + 1) ** 2).sum()
    excess = -2 * (np.arange(1.0, count + 1) ** 4).sum() / squares**2
    z = (np.sign(gaps) * ranks).sum(axis=1) / math.sqrt(squares)
    return np.asarray(z - excess * (z**3 - 3 * z) / 24)


def main() -> None:
    """Play the chosen cases and print their rows."""
    options = parser(__doc__ or "")
    options.add_argument("--repetitions", type=int, help="of every case")
    options.add_argument("--short", action="store_true")
    options.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains it")
    options.add_argument("--kind", default="", choices=("", "null", "power", "margin"))
    options.add_argument("--rule", default="signed_rank")
    options.add_argument("--data", type=Path, help="agent_runs.csv")
    options.add_argument("--crossings", action="store_true", help="only the primary metric's false passes, fast")
    arguments = options.parse_args()
    real = read_in_order(find_real(arguments.data))
    if arguments.crossings:
        show_crossings(arguments, real)
        return
    rows = []
    for number, case in enumerate(cases(bool(real))):
        if arguments.only not in case.name or arguments.kind not in ("", case.kind):
            continue
        usual = (200, 100) if arguments.short else (1_000, 300)
        rows.append(
            measure(case, arguments.repetitions or usual[case.kind != "null"], 5000 + number, arguments.rule, real)
        )
        print(rows[-1], file=sys.stderr, flush=True)
    note = (
        "rate: verdicts of equal plans, else passes, with its standard error. told: mean change of those that passed."
    )
    show(f"Tests by {arguments.rule}", rows, arguments.json, note)


if __name__ == "__main__":
    main()
