"""What a run becomes in telemetry: outcome, error type, span attributes, and names of few distinct values."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from .._model.run import MemberOutcome, TeamRun
from . import conventions as names

_GENERATED: Final = re.compile(
    r"(?:^|[ _.:#/-]+)(?:[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9a-f]{8,32})$", re.IGNORECASE
)
_CLASS_NAME: Final = re.compile(r"[A-Za-z_][\w.<>]{0,119}")
_LONGEST_NAME: Final = 120


@lru_cache(maxsize=1024)
def stable_name(name: str, otherwise: str = "unnamed") -> str:
    """Return a name without the part that is new in every run.

    Victor gives members without an id one such as `executor_1f0c9a3e`, new each time. In a metric or a span name
    each would be a series of its own.

    Returns:
        The name without a trailing UUID or run of 8 to 32 hex digits, at most 120 characters; `otherwise` when nothing
        is left.
    """
    return _GENERATED.sub("", name)[:_LONGEST_NAME] or otherwise


def error_type(error_class: str | None) -> str:
    """Return a value for `error.type`: `_OTHER` unless it is the name of a class, since a message may hold a prompt."""
    if error_class is not None and _CLASS_NAME.fullmatch(error_class):
        return error_class
    return names.OTHER_ERROR


def run_outcome(run: TeamRun) -> tuple[str, str | None]:
    """Return the outcome of a team run, and the error type of a failure or a timeout."""
    if run.cancelled:
        return names.CANCELLED, None
    if run.timed_out:
        return names.TIMEOUT, names.TIMEOUT
    if run.success:
        return names.SUCCESS, None
    return names.FAILURE, error_type(run.error_class)


def member_outcome(member: MemberOutcome) -> tuple[str, str | None]:
    """Return the outcome of a member, and the error type of a failure."""
    if not member.finished:
        return names.UNFINISHED, None
    if member.success:
        return names.SUCCESS, None
    return names.FAILURE, error_type(member.error_class)


def run_attributes(run: TeamRun) -> dict[str, Any]:
    """Return what a finished run adds to its span; not its task key, which may be made of the task's text."""
    plan = run.plan_used
    attributes: dict[str, Any] = {
        names.ELAPSED: run.duration_seconds,
        names.TEAM_SIZE: len(run.members),
        names.MEMBER_SUCCESS_SHARE: run.member_success_share,
        **({} if run.score is None else {names.SCORE: run.score}),
        names.TOOL_CALLS: run.tool_calls,
        names.REFUSED_TOOL_CALLS: sum(member.tool_calls_refused for member in run.members),
        names.LLM_CALLS: run.llm_calls,
        names.INPUT_TOKENS: run.input_tokens,
        names.OUTPUT_TOKENS: run.output_tokens,
        names.PLAN_FORMATION: plan.formation or run.spec.formation,
        names.PLAN_MEMBERS: plan.members or run.spec.member_ids,
    }
    if run.cost_usd is not None:
        attributes[names.COST] = run.cost_usd
    if run.cached_tokens:
        attributes[names.CACHED_TOKENS] = run.cached_tokens
    if run.cache_write_tokens:
        attributes[names.CACHE_WRITE_TOKENS] = run.cache_write_tokens
    if plan.tool_budget is not None:
        attributes[names.PLAN_TOOL_BUDGET] = plan.tool_budget
    if plan.member_budgets is not None:
        attributes[names.PLAN_MEMBER_BUDGETS] = [
            f"{name}:{calls}" for name, calls in sorted(plan.member_budgets.items())
        ]
    if plan.timeout_seconds is not None:
        attributes[names.PLAN_TIMEOUT] = float(plan.timeout_seconds)
    return attributes


def member_attributes(member: MemberOutcome) -> dict[str, Any]:
    """Return what a member's outcome adds to its span."""
    attributes: dict[str, Any] = {
        names.ELAPSED: member.duration_seconds,
        names.TOOL_CALLS: member.tool_calls,
        names.REFUSED_TOOL_CALLS: member.tool_calls_refused,
        names.LLM_CALLS: member.llm_calls,
        names.INPUT_TOKENS: member.input_tokens,
        names.OUTPUT_TOKENS: member.output_tokens,
    }
    if member.model_seconds is not None:
        attributes[names.MEMBER_MODEL_TIME] = member.model_seconds
        attributes[names.MEMBER_TOOL_TIME] = member.tool_seconds or 0.0
        attributes[names.MEMBER_IN_FLIGHT] = member.in_flight
    if member.models:
        attributes[names.MEMBER_MODELS] = list(member.models)
    if len(member.models) == 1:
        attributes[names.REQUEST_MODEL] = member.models[0]
    return attributes
