"""The judges of a process's experiments, each fed from the store: a test's judge, and the watch over a live plan.

A judge is a function of the observations in the order of the store, so every process that shares the store comes to the
same verdict, and a new one replays it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final

from .._model.experiment import Experiment, Phase
from .._model.quantities import ARMS, Arm
from .._model.run import Observation
from .record import Record
from .threads import breathing

if TYPE_CHECKING:
    from ..experiment import Judge, Watch
    from ..experiment.earlier.reference_watch import ReferenceWatch
    from ..experiment.earlier.sequential import SequentialJudge

    AnyJudge = Judge | SequentialJudge | Watch | ReferenceWatch

_MOST_JUDGES: Final = 1000

_FEW_RUNS: Final = 3

PHASES: Final[tuple[Phase, ...]] = ("test", "watch")


class Judges:
    """Keeps a judge for each open experiment of the process."""

    def __init__(self) -> None:
        self._judges: dict[tuple[str, Phase], tuple[Any, int]] = {}

    def judge(self, record: Record, experiment: Experiment) -> Judge:
        """Return the judge of a test that has seen what the record holds."""
        judge: Judge = self._fed((experiment.id, "test"), lambda: new_judge(experiment), record.test_runs)
        return judge

    def watch(self, record: Record, experiment: Experiment) -> Watch:
        """Return the watch over a live plan that has seen what the record holds."""

        def make() -> Watch | ReferenceWatch:
            return new_watch(experiment, record.test_runs(experiment.id))

        watch: Watch = self._fed((experiment.id, "watch"), make, record.live_runs)
        return watch

    def forget(self, experiment_id: str) -> None:
        """Forget the judges of an experiment."""
        for phase in PHASES:
            self._judges.pop((experiment_id, phase), None)

    def _fed(
        self,
        key: tuple[str, Phase],
        make: Callable[[], Any],
        read: Callable[[str, int], Sequence[Observation]],
    ) -> Any:
        judge, seen = self._judges.pop(key, (None, 0))
        if judge is None:
            with breathing():  # it sees all runs so far, and loads numpy
                judge = make()
                seen = feed(judge, read(key[0], seen)) or seen
        elif not judge.is_final:
            new = read(key[0], seen)
            # One run takes a tenth of a millisecond, and twice as much where each call in it looks at the clock.
            with breathing() if len(new) > _FEW_RUNS else nullcontext():
                seen = feed(judge, new) or seen
        self._judges[key] = judge, seen
        if len(self._judges) > _MOST_JUDGES:
            self._judges.pop(next(iter(self._judges)))
        return judge


def feed(judge: AnyJudge, observations: Iterable[Observation]) -> int:
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


def new_judge(experiment: Experiment) -> Judge | SequentialJudge:
    """Return the judge of an experiment's test that has seen no run yet.

    Args:
        experiment: The experiment: its policy, and what was known of the tasks before.
    """
    from ..experiment import judge_of

    return judge_of(experiment.policy, task_effects=experiment.task_effects, before=experiment.bad_before)


def new_watch(experiment: Experiment, test: Sequence[Observation]) -> Watch | ReferenceWatch:
    """Return a watch over an experiment's live plan that has seen no run yet.

    It compares with the runs of the test, or where there was none with those that the experiment brings along.

    Args:
        test: All observations of its test, in order. Those that decided it are what the watch compares with.
    """
    from ..experiment import watch_of

    reference = _reference(experiment, test)
    return watch_of(experiment.watch_policy, reference, tested=experiment.verdict is not None)


def _reference(experiment: Experiment, test: Sequence[Observation]) -> list[Observation]:
    # What a test was decided on is stored since 0.2; before, its judge tells.
    decided = experiment.decided_order
    last = feed(new_judge(experiment), test) if decided is None else decided
    return [*experiment.reference, *(one for one in test if one.order <= last)]


def open_tail(
    experiment: Experiment, test: Sequence[Observation], read: Callable[[], Sequence[Observation]]
) -> dict[Arm, int] | None:
    """Return how many runs the watch over a live plan has seen, by arm, if the plan's P95 is open; else None.

    It is what that watch says as long as it rolls nothing back, without what else a watch looks at in each run.

    Args:
        experiment: The experiment behind the plan.
        test: All observations of its test, in order.
        read: Reads what its watch sees, in order.
    """
    from .._model.policy import SENTINEL
    from ..experiment.watch import tail_of

    policy = experiment.watch_policy
    if policy.rule != SENTINEL:
        return None
    tail = tail_of(policy, _reference(experiment, test), tested=experiment.verdict is not None)
    runs: dict[Arm, int] = dict.fromkeys(ARMS, 0)
    places = set()
    for run in read() if tail.status == "open" else ():
        place = run.stream, run.index
        if place in places:
            continue
        places.add(place)
        runs[run.arm] += not run.missing
        tail.add(run)
        if tail.status != "open" or tail.is_overdue:
            break
    return runs if tail.status == "open" else None
