"""The state of a workflow after a team step, as the declared formation would have left it.

Victor merges a team's shared context into the workflow's state, and some of it tells how the team ran:
`previous_output`, `previous_agent`, `effective_formation`, the outcome of a consensus. Steps that follow may build on
it. Where the plugin ran another formation whose final output is the same, these are put back.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

JOINED: Final = ("sequential", "parallel", "hierarchical", "consensus")
"""Formations whose final output is what the members delivered, joined in their order."""

HINTS: Final = ("formation_hint", "topology_formation_hint")
"""Keys of a run's context that overrule the declared formation; the first that is set wins."""

_ABSENT: Final = object()


def as_declared(result: dict[str, Any], coordinator: Any, arguments: Mapping[str, Any], declared: str) -> None:
    """Put the keys that tell of the formation back to what they are under the declared one.

    Args:
        result: What the coordinator's `_execute_with` returned; it is changed.
        coordinator: Victor's coordinator.
        arguments: The arguments of that call as the caller gave them.
        declared: Name of the formation that runs without the plugin.
    """
    shared = result.get("shared_context")
    if declared not in JOINED or result.get("formation") not in JOINED or not isinstance(shared, dict):
        return
    context = arguments["context"]
    state: dict[str, Any] = {key: _initial(context, key) for key in ("previous_output", "previous_agent", *HINTS)}
    if declared == "sequential":
        state |= _carried(result, arguments["members"])
    state["effective_formation"] = declared
    for key, value in state.items():
        if value is not _ABSENT:
            shared[key] = value
        else:
            shared.pop(key, None)
    result["formation"] = declared
    for key in ("consensus_achieved", "consensus_rounds"):
        result.pop(key, None)
    if declared == "consensus":
        result |= _consensus(result, coordinator)
    if arguments.get("persist_execution_state"):
        coordinator._shared_context = dict(shared)


def _initial(context: Mapping[str, Any], key: str) -> Any:
    """Return what the run's context held at the start, where Victor takes it from."""
    shared = context.get("shared_state")
    if isinstance(shared, Mapping) and key in shared:
        return shared[key]
    return context.get(key, _ABSENT)


def _carried(result: Mapping[str, Any], members: Any) -> dict[str, Any]:
    """Return what a sequential formation hands to its last member."""
    last: dict[str, Any] = {}
    for member in list(_results(result, members))[:-1]:
        if member.success and member.output:
            last = {"previous_output": member.output, "previous_agent": member.member_id}
    return last


def _results(result: Mapping[str, Any], members: Any) -> Iterator[Any]:
    found = result["member_results"]
    return (found[member.id] for member in members if member.id in found)


def _consensus(result: Mapping[str, Any], coordinator: Any) -> dict[str, Any]:
    """Return what Victor's consensus says of the members' results, had they been its only round."""
    from victor.teams.types import TeamFormation

    strategy = coordinator._formations[TeamFormation.CONSENSUS]
    results = list(result["member_results"].values())
    if not results:
        return {}
    achieved = strategy._check_consensus(results)
    return {"consensus_achieved": achieved, "consensus_rounds": 1 if achieved else strategy.max_rounds}
