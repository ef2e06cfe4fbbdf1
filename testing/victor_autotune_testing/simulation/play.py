"""The product's loop on a simulated team: the tuner proposes, the A/B engine decides, the watch takes back."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from attrs import define, field

from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.run import CONTROL, TREATMENT, TeamRun
from victor_autotune_plugin._tuner import Tuner
from victor_autotune_plugin.experiment import Judge, Observation, Policy, Watch, WatchPolicy, assign

from .world import World

MIN_HISTORY: Final = 5
"""Runs before the first test, as the settings' default."""

ASK_EVERY: Final = 5
"""Runs outside a test after which the tuner is asked again, as the loop does."""

OUTLOOK_EVERY: Final = 5
"""Runs of a test, or after a promotion, after which the tuner is asked for its outlook, as the loop does."""


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
    loop = _Loop(world, tuner, runs, np.random.default_rng([seed, world.seed]))
    while not loop.is_over:
        idle = len(loop.played.ran)
        due = idle == MIN_HISTORY or (idle > MIN_HISTORY and (idle % ASK_EVERY == 0 or loop.just_ended))
        challenger = tuner.propose(seed + idle).plan if due else None
        loop.just_ended = False
        if challenger is None:
            loop.run(tuner.live)
            loop.played.live.append(tuner.live)
        else:
            loop.experiment(challenger, policy or Policy(), watch or WatchPolicy())
            loop.just_ended = True
    return loop.played


@define
class _Loop:
    """One team while it is played."""

    world: World
    tuner: Tuner
    runs: int
    rng: np.random.Generator
    played: Played = field(factory=Played)
    just_ended: bool = False

    @property
    def is_over(self) -> bool:
        return len(self.played.ran) >= self.runs

    def run(self, plan: TeamPlan) -> TeamRun:
        """Make a run, which the tuner learns of."""
        made = self.world.run(plan, self.rng)
        self.tuner.observe(made)
        self.played.ran.append(plan)
        return made

    def experiment(self, challenger: TeamPlan, policy: Policy, watch: WatchPolicy) -> None:
        """Test a plan, and watch it when it was promoted."""
        control = self.tuner.live
        seed = hashlib.sha256(f"{challenger.id}\n{len(self.played.ran)}".encode()).hexdigest()[:16]
        self.tuner.started(challenger)
        verdict, judge, seen = self._test(challenger, control, policy, seed)
        measured = None if verdict in ("stopped", "held back") else -judge.verdict().effect  # only a verdict's is told
        self.tuner.ended(challenger, promoted=verdict == "passed", effect=measured)
        self.played.tests.append((challenger, verdict, len(seen)))
        if verdict == "passed":
            self._watch(challenger, control, Watch(watch, reference=seen), watch.holdback, seed)

    def _test(
        self, challenger: TeamPlan, control: TeamPlan, policy: Policy, seed: str
    ) -> tuple[str, Judge, list[Observation]]:
        judge, verdict = Judge(policy), "running"
        seen: list[Observation] = []
        while verdict == "running" and not self.is_over:
            arm = assign(f"{seed}:test", len(seen))
            made = self.run(challenger if arm == TREATMENT else control)
            seen.append(Observation.of(made, index=len(seen), arm=arm))
            judge.observe(seen[-1])
            verdict = self._verdict(judge, challenger, len(seen))
            self.played.live.append(challenger if verdict == "passed" else control)
        return verdict, judge, seen

    def _verdict(self, judge: Judge, challenger: TeamPlan, seen: int) -> str:
        """Promote what passed and is safe; while it is not yet known to be, the test goes on."""
        status = judge.verdict().status if judge.is_final else "running"
        if status not in ("running", "passed"):
            return status
        if status == "running" and seen % OUTLOOK_EVERY:
            return "running"
        outlook = self.tuner.outlook(challenger)
        if outlook.stop:
            return "held back" if status == "passed" else "stopped"
        return "passed" if status == "passed" and not outlook.veto else "running"

    def _watch(self, promoted: TeamPlan, replaced: TeamPlan, watch: Watch, holdback: float, seed: str) -> None:
        index = 0
        weights = {CONTROL: holdback, TREATMENT: 1 - holdback}
        stays = True
        while stays and not watch.is_final and not self.is_over:
            arm = CONTROL if watch.wants_control else assign(f"{seed}:watch", index, weights)
            watch.observe(Observation.of(self.run(promoted if arm == TREATMENT else replaced), index=index, arm=arm))
            index += 1
            stays = not (watch.is_final and watch.verdict().status == "rolled_back")
            if index % OUTLOOK_EVERY == 0:
                stays = stays and not self.tuner.watched(replaced).stop
            if not stays:
                self.tuner.rolled_back(replaced)
                self.played.rollbacks.append(promoted)
            self.played.live.append(self.tuner.live)
