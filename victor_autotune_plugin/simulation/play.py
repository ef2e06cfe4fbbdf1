"""The product's loop on a simulated team: the tuner proposes, the A/B engine decides, the watch takes back."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from attrs import define, field

from ..experiment import CONTROL, TREATMENT, Judge, Observation, Policy, Watch, WatchPolicy, assign
from ..model.plan import TeamPlan
from ..model.run import TeamRun
from ..tuner import RunFacts, Tuner
from .world import World

MIN_HISTORY: Final = 5
"""Runs before the first test, as the settings' default."""

ASK_EVERY: Final = 5
"""Runs outside a test after which the tuner is asked again, as the loop does."""


@define
class Played:
    """What happened on one team.

    Attributes:
        ran: The plan of each run.
        live: The live plan after each run.
        tests: `(plan, verdict, runs)` of each test, in order; verdicts are the engine's, `stopped` (by the tuner) and
            `held back` (passed, but vetoed by the tuner).
        rollbacks: The plans that were taken back.
    """

    ran: list[TeamPlan] = field(factory=list)
    live: list[TeamPlan] = field(factory=list)
    tests: list[tuple[TeamPlan, str, int]] = field(factory=list)
    rollbacks: list[TeamPlan] = field(factory=list)


def play(
    world: World,
    tuner: Tuner,
    runs: int,
    seed: int,
    *,
    policy: Policy | None = None,
    watch: WatchPolicy | None = None,
) -> Played:
    """Let a tuner tune a simulated team in the way of the product's loop.

    Args:
        world: The team.
        tuner: Its tuner, which learns.
        runs: How many runs the team makes.
        seed: Of the runs; assignment and proposals follow from it, too.
        policy: Rules of the tests; the defaults when None.
        watch: Rules of the watch after a promotion; the defaults when None.
    """
    rng = np.random.default_rng([seed, world.seed])
    policy, watch = policy or Policy(), watch or WatchPolicy()
    played = Played()

    def run(plan: TeamPlan) -> TeamRun:
        made = world.run(plan, rng)
        tuner.observe(RunFacts.of(made))
        played.ran.append(plan)
        return made

    while len(played.ran) < runs:
        idle = len(played.ran)
        if idle >= MIN_HISTORY and (idle == MIN_HISTORY or idle % ASK_EVERY == 0 or played.ran[-1] != tuner.live):
            challenger = tuner.propose(seed + idle).plan
            if challenger is not None:
                _experiment(challenger, tuner, played, runs, policy, watch, run)
                continue
        run(tuner.live)
        played.live.append(tuner.live)
    return played


def _experiment(challenger, tuner, played, runs, policy, watch_policy, run):  # type: ignore[no-untyped-def]
    control, start = tuner.live, len(played.ran)
    seed = hashlib.sha256(f"{challenger.id}\n{start}".encode()).hexdigest()[:16]
    judge, index, seen = Judge(policy), 0, []
    tuner.started(challenger)
    verdict = "running"
    while verdict == "running" and len(played.ran) < runs:
        arm = assign(f"{seed}:test", index)
        observation = _observed(run(challenger if arm == TREATMENT else control), index, arm)
        seen.append(observation)
        judge.observe(observation)
        index += 1
        if judge.is_final and judge.verdict().status != "passed":
            verdict = judge.verdict().status
        elif judge.is_final or (index >= 6 and index % 2 == 0):
            outlook = tuner.outlook(challenger)
            if outlook.stop:
                verdict = "held back" if judge.is_final else "stopped"
            elif judge.is_final and not outlook.veto:
                verdict = "passed"
        played.live.append(challenger if verdict == "passed" else control)
    effect = -judge.verdict().effect if index else None
    tuner.ended(challenger, promoted=verdict == "passed", effect=effect)
    played.tests.append((challenger, verdict, index))
    if verdict != "passed":
        return
    watch, index = Watch(watch_policy, reference=seen), 0
    weights = {CONTROL: watch_policy.holdback, TREATMENT: 1 - watch_policy.holdback}
    while not watch.is_final and len(played.ran) < runs:
        arm = CONTROL if watch.wants_control else assign(f"{seed}:watch", index, weights)
        watch.observe(_observed(run(challenger if arm == TREATMENT else control), index, arm))
        index += 1
        if watch.is_final and watch.verdict().status == "rolled_back":
            tuner.rolled_back(control)
            played.rollbacks.append(challenger)
        elif not watch.is_final and index % 4 == 0 and tuner.watched(control).stop:
            tuner.rolled_back(control)
            played.rollbacks.append(challenger)
            played.live.append(control)
            return
        played.live.append(tuner.live)


def _observed(run: TeamRun, index: int, arm: str) -> Observation:
    return Observation(
        index=index,
        arm=arm,
        duration_seconds=run.duration_seconds,
        success=run.success,
        score=run.score,
        cost_usd=run.cost_usd,
        tool_calls=run.tool_calls,
        timed_out=run.timed_out,
        task_key=run.task_key,
    )
