"""How a live plan is verified for as long as it lives: false alarms and rollbacks, and how soon a bad plan goes back.

    python benchmarks/verification.py [--repetitions N] [--only TEXT] [--processes N] [--json FILE]

By the shipped watch with its default policy. Runs are assigned as the tuning loop assigns them: blocks of 50 with one
run of the plan before, and pairs while the plan is verified again. 200 repetitions, or N (20 minutes on two cores).
"""

from __future__ import annotations

import math
import sys
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from attrs import evolve, field, frozen

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks._live_plans import Life, Lived, Plans, live
from benchmarks._report import parser, percentile, show

NEVER = 10**6
"""Stands for what did not come to pass."""

GAIN, SAME = Plans(ratio=0.7), Plans(ratio=1.0)


@frozen
class Question:
    """One question to the watch.

    Attributes:
        name: What is shown.
        kind: `replaced`, `opened`, `quiet` (re-verifications), `back` (percent that go back), or `live` (that stay).
        life: The life of the plan.
        wanted: Most of it (of `live` by its sign: least): median and 80 % of the runs, and of those on the bad plan;
            or one number. Empty for a row that is only told.
        proven: Whether only plans count that the test proved.
    """

    name: str
    kind: str
    life: Life
    wanted: tuple[float, ...] = field(factory=tuple)
    proven: bool = False


def oracle() -> list[dict[str, Any]]:
    """Return the rows of who knows all distributions, under the same error rates (a bound, simulated elsewhere)."""
    return [
        {"question": f"oracle, {times} times slower", "measured": measured, "wanted": "", "n": ""}
        for times, measured in ((2, "43/63"), (3, "18/26"))
    ]


def slow_tail(gain: float, rise: float, share: float = 0.1, sigma: float = 0.7) -> Plans:
    """Return plans whose live one is faster in most runs, and has a P95 so much higher by a share of slow runs."""
    limit, middle, below = NormalDist().inv_cdf(0.95) * sigma + math.log1p(rise), math.log1p(-gain), NormalDist().cdf
    low, high = -3.0, 9.0
    for _ in range(60):
        factor = (low + high) / 2
        usual, slow = (1 - below((limit - middle - more) / sigma) for more in (0.0, factor))
        low, high = (factor, high) if (1 - share) * usual + share * slow < 0.05 else (low, factor)
    return Plans(ratio=1 - gain, slow_share=share, slow_factor=math.exp(low))


def questions() -> list[Question]:
    """Return all questions."""
    found = []
    for sigma, times, wanted in (
        (0.7, 2, (48, 68, 30, 42)),
        (0.7, 3, (30, 38, 19, 24)),
        (0.5, 2, (35, 45)),
        (0.5, 3, (26, 30)),
        (1.0, 2, ()),
        (1.0, 3, (47, 62)),
    ):
        for age in (0, 50, 200, 1000, 3000) if sigma == 0.7 else (200,):
            life = Life(sigma=sigma, age=age, after=Plans(ratio=times), runs=200)
            found.append(Question(f"{times} times slower, sd {sigma}, age {age}", "replaced", life, wanted))
    worlds = {
        "independent": Life(),
        "AR .5": Life(correlation=0.5),
        "daily cycle of 50": Life(cycle=math.log(1.5)),
        "daily cycle of 200": Life(cycle=math.log(1.5), period=200),
    }
    for name, world in worlds.items():
        found.append(Question(f"2,000 quiet runs, {name}", "quiet", evolve(world, runs=2000), (1.5,)))
    for name, world in worlds.items():
        life = evolve(world, before=SAME, after=SAME, runs=5000)
        found.append(Question(f"A/A, 5,000 runs, {name}", "back", life, (1.0,)))
    for both in (1.5, 2.0, 3.0):
        for name, plans in (("30 % faster", GAIN), ("equal", SAME)):
            life = Life(before=plans, after=evolve(plans, both=both), age=200)
            found.append(Question(f"both {both:g} times slower, {name}", "back", life, (2.0,), plans is GAIN))
    for name, plans in (("30 % faster", GAIN), ("equal", SAME)):
        life = Life(before=evolve(plans, success=0.9), after=evolve(plans, success=0.6), age=200)
        found.append(Question(f"success of both .9 to .6, {name}", "back", life, (2.0,), plans is GAIN))
    lost_gain = Life(age=200, after=SAME)
    found.append(Question("gain of 30 % lost: opened in 200 runs", "opened", lost_gain, (50,)))
    found.append(Question("gain of 30 % lost: goes back", "back", lost_gain))
    other = Life(age=200, after=evolve(GAIN, models="openai/large"))
    found.append(Question("another model: opened at once", "opened", other, (100,)))
    harm = Life(before=Plans(success=0.95), age=200)
    for name, plans in (
        ("success .95 to .55", Plans(success=0.95, drop=0.4)),
        ("60 % of its runs lost", Plans(success=0.95, lost_live=0.6)),
        ("cost doubled", Plans(success=0.95, cost=2.0)),
    ):
        found.append(Question(name, "replaced", evolve(harm, after=plans, costs=True)))
    for gain in (0.3, 0.5):
        for rise, wanted in ((0.5, 10.0), (1.0, 2.0), (2.0, 1.0)):
            for share in (0.06, 0.1):
                name = f"P95 + {rise:.0%}, {share:.0%} slow, rest − {gain:.0%}"
                plans = slow_tail(gain, rise, share)
                found.append(Question(name, "live", _tested(plans), (wanted,), proven=True))
        plans = Plans(ratio=1 - gain, slow_share=0.05, slow_factor=100)
        found.append(Question(f"5 % of runs 100 x slower, rest − {gain:.0%}", "live", _tested(plans), (2.0,), True))
        whole = Plans(ratio=1 - gain)
        found.append(Question(f"{gain:.0%} faster as a whole", "live", _tested(whole), (-95,), True))
        equal = slow_tail(gain, 0.0, 0.2)
        found.append(Question(f"rest − {gain:.0%}, equal P95", "live", _tested(equal), (-65,), True))
    return found


def _tested(plans: Plans) -> Life:
    return Life(before=plans, after=plans, test_pairs=None, runs=400)


def measure(question: Question, lives: Sequence[Lived]) -> dict[str, Any]:
    """Return the row of a question."""
    counted = [one for one in lives if one.was_proven or not question.proven]
    n = max(len(counted), 1)
    kind, told = question.kind, "not met"
    if kind == "replaced":
        figures = [
            percentile([min(x, NEVER) for x in _after(counted, k)] or [NEVER], q) for k in (0, 1) for q in (0.5, 0.8)
        ]
        text = [str(int(x)) if x < NEVER else "never" for x in figures]
        back = 100 * sum(one.status == "rolled_back" for one in counted) / n
        told = f"{'/'.join(text[:2])}, bad {'/'.join(text[2:])}, back {back:.1f} %"
    elif kind == "quiet":
        figures = [sum(one.rounds for one in counted) / n]
        told = f"{figures[0]:.2f} re-verifications"
    else:
        hits = {
            "back": [one.status == "rolled_back" for one in counted],
            "live": [one.status != "rolled_back" for one in counted],
            "opened": [one.opened_after <= 200 for one in counted],
        }[kind]
        figures = [100 * sum(hits) / n]
        told = f"{figures[0]:.1f} ± {100 * math.sqrt(max(figures[0] / 100 * (1 - figures[0] / 100), 0) / n):.1f} %"
    least = kind == "opened" or (kind == "live" and question.wanted < (0,))
    met = all(
        (have >= abs(want)) if least else (have <= want) for have, want in zip(figures, question.wanted, strict=False)
    )
    wanted = "/".join(f"{abs(x):g}" for x in question.wanted)
    return {
        "question": question.name,
        "measured": told,
        "wanted": (f"{'≥' if least else '≤'} {wanted}" + ("" if met else " (missed)")) if wanted else "",
        "n": len(counted),
    }


def _after(lives: Sequence[Lived], which: int) -> list[float]:
    return [
        (one.replaced_after if which == 0 else one.bad_runs) if one.status == "rolled_back" else NEVER for one in lives
    ]


def play(question: Question, seed: int, repetitions: int) -> list[Lived]:
    """Play the life of a question so often."""
    rng = np.random.default_rng((zlib.crc32(question.name.encode()), seed))
    return [live(question.life, rng) for _ in range(repetitions)]


def main() -> None:
    """Measure all questions."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--repetitions", type=int, default=200)
    arguments.add_argument("--only", default="", help="questions whose name holds this text")
    arguments.add_argument("--processes", type=int, default=2)
    given = arguments.parse_args()
    chosen = [question for question in questions() if given.only in question.name]
    parts = given.processes
    with ProcessPoolExecutor(parts) as pool:
        jobs = [
            [pool.submit(play, question, k, math.ceil(given.repetitions / parts)) for k in range(parts)]
            for question in chosen
        ]
        rows = []
        for question, played in zip(chosen, jobs, strict=True):
            rows.append(measure(question, [one for job in played for one in job.result()]))
            print(rows[-1], file=sys.stderr, flush=True)
    note = (
        f"{given.repetitions} lives a row; log sd .7, the plan 30 % faster by a test of 60 pairs, where nothing else "
        "is said; P95: a test as long as its proof takes. Runs from the change: median/80 %, bad: of them on the live "
        "plan."
    )
    show("Verification of live plans", [*rows, *oracle()], given.json, note)


if __name__ == "__main__":
    main()
