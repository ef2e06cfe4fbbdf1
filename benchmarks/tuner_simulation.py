"""How fast the product learns on simulated teams whose truth is known (`victor_autotune_testing.simulation`).

    python benchmarks/tuner_simulation.py [--worlds N] [--first-seed S] [--only ROW] [--peers] [--decisions]
    python benchmarks/tuner_simulation.py --ablate TEAMS [--worlds N] [--first-seed S] [--only PART]

Each row is a kind of world, tuned by the product's own loop with its store in memory: default settings in mode `auto`,
strategies, shipped prior, no fleet. The seeds begin at 9,000,000; nothing was developed on them.

Columns after 30, 60, 100 and 200 runs, with standard errors over teams: regret (0: the best plan there is, 1: today's,
2: a plan that loses more than 5 points of success), share of teams that end worse than they began, and share of runs
spent on plans that are worse than today's; and after 60 and 200 the share of the teams with at least 20 % to gain whose
live plan is another than the configured one. `knows the truth` proposes the best plan within reach that was not tested
yet, from the first run on, and shows what the A/B engine alone costs. With `--peers` other methods tune the teams of
the first row; Optuna is left out where it is not installed, and its GP sampler where torch is not. With `--ablate` the
product tunes teams with timings and five checks with one part left out at a time, each compared with the whole on the
same teams.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _ablations import PARTS, without
from _report import parser, percentile, show
from _tuner_peers import Peer, Trace, one_rule, optuna_search, random_search, top_two
from attrs import evolve

from victor_autotune_plugin._model.data_flow import TeamFlow
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._settings import Settings
from victor_autotune_plugin._tuner import (
    Objective,
    PlanSpace,
    Proposal,
    Rival,
    TeamPrior,
    TestOutlook,
    Tuner,
    distance,
    plan_space,
    shipped_prior,
)
from victor_autotune_plugin._tuning import tuner_cache
from victor_autotune_testing.simulation import Truth, World
from victor_autotune_testing.simulation.played import Played, play
from victor_autotune_testing.stepped import scored_rules

FIRST_SEED = 9_000_000
LOOKS = (30, 60, 100, 200)
TO_GAIN = 0.20
PROCESSES = 2


def misleading() -> TeamPrior:
    """Return a prior that is sure of the contrary: side by side is good for success, so is leaving members out."""

    def turned(part: dict[str, tuple[float, float]], names: Sequence[str]) -> dict[str, tuple[float, float]]:
        return {
            k: (-mean + math.copysign(sd, -mean), sd) if k in names else (mean, sd) for k, (mean, sd) in part.items()
        }

    shipped = shipped_prior()
    wrong = ("side by side", "alike", "chosen", "checking", "left out", "budget")
    slow = [name for name in shipped.duration if name.split()[0] in ("reflection", "consensus", "hierarchical")]
    return evolve(shipped, duration=turned(dict(shipped.duration), slow), outcome=turned(dict(shipped.outcome), wrong))


class Oracle(Tuner):
    """Proposes the best plan that was not tested yet, from the first run on; it stops no test.

    Args:
        best: Plans within reach, best first, with today's as the last.
    """

    def __init__(self, space: PlanSpace, best: Sequence[TeamPlan], live: TeamPlan) -> None:
        super().__init__(space, live=live)
        self._best = best

    def propose(self, seed: int = 0, rivals: Iterable[Rival] = (), without: Iterable[TeamPlan] = ()) -> Proposal:
        """Return the best plan, unless it is live."""
        del seed, rivals
        tested = set(without)
        best = next((plan for plan in self._best if plan == self.live or plan not in tested), self.live)
        if best == self.live:
            return Proposal(None, "the live plan is the best")
        return Proposal(super().outlook(best).outlook, None)

    def outlook(self, challenger: TeamPlan, metric: str | None = None) -> TestOutlook:
        """Never stop."""
        return evolve(super().outlook(challenger, metric), stop=False)


def knows_the_truth(world: World, truth: Truth, runs: int) -> Trace:
    """Let the loop test and promote the best plan within reach."""

    def seconds(plan: TeamPlan) -> float:
        return truth.worths[plan].log_seconds

    near = [p for p in truth.worths if distance(world.spec, EMPTY_PLAN, p) <= 3 and not truth.loses_success(p)]
    best = [plan for plan in sorted(near, key=seconds) if seconds(plan) <= seconds(EMPTY_PLAN)]
    space = PlanSpace(world.spec, list(truth.worths), lambda _: ())
    return trace_of(
        play(world, runs, world.seed, make_tuner=lambda team: Oracle(space, best, team.state.plan), strategies=[])
    )


def trace_of(played: Played) -> Trace:
    """Return the plans of what was played."""
    return Trace(played.ran, played.live)


Method = Callable[[World, Truth, int], Trace]
"""Tunes a team for so many runs."""


def contrary(team: tuner_cache.TeamRecord) -> Tuner:
    """Return the product's tuner of a team, with a prior that is sure of the contrary."""
    made = tuner_cache.new_tuner(team)
    return Tuner(
        made.space, made.objective, misleading(), risk=made.risk, live=made.live, is_scored=bool(team.state.gates)
    )


def shipped(world: World, truth: Truth, runs: int, **options: Any) -> Trace:
    """Run the product with its default settings in mode `auto`: strategies suggest, the tuner weighs."""
    del truth
    return trace_of(play(world, runs, world.seed, **options))


def ablated(part: str, method: Method, world: World, truth: Truth, runs: int) -> Trace:
    """Run the product with a part left out."""
    with without(part):
        return method(world, truth, runs)


def peer(method: Peer, world: World, truth: Truth, runs: int) -> Trace:
    """Let another method tune a team."""
    return method(world, list(truth.worths), runs, world.seed)


Row = tuple[Callable[[int], World], Method]

INDEPENDENT = partial(World.make, flow="independent", checks=5)
UNKNOWN = partial(World.make, flow="unknown", checks=5)

ROWS: dict[str, Row] = {
    "timings, independent, 5 checks": (INDEPENDENT, shipped),
    "timings, independent, success only": (INDEPENDENT, partial(shipped, scored=False)),
    "timings, unknown, 5 checks": (UNKNOWN, shipped),
    "no timings, independent, success only": (INDEPENDENT, partial(shipped, scored=False, timings=False)),
    "timings, unknown, success only": (UNKNOWN, partial(shipped, scored=False)),
    "sure of the contrary, independent, 5 checks": (INDEPENDENT, partial(shipped, make_tuner=contrary)),
    "sure of the contrary, unknown, 5 checks": (UNKNOWN, partial(shipped, make_tuner=contrary)),
    "knows the truth": (INDEPENDENT, knows_the_truth),
}


ABLATED: dict[str, Row] = {
    "independent": ROWS["timings, independent, 5 checks"],
    "unknown": ROWS["timings, unknown, 5 checks"],
    "contrary": ROWS["sure of the contrary, independent, 5 checks"],
}
"""Teams that ablations are made on."""


def ablations(row: str) -> dict[str, Row]:
    """Return the rows of an ablation, by name: what is left out, first nothing."""
    make, method = ABLATED[row]
    rows: dict[str, Row] = {"nothing": (make, method)}
    rows |= {part: (make, partial(ablated, part, method)) for part in PARTS}
    rows["tuner"] = make, partial(shipped, **{"tuner.risk": "off"})
    return {f"{row}, without {part}": one for part, one in rows.items()}


def peers() -> dict[str, Row]:
    """Return every other method that can run here."""
    found: dict[str, Peer] = {"one rule, Welch": one_rule, "top-two Thompson": top_two, "random search": random_search}
    if find_spec("optuna"):
        found["Optuna TPE"] = optuna_search("tpe")
        if find_spec("torch"):
            found["Optuna GP"] = optuna_search("gp")
    return {name: (INDEPENDENT, partial(peer, method)) for name, method in found.items()}


def all_rows() -> dict[str, Row]:
    """Return every row that can be played, by its name."""
    return {**ROWS, **peers(), **{name: row for each in ABLATED for name, row in ablations(each).items()}}


def covering(world: World, truth: Truth, trace: Trace) -> Truth:
    """Return the truth with that of plans which only a strategy thought of."""
    more = [plan for plan in dict.fromkeys([*trace.ran, *trace.live]) if plan not in truth.worths]
    return evolve(truth, worths={**truth.worths, **world.truth([truth.today, *more]).worths}) if more else truth


def figures(truth: Truth, trace: Trace) -> list[float]:
    """Return regret, whether it ended worse, and the share of runs on worse plans, at each look."""
    found: list[float] = []
    for look in LOOKS:
        live = trace.live[look - 1]
        spent = np.mean([truth.is_worse(plan) for plan in trace.ran[:look]])
        found += [truth.regret(live), float(truth.is_worse(live)), float(spent)]
    return found


def one(job: tuple[str, int]) -> tuple[str, list[float], float]:
    """Return a row's name, its figures on the team of a seed, and seconds.

    The last figures say whether another plan is live: of a team with enough to gain, then of one where a layout alone
    gains as much; NaN of others.
    """
    name, seed = job
    began = time.perf_counter()
    make, method = all_rows()[name]
    world = make(seed)
    truth = world.truth()
    trace = method(world, truth, LOOKS[-1])
    live = [float(trace.live[look - 1] != EMPTY_PLAN) for look in (60, 200)]
    values = figures(covering(world, truth, trace), trace)
    for room in (truth.room, truth.layout_room):
        values += [x if -math.expm1(-room) >= TO_GAIN else math.nan for x in live]
    return name, values, time.perf_counter() - began


def told(values: Sequence[float], form: str) -> str:
    """Return a mean with its standard error, of the figures that there are."""
    known = np.array([value for value in values if not math.isnan(value)])
    if len(known) < 2:
        return "-"
    return f"{known.mean():{form}} ±{known.std(ddof=1) / math.sqrt(len(known)):{form}}"


def play_all(names: Sequence[str], worlds: int, first: int) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return the figures of each row, shape (teams, figures), and its mean seconds for a team."""
    results: dict[str, list[list[float]]] = {name: [] for name in names}
    times: dict[str, list[float]] = {name: [] for name in names}
    jobs = [(name, seed) for seed in range(first, first + worlds) for name in names]
    with ProcessPoolExecutor(PROCESSES, mp_context=get_context("spawn")) as pool:
        for name, values, seconds in pool.map(one, jobs):
            results[name].append(values)
            times[name].append(seconds)
    means = {name: float(np.mean(times[name])) for name in names}
    return {name: np.array(values) for name, values in results.items()}, means


def compare(names: Sequence[str], worlds: int, first: int) -> list[dict[str, Any]]:
    """Return the table's rows."""
    results, seconds = play_all(names, worlds, first)
    rows = []
    for name, found in results.items():
        row: dict[str, Any] = {"world": name}
        for place, look in enumerate(LOOKS):
            row[f"regret {look}"] = told(found[:, 3 * place], ".3f")
            row[f"worse {look}"] = told(found[:, 3 * place + 1], ".1%")
            row[f"spent {look}"] = told(found[:, 3 * place + 2], ".1%")
        row["live 60"], row["live 200"] = told(found[:, -4], ".0%"), told(found[:, -3], ".0%")
        row["by layout 60"], row["by layout 200"] = told(found[:, -2], ".0%"), told(found[:, -1], ".0%")
        row["s a team"] = f"{seconds[name]:.1f}"
        rows.append(row)
    return rows


def ablate(of: str, parts: str, worlds: int, first: int) -> list[dict[str, Any]]:
    """Return what leaving out each part does after the last look, the regret against the whole on the same teams."""
    whole, *others = ablations(of)
    results, _ = play_all([whole, *(name for name in others if parts in name)], worlds, first)
    regret = 3 * (len(LOOKS) - 1)
    rows = []
    for name, found in results.items():
        more = found[:, regret] - results[whole][:, regret]
        rows.append(
            {
                "left out": name.partition(", without ")[2],
                "regret": told(found[:, regret], ".2f"),
                "more": "-" if name == whole else told(more, "+.2f").replace("±+", "±"),
                "ends worse": f"{found[:, regret + 1].mean():.0%}",
                "worse runs": f"{found[:, regret + 2].mean():.1%}",
                "live 60": f"{np.nanmean(found[:, -4]):.0%}",
                "live": f"{np.nanmean(found[:, -3]):.0%}",
            }
        )
    return rows


def coverage(worlds: int) -> dict[str, float]:
    """Return how many 90 % intervals hold the truth: of the next run's duration, and of a plan's effect."""
    hits, effects = [], []
    for seed in range(FIRST_SEED + 500_000, FIRST_SEED + 500_000 + worlds):
        world = World.make(seed)
        space = plan_space(world.spec)
        tuner, rng = Tuner(space), np.random.default_rng(seed)
        for number in range(60):
            run = world.run(EMPTY_PLAN, rng)
            if number >= 10:
                _, low, high = tuner.predict_seconds(EMPTY_PLAN)
                hits.append(low <= run.duration_seconds <= high)
            tuner.observe(run)
        near = [plan for plan in space.plans[1:] if distance(world.spec, EMPTY_PLAN, plan) <= 3]
        some = [near[int(i)] for i in rng.integers(len(near), size=20)]
        truth = world.truth([EMPTY_PLAN, *some], 400)
        for plan in set(some):
            outlook = tuner.outlook(plan).outlook
            true = -math.expm1(truth.worths[plan].log_seconds - truth.worths[EMPTY_PLAN].log_seconds)
            effects.append(outlook.interval[0] <= true <= outlook.interval[1])
    return {"next run, simulated": float(np.mean(hits)), "effect of a plan, simulated": float(np.mean(effects))}


def speed(runs: int, decisions: int) -> dict[str, Any]:
    """Return the milliseconds of decisions after that many runs, each with a new run and the data flow shown."""
    seed = next(s for s in range(FIRST_SEED, FIRST_SEED + 100) if len(World.make(s).spec.members) >= 7)
    world, rng = INDEPENDENT(seed), np.random.default_rng(1)
    space, flow, settings = plan_space(world.spec), TeamFlow(), Settings()
    tuner = Tuner(space, is_scored=True)
    made = [world.run(space.plans[i % 3], rng) for i in range(min(runs, 500))]
    for number in range(runs):
        tuner.observe(made[number % len(made)])
        flow = flow.after(made[number % len(made)])
    times = []
    for number in range(decisions):
        flow = flow.after(made[number % len(made)])
        began = time.perf_counter()
        tuner.observe(made[number % len(made)])
        tuner.rules = scored_rules(world.spec, settings, flow)
        tuner.propose(number)
        times.append(1000 * (time.perf_counter() - began))
    return {
        "runs": runs,
        "plans": len(space.plans),
        "ms median": round(percentile(times, 0.5), 2),
        "ms p99": round(percentile(times, 0.99), 2),
    }


def per_second(decisions: int) -> float:
    """Return decisions a second on a small team with a small history, driven by the simulator."""
    seed = next(s for s in range(FIRST_SEED, FIRST_SEED + 100) if len(World.make(s).spec.members) == 3)
    world, rng = World.make(seed), np.random.default_rng(1)
    tuner = Tuner(plan_space(world.spec))
    for _ in range(20):
        tuner.observe(world.run(EMPTY_PLAN, rng))
    began = time.perf_counter()
    for number in range(decisions):
        tuner.propose(number)
    return decisions / (time.perf_counter() - began)


def import_seconds() -> float:
    """Return the least of five imports of the tuner in a new process, the interpreter's start taken off."""
    code = "import time; b = time.perf_counter(); import victor_autotune_plugin._tuner; print(time.perf_counter() - b)"
    root = Path(__file__).resolve().parents[1]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "hooks")])}
    return min(
        float(subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout)
        for _ in range(5)
    )


def safety(worlds: int) -> dict[str, int]:
    """Return how often a limit was crossed and how often a decision did not replay, over many proposals."""
    crossed = other = asked = 0
    for seed in range(FIRST_SEED + 700_000, FIRST_SEED + 700_000 + worlds):
        world = World.make(seed)
        protected = world.spec.members[-1].id

        def limits(plan: TeamPlan, protected: str = protected) -> tuple[str, ...]:
            out = plan.members is not None and (protected not in plan.members or len(plan.members) < 2)
            return ("members",) if out or plan.formation == "consensus" else ()

        twins = [Tuner(plan_space(world.spec, limits), Objective(), risk="high") for _ in range(2)]
        rng = np.random.default_rng(seed)
        for number in range(20):
            run = world.run(EMPTY_PLAN, rng)
            answers = []
            for twin in twins:
                twin.observe(run)
                answers.append(twin.propose(number))
            asked += 1
            plan = answers[0].plan
            crossed += plan is not None and bool(limits(plan))
            other += json.dumps(answers[0].to_dict()) != json.dumps(answers[1].to_dict())
    return {"proposals": asked, "limits crossed": crossed, "not replayed": other}


def decisions(worlds: int) -> dict[str, Any]:
    """Print and return how fast decisions are, how honest, and how safe."""
    speeds = [speed(200, 1000), speed(10_000, 1000)]
    note = f"{per_second(1000):.0f} a second on a small team; import {import_seconds():.3f} s"
    show("Decisions", speeds, None, note)
    covered, kept = coverage(worlds), safety(worlds)
    rows = [{"what": k, "figure": f"{v:.1%}"} for k, v in covered.items()]
    show("Intervals and safety", rows + [{"what": k, "figure": str(v)} for k, v in kept.items()], None)
    return {"speed": speeds, "coverage": covered, "safety": kept}


def main() -> None:
    """Print everything."""
    made = parser(__doc__.split("\n", 1)[0] if __doc__ else "")
    made.add_argument("--worlds", type=int, default=200, help="simulated teams")
    made.add_argument("--first-seed", type=int, default=FIRST_SEED, help="seed of the first")
    made.add_argument("--only", metavar="ROW", help="rows whose name has this in it")
    made.add_argument("--peers", action="store_true", help="other methods too")
    made.add_argument("--decisions", action="store_true", help="speed, intervals and safety of decisions too")
    made.add_argument("--ablate", choices=ABLATED, help="the product with one part left out at a time, on these teams")
    options = made.parse_args()
    if options.ablate:
        rows = ablate(options.ablate, options.only or "", options.worlds, options.first_seed)
        show(f"Left out; five checks, {LOOKS[-1]} runs", rows, options.json, f"{options.worlds} teams")
        return
    names = [name for name in {**ROWS, **(peers() if options.peers else {})} if (options.only or "") in name]
    if not names:
        made.error(f"no row has {options.only!r} in its name")
    rows = compare(names, options.worlds, options.first_seed)
    for title, start in (("Regret", "regret"), ("Ends worse than it began", "worse"), ("Worse runs", "spent")):
        show(
            title,
            [{"world": row["world"], **{k: v for k, v in row.items() if k.startswith(start)}} for row in rows],
            None,
        )
    last = ("world", "live 60", "live 200", "by layout 60", "by layout 200", "s a team")
    show(
        "Live where 20 % is to gain, and where a layout alone gains it",
        [{k: row[k] for k in last} for row in rows],
        None,
        f"{options.worlds} teams",
    )
    found: dict[str, Any] = {"rows": rows}
    if options.decisions:
        found |= decisions(max(options.worlds // 4, 10))
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
