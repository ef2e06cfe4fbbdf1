"""What a process knows of its teams, and the plan of a run out of it: from memory, without a word to anybody.

A snapshot is a copy of what the store says of live plans and open experiments. It is replaced as a whole when the store
has something newer, so a run sees one state or the next, and never half of each.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from .._model.assignment import CLUSTER_STREAM, assign, shares_of_stream
from .._model.experiment import Assignment, Experiment, Phase, TeamState
from .._model.run import TREATMENT, PlannedRun
from .streams import StreamKey, Streams

if TYPE_CHECKING:
    from random import Random

    from .._model.plan import TeamSpec
    from .._model.run import RunStart
    from .._settings import Settings

TESTING: Final = ("approve", "auto")
"""The modes in which runs take part in experiments."""

PLAN_SECONDS: Final = 24 * 3600.0
"""How long a proven plan is kept while the store does not answer."""

CANARY_WAITS: Final = 4
"""Runs of a canary's treatment that may wait for their scores; a day of them would be many bad ones unseen."""

_MOST_TEAMS: Final = 10_000

_Teams = Mapping[tuple[str, str], TeamState]


@frozen
class Snapshot:
    """Live plans and open experiments, as the store had them at one moment.

    Attributes:
        store_id: The store it is of; empty for none.
        revision: The store's revision that it holds.
        teams: States by `(workflow, team_id)`.
        experiments: Open experiments by id.
        paused: Whether a person paused all tuning.
    """

    store_id: str = ""
    revision: int = -1
    teams: _Teams = field(factory=lambda: MappingProxyType({}))
    experiments: Mapping[str, Experiment] = field(factory=lambda: MappingProxyType({}))
    paused: bool = False

    def updated(
        self,
        store_id: str,
        revision: int,
        teams: Iterable[TeamState],
        experiments: Iterable[Experiment],
        *,
        paused: bool = False,
    ) -> Snapshot:
        """Return the snapshot with what changed since its revision; of another store, with nothing else.

        Args:
            teams: The teams that changed.
            experiments: Their open experiments.
            paused: Whether a person paused all tuning.
        """
        same = store_id == self.store_id
        known = {**(self.teams if same else {}), **{state.key: state for state in teams}}
        found = {**(self.experiments if same else {}), **{one.id: one for one in experiments}}
        needed = {name for state in known.values() for name in (state.experiment_id, state.live_id)}
        still_open = {name: one for name, one in found.items() if name in needed and one.takes_runs}
        return Snapshot(store_id, revision, MappingProxyType(known), MappingProxyType(still_open), paused)

    def known_spec(self, spec: TeamSpec) -> TeamSpec:
        """Return in the terms of which definition a team is told: its own, or the one whose plan it has taken over."""
        state = self.teams.get(spec.key)
        if state is None or state.spec is None or not state.merged or spec.fingerprint() not in state.merged:
            return spec
        return state.spec

    def open_experiment(self, key: tuple[str, str]) -> Experiment | None:
        """Return the experiment that a team's next run takes part in, or None."""
        state = self.teams.get(key)
        if state is None or self.paused or state.paused:
            return None
        return self.experiments.get(state.experiment_id or state.live_id or "")


class Memory:
    """The process's copy of what the store knows. Its threads replace the parts; a run only reads them.

    Attributes:
        snapshot: Live plans and open experiments.
        streams: Where the process is in its streams of arms.
        settings: The settings by which each team ran last in this process.
        held: Ids of the canaries that take no further run before their first ones have their scores.
        last_run_at: Monotonic seconds of the last start of a run.

    Args:
        clock: Monotonic seconds.
        random: What names of fresh streams are drawn from; None for the system's randomness.
    """

    def __init__(self, clock: Callable[[], float], random: Random | None = None) -> None:
        self.snapshot = Snapshot()
        self.streams = Streams(random)
        self.settings: dict[tuple[str, str], Settings] = {}
        self.held: frozenset[str] = frozenset()
        self.last_run_at = clock()
        self._clock = clock
        self._confirmed_at = clock()

    @property
    def is_known(self) -> bool:
        """Whether there is a snapshot, of the store or its file."""
        return self.snapshot.revision >= 0

    @property
    def age(self) -> float:
        """Seconds since the store last confirmed the snapshot."""
        return self._clock() - self._confirmed_at

    def replace(self, snapshot: Snapshot, age: float = 0.0) -> None:
        """Decide from this snapshot from now on, confirmed so many seconds ago."""
        self.snapshot = snapshot
        self._confirmed_at = self._clock() - age

    def now(self) -> float:
        """Return the time of the clock that `age` goes by, monotonic seconds."""
        return self._clock()

    def confirm(self, asked_at: float) -> None:
        """Note that the store had nothing newer when it was asked; its answer may have taken long.

        Args:
            asked_at: Monotonic seconds.
        """
        self._confirmed_at = asked_at

    def remember(self, key: tuple[str, str], settings: Settings) -> None:
        """Keep the settings of a team that runs now; by them it is judged."""
        self.last_run_at = self._clock()
        if self.settings.get(key) is not settings:
            self.settings.pop(key, None)
            self.settings[key] = settings
            if len(self.settings) > _MOST_TEAMS:
                del self.settings[next(iter(self.settings))]


def phase_of(experiment: Experiment) -> Phase:
    """Return the phase that an open experiment is in."""
    return "watch" if experiment.is_verified else "test"


def stream_key(experiment: Experiment) -> StreamKey:
    """Return under which the streams of arms of an open experiment are kept now."""
    return experiment.id, phase_of(experiment), experiment.stage


def shares_of(experiment: Experiment, stream: str) -> Mapping[str, float] | None:
    """Return the share of each arm in a stream of an experiment; None for halves."""
    return shares_of_stream(stream, experiment.watch_policy.holdback if experiment.is_verified else None)


def needs_arms(experiment: Experiment, settings: Settings) -> bool:
    """Return whether the next run under an open experiment is assigned to an arm."""
    if experiment.is_verified:
        return settings.watch.enabled
    return experiment.is_tested


def choose(
    snapshot: Snapshot,
    event: RunStart,
    settings: Settings,
    age: float,
    streams: Streams,
    *,
    test_seconds: float,
    held: Collection[str] = (),
) -> PlannedRun:
    """Choose the plan and the arm of a run.

    Args:
        age: Seconds since the store last confirmed the snapshot.
        streams: Where the process is in its streams of arms; the run takes the next place.
        test_seconds: Age from which the run takes part in no test.
        held: As in `Memory`.

    Returns:
        The plan. A team whose definition is not the one that the snapshot knows runs as configured, with the plan that
        its settings give it to start from. A knob that something else in Victor has set stays as that set it, and the
        run takes part in no test.
    """
    if settings.mode == "observe":
        return PlannedRun(mode=settings.mode)
    if settings.plan is not None:
        return PlannedRun(settings.plan, settings.mode, source="settings")
    state = snapshot.teams.get(event.spec.key)
    # A plan may have been asked for before the team's first run; then the state has no fingerprint yet.
    if state is None or age > PLAN_SECONDS or state.fingerprint not in (None, event.spec.fingerprint()):
        start = event.spec.plan_to_start_from.without(event.owners)
        return PlannedRun(start, settings.mode, None, "configured" if start.is_empty else "settings")
    experiment = snapshot.open_experiment(state.key) if settings.mode in TESTING and age <= test_seconds else None
    if experiment is None or event.owners or experiment.id in held:
        plan = state.plan.without(event.owners)
        as_configured = plan.is_empty and not state.merged  # else that may be otherwise than the file says now
        return PlannedRun(plan, settings.mode, None, "configured" if as_configured else "live")
    if experiment.status == "awaits_promotion":  # it is proven better: the slower arm has no more runs
        return PlannedRun(experiment.treatment, settings.mode, None, "experiment")
    if not needs_arms(experiment, settings):
        return PlannedRun(state.plan, settings.mode, None, "live")
    assignment = _assigned(experiment, event, streams)
    plan = experiment.treatment if assignment.arm == TREATMENT else experiment.control
    return PlannedRun(plan, settings.mode, assignment, "watch" if assignment.phase == "watch" else "experiment")


def _assigned(experiment: Experiment, event: RunStart, streams: Streams) -> Assignment:
    """Assign a run to an arm; a task keeps its arm where that is asked for, and is else paired within itself."""
    phase, task = phase_of(experiment), event.task_key
    if task is not None and phase == "test" and experiment.policy.sticky:
        stream, index = f"{CLUSTER_STREAM}{task}", streams.count(experiment.id, task)
        arm = assign(f"{experiment.seed}:{phase}", 0, stream=stream)
        return Assignment(experiment.id, phase, arm, stream, index)
    in_itself = experiment.policy.pair_tasks and phase == "test" and not experiment.stage
    stream, index = streams.take(stream_key(experiment), task if in_itself else None)
    arm = assign(f"{experiment.seed}:{phase}", index, shares_of(experiment, stream), stream=stream)
    return Assignment(experiment.id, phase, arm, stream, index)
