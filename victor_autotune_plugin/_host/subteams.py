"""Sub-teams: groups of members that run side by side, the members of one group one after another.

Victor has no such formation, and every piece of one: a run in parallel has members, events and results as under any
formation. So where a coordinator runs its members in parallel, each group is run by Victor's own sequential formation.
It stays one run of one coordinator.
"""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from victor.coordination.formations import SequentialFormation
from victor.teams.types import MemberResult

from .. import failsafe

_log = logging.getLogger("victor_autotune_plugin._host")


class SideBySide:
    """Victor's sequential formation for several groups at once.

    As in Victor's sequential formation, a member that fails does not stop those after it; and a group in which
    something else fails does not stop the other groups.

    Args:
        groups: Victor's ids of the members of each group, in the order in which they run; all members, each once.
    """

    def __init__(self, groups: Iterable[Iterable[str]]) -> None:
        self._groups = [tuple(group) for group in groups]

    async def execute(
        self, agents: list[Any], context: Any, task: Any, *, instead: Callable[[], Awaitable[list[Any]]]
    ) -> list[Any]:
        """Run all groups.

        Args:
            context: Victor's `TeamContext`. Each group works on a copy of its shared state; afterwards what they wrote
                is in it, that of the later group where two wrote the same, as after a parallel formation.
            task: The message that each member gets.
            instead: Runs the team where the groups can't be made.

        Returns:
            Victor's `MemberResult`s in the order of the participants.
        """
        groups: list[tuple[list[Any], Any]] | None = None
        with failsafe.guard("making of sub-teams, which are dropped for this run"):
            by_id = {str(agent.id): agent for agent in agents}
            places = {name: place for place, name in enumerate(by_id)}
            groups = [([by_id[name] for name in group], _context_of_a_group(context, places)) for group in self._groups]
        if groups is None:
            return await instead()
        finished = await asyncio.gather(*(_run_group(group, own, task) for group, own in groups))
        for _, own in groups:
            with failsafe.guard("state of a sub-team"):
                context.update(own.shared_state)
        results = [result for group in finished for result in group]
        with failsafe.guard("order of sub-teams' results"):
            return sorted(results, key=lambda result: places[str(result.member_id)])
        return results


async def _run_group(agents: list[Any], context: Any, task: Any) -> list[Any]:
    try:
        results: list[Any] = await SequentialFormation().execute(agents, context, task)
    except Exception as error:
        _log.exception("a sub-team failed")
        return [MemberResult(member_id=agent.id, success=False, output="", error=str(error)) for agent in agents]
    return results


def _context_of_a_group(context: Any, places: Mapping[str, int]) -> Any:
    """Return a context with a shared state of its own, whose events name members' places in the whole team."""
    own = copy.copy(context)
    own.shared_state = copy.deepcopy(context.shared_state)
    emit = getattr(context, "member_event_hook", None)
    if emit is not None:

        async def emit_with_place(kind: str, member_id: str, index: int, **more: Any) -> None:
            place = index
            with failsafe.guard("place of a member in its team"):
                place = places.get(str(member_id), index)
            await emit(kind, member_id, place, **more)

        own.member_event_hook = emit_with_place
    return own
