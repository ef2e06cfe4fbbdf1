"""The judges of the open experiments, each fed with the observations in the store that it has not seen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .model.state import Experiment, Phase, StoredObservation

if TYPE_CHECKING:
    from .experiment import Judge, Observation, Watch
    from .storage import Transaction

_MOST_JUDGES: Final = 1000


class Evidence:
    """Keeps a judge for each open experiment of the process.

    A judge is a function of the observations in the order of the store, so every process that shares the store
    comes to the same verdict, and one that starts anew replays it.
    """

    def __init__(self) -> None:
        self._judges: dict[tuple[str, Phase], tuple[Any, int]] = {}
        self._lock = threading.Lock()

    def judge(self, transaction: Transaction, experiment: Experiment) -> Judge:
        """Return the judge of a test, up to date."""
        from .experiment import Judge, Policy

        judge: Judge = self._fed(transaction, experiment, "test", lambda: Judge(Policy.from_dict(experiment.policy)))
        return judge

    def watch(self, transaction: Transaction, experiment: Experiment) -> Watch:
        """Return the watch over a promoted plan, up to date."""
        from .experiment import Watch, WatchPolicy

        def make() -> Watch:
            reference = [observation_of(stored) for stored in transaction.observations(experiment.id, "test")]
            return Watch(WatchPolicy.from_dict(experiment.watch_policy), reference=reference)

        watch: Watch = self._fed(transaction, experiment, "watch", make)
        return watch

    def _fed(self, transaction: Transaction, experiment: Experiment, phase: Phase, make: Callable[[], Any]) -> Any:
        key = (experiment.id, phase)
        with self._lock:
            judge, seen = self._judges.pop(key, (None, 0))
            if judge is None:
                judge = make()
            for stored in transaction.observations(experiment.id, phase, seen):
                judge.observe(observation_of(stored))
                seen = stored.order
            self._judges[key] = judge, seen
            if len(self._judges) > _MOST_JUDGES:
                self._judges.pop(next(iter(self._judges)))
            return judge


def observation_of(stored: StoredObservation) -> Observation:
    """Return what the experiment engine sees of a stored observation.

    Args:
        stored: The observation.
    """
    from .experiment import Observation

    return Observation(
        index=stored.index,
        arm=stored.arm,
        duration_seconds=stored.duration_seconds,
        success=stored.success,
        score=stored.score,
        cost_usd=stored.cost_usd,
        tool_calls=stored.tool_calls,
        timed_out=stored.timed_out,
        task_key=stored.task_key,
    )
