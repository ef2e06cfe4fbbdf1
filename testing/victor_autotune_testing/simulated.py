"""Team runs without Victor: the same hooks in the same order, with made-up durations."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import evolve

from victor_autotune_plugin._model.data_flow import RunFlow
from victor_autotune_plugin._model.experiment import Change, Experiment, TeamState
from victor_autotune_plugin._model.merged_definition import in_terms_of
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun, TokenUse
from victor_autotune_plugin._model.score import Score
from victor_autotune_plugin._settings import Settings
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart
from victor_autotune_plugin.storage import Store

from .stepped import Clock, SteppedLoop, assigned, by_hook

SPEC = TeamSpec("flow", "team", "sequential", [MemberSpec(name, "researcher") for name in "abcd"])
_TWINS_START = 1_700_000_000.0
Truth = Callable[[TeamPlan, list[float]], float]


def by_formation(plan: TeamPlan, members: list[float]) -> float:
    """The truth in which a sequential team takes its members' sum, and any other their maximum."""
    return sum(members) if plan.formation in (None, "sequential") else max(members)


def no_difference(plan: TeamPlan, members: list[float]) -> float:
    """The truth in which the formation makes no difference."""
    return sum(members)


def by_success(run: TeamRun) -> float | None:
    """The score of a run whose work is good or not as its members say."""
    return run.member_success_share


class Simulation:
    """A project whose team runs are made up.

    Args:
        project: Its folder.
        settings: Settings by dotted key; without `tuner.risk` the strategies alone choose what is tested.
        truth: What a run takes, from its plan and its members' seconds.
        seed: Seed of the durations.
        with_entry_points: Whether hook packages are looked for.
        in_memory: Whether the store is in memory and no file is written: much faster, and for this thread alone.
        twin: Whether ids and times follow from the seed, too, so that two of the same seed are alike.
        scored: Whether a third party scores the runs, as `score` says, so that a change of the work may be tested.
    """

    flow: RunFlow | None = RunFlow()
    """The data flow of the next runs: nobody uses another's work, or where a scorer grades them, it can't be known."""

    settings: Settings | None = None
    """The team's settings; None for those of the project."""

    score_rows: Callable[[TeamRun], list[Score]] | None = None
    """Gives all scores of a run, in place of the third party's."""

    def __init__(
        self,
        project: Path,
        *,
        truth: Truth = by_formation,
        seed: int = 1,
        with_entry_points: bool = False,
        in_memory: bool = False,
        twin: bool = False,
        scored: bool = True,
        **settings: object,
    ) -> None:
        overrides = {"mode": "auto", "tuner.risk": "off", **settings}
        # The runs are of yesterday, so that what a person does in a test comes after them.
        clock = Clock(_TWINS_START if twin else time.time() - 24 * 3600.0)

        def in_memory_store() -> Store:
            return Store.in_memory(
                clock, process=self.runtime.loop.process, store_id=f"twins of {seed}" if twin else None
            )

        self.runtime = Runtime(
            project,
            overrides=overrides,
            with_entry_points=with_entry_points,
            with_files=not in_memory,
            open_store=in_memory_store if in_memory else None,
            clock=clock if in_memory else time.monotonic,
            wall_clock=clock,
            random=random.Random(seed) if twin else None,
        )
        self._ids = random.Random(seed) if twin else random.SystemRandom()
        self.stepped = SteppedLoop(self.runtime, clock, self._scores if scored else None)
        self.score: Callable[[TeamRun], float | None] = by_success
        self.truth = truth
        self.spec = SPEC
        self.success = 1.0
        self.tokens: tuple[TokenUse, ...] = ()
        self._random = random.Random(seed)
        if scored:
            self.flow = RunFlow(open={"a": ("custom",)})

    @property
    def store(self) -> Store:
        return self.runtime.store()

    def _scores(self, run: TeamRun) -> list[Score]:
        if self.score_rows is not None:
            return self.score_rows(run)
        return [by_hook(run, self.score(run))] if 0 <= run.member_success_share <= 1 else []

    def start(self, task_key: str | None = None) -> tuple[RunStart, PlannedRun]:
        runtime, loop = self.runtime, self.runtime.loop
        runtime.look_at_settings()
        loop.store_work.wants_refresh = True  # a person, or another process, may have changed something
        self.stepped.work()
        known = loop.known_spec(self.spec, self.settings or runtime.settings(self.spec))
        event = RunStart(
            f"{self._ids.getrandbits(128):032x}", known, self.stepped.clock(), task_key=task_key, settings=self.settings
        )
        planned = self.stepped.begin(event)
        return (evolve(event, spec=self.spec) if planned.source == "configured" else event), planned

    def finish(self, event: RunStart, planned: PlannedRun, **changes: Any) -> TeamRun:
        seconds = [self._random.lognormvariate(0, 0.4) for _ in self.spec.members]
        good = self._random.random() < self.success
        duration = self.truth(in_terms_of(self.spec, event.spec, planned.plan), seconds)
        run = TeamRun(
            run_id=event.run_id,
            spec=event.spec,
            started_at=event.started_at,
            duration_seconds=duration,
            success=good,
            member_success_share=1.0 if good else 0.0,
            plan_used=TeamPlan(
                formation=planned.plan.formation or event.spec.formation,
                members=planned.plan.members or event.spec.member_ids,
            ),
            members=[
                MemberOutcome(m.id, m.role, good, True, s, 1, 0, 2, 900, 200)
                for m, s in zip(self.spec.members, seconds, strict=True)
            ],
            tokens=self.tokens,
            flow=self.flow,
        )
        return self.stepped.end(evolve(assigned(run, event, planned), **changes))

    def run(self, task_key: str | None = None, **changes: Any) -> TeamRun:
        return self.finish(*self.start(task_key), **changes)

    def recover(self) -> None:
        """Let the time pass after which a store that failed is tried again."""
        self.runtime.loop.core.breaker.succeeded()
        self.runtime.loop.judge_work.breaker.succeeded()

    def run_until(self, action: str, most: int = 500) -> Change:
        """Run until a change of this kind is the latest; fail when it does not come."""
        seen, revision = len(self.changes()), -1
        for _ in range(most):
            self.run()
            before, revision = revision, self.store.identity().revision
            if revision == before:  # no team was changed, and to read all changes after each run takes long
                continue
            new = [change for change in self.changes()[seen:] if change.action == action]
            if new:
                return new[-1]
        raise AssertionError(f"no change {action!r} in {most} runs; there were {[c.action for c in self.changes()]}")

    def changes(self) -> list[Change]:
        return self.store.changes(SPEC.workflow, SPEC.team_id)

    def state(self) -> TeamState:
        state = self.store.team(SPEC.workflow, SPEC.team_id)
        assert state is not None
        return state

    def experiments(self) -> list[Experiment]:
        return self.store.experiments(SPEC.workflow, SPEC.team_id)

    def close(self) -> None:
        self.runtime.close()
