"""One run with its members: what each did, when, and what it cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from .._model.text import plan_text
from .run_series import short

if TYPE_CHECKING:
    from .._model.run import MemberOutcome, TeamRun
    from .._model.score import Score

SIDE_BY_SIDE: Final = frozenset({"parallel", "consensus"})
"""Formations whose members begin together."""


def run_view(run: TeamRun, scores: Sequence[Score] = ()) -> dict[str, Any]:
    """Return a run as plain data. Neither prompt nor output is in it, nor what a scorer wrote.

    Args:
        run: The run.
        scores: Its scores by name.

    Returns:
        Its figures; `members`, each with the second `begin` after the run's start; and whether these are `measured`,
        or follow from the formation, since the run was recorded before 0.2.
    """
    measured = all(one.begun_after is not None for one in run.members if one.duration_seconds > 0)
    begins = {one.id: one.begun_after or 0.0 for one in run.members} if measured else dict(_placed(run))
    used = run.plan_used
    return {
        "id": run.run_id,
        "workflow": run.spec.workflow,
        "team": run.spec.team_id,
        "environment": run.environment,
        "status": run.status,
        "at": run.started_at,
        "seconds": run.duration_seconds,
        "success": run.success,
        "timed_out": run.timed_out,
        "cancelled": run.cancelled,
        "error_class": run.error_class,
        "mode": run.mode,
        "asked": plan_text(run.plan_asked),
        "used": plan_text(used),
        "formation": used.formation or run.spec.formation,
        "experiment": run.experiment_id,
        "arm": run.arm,
        "phase": run.phase,
        "usd": run.cost_usd,
        "score": run.score,
        "scores": [{"name": one.name, "value": one.value, "source": one.source, "usd": one.cost_usd} for one in scores],
        "trace_id": run.trace_id,
        "tool_calls": run.tool_calls,
        "llm_calls": run.llm_calls,
        "input_tokens": run.input_tokens,
        "output_tokens": run.output_tokens,
        "cached_tokens": run.cached_tokens,
        "tokens": [
            {
                "model": f"{use.provider}/{use.model}" if use.provider else use.model,
                "input": use.input_tokens,
                "output": use.output_tokens,
                "cached": use.cached_tokens,
                "reasoning": use.reasoning_tokens,
            }
            for use in run.tokens
        ],
        "measured": measured,
        "members": [_member(one, begins.get(one.id, 0.0)) for one in run.members],
        "uses": [] if run.flow is None else sorted({(one.source, one.target) for one in run.flow.edges if one.sure}),
    }


def _member(one: MemberOutcome, begin: float) -> dict[str, Any]:
    return {
        "id": one.id,
        "role": one.role,
        "begin": short(begin),
        "seconds": short(one.duration_seconds),
        "model_seconds": short(one.model_seconds),
        "tool_seconds": short(one.tool_seconds),
        "success": one.success,
        "finished": one.finished,
        "error_class": one.error_class,
        "llm_calls": one.llm_calls,
        "tool_calls": one.tool_calls,
        "refused": one.tool_calls_refused,
        "input_tokens": one.input_tokens,
        "output_tokens": one.output_tokens,
        "models": list(one.models),
    }


def _placed(run: TeamRun) -> Iterator[tuple[str, float]]:
    """Give each member and the second in which it began, as far as the layout tells: one after another, or together."""
    groups = run.plan_used.sub_teams
    if groups is None:
        formation = run.plan_used.formation or run.spec.formation
        names = [one.id for one in run.members]
        groups = tuple((name,) for name in names) if formation in SIDE_BY_SIDE else (tuple(names),)
    seconds = {one.id: one.duration_seconds for one in run.members}
    for group in groups:
        begin = 0.0
        for name in group:
            yield name, begin
            begin += seconds.get(name, 0.0)
