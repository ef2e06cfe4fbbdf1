"""The judges of the open experiments, each fed with the observations in the store that it has not seen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from .._model.experiment import Experiment, Phase
from .._model.run import CONTROL, Observation

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from ..experiment import Judge, Watch
    from .changes import Changes

_MOST_JUDGES: Final = 1000


class Evidence:
    """Keeps a judge for each open experiment of the process.

    A judge is a function of the observations in the order of the store, so every process that shares the store
    comes to the same verdict, and one that starts anew replays it. While a transaction feeds a judge, it is not kept:
    what it has seen there may never be committed, and then it is made anew from what was.
    """

    def __init__(self) -> None:
        self._judges: dict[tuple[str, Phase], tuple[Any, int]] = {}
        self._lock = threading.Lock()

    def judge(self, changes: Changes, experiment: Experiment) -> Judge:
        """Return the judge of a test, up to date."""
        judge: Judge = self._fed(changes, experiment, "test", lambda: new_judge(experiment))
        return judge

    def watch(self, changes: Changes, experiment: Experiment) -> Watch:
        """Return the watch over a promoted plan, up to date."""
        watch: Watch = self._fed(
            changes,
            experiment,
            "watch",
            lambda: new_watch(experiment, changes.transaction.observations(experiment.id, "test")),
        )
        return watch

    def _fed(self, changes: Changes, experiment: Experiment, phase: Phase, make: Callable[[], Any]) -> Any:
        key = (experiment.id, phase)
        with self._lock:
            judge, seen = self._judges.pop(key, (None, 0))
        if judge is None:
            judge = make()
        if not judge.is_final:
            seen = feed(judge, changes.transaction.observations(experiment.id, phase, seen)) or seen
        changes.once_durable.append(partial(self._keep, key, judge, seen))
        return judge

    def _keep(self, key: tuple[str, Phase], judge: Any, seen: int) -> None:
        with self._lock:
            self._judges[key] = judge, seen
            if len(self._judges) > _MOST_JUDGES:
                self._judges.pop(next(iter(self._judges)))


def feed(judge: Judge | Watch, observations: Sequence[Observation]) -> int:
    """Let a judge see observations until it has decided.

    What comes after the decision is no part of it, so that the verdict does not depend on when it is asked for.

    Args:
        judge: A test's judge, or a watch.
        observations: The observations that follow those it has seen, in order.

    Returns:
        The order of the last one it saw, or 0 when it saw none.
    """
    seen = 0
    for observation in observations:
        if judge.is_final:
            break
        judge.observe(observation)
        seen = observation.order
    return seen


def new_judge(experiment: Experiment) -> Judge:
    """Return the judge of an experiment's test that has seen no run yet.

    Args:
        experiment: The experiment: its policy, and what was known of the tasks before.
    """
    from ..experiment import Judge, Policy

    return Judge(Policy.from_dict(experiment.policy), task_effects=experiment.task_effects)


def new_watch(experiment: Experiment, test: Sequence[Observation]) -> Watch:
    """Return a watch over an experiment's promoted plan that has seen no run yet.

    Args:
        experiment: The experiment.
        test: All observations of its test, in order. Those that decided it are what the watch compares with.
    """
    from ..experiment import Watch, WatchPolicy

    last = feed(new_judge(experiment), test)
    reference = [observation for observation in test if observation.order <= last]
    return Watch(WatchPolicy.from_dict(experiment.watch_policy), reference=reference)


def known_tasks(metric: str, runs: Sequence[TeamRun]) -> dict[str, float]:
    """Return the log effect of each task on a metric, from a team's runs before a test.

    Args:
        metric: Primary metric of the test. Nothing is taken off a score.
        runs: Finished runs under one plan, in any order.
    """
    from ..experiment import task_effects

    if metric == "score":
        return {}
    return task_effects(metric, observed(run for run in runs if run.task_key is not None))


def observed(runs: Iterable[TeamRun]) -> list[Observation]:
    """Return what the experiment engine sees of runs outside a test, all of them as control.

    Args:
        runs: Finished runs under one plan.
    """
    return [Observation.of(run, index=index, arm=CONTROL) for index, run in enumerate(runs)]
