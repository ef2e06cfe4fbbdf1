"""What the plugin remembers of a team between runs: its state, experiments, assignments and changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, TypeVar

from attrs import field, frozen

from .assignment import REVERIFY, STAGE_SHARES
from .observation import Observation
from .plan import EMPTY_PLAN, TeamPlan, TeamSpec
from .policy import Policy, WatchPolicy
from .price import KeptPrices
from .quantities import DEFAULT_ENVIRONMENT, Arm, Count, Name, UnixTime
from .score import Gate, gates_from

_T = TypeVar("_T")

ExperimentStatus = Literal[
    "draft",
    "awaits_approval",
    "canary",
    "testing",
    "probation",
    "awaits_promotion",
    "proven",
    "reverifying",
    "failed",
    "inconclusive",
    "aborted",
    "rolled_back",
    "superseded",
]
"""Where an experiment is; `STATES` tells of each."""

TestEnd = Literal["failed", "inconclusive", "aborted", "rolled_back"]
"""How a test ends that promotes nothing; its line in the history is called so, too."""

Phase = Literal["test", "watch"]
"""`test`: the challenger against the incumbent. `watch`: the live plan, and now and then the one before."""

ChangeAction = Literal[
    "awaits_approval",
    "started",
    "probation",
    "awaits_promotion",
    "promoted",
    "reverifying",
    "confirmed",
    "failed",
    "inconclusive",
    "aborted",
    "rejected",
    "rolled_back",
    "paused",
    "resumed",
    "merged",
    "settled",
    "judge_trusted",
    "judge_distrusted",
]
"""What happened to a team's plan; `settled` in 0.1 alone. A plan that is `confirmed` was verified again, and
one that is `merged` stands in the team's own definition."""

Actor = Literal["auto", "person"]
"""Who did it."""

Allowance = Literal["data_flow", "score", "person"]
"""What allows a change: by the data flow it keeps the work, a scorer grades what comes out, or a person agrees."""

Promotion = Literal["probation", "proof"]
"""What a layout change that keeps the work needs to go live: to be likely better, on probation, or a proof."""


@frozen
class State:
    """One state of an experiment, as code, store, screens and docs have it.

    Attributes:
        meaning: What it means, in a line for people.
        next: The states that may follow; none after the end.
        takes_runs: Whether the team's runs take part in it.
        is_live: Whether its treatment is the team's live plan.
        awaits_person: Whether nothing goes on before a person answers.
    """

    meaning: str
    next: frozenset[str] = frozenset()
    takes_runs: bool = False
    is_live: bool = False
    awaits_person: bool = False


def _to(*states: str) -> frozenset[str]:
    return frozenset(states)


STATES: Final[Mapping[str, State]] = {
    "draft": State("chosen, and not asked for yet", _to("awaits_approval", "canary", "proven", "aborted")),
    "awaits_approval": State(
        "a person decides whether it is tested",
        _to("canary", "inconclusive", "aborted", "superseded"),
        awaits_person=True,
    ),
    "canary": State(
        "tested on one run in four, until three have finished",
        _to("testing", "probation", "awaits_promotion", "proven", "failed", "inconclusive", "aborted"),
        takes_runs=True,
    ),
    "testing": State(
        "tested on every other run",
        _to("probation", "awaits_promotion", "proven", "failed", "inconclusive", "aborted"),
        takes_runs=True,
    ),
    "probation": State(
        "live on seven runs in ten, while the test goes on",
        _to("proven", "failed", "inconclusive", "aborted", "rolled_back"),
        takes_runs=True,
        is_live=True,
    ),
    "awaits_promotion": State(
        "proven better; a person decides whether it goes live",
        _to("proven", "inconclusive", "aborted"),
        takes_runs=True,
        awaits_person=True,
    ),
    "proven": State(
        "live, and verified with every run", _to("reverifying", "rolled_back", "superseded"), True, is_live=True
    ),
    "reverifying": State(
        "live, and compared with the plan before since something changed",
        _to("proven", "rolled_back", "superseded"),
        takes_runs=True,
        is_live=True,
    ),
    "failed": State("it did harm"),
    "inconclusive": State("ended without proof"),
    "aborted": State("ended before it was decided"),
    "rolled_back": State("was live, and the plan before is live again"),
    "superseded": State("another change took its place"),
}
"""Every state of an experiment."""

ENDED: Final = frozenset(name for name, state in STATES.items() if not state.next)
"""The states after which an experiment never changes again."""

TESTED: Final = ("canary", "testing", "probation")
"""The states in which an experiment's test goes on."""

VERIFIED: Final = ("proven", "reverifying")
"""The states in which an experiment's plan is live and verified."""


TAKES_BACK: Final = "takes_back"
"""Key in a rollback's evidence: the ids of the changes that it rolled back."""


def may_follow(status: str, following: str) -> bool:
    """Return whether an experiment may go from one status to another.

    Staying is allowed, so that a transition can be written twice.

    Raises:
        KeyError: `status` is no `ExperimentStatus`.
    """
    return following in STATES[status].next or following == status


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


def _fingerprints(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


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
        experiment_id: The experiment that is tested, or waits for its promotion, or None.
        live_id: The experiment behind the live plan, by which it is verified, or None.
        paused: Whether a person paused the tuning of the team.
        updated_at: Unix time of the last change, seconds.
        revision: Revision of the store at which it was saved; 0 when it never was.
        environment: Environment that the team runs in.
        gates: The scorers that decide how good its work is; empty where none does.
        merged: Fingerprints of definitions that have taken a live plan over; their runs are told in terms of `spec`.
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
    live_id: str | None = None
    revision: Count = 0
    environment: Name = DEFAULT_ENVIRONMENT
    gates: tuple[Gate, ...] = field(default=(), converter=gates_from)
    merged: tuple[str, ...] = field(default=(), converter=_fingerprints)

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
        bad_before: How many of the team's runs before the test failed, timed out or went missing, and how many there
            were.
        environment: Environment that its runs are from.
        reference: Runs from before that its watch compares with: those of the replaced plan, where a person applied the
            change without a test.
        prices: The prices by which its runs are priced until it ends; None in those of 0.1, whose runs have the
            current ones.
        allowed_by: What allows the change; None in experiments of 0.1.
        promotion: What it needs to go live. A person who rejects a probation makes it `proof`.
        asks_for: What a person is asked for and has not answered: `probation` while the test goes on, or None.
        rounds: How often its plan was verified again.
        proven_by: The experiment whose test proved the plan that this one verifies, where that was another one.
        control_id: The experiment that verifies the control, or None: the control's runs are that one's, too.
        gates: The scorers whose scores decide, as they were when it was made; empty where none does.
        decided_order: Order of the last observation that its test was decided by; the watch sees those after it. None
            where there is none.
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
    bad_before: tuple[Count, Count] = (0, 0)
    environment: Name = DEFAULT_ENVIRONMENT
    reference: tuple[Observation, ...] = ()
    prices: KeptPrices | None = None
    allowed_by: Allowance | None = None
    promotion: Promotion = "proof"
    asks_for: Literal["probation"] | None = None
    rounds: Count = 0
    proven_by: str | None = None
    control_id: str | None = None
    gates: tuple[Gate, ...] = field(default=(), converter=gates_from)
    decided_order: Count | None = None

    @property
    def takes_runs(self) -> bool:
        """Whether the team's runs take part in it."""
        return STATES[self.status].takes_runs

    @property
    def is_tested(self) -> bool:
        """Whether its test goes on."""
        return self.status in TESTED

    @property
    def is_verified(self) -> bool:
        """Whether its plan is live for good, and verified."""
        return self.status in VERIFIED

    @property
    def is_untested(self) -> bool:
        """Whether its plan went live without a test of its own: a person applied it, or an earlier test proved it."""
        return self.promoted_at is not None and self.verdict is None and bool(self.reference)

    @property
    def broken_off(self) -> TestEnd:
        """How it ends when it is broken off: a plan that is live goes back."""
        return "rolled_back" if STATES[self.status].is_live else "aborted"

    @property
    def stage(self) -> str:
        """Stage of the streams of arms that its runs are assigned from; empty for halves, or a holdback."""
        if self.status in STAGE_SHARES:
            return self.status
        return f"{REVERIFY}{self.rounds}" if self.status == "reverifying" else ""

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
        by: Name of the person, or None.
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
    by: str | None = None

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
