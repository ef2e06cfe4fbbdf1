"""The tuner against its peers on simulated teams whose truth is known (`victor_autotune_testing.simulation`).

    python benchmarks/tuner_simulation.py [--worlds N] [--quick] [--json FILE] [--data agent_runs.csv]

Every method tunes the same teams for 200 runs. The tuner's teams are run by the product's own loop, with its store in
memory: promotions are decided by the A/B engine and watched with its default rules. The seeds of the teams begin at
4,000,000; the tuner was developed on seeds below 1,000. Optuna is left out where it is not installed, and its GP
sampler where torch is not.

Columns: regret (0: the best plan there is, 1: today's, 2: a plan that loses more than 5 points of success), share of
teams that end worse than they began, and share of runs spent on plans that are worse than today's; after 30, 60, 100
and 200 runs, with standard errors over teams. `knows the truth` proposes the best plan within reach that was not
tested yet, from the first run on, and shows what the A/B engine alone costs.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from _report import parser, percentile, show
from _tuner_peers import Peer, Trace, one_rule, optuna_search, random_search, top_two
from attrs import evolve

from victor_autotune_plugin._model.plan import EMPTY_PLAN, MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin._tuner import (
    Objective,
    PlanSpace,
    Proposal,
    Rival,
    TeamPrior,
    TestOutlook,
    Tuner,
    distance,
    fleet_prior,
    plan_space,
    shipped_prior,
)
from victor_autotune_testing.simulation import Truth, World
from victor_autotune_testing.simulation.played import Played, every_knob, play

FIRST_SEED = 4_000_000
FLEET_SEED = 2_000_000
LOOKS = (30, 60, 100, 200)
FLEET_TEAMS, FLEET_TESTS, FLEET_RUNS = 30, 8, 12
"""The user's other teams: each compared 8 plans with its own before, 12 runs an arm."""


def fleet() -> TeamPrior:
    """Return the prior that the user's other teams give: each tried some plans near its own before."""
    beliefs = []
    for seed in range(FLEET_SEED, FLEET_SEED + FLEET_TEAMS):
        world = World.make(seed)
        space = plan_space(world.spec)
        rng = np.random.default_rng(seed)
        near = [plan for plan in space.plans[1:] if distance(world.spec, EMPTY_PLAN, plan) <= 4]
        tuner = Tuner(space)
        for _ in range(10):
            tuner.observe(world.run(EMPTY_PLAN, rng))
        for _ in range(FLEET_TESTS):
            plan = near[int(rng.integers(len(near)))]
            for arm in [EMPTY_PLAN, plan] * FLEET_RUNS:
                tuner.observe(world.run(arm, rng))
        beliefs.append(tuner.shared())
    return fleet_prior(beliefs)


def misleading(prior: TeamPrior) -> TeamPrior:
    """Return a prior that is sure of the contrary: side by side is good for success, so is leaving members out."""

    def turned(part: dict[str, tuple[float, float]], names: Sequence[str]) -> dict[str, tuple[float, float]]:
        return {
            k: (-mean + math.copysign(sd, -mean), sd) if k in names else (mean, sd) for k, (mean, sd) in part.items()
        }

    shipped = shipped_prior()
    wrong = ("side by side", "alike", "chosen", "checking", "left out", "budget")
    slow = [name for name in prior.duration if name.split()[0] in ("reflection", "consensus", "hierarchical")]
    return evolve(shipped, duration=turned(dict(shipped.duration), slow), outcome=turned(dict(shipped.outcome), wrong))


class Oracle(Tuner):
    """Proposes the best plan that was not tested yet, from the first run on; it stops no test and vetoes nothing.

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

    def outlook(self, challenger: TeamPlan) -> TestOutlook:
        """Never stop, never veto."""
        return evolve(super().outlook(challenger), stop=False, veto=False)


def knows_the_truth(world: World, truth: Truth, runs: int) -> Trace:
    """Let the loop test and promote the best plan within reach."""

    def seconds(plan: TeamPlan) -> float:
        return truth.worths[plan].log_seconds

    near = [p for p in truth.worths if distance(world.spec, EMPTY_PLAN, p) <= 3 and not truth.loses_success(p)]
    best = [plan for plan in sorted(near, key=seconds) if seconds(plan) <= seconds(EMPTY_PLAN)]
    space = PlanSpace(world.spec, list(truth.worths), lambda _: ())
    return trace_of(play(world, runs, world.seed, make_tuner=lambda *team: Oracle(space, best, team[2]), strategies=[]))


def trace_of(played: Played) -> Trace:
    """Return the plans of what was played."""
    return Trace(played.ran, played.live)


def tuned(risk: str, prior: TeamPrior) -> Peer:
    """Return the tuner, which may use every knob by itself, as a method to compare."""

    def method(world: World, plans: Sequence[TeamPlan], runs: int, seed: int) -> Trace:
        made = every_knob(prior, plans)
        return trace_of(play(world, runs, seed, make_tuner=made, strategies=[], **{"tuner.risk": risk}))

    return method


def as_shipped(world: World, plans: Sequence[TeamPlan], runs: int, seed: int) -> Trace:
    """Run the product with its default settings in mode `auto`: strategies suggest, the tuner weighs."""
    del plans
    return trace_of(play(world, runs, seed))


def without_score(method: Peer) -> Peer:
    """Return a method on the same teams without a verifier: the score is whether the run succeeded."""

    def played(world: World, plans: Sequence[TeamPlan], runs: int, seed: int) -> Trace:
        return method(evolve(world, checks=1), plans, runs, seed)

    return played


def methods(prior: TeamPrior) -> dict[str, Peer]:
    """Return every method that can run here."""
    found: dict[str, Peer] = {
        "tuner, risk low": tuned("low", prior),
        "tuner, low, no verifier": without_score(tuned("low", prior)),
        "tuner, low, shipped prior": tuned("low", shipped_prior()),
        "tuner, low, misleading prior": tuned("low", misleading(prior)),
        "as shipped, with strategies": as_shipped,
        "tuner, risk medium": tuned("medium", prior),
        "tuner, risk high": tuned("high", prior),
        "one rule at a time, Welch": one_rule,
        "top-two Thompson sampling": top_two,
        "random search": random_search,
    }
    if find_spec("optuna"):
        found["Optuna TPE"] = optuna_search("tpe")
        if find_spec("torch"):
            found["Optuna GP"] = optuna_search("gp")
    return found


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


def compare(worlds: int, runs: int = LOOKS[-1]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Let every method tune every team; return the table's rows and what the worlds are like."""
    prior = fleet()
    names = methods(prior)
    results: dict[str, list[list[float]]] = {name: [] for name in [*names, "knows the truth"]}
    shares, room = [], []
    for number in range(worlds):
        world = World.make(FIRST_SEED + number)
        plans = plan_space(world.spec).plans
        truth = world.truth(plans)
        shares.append(truth.worse_share)
        room.append(truth.room)
        for name, method in names.items():
            trace = method(world, plans, runs, world.seed)
            results[name].append(figures(covering(world, truth, trace), trace))
        results["knows the truth"].append(figures(truth, knows_the_truth(world, truth, runs)))
        if number % 20 == 19:
            print(f"{number + 1} of {worlds} teams", file=sys.stderr)
    rows = []
    for name, values in results.items():
        array = np.array(values)
        mean, error = array.mean(axis=0), array.std(axis=0, ddof=1) / math.sqrt(len(array))
        row: dict[str, Any] = {"method": name}
        for place, look in enumerate(LOOKS):
            regret, worse, spent = (3 * place + i for i in range(3))
            row[f"regret {look}"] = f"{mean[regret]:.3f} ±{error[regret]:.3f}"
            row[f"worse {look}"] = f"{mean[worse]:.1%} ±{error[worse]:.1%}"
            row[f"spent {look}"] = f"{mean[spent]:.1%} ±{error[spent]:.1%}"
        rows.append(row)
    return rows, {
        "teams": worlds,
        "plans worse than today's": f"{np.mean(shares):.1%}",
        "room, median": f"{-math.expm1(-float(np.median(room))):.0%} of the duration",
        "teams without room": sum(r <= 0.05 for r in room),
    }


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


def real_coverage(path: Path | None) -> dict[str, float]:
    """Return how many 90 % intervals hold the next real run's duration, learning run by run within each set."""
    if path is None or not path.exists():
        return {}
    sets: dict[str, list[dict[str, str]]] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            sets.setdefault(row["set"], []).append(row)
    hits = []
    for rows in sets.values():
        spec = TeamSpec("real", "agent", "sequential", [MemberSpec("agent")])
        tuner = Tuner(plan_space(spec))
        for number, row in enumerate(sorted(rows, key=lambda r: r["start_time"])):
            seconds = float(row["duration_seconds"])
            if number >= 10:
                _, low, high = tuner.predict_seconds(EMPTY_PLAN)
                hits.append(low <= seconds <= high)
            reward = min(max(float(row["reward"]), 0.0), 1.0)
            # Its own time and calls are not told apart from the run's: not finished, it only adds its calls.
            member = MemberOutcome("agent", tool_calls=int(float(row["tool_calls"])))
            tuner.observe(TeamRun("", spec, 0.0, seconds, reward >= 0.5, reward, members=[member]))
    return {"next run, real": float(np.mean(hits))}


def speed(runs: int, decisions: int) -> dict[str, Any]:
    """Return the milliseconds of decisions after that many runs, each with a new run before."""
    seed = next(s for s in range(FIRST_SEED, FIRST_SEED + 100) if len(World.make(s).spec.members) >= 7)
    world, rng = World.make(seed), np.random.default_rng(1)
    space = plan_space(world.spec)
    tuner = Tuner(space)
    made = [world.run(space.plans[i % 3], rng) for i in range(min(runs, 500))]
    for number in range(runs):
        tuner.observe(made[number % len(made)])
    times = []
    for number in range(decisions):
        began = time.perf_counter()
        tuner.observe(made[number % len(made)])
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


def main() -> None:
    """Print everything."""
    made: argparse.ArgumentParser = parser(__doc__.split("\n", 1)[0] if __doc__ else "")
    made.add_argument("--worlds", type=int, default=200, help="simulated teams")
    made.add_argument("--quick", action="store_true", help="20 teams, to see that it runs: regret is then ±.1")
    made.add_argument("--data", type=Path, default=os.environ.get("AGENT_RUNS_CSV"), help="real runs (agent_runs.csv)")
    options = made.parse_args()
    root = Path(__file__).resolve().parents[1]
    data = options.data or root.parent / "shared" / "data" / "agent_runs.csv"
    worlds, repetitions = (20, 200) if options.quick else (options.worlds, 1000)
    rows, about = compare(worlds)
    note = ", ".join(f"{name}: {value}" for name, value in about.items())
    for measure in ("regret", "worse", "spent"):
        show(
            {"regret": "Regret", "worse": "Ends worse than it began", "spent": "Runs spent on worse plans"}[measure],
            [{"method": row["method"], **{k: v for k, v in row.items() if k.startswith(measure)}} for row in rows],
            None,
            note,
        )
    speeds = [speed(200, repetitions), speed(10_000, repetitions)]
    show(
        "Decisions",
        speeds,
        None,
        f"{per_second(repetitions):.0f} a second on a small team; import {import_seconds():.3f} s",
    )
    covered = {**coverage(max(worlds // 4, 10)), **real_coverage(data)}
    kept = safety(max(worlds // 4, 10))
    show(
        "Intervals and safety",
        [{"what": k, "figure": f"{v:.1%}"} for k, v in covered.items()]
        + [{"what": k, "figure": v} for k, v in kept.items()],
        None,
    )
    if options.json is not None:
        figures_of_all = {"about": about, "methods": rows, "speed": speeds, "coverage": covered, "safety": kept}
        options.json.write_text(json.dumps(figures_of_all, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
