"""What the plugin remembers of a team between runs: its state, experiments, assignments and changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

from attrs import field, frozen

from .observation import Observation
from .plan import EMPTY_PLAN, TeamPlan, TeamSpec
from .policy import Policy, WatchPolicy
from .price import KeptPrices
from .quantities import DEFAULT_ENVIRONMENT, Arm, Count, Name, UnixTime

_T = TypeVar("_T")

ExperimentStatus = Literal["draft", "running", "failed", "inconclusive", "aborted", "watched", "settled", "rolled_back"]
"""Where an experiment is. One that passed is promoted at once, and so is `watched`."""

Phase = Literal["test", "watch"]
"""`test`: the challenger against the incumbent. `watch`: the promoted plan against a holdback."""

ChangeAction = Literal[
    "started", "promoted", "failed", "inconclusive", "rolled_back", "settled", "aborted", "paused", "resumed"
]
"""What happened to a team's plan."""

Actor = Literal["auto", "person"]
"""Who did it."""

Allowance = Literal["data_flow", "score", "person"]
"""What allows a change: by the data flow it keeps the work, a scorer grades what comes out, or a person agrees."""

TRANSITIONS: Final[Mapping[str, frozenset[str]]] = {
    "draft": frozenset({"running", "aborted"}),
    "running": frozenset({"watched", "failed", "inconclusive", "aborted"}),
    "watched": frozenset({"settled", "rolled_back", "aborted"}),
    "failed": frozenset(),
    "inconclusive": frozenset(),
    "aborted": frozenset(),
    "settled": frozenset(),
    "rolled_back": frozenset(),
}
"""For every status the ones that may follow it. A watch is aborted when the team's definition changes under it."""

ENDED: Final = frozenset(status for status, following in TRANSITIONS.items() if not following)
"""The statuses after which an experiment never changes again."""


TAKES_BACK: Final = "takes_back"
"""Key in a rollback's evidence: the ids of the changes that it rolled back."""


def may_follow(status: str, following: str) -> bool:
    """Return whether an experiment may go from one status to another.

    Staying is allowed, so that a transition can be written twice.

    Raises:
        KeyError: `status` is no `ExperimentStatus`.
    """
    return following in TRANSITIONS[status] or following == status


def _policy(value: Policy | Mapping[str, Any]) -> Policy:
    return value if isinstance(value, Policy) else _read(Policy, value)


def _watch_policy(value: WatchPolicy | Mapping[str, Any]) -> WatchPolicy:
    return value if isinstance(value, WatchPolicy) else _read(WatchPolicy, value)


def _read(kind: type[_T], value: Any) -> _T:
    from .converter import from_plain

    return from_plain(kind, value)


@frozen
class _Plain:
    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        from .converter import to_plain

        plain: dict[str, Any] = to_plain(self)
        return plain


@frozen
class TeamState(_Plain):
    """What holds for the next run of a team. There is one per environment, workflow and team id.

    Attributes:
        workflow: Workflow name.
        team_id: Team step id.
        version: Counts how often it was saved; 0 when it never was.
        plan: The live plan: the one that was promoted last, empty when none was.
        fingerprint: Fingerprint of the `TeamSpec` that the plan was made for, or None.
        spec: The team as it was last seen, or None.
        experiment_id: The open experiment, tested or watched, or None.
        paused: Whether a person paused the tuning of the team.
        updated_at: Unix time of the last change, seconds.
        wants_control: Whether the watch over the live plan asks for control runs now.
        revision: Revision of the store at which it was saved; 0 when it never was.
        environment: Environment that the team runs in.
    """

    workflow: str
    team_id: str
    version: Count = 0
    plan: TeamPlan = EMPTY_PLAN
    fingerprint: str | None = None
    spec: TeamSpec | None = None
    experiment_id: str | None = None
    paused: bool = False
    updated_at: UnixTime = 0.0
    wants_control: bool = False
    revision: Count = 0
    environment: Name = DEFAULT_ENVIRONMENT

    @property
    def key(self) -> tuple[str, str]:
        """`(workflow, team_id)`, under which it is kept in its environment."""
        return self.workflow, self.team_id


@frozen
class Experiment(_Plain):
    """One change put to the proof. All that a decision is replayed from, beside the observations.

    Attributes:
        id: Unique id.
        workflow: Workflow name.
        team_id: Team step id.
        fingerprint: Fingerprint of the `TeamSpec` it holds for.
        strategy: Strategy that suggested the change.
        description: The change in a line for people.
        control: The incumbent plan.
        treatment: The challenger plan.
        seed: Seed of the assignment.
        assignment_version: Name of the assignment's algorithm.
        policy: Policy of the test.
        watch_policy: Policy of the watch.
        status: Where it is.
        created_at: Unix time, seconds.
        decided_at: Unix time of the test's verdict, or None.
        promoted_at: Unix time of the promotion, or None.
        ended_at: Unix time after which it never changes again, or None.
        verdict: The test's verdict, as plain data, or None.
        watch_verdict: The watch's verdict, as plain data, or None.
        code_version: Version of the plugin that made it.
        task_effects: Log effect of each task key on the primary metric, from the runs before the test; empty when no
            task is known. The test takes it off, so the verdict is replayed from it, too.
        environment: Environment that its runs are from.
        reference: Runs from before that its watch compares with: those of the replaced plan, where a person applied the
            change without a test.
        prices: The prices by which its runs are priced until it ends; None in those of 0.1, whose runs have the
            current ones.
        allowed_by: What allows the change; None in experiments of 0.1.
    """

    id: Name
    workflow: str
    team_id: str
    fingerprint: str
    strategy: str
    description: str
    control: TeamPlan
    treatment: TeamPlan
    seed: str
    assignment_version: str
    policy: Policy = field(converter=_policy)
    watch_policy: WatchPolicy = field(converter=_watch_policy)
    status: ExperimentStatus
    created_at: UnixTime
    decided_at: UnixTime | None = None
    promoted_at: UnixTime | None = None
    ended_at: UnixTime | None = None
    verdict: Mapping[str, Any] | None = None
    watch_verdict: Mapping[str, Any] | None = None
    code_version: str = ""
    task_effects: Mapping[str, float] = field(factory=dict)
    environment: Name = DEFAULT_ENVIRONMENT
    reference: tuple[Observation, ...] = ()
    prices: KeptPrices | None = None
    allowed_by: Allowance | None = None

    @property
    def is_open(self) -> bool:
        """Whether runs take part in it: tested or watched."""
        return self.status in ("running", "watched")

    @property
    def is_untested(self) -> bool:
        """Whether a person applied the change, so that it has a watch and no test."""
        return self.promoted_at is not None and self.verdict is None

    @property
    def has_ended(self) -> bool:
        """Whether it never changes again."""
        return self.status in ENDED


@frozen
class Change(_Plain):
    """One entry of a team's history.

    Attributes:
        id: Number given by the store, or None before it is stored.
        at: Unix time, seconds.
        workflow: Workflow name.
        team_id: Team step id.
        action: What happened.
        actor: Who did it.
        reason: Why, in a line for people.
        experiment_id: Experiment it belongs to, or None.
        plan_before: The live plan before.
        plan_after: The live plan after.
        rollback_plan: The plan that undoes the change exactly, or None when there is nothing to undo.
        improvement_percent: Proven improvement in percent, or None.
        evidence: What it rests on, as plain data.
        environment: Environment that the team runs in.
    """

    id: Count | None
    at: UnixTime
    workflow: str
    team_id: str
    action: ChangeAction
    actor: Actor
    reason: str
    experiment_id: str | None = None
    plan_before: TeamPlan = EMPTY_PLAN
    plan_after: TeamPlan = EMPTY_PLAN
    rollback_plan: TeamPlan | None = None
    improvement_percent: float | None = None
    evidence: Mapping[str, Any] = field(factory=dict)
    environment: Name = DEFAULT_ENVIRONMENT

    @property
    def takes_back(self) -> tuple[int, ...]:
        """Ids of the changes that it rolled back."""
        return tuple(self.evidence.get(TAKES_BACK, ()))


@frozen
class Assignment(_Plain):
    """The place of a run in one phase of an experiment.

    Attributes:
        experiment_id: The experiment.
        phase: Its phase.
        arm: `control` or `treatment`.
        stream: Name of the sequence of arms that the run is from: a numbered slot of the store, one of a file, or
            a task's own.
        index: Place in the stream, from 0.
    """

    experiment_id: str
    phase: Phase
    arm: Arm
    stream: str
    index: Count
