"""Peers of the tuner, each on the same simulated teams: what a user could do instead.

Each takes a world, its plans (the one as configured first), a number of runs and a seed, and returns the plan of each
run and the plan that it would recommend after each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from attrs import define, field

from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuner.space import SUB_TEAMS, shape_of
from victor_autotune_plugin.experiment import Observation
from victor_autotune_plugin.experiment.fixed_sample import welch
from victor_autotune_testing.simulation import World

FAILURE = math.log(10)
"""What a failed run adds to the log duration, for methods that look at one number."""


@define
class Trace:
    """The plan of each run, and the recommended plan after each."""

    ran: list[TeamPlan] = field(factory=list)
    live: list[TeamPlan] = field(factory=list)


Peer = Callable[[World, Sequence[TeamPlan], int, int], Trace]


def loss(run: TeamRun) -> float:
    """Return one number for a run: its log duration, more when it failed."""
    return math.log(run.duration_seconds) + (0.0 if run.success else FAILURE)


def random_search(world: World, plans: Sequence[TeamPlan], runs: int, seed: int) -> Trace:
    """Run a random plan every time; recommend that of the best run."""
    rng = np.random.default_rng([seed, world.seed, 1])
    trace, best, least = Trace(), plans[0], math.inf
    for number in range(runs):
        plan = plans[0] if number == 0 else plans[int(rng.integers(len(plans)))]
        value = loss(world.run(plan, rng))
        if value < least:
            best, least = plan, value
        trace.ran.append(plan)
        trace.live.append(best)
    return trace


def top_two(world: World, plans: Sequence[TeamPlan], runs: int, seed: int, arms: int = 25) -> Trace:
    """Top-two Thompson sampling (Russo 2016) over today's plan and random others; recommend the best mean."""
    rng = np.random.default_rng([seed, world.seed, 2])
    others = rng.permutation(np.arange(1, len(plans)))[: arms - 1]
    chosen = [plans[0], *(plans[int(i)] for i in others)]
    count, total = np.zeros(len(chosen)), np.zeros(len(chosen))
    noise, prior = 1.1, 0.5  # of the loss: log durations and failures; what plans differ by
    trace, base = Trace(), 0.0
    for number in range(runs):
        precision = count / noise**2 + 1 / prior**2
        mean, sd = (total / noise**2) / precision, 1 / np.sqrt(precision)
        arm = 0
        if number >= 5:
            arm = int(np.argmin(mean + sd * rng.standard_normal(len(chosen))))
            if rng.random() < 0.5:
                leader = arm
                for _ in range(50):
                    arm = int(np.argmin(mean + sd * rng.standard_normal(len(chosen))))
                    if arm != leader:
                        break
        value = loss(world.run(chosen[arm], rng))
        if number < 5:
            base += value / 5
            if number == 4:
                count[0], total[0] = 5.0, 0.0
        else:
            count[arm] += 1
            total[arm] += value - base
        precision = count / noise**2 + 1 / prior**2
        trace.ran.append(chosen[arm])
        trace.live.append(chosen[int(np.argmin((total / noise**2) / precision))] if number >= 5 else plans[0])
    return trace


def one_rule(world: World, plans: Sequence[TeamPlan], runs: int, seed: int, arm_runs: int = 10) -> Trace:
    """Test one rule after the other, 10 runs an arm, Welch at 5 %, no visible drop of success; then begin again."""
    rng = np.random.default_rng([seed, world.seed, 3])
    trace, live, known = Trace(), plans[0], set(plans)
    tried: set[TeamPlan] = set()

    def run(plan: TeamPlan) -> Observation:
        made = world.run(plan, rng)
        trace.ran.append(plan)
        trace.live.append(live)
        return Observation.of(made, index=len(trace.ran) - 1, arm="control" if plan == live else "treatment")

    while len(trace.ran) < runs:
        rule = next((p for p in _rules(world, live, rng) if p in known and p not in tried and p != live), None)
        if rule is None:
            run(live)
            continue
        tried.add(rule)
        control, treatment = [], []
        for _ in range(arm_runs):
            if len(trace.ran) + 2 > runs:
                break
            control.append(run(live))
            treatment.append(run(rule))
        if len(treatment) < arm_runs:
            while len(trace.ran) < runs:
                run(live)
            break
        result = welch(
            [math.log(o.duration_seconds) for o in control], [math.log(o.duration_seconds) for o in treatment]
        )
        faster = np.mean([o.duration_seconds for o in treatment]) < np.mean([o.duration_seconds for o in control])
        kept = sum(o.success for o in treatment) >= sum(o.success for o in control)
        if result.p_value < 0.05 and faster and kept:
            live = rule
            trace.live[-1] = live
    return trace


def _rules(world: World, live: TeamPlan, rng: np.random.Generator) -> list[TeamPlan]:
    """The usual rules, one knob each: another formation, one member less, a smaller budget, a shorter timeout."""
    spec = world.spec
    shape = shape_of(spec, live)
    data = live.to_dict()
    found = []
    for formation in ("parallel", "sequential", "hierarchical"):
        if formation != shape.formation:
            changed = {k: v for k, v in data.items() if k not in ("sub_teams", "formation")}
            found.append(
                TeamPlan.from_dict({**changed, **({} if formation == spec.formation else {"formation": formation})})
            )
    if len(shape.members) > 1 and shape.formation != SUB_TEAMS:
        found.append(TeamPlan.from_dict({**data, "members": list(shape.members[:-1])}))
    if live.tool_budget is None and spec.tool_budget is not None:
        found.append(TeamPlan.from_dict({**data, "tool_budget": max(int(spec.tool_budget * 0.65), 1)}))
    if live.timeout_seconds is None and spec.timeout_seconds is not None:
        found.append(TeamPlan.from_dict({**data, "timeout_seconds": float(f"{spec.timeout_seconds * 0.75:.3g}")}))
    return [found[int(i)] for i in rng.permutation(len(found))]


def optuna_search(sampler: str) -> Peer:
    """Return an Optuna search over the knobs; it recommends the plan of the best trial.

    Args:
        sampler: `tpe` or `gp`; the latter needs torch.
    """

    def search(world: World, plans: Sequence[TeamPlan], runs: int, seed: int) -> Trace:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        made: Any = optuna.samplers.TPESampler(seed=seed % 2**31) if sampler == "tpe" else _gp(seed)
        study = optuna.create_study(sampler=made)
        rng = np.random.default_rng([seed, world.seed, 4])
        index = {shape_of(world.spec, plan): plan for plan in plans}
        layouts = sorted({(s.formation, len(s.groups)) for s in index})
        budgets = sorted({s.tool_budget or 0 for s in index})
        timeouts = sorted({s.timeout_seconds or 0.0 for s in index})
        trace, best, least = Trace(), plans[0], math.inf
        for number in range(runs):
            trial = study.ask()
            layout = trial.suggest_categorical("formation", [f"{f}/{g}" for f, g in layouts])
            members = [m for m in world.spec.member_ids if trial.suggest_categorical(m, [True, False])]
            budget = trial.suggest_categorical("budget", budgets)
            timeout = trial.suggest_categorical("timeout", timeouts)
            plan = plans[0] if number == 0 else _nearest(index, layout, members, budget, timeout)
            value = loss(world.run(plan, rng))
            study.tell(trial, value)
            if value < least:
                best, least = plan, value
            trace.ran.append(plan)
            trace.live.append(best)
        return trace

    return search


def _gp(seed: int) -> Any:
    import optuna
    import torch  # noqa: F401 - without it the sampler fails at its first trial

    return optuna.samplers.GPSampler(seed=seed % 2**31)


def _nearest(index: dict[Any, TeamPlan], layout: str, members: list[str], budget: float, timeout: float) -> TeamPlan:
    """Return the plan that can run and is nearest to what was suggested."""

    def far(shape: Any) -> tuple[int, int]:
        same = f"{shape.formation}/{len(shape.groups)}" == layout
        limits = (shape.tool_budget or 0) != budget, (shape.timeout_seconds or 0.0) != timeout
        return 10 * (not same) + len(set(shape.members) ^ set(members)), sum(limits)

    return index[min(index, key=far)]
