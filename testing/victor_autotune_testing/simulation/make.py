"""Draws worlds."""

from __future__ import annotations

import math

import numpy as np
from attrs import evolve

from victor_autotune_plugin._model.plan import EMPTY_PLAN, FORMATIONS, SUB_TEAMS, MemberSpec, TeamSpec
from victor_autotune_plugin._tuner.space import shape_of

from .draws import MOST_CHECKS, Draws, Floats
from .world import (
    _ROLES,
    DECOMPOSABLE_GAIN,
    SEQUENTIAL_LOSS,
    SIDE_BY_SIDE,
    TOTAL_SD,
    WITHIN_SD,
    Flow,
    World,
    usual_formations,
)

SIZES = {2: 0.08, 3: 0.20, 4: 0.24, 5: 0.22, 6: 0.12, 7: 0.08, 8: 0.06}
"""Shares of team sizes: mostly three to five (Anthropic's post on multi-agent research)."""

SUCCESS = (0.60, 0.95)
"""Range of the success share of the plan as configured."""

CHECKS = (1, MOST_CHECKS)
"""Range of the checks that a verifier makes (assumption)."""

OVERHEAD_SHARE = (0.05, 0.35)
"""Range of the share of members' time that does not run side by side (assumption)."""

HARMED, HARM = 0.04, (0.10, 0.20)
"""Share of the independent teams that another layout harms all the same, and the points of success it costs."""

CALIBRATION_RUNS = 2000


def make_world(
    seed: int, flow: Flow, checks: int | None, success: float | None = None, log_sd: float | None = None
) -> World:
    """Return the world with these; see `World.make`."""
    rng = np.random.default_rng([seed, 20251125])
    size = int(rng.choice(list(SIZES), p=list(SIZES.values())))
    decomposable = float(rng.beta(0.7, 0.7))
    more = np.random.default_rng([seed, 20261129])  # so that the rest stays as it was
    weights = rng.gamma(1.2, size=size)
    weights /= weights.sum()
    busy = (weights * size) ** 0.7
    members = _members(rng, size, decomposable)
    gain = math.log1p(DECOMPOSABLE_GAIN)
    loss = math.log1p(-float(rng.uniform(*SEQUENTIAL_LOSS)))
    total_sd = float(rng.uniform(*TOTAL_SD))
    if log_sd is not None:
        total_sd = max(log_sd, WITHIN_SD)
    world = World(
        spec=TeamSpec("simulated", f"world-{seed}", "sequential", members),
        seconds=15 * busy * np.exp(rng.normal(0, 0.4, size)),
        calls=4 * busy * np.exp(rng.normal(0, 0.4, size)),
        weights=weights,
        faults=np.where(rng.random(size) < 0.15, rng.uniform(0.1, 0.4, size), 0.01),
        task_sd=math.sqrt(total_sd**2 - WITHIN_SD**2),
        slow_share=float(rng.uniform(0, 0.04)),
        decomposable=decomposable,
        side_effect=decomposable * gain + (1 - decomposable) * loss,
        hardness=float(rng.uniform(0.3, 0.9)),
        value=float(rng.uniform(3, 7)),
        saturation=float(rng.uniform(0.4, 2)),
        amplification=float(rng.uniform(0, 0.2)),
        overhead=float(np.exp(rng.normal(0, 0.3))),
        tool_share=float(rng.uniform(0.2, 0.8)),
        contention=float(rng.uniform(0, 0.08)),
        crowding=float(more.uniform(0.8, 1.5)),
        overheads=np.clip(more.uniform(*OVERHEAD_SHARE) * np.exp(more.normal(0, 0.2, size)), 0, 0.5),
        early=float(more.uniform(0.2, 0.8)),
        flow=flow,
        harm=float(more.uniform(*HARM)) if more.random() < HARMED else 0.0,
        rounds=float(rng.uniform(1, 2.5)),
        rework=float(rng.uniform(0, 0.4)),
        synergy=np.triu(rng.normal(0, 0.08, (size, size)), 1),
        interactions={
            (formation, members): (float(rng.normal(0, 0.10)), float(rng.normal(0, 0.15)))
            for formation in (*FORMATIONS, SUB_TEAMS)
            for members in range(1, size + 1)
        },
        quirk_sd=0.06,
        checks=int(rng.integers(CHECKS[0], CHECKS[1] + 1)),
        level=0.0,
        seed=seed,
    )
    if checks is not None:
        world = evolve(world, checks=checks)
    return _configured(world, rng, success)


def _members(rng: np.random.Generator, size: int, decomposable: float) -> list[MemberSpec]:
    """Members of one role where the work is decomposable, of several where its steps need each other."""
    leads = bool(rng.random() < 0.5)
    members = []
    for index in range(size):
        alike = bool(rng.random() < decomposable)
        role = "researcher" if alike else _ROLES[index % len(_ROLES)]
        members.append(MemberSpec(f"m{index}", role=role, is_supervisor=leads and index == 0))
    return members


def _configured(world: World, rng: np.random.Generator, success: float | None) -> World:
    """Let a person configure the team: formation, generous budget and timeout; then set the level of success.

    The more decomposable the work, the likelier the person chose to work side by side.
    """
    side = bool(rng.random() < 0.2 + 0.6 * world.decomposable)
    possible = [f for f in usual_formations(world.spec.members) if (f in SIDE_BY_SIDE) == side]
    draws = Draws.make(rng, CALIBRATION_RUNS, len(world.spec.members))
    formation = _choice(world, possible, draws, rng)
    if world.flow == "independent" and formation == "pipeline":
        formation = "sequential"  # a pipeline delivers its last member's work alone, so its members are not independent
    world = evolve(world, spec=evolve(world.spec, formation=formation))
    played = world.play(shape_of(world.spec, EMPTY_PLAN), 0.0, draws)
    spec = evolve(
        world.spec,
        tool_budget=math.ceil(float(np.quantile(played["tool_calls"], 0.95)) * rng.uniform(1.0, 2.0)),
        timeout_seconds=float(math.ceil(float(np.quantile(played["seconds"], 0.99)) * rng.uniform(1.2, 3.0))),
    )
    world = evolve(world, spec=spec)
    usual = float(rng.uniform(*SUCCESS))
    return evolve(world, level=_level(world, draws, usual if success is None else success))


def _choice(world: World, possible: list[str], draws: Draws, rng: np.random.Generator) -> str:
    """Return the formation that a person settles on: the fastest of the one to three tried."""
    tried = rng.permutation(possible)[: int(rng.integers(1, 4))]
    times: Floats = np.array(
        [
            np.log(world.play(shape_of(evolve(world.spec, formation=str(f)), EMPTY_PLAN), 0.0, draws)["seconds"]).mean()
            for f in tried
        ]
    )
    return str(tried[int(times.argmin())])


def _level(world: World, draws: Draws, success: float) -> float:
    """Return the level at which the plan as configured succeeds in that share of runs, by bisection."""
    shape = shape_of(world.spec, EMPTY_PLAN)
    low, high = -12.0, 12.0
    for _ in range(40):
        middle = (low + high) / 2
        if evolve(world, level=middle).play(shape, 0.0, draws)["success"].mean() < success:
            low = middle
        else:
            high = middle
    return (low + high) / 2
