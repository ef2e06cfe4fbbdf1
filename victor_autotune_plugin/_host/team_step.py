"""Team steps of workflows: which workflow they belong to, and who enforces their timeout."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from .. import failsafe
from .call_context import Place, here, inside

_MOST_WORKFLOWS: Final = 1000

_metadata: dict[str, Mapping[str, Any]] = {}
"""The `metadata.autotune` of workflows that were compiled in this process, by name."""


def remember_metadata(workflow: str, metadata: Any) -> None:
    """Keep a workflow's own settings, which its compiled graph no longer has.

    Args:
        workflow: Its name.
        metadata: Its whole metadata.
    """
    own = metadata.get("autotune") if isinstance(metadata, Mapping) else None
    _metadata.pop(workflow, None)
    if own is not None and len(_metadata) < _MOST_WORKFLOWS:
        _metadata[workflow] = own


async def execute_step(wrapped: Callable[..., Any], step: Any, args: Any, kwargs: Any) -> Any:
    """Run a team step with its place known.

    Args:
        wrapped: The bound `TeamStep.execute_async`.
        step: The step.
        args: Positional arguments of the call.
        kwargs: Keyword arguments of the call.

    Returns:
        What the step returns.
    """
    place, runs = here(), step
    with failsafe.guard("reading of a team step"):
        state = args[1] if len(args) > 1 else kwargs.get("graph_state", {})
        place, runs = _placed(place, step, state)
    with inside(
        workflow=place.workflow,
        metadata=place.metadata,
        team_id=place.team_id,
        step_timeout=place.step_timeout,
        lifted=place.lifted,
    ):
        if runs is step:
            return await wrapped(*args, **kwargs)
        return await wrapped.__func__(runs, *args, **kwargs)  # type: ignore[attr-defined]


def _placed(place: Place, step: Any, state: Any) -> tuple[Place, Any]:
    """Return the place of a step, and the step to run.

    Victor puts the step's timeout around the coordinator and throws away what members delivered when it passes. Where
    a plan may set another timeout, it is taken off the step, and enforced where the plan is known.
    """
    workflow = place.workflow or (state.get("_workflow_name") if hasattr(state, "get") else None) or None
    metadata = place.metadata if place.metadata is not None else _metadata.get(workflow or "")
    timeout = step.config.timeout_seconds or None
    placed = Place(workflow, metadata, str(step.id), timeout)
    if timeout is None or not _may_change(placed):
        return placed, step
    lifted = dataclasses.replace(step, config=dataclasses.replace(step.config, timeout_seconds=None))
    return Place(workflow, metadata, str(step.id), timeout, lifted=True), lifted


def _may_change(place: Place) -> bool:
    from .._model.plan import ADHOC_WORKFLOW
    from .._tuning.runtime import runtime

    settings = runtime().resolver.for_team(place.workflow or ADHOC_WORKFLOW, place.team_id or "", place.metadata)
    return settings.mode not in ("off", "observe")
