"""A run of a team: what starts, the plan it got, what it was, and the few numbers an engine needs of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from attrs import field, frozen

from .data_flow import RunFlow
from .experiment import Assignment, Phase
from .observation import Missing
from .observation import Observation as Observation
from .plan import EMPTY_PLAN, TeamPlan, TeamSpec
from .quantities import ARMS as ARMS
from .quantities import CONTROL as CONTROL
from .quantities import DEFAULT_ENVIRONMENT, Arm, Count, Dollars, Figure, Name, Seconds, Share, UnixTime
from .quantities import TREATMENT as TREATMENT

if TYPE_CHECKING:
    from .._settings import Settings

RunStatus = Literal["running", "finished", "lost", "late"]
"""Where a run is. `lost`: its process fell silent before the run ended. `late`: it ended after all, with all figures
recorded, but had been marked as lost and stays so for its experiment."""


def _names(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


@frozen
class RunStart:
    """A team is about to run. The attributes mean what they mean in `TeamRun`.

    Attributes:
        metadata: The workflow's own `metadata.autotune`, or None. It is not stored.
        settings: The team's settings, resolved once for the run, or None where no host did. They are not stored.
        environment: Environment of the run.
        owners: Knobs that something else in Victor has set for this run, by name: who did. The plugin leaves them
            alone, and the run takes part in no test.
    """

    run_id: str
    spec: TeamSpec
    started_at: float
    entry: str = "config"
    parent_id: str | None = None
    task_key: str | None = None
    metadata: Any = None
    settings: Settings | None = field(default=None, eq=False, repr=False)
    environment: Name = DEFAULT_ENVIRONMENT
    owners: Mapping[str, str] = field(factory=dict)


@frozen
class PlannedRun:
    """The plan of one run and why it has it.

    Attributes:
        plan: What to change.
        mode: The mode of the workflow: `observe`, `suggest`, `approve` or `auto`.
        assignment: The run's place in an experiment, or None outside one.
        source: Who chose the plan: `configured`, `settings`, `live`, `experiment`, `watch`, or a hook's name.
        owners: Knobs that a hook changed after the plan was chosen, by name: which hook.
    """

    plan: TeamPlan = EMPTY_PLAN
    mode: str = "observe"
    assignment: Assignment | None = None
    source: str = "configured"
    owners: Mapping[str, str] = field(factory=dict)

    @property
    def experiment_id(self) -> str | None:
        """Experiment the run takes part in, or None."""
        return None if self.assignment is None else self.assignment.experiment_id

    @property
    def arm(self) -> str | None:
        """Its arm, or None."""
        return None if self.assignment is None else self.assignment.arm

    @property
    def phase(self) -> Phase | None:
        """Phase of the experiment, or None."""
        return None if self.assignment is None else self.assignment.phase

    @property
    def stream(self) -> str | None:
        """Stream of arms that its arm is from, or None."""
        return None if self.assignment is None else self.assignment.stream

    @property
    def index(self) -> int | None:
        """Place in that stream, or None."""
        return None if self.assignment is None else self.assignment.index


@frozen
class MemberOutcome:
    """What one member did in a run, measured by the plugin.

    Attributes:
        id: Member id.
        role: Its role, empty when it has none.
        success: Whether its last execution succeeded; False when it did not finish.
        finished: Whether its last execution came to an end before the team's did.
        duration_seconds: Wall-clock seconds spent in its executions (a consensus runs it several times).
        tool_calls: Tool calls that really ran.
        tool_calls_refused: Tool calls refused because a budget was spent.
        llm_calls: Calls of the model.
        input_tokens: Prompt tokens that the provider bills: fresh ones, and those read from and written to a cache.
        output_tokens: Completion tokens that the provider bills, reasoning included.
        models: Names of the models it called, sorted.
        error_class: Class of the error that ended it, or None.
        model_seconds: Seconds among them in which it waited for its model, or None where that was not measured.
        tool_seconds: Seconds in which its tools ran, or None. What is left of the duration is work on the event loop.
        in_flight: Mean number of model calls of this process that were under way during its own, itself included.
        begun_after: Seconds from the start of the run to that of its first execution; None where that was not measured.
    """

    id: Name
    role: str = ""
    success: bool = False
    finished: bool = False
    duration_seconds: Seconds = 0.0
    tool_calls: Count = 0
    tool_calls_refused: Count = 0
    llm_calls: Count = 0
    input_tokens: Count = 0
    output_tokens: Count = 0
    models: tuple[str, ...] = field(default=(), converter=_names)
    error_class: str | None = None
    model_seconds: Seconds | None = None
    tool_seconds: Seconds | None = None
    in_flight: Figure = 1.0
    begun_after: Seconds | None = None


@frozen
class TokenUse:
    """Tokens that one model used in a run; what a price is asked for.

    Attributes:
        model: Model name as it was called.
        input_tokens: Prompt tokens, all kinds.
        output_tokens: Completion tokens, reasoning included.
        cached_tokens: Prompt tokens among them that were read from a cache.
        cache_write_tokens: Prompt tokens among them that were written to a cache.
        reasoning_tokens: Completion tokens among them that the provider reports as reasoning.
        provider: Victor's name of the provider; empty in runs of 0.1.
        context_tokens: Every one of these calls had more prompt tokens than this, one of `CONTEXT_TOKENS`.
        unreported_calls: Answers among these calls whose tokens the provider did not report.
    """

    model: str
    input_tokens: Count = 0
    output_tokens: Count = 0
    cached_tokens: Count = 0
    cache_write_tokens: Count = 0
    reasoning_tokens: Count = 0
    provider: str = ""
    context_tokens: Count = 0
    unreported_calls: Count = 0


CONTEXT_TOKENS: Final = (0, 32_000, 100_000, 128_000, 199_999, 200_000, 256_000, 272_000, 512_000, 524_288)
"""Lengths of a prompt from which providers charge other prices, and 0."""


def _outcomes(values: Iterable[MemberOutcome]) -> tuple[MemberOutcome, ...]:
    return tuple(values)


def _uses(values: Iterable[TokenUse]) -> tuple[TokenUse, ...]:
    return tuple(values)


@frozen
class TeamRun:
    """One run of a team: everything the plugin keeps of it. Neither prompt nor output is in it.

    A run that has not finished is met only in the store; what only its end tells has no meaning then.

    Attributes:
        run_id: Unique id (UUID4 hex).
        spec: The team as configured; where its definition has taken a live plan over, as configured before.
        started_at: Unix time of the start, seconds.
        duration_seconds: Monotonic seconds from start to finish.
        success: Whether the team succeeded.
        member_success_share: Share of its members that say they succeeded. It tells whether they ran, not how good
            their work is.
        entry: The way in: `step`, `config` or `task`.
        parent_id: Run id of the team run that this one ran inside, or None.
        task_key: Key that is equal for the same task, or None.
        mode: The workflow's mode when it ran.
        plan_asked: The plan the plugin asked for; empty when none.
        plan_used: Every knob as it really ran.
        experiment_id: Experiment that the run took part in, or None.
        arm: Its arm, `control` or `treatment`, or None.
        phase: Phase of the experiment it was assigned in, `test` or `watch`, or None.
        stream: Stream of arms it was assigned from, or None.
        index: Place in that stream, or None.
        timed_out: Whether a deadline ended it.
        cancelled: Whether it was cancelled from outside.
        error_class: Class of the error that ended it, or None.
        cost_usd: Cost in US dollars, or None when no price is known.
        members: Outcomes in the order of the plan that was used.
        tokens: Token use by model.
        status: Where the run is; everywhere but in the store it has finished.
        number: Place among the team's finished runs, given by the store; None before.
        environment: Environment of the run.
        owners: Knobs that something other than the plugin set for this run, by name: who did.
        flow: Which members used whose work; None where that was not looked at.
        score: What its scorers made of it, from 0 to 1; None where none decides, or one that does had no opinion.
        trace_id: Id of its OpenTelemetry trace; empty where none was recorded.
    """

    run_id: Name
    spec: TeamSpec
    started_at: UnixTime
    duration_seconds: Seconds
    success: bool
    member_success_share: Share
    entry: str = "config"
    parent_id: str | None = None
    task_key: str | None = None
    mode: str = "observe"
    plan_asked: TeamPlan = EMPTY_PLAN
    plan_used: TeamPlan = EMPTY_PLAN
    experiment_id: str | None = None
    arm: Arm | None = None
    phase: Phase | None = None
    index: Count | None = None
    timed_out: bool = False
    cancelled: bool = False
    error_class: str | None = None
    cost_usd: Dollars | None = None
    members: tuple[MemberOutcome, ...] = field(default=(), converter=_outcomes)
    tokens: tuple[TokenUse, ...] = field(default=(), converter=_uses)
    status: RunStatus = field(default="finished", kw_only=True)
    stream: str | None = field(default=None, kw_only=True)
    number: int | None = field(default=None, kw_only=True, eq=False)
    environment: Name = field(default=DEFAULT_ENVIRONMENT, kw_only=True)
    owners: Mapping[str, str] = field(factory=dict, kw_only=True)
    flow: RunFlow | None = field(default=None, kw_only=True)
    score: Share | None = field(default=None, kw_only=True)
    trace_id: str = field(default="", kw_only=True)

    @property
    def outcome(self) -> float:
        """The best that is known of its work: its score, else the share of members that succeeded."""
        return self.member_success_share if self.score is None else self.score

    @property
    def missing(self) -> Missing:
        """How it went missing for its experiment; empty when it did not."""
        if self.status in ("lost", "late"):
            return "lost"
        return "cancelled" if self.cancelled else ""

    @property
    def models(self) -> str:
        """Providers and models that answered, as in `Observation`."""
        return ",".join(sorted({f"{use.provider}/{use.model}" for use in self.tokens}))

    @property
    def ended_at(self) -> float:
        """Unix time of its end, in seconds, on the clock by which it started."""
        return self.started_at + self.duration_seconds

    @property
    def tool_calls(self) -> int:
        """Tool calls that really ran, all members."""
        return sum(member.tool_calls for member in self.members)

    @property
    def llm_calls(self) -> int:
        """Calls of the model, all members."""
        return sum(member.llm_calls for member in self.members)

    @property
    def input_tokens(self) -> int:
        """Prompt tokens, all members."""
        return sum(member.input_tokens for member in self.members)

    @property
    def output_tokens(self) -> int:
        """Completion tokens, all members."""
        return sum(member.output_tokens for member in self.members)

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens read from a cache, all models."""
        return sum(use.cached_tokens for use in self.tokens)

    @property
    def cache_write_tokens(self) -> int:
        """Prompt tokens written to a cache, all models."""
        return sum(use.cache_write_tokens for use in self.tokens)

    @property
    def reasoning_tokens(self) -> int:
        """Reasoning tokens, all models."""
        return sum(use.reasoning_tokens for use in self.tokens)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data with the totals included.

        Of a run that has not finished it is what was known when it started.
        """
        from .converter import to_plain

        data: dict[str, Any] = to_plain(self)
        del data["status"], data["number"]
        if self.status in ("running", "lost"):
            return {name: data[name] for name in _KNOWN_AT_THE_START}
        totals = {name: getattr(self, name) for name in _TOTALS}
        return {**data, "workflow": self.spec.workflow, "team_id": self.spec.team_id, **totals}


_TOTALS: Final = (
    *("tool_calls", "llm_calls", "input_tokens", "output_tokens"),
    *("cached_tokens", "cache_write_tokens", "reasoning_tokens"),
)
_KNOWN_AT_THE_START: Final = (
    *("run_id", "spec", "started_at", "entry", "parent_id", "task_key", "mode", "plan_asked", "experiment_id", "arm"),
)
