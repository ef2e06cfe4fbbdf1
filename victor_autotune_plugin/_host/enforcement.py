"""Enforces the limits of a plan: a tool budget and a deadline.

Victor 0.9.5 enforces neither `tool_budget` nor `TeamConfig.timeout_seconds`. Its mechanism for budgets, the tool
pipeline of each sub-agent, never gets one; so the plugin gives the pipeline what is left of the budget before each
batch, and a call beyond it comes back to the model as Victor's own "Tool budget exhausted" result.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from .. import failsafe

GRACE_SECONDS: Final = 2.0
"""How long members that were told to stop at the deadline may take to do so."""


class ToolBudget:
    """Tool calls that a team and its members may still make. Safe between threads.

    Of a total, each member keeps a share until it ends, so that none finds it used up by those before it: its own
    budget, or an equal part. Where the shares come to more than the total, they shrink alike. What is in no share, and
    what a member leaves of its own when it ends, is for everyone.

    Args:
        total: Calls of the whole team, or None without a limit.
        members: Calls by member id; a member that is missing has no limit of its own.
        team: Ids of the members that take part.
        keeps: Whether members keep their shares to the end of the run, since they may work again.
    """

    def __init__(
        self, total: int | None, members: Mapping[str, int], team: Iterable[str] = (), *, keeps: bool = False
    ) -> None:
        self._total = total
        self._members = dict(members)
        self._used: Counter[str] = Counter()
        self._shares = {} if total is None else _shares(total, members, list(team))
        self._keeps = keeps
        self._lock = threading.Lock()
        self._dropped = False

    def drop(self) -> None:
        """Limit nothing from now on, since the count is no longer right."""
        self._dropped = True

    def reserve(self, member_id: str, wanted: int) -> int | None:
        """Set calls aside for a batch; return how many it may make, or None when nothing limits it.

        What the batch does not use has to be given back by `settle`.
        """
        with self._lock:
            own = self._members.get(member_id)
            limits = [limit for limit in (own, self._open_to(member_id)) if limit is not None]
            if not limits or self._dropped:
                return None
            granted = max(0, min(wanted, *(limit - self._used[member_id] for limit in limits)))
            self._used[member_id] += granted
            return granted

    def settle(self, member_id: str, granted: int, used: int) -> None:
        """Give back what a batch did not use of the calls that `reserve` granted."""
        with self._lock:
            self._used[member_id] += used - granted

    def ended(self, member_id: str) -> None:
        """Leave what is left of a member's share to the others."""
        if not self._keeps:
            with self._lock:
                self._shares.pop(member_id, None)

    def _open_to(self, member_id: str) -> int | None:
        """Return how many calls a member may make in all: the total without what the others used or keep."""
        if self._total is None:
            return None
        others = (self._used.keys() | self._shares.keys()) - {member_id}
        return self._total - sum(max(self._used[other], self._shares.get(other, 0)) for other in others)


def _shares(total: int, members: Mapping[str, int], team: Sequence[str]) -> dict[str, int]:
    wanted = {name: members.get(name, total // len(team)) for name in team}
    asked = max(sum(wanted.values()), total, 1)
    return {name: total * calls // asked for name, calls in wanted.items()}


class DeadlineExceededError(Exception):
    """The team's deadline passed before it finished."""


async def with_deadline(work: Coroutine[Any, Any, Any], seconds: float, started: Callable[[], None]) -> Any:
    """Return what the work returns within so many seconds.

    Args:
        started: Called when the deadline is running.

    Raises:
        DeadlineExceededError: If it takes longer. The work was cancelled, and given `GRACE_SECONDS` to stop.
        asyncio.CancelledError: If the caller is cancelled; the work is cancelled, too, and awaited.
    """
    task: asyncio.Future[Any] | None = None
    with failsafe.guard("start of a deadline, which is dropped for this run"):
        task = asyncio.ensure_future(work)
        started()
    if task is None:
        return await work
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task})
        raise
    except Exception as error:  # the outcome of the work is in its task, so this is a fault of the waiting
        failsafe.report("wait for a deadline, which is dropped for this run", error)
        return await task
    if done:
        return task.result()
    task.cancel()
    with failsafe.guard("end of a deadline"):
        task.add_done_callback(_forget_outcome)
        await asyncio.wait({task}, timeout=GRACE_SECONDS)
    raise DeadlineExceededError(f"the team did not finish within {seconds:g} s")


def _forget_outcome(task: asyncio.Future[Any]) -> None:
    """Mark the outcome of a task that came too late as seen, or asyncio complains about it."""
    if not task.cancelled():
        task.exception()
