"""What the analysis knows of a run: the light value that recorded runs and rows of metrics files become."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import Factory, field, frozen

from .._model.run import MemberOutcome, TeamRun

SUB_TEAMS: Final = "sub_teams"
"""What stands as the formation of a run whose members worked in sub-teams."""


def _outcomes(values: Iterable[MemberOutcome]) -> tuple[MemberOutcome, ...]:
    return tuple(values)


@frozen
class RunFacts:
    """One finished run of a team.

    Attributes:
        team_id: The team.
        formation: One of Victor's formations, or `SUB_TEAMS`.
        member_count: Members that took part.
        success: Whether the team succeeded.
        duration_seconds: Seconds from start to finish.
        tool_calls: Tool calls that ran, all members.
        timestamp: Unix time of the start, seconds.
        workflow: Workflow name, empty when it is not known.
        score: Graded outcome in [0, 1]; without one, 1 for a success and 0 for a failure.
        cost_usd: Cost in US dollars, or None.
        input_tokens: Prompt tokens, or None when they were not counted.
        output_tokens: Completion tokens, or None.
        timed_out: Whether a deadline ended it.
        cancelled: Whether it was cancelled from outside. Such runs are left out of every figure.
        error_class: Class of the error that ended it, or None.
        task_key: Key that is equal for the same task, or None.
        tool_budget: Tool calls the team was allowed, where that was enforced, else None.
        timeout_seconds: Deadline that was enforced, or None.
        members: What each member did, in order; empty when it is not known.
        run_id: Unique id, or None.
        extra: Fields of a metrics file that nothing here is named after, as they were.
    """

    team_id: str
    formation: str
    member_count: int
    success: bool
    duration_seconds: float
    tool_calls: int
    timestamp: float
    workflow: str = ""
    score: float = field(default=Factory(lambda self: 1.0 if self.success else 0.0, takes_self=True))
    cost_usd: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    timed_out: bool = False
    cancelled: bool = False
    error_class: str | None = None
    task_key: str | None = None
    tool_budget: int | None = None
    timeout_seconds: float | None = None
    members: tuple[MemberOutcome, ...] = field(default=(), converter=_outcomes)
    run_id: str | None = None
    extra: Mapping[str, Any] = field(factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """`(workflow, team_id)`."""
        return self.workflow, self.team_id

    @classmethod
    def from_run(cls, run: TeamRun) -> RunFacts:
        """Return the facts of a recorded run.

        Args:
            run: The run.
        """
        used = run.plan_used
        return cls(
            team_id=run.spec.team_id,
            formation=SUB_TEAMS if used.sub_teams else used.formation or run.spec.formation,
            member_count=len(run.members) or len(used.members or run.spec.members),
            success=run.success,
            duration_seconds=run.duration_seconds,
            tool_calls=run.tool_calls,
            timestamp=run.started_at,
            workflow=run.spec.workflow,
            score=run.score,
            cost_usd=run.cost_usd,
            input_tokens=run.input_tokens,
            output_tokens=run.output_tokens,
            timed_out=run.timed_out,
            cancelled=run.cancelled,
            error_class=run.error_class,
            task_key=run.task_key,
            tool_budget=used.tool_budget,
            timeout_seconds=used.timeout_seconds,
            members=run.members,
            run_id=run.run_id,
        )
