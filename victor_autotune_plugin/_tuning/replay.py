"""Replays what was decided from what is stored, to show that the record explains the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from .._model.experiment import Assignment, Experiment
from .._model.run import Observation
from .judges import feed, new_judge, new_watch

if TYPE_CHECKING:
    from ..storage import Store


@frozen
class Replay:
    """What came of replaying an experiment.

    Attributes:
        experiment: The experiment.
        observations: How many observations were replayed, both phases.
        differences: What came out differently, by what it is: `(stored, replayed)`. Empty when nothing did.
    """

    experiment: Experiment
    observations: int
    differences: Mapping[str, tuple[Any, Any]]

    @property
    def same(self) -> bool:
        """Whether everything came out bit for bit as it is stored."""
        return not self.differences

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "experiment": self.experiment.id,
            "workflow": self.experiment.workflow,
            "team_id": self.experiment.team_id,
            "status": self.experiment.status,
            "code_version": self.experiment.code_version,
            "observations": self.observations,
            "same": self.same,
            "differences": {what: list(pair) for what, pair in self.differences.items()},
        }


def replay(
    experiment: Experiment,
    test: Sequence[Observation],
    watch: Sequence[Observation],
    assignments: Sequence[Assignment],
) -> Replay:
    """Replay an experiment: its assignment from the seed, its verdicts from the observations.

    Args:
        experiment: The experiment, with the verdicts that were stored.
        test: The observations of its test, in their order.
        watch: The observations of its watch, in their order.
        assignments: Its assignments.

    Returns:
        What came of it. An arm of the watch may be `control` against the seed: the watch asks for such runs.
    """
    from ..experiment import ASSIGNMENT_VERSION, CONTROL, TREATMENT, assign

    differences: dict[str, tuple[Any, Any]] = {}
    if experiment.assignment_version == ASSIGNMENT_VERSION:
        holdback = float(experiment.watch_policy["holdback"])
        for one in assignments:
            weights = {CONTROL: holdback, TREATMENT: 1 - holdback} if one.phase == "watch" else None
            arm = assign(f"{experiment.seed}:{one.phase}", one.index, weights)
            if arm != one.arm and not (one.phase == "watch" and one.arm == CONTROL):
                differences[f"arm of {one.phase} {one.index}"] = one.arm, arm
    else:
        differences["assignment_version"] = experiment.assignment_version, ASSIGNMENT_VERSION
    judge = new_judge(experiment)
    feed(judge, test)
    if experiment.verdict is not None and judge.verdict().to_dict() != experiment.verdict:
        differences["verdict"] = dict(experiment.verdict), judge.verdict().to_dict()
    if experiment.watch_verdict is not None:
        watcher = new_watch(experiment, test)
        feed(watcher, watch)
        if watcher.verdict().to_dict() != experiment.watch_verdict:
            differences["watch verdict"] = dict(experiment.watch_verdict), watcher.verdict().to_dict()
    return Replay(experiment, len(test) + len(watch), differences)


def replay_all(store: Store, experiments: Sequence[Experiment]) -> list[Replay]:
    """Replay experiments from a store.

    Args:
        store: The store.
        experiments: Which ones.

    Raises:
        StoreError: If the store can't be used.
    """
    return [
        replay(
            experiment,
            store.observations(experiment.id, "test"),
            store.observations(experiment.id, "watch"),
            store.assignments(experiment.id),
        )
        for experiment in experiments
    ]
