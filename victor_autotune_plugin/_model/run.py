"""What one run of a team was: its members' outcomes and its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from attrs import asdict, field, frozen

from .plan import EMPTY_PLAN, TeamPlan, TeamSpec


def _names(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(values)


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
        input_tokens: Prompt tokens as the provider reported them.
        output_tokens: Completion tokens as the provider reported them.
        models: Names of the models it called, sorted.
        error_class: Class of the error that ended it, or None.
    """

    id: str
    role: str = ""
    success: bool = False
    finished: bool = False
    duration_seconds: float = 0.0
    tool_calls: int = 0
    tool_calls_refused: int = 0
    llm_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    models: tuple[str, ...] = field(default=(), converter=_names)
    error_class: str | None = None


@frozen
class TokenUse:
    """Tokens that one model used in a run; what a price is asked for.

    Attributes:
        model: Model name as it was called.
        input_tokens: Prompt tokens.
        output_tokens: Completion tokens.
    """

    model: str
    input_tokens: int = 0
    output_tokens: int = 0


def _outcomes(values: Iterable[MemberOutcome]) -> tuple[MemberOutcome, ...]:
    return tuple(values)


def _uses(values: Iterable[TokenUse]) -> tuple[TokenUse, ...]:
    return tuple(values)


@frozen
class TeamRun:
    """One finished run of a team: everything the plugin keeps of it. Neither prompt nor output is in it.

    Attributes:
        run_id: Unique id (UUID4 hex).
        spec: The team as configured.
        started_at: Unix time of the start, seconds.
        duration_seconds: Monotonic seconds from start to finish.
        success: Whether the team succeeded.
        score: Graded outcome in [0, 1].
        entry: The way in: `step`, `config` or `task`.
        parent_id: Run id of the team run that this one ran inside, or None.
        task_key: Key that is equal for the same task, or None.
        mode: The workflow's mode when it ran.
        plan_asked: The plan the plugin asked for; empty when none.
        plan_used: Every knob as it really ran.
        experiment_id: Experiment that the run took part in, or None.
        arm: Its arm, `control` or `treatment`, or None.
        phase: Phase of the experiment it was assigned in, `test` or `watch`, or None.
        index: Place of its unit in that phase's assignment sequence, or None.
        timed_out: Whether a deadline ended it.
        cancelled: Whether it was cancelled from outside.
        error_class: Class of the error that ended it, or None.
        cost_usd: Cost in US dollars, or None when no price is known.
        members: Outcomes in the order of the plan that was used.
        tokens: Token use by model.
    """

    run_id: str
    spec: TeamSpec
    started_at: float
    duration_seconds: float
    success: bool
    score: float
    entry: str = "config"
    parent_id: str | None = None
    task_key: str | None = None
    mode: str = "observe"
    plan_asked: TeamPlan = EMPTY_PLAN
    plan_used: TeamPlan = EMPTY_PLAN
    experiment_id: str | None = None
    arm: str | None = None
    phase: str | None = None
    index: int | None = None
    timed_out: bool = False
    cancelled: bool = False
    error_class: str | None = None
    cost_usd: float | None = None
    members: tuple[MemberOutcome, ...] = field(default=(), converter=_outcomes)
    tokens: tuple[TokenUse, ...] = field(default=(), converter=_uses)

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

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data with the totals included; `from_dict` reads it back."""
        return {
            "run_id": self.run_id,
            "workflow": self.spec.workflow,
            "team_id": self.spec.team_id,
            "spec": self.spec.to_dict(),
            "started_at": self.started_at,
            "duration_seconds": self.duration_seconds,
            "success": self.success,
            "score": self.score,
            "entry": self.entry,
            "parent_id": self.parent_id,
            "task_key": self.task_key,
            "mode": self.mode,
            "plan_asked": self.plan_asked.to_dict(),
            "plan_used": self.plan_used.to_dict(),
            "experiment_id": self.experiment_id,
            "arm": self.arm,
            "phase": self.phase,
            "index": self.index,
            "timed_out": self.timed_out,
            "cancelled": self.cancelled,
            "error_class": self.error_class,
            "cost_usd": self.cost_usd,
            "tool_calls": self.tool_calls,
            "llm_calls": self.llm_calls,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "members": [asdict(member) for member in self.members],
            "tokens": [asdict(use) for use in self.tokens],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TeamRun:
        """Read what `to_dict` wrote. Keys that this version does not know are ignored."""
        plain = {
            name: data[name]
            for name in (
                "run_id",
                "started_at",
                "duration_seconds",
                "success",
                "score",
                "entry",
                "parent_id",
                "task_key",
                "mode",
                "experiment_id",
                "arm",
                "phase",
                "index",
                "timed_out",
                "cancelled",
                "error_class",
                "cost_usd",
            )
        }
        return cls(
            spec=TeamSpec.from_dict(data["spec"]),
            plan_asked=TeamPlan.from_dict(data["plan_asked"]),
            plan_used=TeamPlan.from_dict(data["plan_used"]),
            members=[MemberOutcome(**member) for member in data["members"]],
            tokens=[TokenUse(**use) for use in data["tokens"]],
            **plain,
        )
