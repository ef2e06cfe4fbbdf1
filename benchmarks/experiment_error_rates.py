"""Error rates, runs and what is told of tests, in worlds whose runs depend on each other and whose plans do harm.

    python benchmarks/experiment_error_rates.py [--repetitions N] [--short] [--crossings] [--only TEXT] [--kind KIND]

By the shipped engine, each run assigned as the loop assigns it: canary, halves, and in half of the tests probation. It
plays 10,000 tests for error rates and 2,000 for power and guardrails (hours), `--short` 200 and 100, or N;
`--crossings` plays 10,000 of the primary metric alone in a few minutes, without and with bets on forecasts.
`--only forecast` shows what a forecast changes.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from attrs import evolve, field, frozen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._dependent import DependentWorld as World
from benchmarks._dependent import Floats, play
from benchmarks._report import parser, show
from benchmarks._worlds import find_real, read_in_order
from victor_autotune_plugin._model.policy import BET_SHARE, SIGNED_RANK
from victor_autotune_plugin.experiment import Policy, Verdict, runs_for
from victor_autotune_plugin.experiment.boundaries import boundary
from victor_autotune_plugin.experiment.fixed_sample import bootstrap_ratio, mann_whitney, welch
from victor_autotune_plugin.experiment.forecast_bet import LARGEST, MIDDLE, OUTLYING, STAKES, USUAL_PAIRS, USUAL_SPREAD

FORECASTS = (0.1, 0.2, 0.3, 0.5, 0.8)
"""Relative gains that `--crossings` bets on."""

FALSE = 5.5
"""Percent of equal plans that may get a verdict."""


@frozen
class Case:
    """One simulated question.

    Attributes:
        name: What is shown.
        kind: `null`, `power`, `margin` for a treatment that is worse by a margin or more, or `canary` for one that is
            much slower.
        world: The runs.
        policy: Rules of the test but its rule.
        promoted: Most percent that may pass, or None.
        median: Most runs an arm in the median, or None; of the treatment where the kind is `canary`.
        runs_80: The same in 80 %, or None.
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
    }
    if with_real:
        worlds["real runs in order"] = World(real=True)
    staged = {name: evolve(world, canary=True, probation=0.5, kept=True) for name, world in worlds.items()}
    found = [Case(f"A/A {name}", "null", world, promoted=FALSE) for name, world in staged.items()]
    found += [
        Case(f"A/A sticky, {tasks} tasks", "null", World(tasks=tasks, zipf=zipf), Policy(sticky=True), FALSE)
        for tasks, zipf in ((12, False), (40, True), (200, False))
    ]
    on_score, scored = Policy(metric="score", scored=True), Policy(scored=True)
    found += [Case(f"A/A on score, {p}", "null", World(success=p), on_score, FALSE) for p in (0.6, 0.9, 0.99)]
    found.append(Case("A/A on score, 5 checks", "null", World(score_parts=5), on_score, FALSE))
    found.append(Case("A/A scored, 5 checks", "null", World(score_parts=5, canary=True), scored, FALSE))
    for gain in (0.3, 0.5):
        for name, world in (
            ("5 checks", World(score_parts=5)),
            ("1 check", World(score_parts=1)),
            ("5 checks, 20 % unscored", World(score_parts=5, unscored=0.2)),
        ):
            found.append(Case(f"{100 * gain:.0f} % scored, {name}", "power", evolve(world, gain=gain), scored))
    for name, gain, world, median, most in (
        ("independent", 0.1, World(), None, None),
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
        ("work kept", 0.3, World(success=0.95), 62, 96),
        ("work kept", 0.5, World(success=0.95), 26, 35),
    ):
        found.append(
            Case(
                f"{100 * gain:.0f} % {name}", "power", evolve(world, gain=gain, kept=True), Policy(), None, median, most
            )
        )
    proven = World(success=0.95, cost_sigma=0.5)
    found.append(Case("30 %, all proven", "power", evolve(proven, gain=0.3), Policy(), None, 94, 124))
    found.append(Case("50 %, all proven", "power", evolve(proven, gain=0.5), Policy(), None, 82, 113))
    found.append(Case("score .90 to .99", "power", World(success=0.9, drop=-0.09), on_score))
    found.append(Case("6 x slower", "canary", World(gain=-5.0, canary=True), Policy(), None, 4, 5))
    found.append(Case("3 x slower", "canary", World(gain=-2.0, canary=True), Policy(), None, 8, 11))
    found.append(Case("6 of 10 die", "canary", World(lost_by_treatment=0.6, canary=True)))
    for gain in (0.0, 0.3, 0.5):
        world = World(gain=gain, lost_by_treatment=0.3, canary=True)
        found.append(Case(f"{100 * gain:.0f} %, 3 of 10 die", "margin", world, promoted=2.0))
    for times, most_promoted in ((1.0, 10.0), (1.5, 2.0)):
        for name, world in (
            ("success .7", World(success=0.7, drop=0.1 * times)),
            ("success .9", World(success=0.9, drop=0.1 * times)),
            ("success 1", World(success=1.0, drop=0.1 * times)),
            ("success .9, AR .5", World(success=0.9, drop=0.1 * times, correlation=0.5)),
            ("cost, sd .5", World(cost_sigma=0.5, cost_rise=0.25 * times)),
            ("cost, sd 1", World(cost_sigma=1.0, cost_rise=0.25 * times)),
            ("tool calls", World(calls_rise=0.5 * times)),
        ):
            found.append(Case(f"{times:g} margins: {name}", "margin", evolve(world, gain=0.5), promoted=most_promoted))
        for name, world in (
            ("score of 5", World(score_parts=5, score_drop=0.1 * times)),
            ("score of 1", World(score_parts=1, score_drop=0.1 * times)),
            ("score of 5, 20 % unscored", World(score_parts=5, score_drop=0.1 * times, unscored=0.2)),
        ):
            world = evolve(world, gain=0.5)
            found.append(Case(f"{times:g} margins: {name}", "margin", world, scored, promoted=most_promoted))
    return found + forecasts(staged)


def betting_on(gain: float) -> Policy:
    """Return the rules of a test whose treatment is expected to bring a relative gain."""
    return Policy(forecast=-math.log1p(-gain))


def forecasts(staged: dict[str, World]) -> list[Case]:
    """Return the cases of tests with a forecast: where it is right, where it is wrong, and where there is no gain."""
    found = []
    world = World(success=0.8, kept=True)
    for gain, told, median in (
        (0.3, None, None),
        (0.3, 0.3, 50),
        (0.3, 0.2, 57),
        (0.3, 0.4, 57),
        (0.3, 0.05, None),
        (0.3, 0.7, None),
        (0.5, None, None),
        (0.5, 0.5, 17),
        (0.5, 0.4, 17),
        (0.5, 0.6, 17),
        (0.5, 0.1, None),
        (0.2, None, None),
        (0.2, 0.2, None),
        (0.2, 0.5, None),
    ):
        name = f"{100 * gain:.0f} %, forecast {'none' if told is None else f'{100 * told:.0f} %'}"
        policy = Policy() if told is None else betting_on(told)
        found.append(Case(name, "power", evolve(world, gain=gain), policy, None, median))
    for told in (0.1, 0.2, 0.3, 0.5, 0.8):
        world = staged["independent, sd .7"]
        found.append(Case(f"A/A, forecast {100 * told:.0f} %", "null", world, betting_on(told), FALSE))
    found += [
        Case(f"A/A {name}, forecast 40 %", "null", world, betting_on(0.4), FALSE)
        for name, world in staged.items()
        if name != "independent, sd .7"
    ]
    return found


def play_many(case: Case, real: list[Floats], job: tuple[int, int]) -> list[Verdict]:
    """Return the verdicts of so many tests from a seed."""
    seed, repetitions = job
    rng = np.random.default_rng(seed)
    return [play(case.world, case.policy, rng, real) for _ in range(repetitions)]


def measure(case: Case, verdicts: list[Verdict]) -> dict[str, Any]:
    """Return the row of a case."""
    total = len(verdicts)
    found = [v.may_go_live if case.world.kept else v.status == "passed" for v in verdicts]
    failed = sum(v.status == "failed" for v in verdicts)
    hits = failed if case.kind == "canary" else sum(found) + (failed if case.kind == "null" else 0)
    share = hits / total
    error = math.sqrt(max(share * (1 - share), 1 / total) / total)
    if case.kind == "canary":
        found = [v.status == "failed" for v in verdicts]
        runs = [v.runs["treatment"] + v.missing["treatment"] for v in verdicts]
    else:
        runs = [max(v.runs.values()) for v in verdicts]
    ends = sorted(float(n) if hit else math.inf for n, hit in zip(runs, found, strict=True))
    median, runs_80 = (ends[math.ceil(q * total) - 1] for q in (0.5, 0.8))
    truth = -case.world.gain
    told = [v.effect for v, hit in zip(verdicts, found, strict=True) if hit and math.isfinite(v.effect)]
    all_told = [v.effect for v in verdicts if math.isfinite(v.effect)]
    holds = sum(not (truth < v.interval[0] or truth > v.interval[1]) for v in verdicts)
    early = sum("first" in v.reason for v in verdicts) / total
    met = (
        (case.promoted is None or 100 * share <= case.promoted)
        and (case.median is None or median <= case.median)
        and (case.runs_80 is None or runs_80 <= case.runs_80)
    )
    on_duration = case.policy.metric == "duration" and case.kind in ("null", "power")
    return {
        "case": case.name,
        "reps": total,
        "rate %": f"{100 * share:.2f} ±{100 * error:.2f}",
        "failed %": f"{100 * failed / total:.2f}",
        "by canary %": f"{100 * early:.2f}" if case.world.canary else "",
        "median": "-" if math.isinf(median) else f"{median:.0f}",
        "mean": f"{float(np.mean(runs)):.1f} ±{float(np.std(runs)) / math.sqrt(total):.1f}",
        "80 % by": "-" if math.isinf(runs_80) else f"{runs_80:.0f}",
        "told": f"{100 * float(np.mean(told)):.1f}" if told and on_duration else "",
        "all told": f"{100 * float(np.mean(all_told)):.1f}" if all_told and on_duration else "",
        "holds %": f"{100 * holds / total:.1f}" if on_duration else "",
        "met": "" if case.promoted is None and case.median is None else "yes" if met else "no",
    }


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
    error = 100 * math.sqrt(0.05 * 0.95 / repetitions)
    found = {name: f"{100 * count / repetitions:.1f} ±{error:.1f}" for name, count in hits.items()}
    return {"case": f"coverage, n {n}, sd {sigma}", "reps": repetitions, **found}


def crossings(
    world: World,
    repetitions: int,
    seed: int,
    real: list[Floats],
    least: int = 10,
    most: int = 200,
    forecasts: tuple[float, ...] = (),
    shift: float = 0.0,
) -> Floats:
    """Return the pairs after which the primary metric is first proven better; infinite where never.

    Plans are equal but for a log gain of `shift`. The first row is without a bet, and there is one for each forecast, a
    relative gain.

    All repetitions at once, which is fast enough for 10,000: without guardrails and early ends, so errors are counted
    in full. Only for worlds in pairs. The statistic is that of `BlockRanks`; a test holds the two together.
    """
    rng = np.random.default_rng(seed)
    policies = [Policy(), *map(betting_on, forecasts)]
    limits = [boundary(SIGNED_RANK, policy.proof_alpha, least / most) for policy in policies]
    logs = np.array([world.noise(rng, 2 * most, real)[0] for _ in range(repetitions)])
    gaps = (logs[:, 0::2] - logs[:, 1::2]) * rng.choice([-1.0, 1.0], (repetitions, most)) + shift
    variances = bet_variances(gaps) if forecasts else gaps
    won = [bet_logs(gaps, variances, p) >= -math.log(p.alpha * BET_SHARE) for p in policies[1:]]
    first = np.full((len(policies), repetitions), np.inf)
    for pairs in range(least, most + 1):
        z = signed_rank_z(gaps[:, :pairs])
        for k, row in enumerate(first):
            proven = z >= limits[k].at(pairs / most)
            row[np.isinf(row) & (proven | won[k - 1][:, pairs - 1] if k else proven)] = pairs
    return first


def bet_variances(gaps: Floats) -> Floats:
    """Return the variance that `ForecastBet` assumes before each pair, shape as `gaps`."""
    found = np.full(gaps.shape, USUAL_SPREAD**2)
    for pairs in range(1, gaps.shape[1]):
        away = np.abs(gaps[:, :pairs] - np.median(gaps[:, :pairs], axis=1, keepdims=True))
        limit = OUTLYING / MIDDLE * np.median(away, axis=1, keepdims=True)
        squares = (np.minimum(away, np.where(limit > 0, limit, np.inf)) ** 2).sum(axis=1)
        found[:, pairs] = (USUAL_PAIRS * USUAL_SPREAD**2 + squares) / (USUAL_PAIRS + pairs - 1)
    return found


def bet_logs(gaps: Floats, variances: Floats, policy: Policy) -> Floats:
    """Return the logarithm of the wealth of `ForecastBet` after each pair, shape as `gaps`, without timeouts."""
    sizes = np.minimum(np.abs(gaps), LARGEST * np.sqrt(variances))
    logs = []
    for stake in STAKES:
        x = stake * (policy.forecast or 0.0) * sizes / variances
        logs.append(np.cumsum(np.sign(gaps) * x - np.logaddexp(x, -x) + math.log(2), axis=1))
    return np.asarray(np.logaddexp.reduce(logs) - math.log(len(STAKES)))


def show_crossings(arguments: argparse.Namespace, real: list[Floats]) -> None:
    """Print how often the primary metric of equal plans crosses its boundary, in worlds of pairs without timeouts."""
    rows = []
    for number, case in enumerate(cases(bool(real))):
        unlike = case.world.timeouts or case.world.tasks or case.world.lost or case.world.success < 1
        if case.kind != "null" or unlike or case.policy != Policy() or arguments.only not in case.name:
            continue
        n = arguments.repetitions or 10_000
        row = {"case": case.name, "reps": n}
        found = crossings(case.world, n, 7000 + number, real, forecasts=FORECASTS)
        for told, first in zip((None, *FORECASTS), found, strict=True):
            share = float(np.isfinite(first).mean())
            error = 100 * math.sqrt(max(share * (1 - share), 1 / n) / n)
            row["no bet" if told is None else f"bet on {100 * told:.0f} %"] = f"{100 * share:.2f} ±{error:.2f}"
        rows.append(row)
        print(rows[-1], file=sys.stderr, flush=True)
    show(
        "False passes in percent: signed rank of pairs, 4.35 by design, and with a bet on a forecast",
        rows,
        arguments.json,
    )


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
    options.add_argument("--kind", default="", choices=("", "null", "power", "margin", "canary", "coverage"))
    options.add_argument("--data", type=Path, help="agent_runs.csv")
    options.add_argument("--crossings", action="store_true", help="only the primary metric's false passes, fast")
    options.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    arguments = options.parse_args()
    real = read_in_order(find_real(arguments.data))
    if arguments.crossings:
        show_crossings(arguments, real)
        return
    nulls, others = (200, 100) if arguments.short else (10_000, 2_000)
    rows = []
    with ProcessPoolExecutor(arguments.processes) as pool:
        for number, case in enumerate(cases(bool(real))):
            if arguments.only not in case.name or arguments.kind not in ("", case.kind):
                continue
            repetitions = arguments.repetitions or (nulls if case.kind == "null" else others)
            sizes = [len(part) for part in np.array_split(np.empty(repetitions), 4 * arguments.processes)]
            jobs = [(5000 + 100 * number + k, size) for k, size in enumerate(sizes)]
            verdicts = [v for part in pool.map(partial(play_many, case, real), jobs) for v in part]
            rows.append(measure(case, verdicts))
            print(rows[-1], file=sys.stderr, flush=True)
    note = (
        "rate: verdicts of equal plans, ends of a bad one (canary), else passes, with its standard error. told: mean "
        "change of those that passed. Where the work is kept the plan goes live without the proof of its success."
    )
    if arguments.kind in ("", "power"):
        planned = ", ".join(f"{100 * gain:.0f} %: {runs_for(gain, 0.7)}" for gain in (0.2, 0.3, 0.5))
        note += f" Planned by runs_for for 80 %: {planned} runs an arm."
    if rows:
        show("Tests, log sd .7 where nothing else is said", rows, arguments.json, note)
    if arguments.kind in ("", "coverage") and arguments.only in "coverage":
        show("Intervals of fixed samples, wanted 94 to 96 %", [cover(nulls, sd) for sd in (0.5, 0.7, 1.0)], None)


if __name__ == "__main__":
    main()
