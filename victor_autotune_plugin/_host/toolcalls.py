"""Meters the tool calls of members, and hands their budget to Victor's tool pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from .. import failsafe
from .meters import MemberMeter, ToolGrant, current_member

_own_budget: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The budget that a pipeline had before a plan narrowed it."""


async def execute_tool_calls(wrapped: Callable[..., Any], pipeline: Any, args: Any, kwargs: Any) -> Any:
    """Run a batch of tool calls of a member within its budget.

    Args:
        wrapped: The pipeline's bound method.
        pipeline: Victor's `ToolPipeline` of the member's sub-agent.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.

    Returns:
        Victor's results; a call beyond the budget has Victor's own "Tool budget exhausted" result.
    """
    meter = current_member.get()
    if meter is None:
        return await wrapped(*args, **kwargs)
    grant: ToolGrant | None = None
    before = 0
    with failsafe.guard("tool budget"):
        before = pipeline.calls_used
        calls = args[0] if args else kwargs.get("tool_calls", ())
        grant = meter.reserve_tool_calls(len(calls))
        if grant is not None:
            own = _own_budget.setdefault(pipeline, pipeline.tool_budget)
            pipeline.set_tool_budget(min(own, before + grant.calls))
    results = None
    try:
        results = await wrapped(*args, **kwargs)
        return results
    finally:
        with failsafe.guard("metering of tool calls"):
            _count(meter, grant, max(0, pipeline.calls_used - before), results)


def _count(meter: MemberMeter, grant: ToolGrant | None, used: int, results: Any) -> None:
    if grant is not None:
        grant.settle(used)
    refused = sum(getattr(result, "block_source", None) == "tool_budget" for result in getattr(results, "results", ()))
    meter.count_tool_calls(used, refused)
