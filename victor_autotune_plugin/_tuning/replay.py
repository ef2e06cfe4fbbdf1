"""Replays decisions from the store, to show that the record explains them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from .._model.assignment import (
    ASSIGNMENT_VERSION,
    CLUSTER_STREAM,
    EARLIER_VERSION,
    OF_TEST,
    assign,
    assign_earlier,
    shares_of_stream,
)
from .._model.experiment import Experiment, Phase
from .._model.policy import REFERENCE
from .._model.run import CONTROL, Observation
from .judges import feed, new_judge, new_watch

if TYPE_CHECKING:
    from ..storage import Store


@frozen
class Replay:
    """The result of replaying an experiment.

    Attributes:
        experiment: The experiment.
        observations: How many observations were replayed, both phases.
        differences: `(stored, replayed)` of everything that differs, by its name.
    """

    experiment: Experiment
    observations: int
    differences: Mapping[str, tuple[Any, Any]]

    @property
    def same(self) -> bool:
        """Whether the replay equals the record, bit for bit."""
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
) -> Replay:
    """Replay an experiment: its assignment from the seed, its verdicts from the observations of both phases.

    An arm of a watch of 0.1 may be `control` against the seed: it asked for such runs. The arm of a run that the watch
    has from a test, as the control of a later one or since it waited for its score, is replayed with that test.
    """
    differences = dict(_wrong_arms(experiment, "test", test))
    differences.update(_wrong_arms(experiment, "watch", watch))
    judge = new_judge(experiment)
    feed(judge, test)
    if experiment.verdict is not None and _differ(experiment.verdict, judge.verdict().to_dict()):
        differences["verdict"] = dict(experiment.verdict), judge.verdict().to_dict()
    if experiment.watch_verdict is not None:
        watcher = new_watch(experiment, test)
        feed(watcher, watch)
        if _differ(experiment.watch_verdict, watcher.verdict().to_dict()):
            differences["watch verdict"] = dict(experiment.watch_verdict), watcher.verdict().to_dict()
    return Replay(experiment, len(test) + len(watch), differences)


def _wrong_arms(
    experiment: Experiment, phase: Phase, observations: Sequence[Observation]
) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Give the arms that do not follow from the seed."""
    version = experiment.assignment_version
    if version not in (ASSIGNMENT_VERSION, EARLIER_VERSION):
        yield "assignment_version", (version, ASSIGNMENT_VERSION)
        return
    holdback = experiment.watch_policy.holdback if phase == "watch" else None
    asks_for_control = phase == "watch" and experiment.watch_policy.rule == REFERENCE
    seed = f"{experiment.seed}:{phase}"
    for one in observations:
        if one.stream.startswith(OF_TEST):
            continue
        if one.stream.startswith(CLUSTER_STREAM):
            arm = assign(seed, 0, stream=one.stream)
        elif one.stream or version == ASSIGNMENT_VERSION:
            arm = assign(seed, one.index, shares_of_stream(one.stream, holdback), stream=one.stream)
        else:
            arm = assign_earlier(seed, one.index, shares_of_stream("", holdback))
        if arm != one.arm and not (asks_for_control and one.arm == CONTROL):
            yield f"arm of {phase} {one.stream} {one.index}".replace("  ", " "), (one.arm, arm)


def _differ(stored: Mapping[str, Any], made: Mapping[str, Any]) -> bool:
    """Whether two verdicts differ in what was stored, but for the sentence, which another version may word otherwise.

    What a newer version says beside it is no difference.
    """
    return any(name != "reason" and value != made.get(name) for name, value in stored.items())


def replay_all(store: Store, experiments: Sequence[Experiment]) -> list[Replay]:
    """Replay experiments from a store.

    Raises:
        StoreError: If the store can't be used.
    """
    return [
        replay(
            experiment,
            store.observations(experiment.id, "test"),
            store.live_observations(experiment.id),
        )
        for experiment in experiments
    ]
