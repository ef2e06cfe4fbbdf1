"""The real loop on a simulated team: the tuner proposes, the A/B engine decides, the watch rolls back.

Runtime, hooks, writer, judge, tuner and store are the product's, the store in memory. There is one thread, no file, and
no clock but the simulated one, so the same seed gives the same history, bit for bit.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
from attrs import define, evolve, field

from victor_autotune_plugin._model.experiment import Change, Experiment
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._settings import SettingsResolver
from victor_autotune_plugin._tuner import plan_space
from victor_autotune_plugin._tuner.space import shape_of
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin._tuning.tuner_cache import MakeTuner, TunerCache
from victor_autotune_plugin.hookspecs import RunStart
from victor_autotune_plugin.storage import Store

from ..stepped import Clock, SteppedLoop, assigned, by_hook
from .world import World

_NOWHERE: Final = Path(os.devnull) / "simulation"
# Below what is no folder there are no files, so no settings of the machine's user are read.

_BEGINNING: Final = 1_700_000_000.0


@define
class Played:
    """What happened on one team.

    Attributes:
        ran: The plan of each run.
        live: The live plan after each run.
        tests: `(plan, verdict, runs)` of each test, in order; verdicts are the engine's, `stopped` (by the tuner),
            `held back` (passed, but vetoed by the tuner), and `running` at the end.
        rollbacks: The plans that were rolled back.
        changes: The team's history.
        experiments: Its experiments, oldest first.
    """

    ran: list[TeamPlan] = field(factory=list)
    live: list[TeamPlan] = field(factory=list)
    tests: list[tuple[TeamPlan, str, int]] = field(factory=list)
    rollbacks: list[TeamPlan] = field(factory=list)
    changes: list[Change] = field(factory=list)
    experiments: list[Experiment] = field(factory=list)


class SimulatedTeam:
    """A simulated team that the real loop tunes, from its first run.

    Args:
        world: The team.
        seed: Of everything.
        make_tuner: Makes its tuner; None for the product's own way.
        scored: Whether a verifier scores its runs; else there is their success and nothing more.
        timings: Whether its members' times are measured.
        settings: Settings by dotted key; the rest are the defaults, in mode `auto`.
    """

    def __init__(
        self,
        world: World,
        seed: int,
        *,
        make_tuner: MakeTuner | None = None,
        scored: bool = True,
        timings: bool = True,
        **settings: Any,
    ) -> None:
        self.world = world
        self._scored, self._timings = scored, timings
        self._rng = np.random.default_rng([seed, world.seed])
        self._random = Random(f"{seed}/{world.seed}")
        self._clock = Clock(_BEGINNING)
        self.runtime = Runtime(
            _NOWHERE,
            overrides={"mode": "auto", "environment": "default", **settings},
            with_entry_points=False,
            with_files=False,
            load_settings=partial(SettingsResolver.load, home=_NOWHERE, environ={}, log=False),
            open_store=self._new_store,
            clock=self._clock,
            wall_clock=self._clock,
            random=self._random,
        )
        if make_tuner is not None:
            self.runtime.loop.judge_work.challengers.tuners = TunerCache(make_tuner)
        self._stepped = SteppedLoop(
            self.runtime, self._clock, (lambda run: [by_hook(run, run.score)]) if scored else None
        )
        self._own = {shape_of(world.spec, plan): plan for plan in plan_space(world.spec).plans}
        self.played = Played()

    def _new_store(self) -> Store:
        store_id = f"{self._random.getrandbits(128):032x}"
        return Store.in_memory(self._clock, process=self.runtime.loop.process, store_id=store_id)

    def run(self) -> None:
        """Make one run."""
        number = len(self.played.ran)
        event = RunStart(f"run-{number}", self.world.spec, self._clock())
        planned = self._stepped.begin(event)
        made = self._seen(self.world.run(planned.plan, self._rng))
        self._stepped.end(assigned(made, event, planned))
        state = self.runtime.loop.memory.snapshot.teams.get(self.world.spec.key)
        self.played.ran.append(self.own(planned.plan))
        self.played.live.append(EMPTY_PLAN if state is None else self.own(state.plan))

    def _seen(self, run: TeamRun) -> TeamRun:
        """Return what is recorded of a run."""
        if not self._scored:
            run = evolve(run, score=None)
        if not self._timings:
            unseen = [evolve(m, duration_seconds=0.0, model_seconds=None, tool_seconds=None) for m in run.members]
            run = evolve(run, members=unseen)
        return run

    def own(self, plan: TeamPlan) -> TeamPlan:
        """Return the plan of the team's space that runs alike, or the plan itself when there is none."""
        return self._own.get(shape_of(self.world.spec, plan), plan)

    def close(self) -> Played:
        """End it, and return what happened."""
        store, key, played = self.runtime.store(), self.world.spec.key, self.played
        played.changes = store.changes(*key)
        played.experiments = store.experiments(*key)[::-1]
        last = {change.experiment_id: change for change in played.changes}
        for one in played.experiments:
            runs = len(store.observations(one.id, "test"))
            played.tests.append((self.own(one.treatment), _verdict(one, last.get(one.id)), runs))
        rolled_back = [change for change in played.changes if change.action == "rolled_back"]
        played.rollbacks = [self.own(change.plan_before) for change in rolled_back]
        self.runtime.close()
        return played


def _verdict(experiment: Experiment, last: Change | None) -> str:
    if experiment.promoted_at is not None:
        return "passed"
    if experiment.status == "inconclusive" and experiment.verdict is None and last is not None:
        return "held back" if last.reason.startswith("Passed") else "stopped"
    return experiment.status


def play(world: World, runs: int, seed: int, *, make_tuner: MakeTuner | None = None, **settings: Any) -> Played:
    """Let the loop tune a simulated team for so many runs; the other arguments are those of `SimulatedTeam`."""
    team = SimulatedTeam(world, seed, make_tuner=make_tuner, **settings)
    for _ in range(runs):
        team.run()
    return team.close()
