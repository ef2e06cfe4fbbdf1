"""The real loop, driven run by run on one thread, with a clock that passes when it is told to."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from attrs import evolve

from victor_autotune_plugin._dataflow.verdict import Rules, knowledge_of
from victor_autotune_plugin._model.data_flow import TeamFlow
from victor_autotune_plugin._model.plan import TeamSpec
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._model.score import Score
from victor_autotune_plugin._settings import Settings
from victor_autotune_plugin._tuning.hookmanager import BUILT_IN
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin._tuning.writer import END_COMMIT_SECONDS, Item
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart
from victor_autotune_plugin.storage.journal import ScoreEntry

PAUSE_SECONDS = 1.0
"""What passes between the end of a run and the start of the next one."""

SCORER = "simulated"
"""Name of the third party that scores the runs of a simulated team."""

T = TypeVar("T")


class Clock:
    """Seconds that pass when they are told to.

    Attributes:
        now: What it shows.
    """

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return what it shows."""
        return self.now


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    coroutine.close()
    raise AssertionError("the coroutine waits for something")


def assigned(run: TeamRun, event: RunStart, planned: PlannedRun) -> TeamRun:
    """Return a run as the one that started so, under the plan and with the arm that it got."""
    return evolve(
        run,
        run_id=event.run_id,
        started_at=event.started_at,
        task_key=event.task_key,
        mode=planned.mode,
        plan_asked=planned.plan,
        experiment_id=planned.experiment_id,
        arm=planned.arm,
        phase=planned.phase,
        stream=planned.stream,
        index=planned.index,
        environment=event.environment,
        owners={**event.owners, **planned.owners},
    )


def by_hook(run: TeamRun, value: float | None, name: str = SCORER) -> Score:
    """Return a score of a run as a third party's hook gives it."""
    at = run.started_at if math.isfinite(run.started_at) else 0.0
    return Score(run.run_id, name, value, "hook", at, why="" if value is not None else "no opinion")


def scored_rules(spec: TeamSpec, settings: Settings, flow: TeamFlow | None = None) -> Rules:
    """Return the rules of a team whose runs a scorer grades; without a data flow nothing is known of one."""
    return Rules(knowledge_of(flow or TeamFlow(), spec, settings), has_scorer=True)


class SteppedLoop:
    """Calls the hooks of a run as the host does, and then does what the threads would do.

    Args:
        clock: The wall clock of the runtime.
        scores: Gives the scores of a run that come with its end; None for no scorer.
    """

    def __init__(
        self, runtime: Runtime, clock: Clock, scores: Callable[[TeamRun], Iterable[Score]] | None = None
    ) -> None:
        self.runtime = runtime
        self.clock = clock
        self._scores = scores

    def work(self) -> None:
        """Do what is left behind the runs so far, or let the threads do it where there are some."""
        if self.runtime.has_threads:
            self.runtime.settle(30)
        else:
            self.runtime.loop.run_until_idle()

    def begin(self, event: RunStart) -> PlannedRun:
        """Start a run: get its plan, and the stream of arms that it may need."""
        loop, hooks = self.runtime.loop, self.runtime.hooks
        missing = loop.missing_stream(event)
        if missing is not None:
            loop.store_work.slot_requests.append(missing)
            self.work()
        asked = hooks.plan(event)
        third_party = any(not name.startswith(BUILT_IN) for name in hooks.names())
        planned = asyncio.run(asked) if third_party else at_once(asked)
        assert planned is not None
        hooks.tell("team_run_started", event=event, planned=planned)
        return planned

    def end(self, run: TeamRun) -> TeamRun:
        """Finish a run, have it written and judged, and return it as it was handed over."""
        loop, hooks = self.runtime.loop, self.runtime.hooks
        sound = evolve(run, member_success_share=1.0)  # an impossible share is for the record to refuse
        price = hooks.valued(sound).cost_usd
        run = evolve(run, cost_usd=price)
        end = run.ended_at if math.isfinite(run.ended_at) else run.started_at
        self.clock.now = max(self.clock.now, end) + PAUSE_SECONDS
        if self._scores is not None and not run.cancelled:
            for score in self._scores(run):
                loop.core.submit(Item(ScoreEntry(score), loop._clock(), END_COMMIT_SECONDS, run.spec.key))
            run = evolve(run, score=None)  # which follows from these
        hooks.tell_built_in("after_team_run", run=run)
        hooks.grade(run, loop.graded)
        hooks.flush(5.0)
        self.work()
        hooks.flush(5.0)
        return run
