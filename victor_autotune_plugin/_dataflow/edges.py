"""Finds the data flow of a run in its trace: who used whose work, and who may have.

An edge is sure where it was seen: a value of the context was read, a task or another text that a member was given holds
what another one wrote before, or both touched the same files. It is suspected where it can't be ruled out; for a plan
that counts as much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .._model.data_flow import Edge, RunFlow
from .conflicts import conflicts
from .trace import Called, Given, ReadValue, RunTrace, Sent, Walked, Wrote


def flow_of(trace: RunTrace, pause: Callable[[], None] = lambda: None) -> RunFlow:
    """Return who used whose work in a run.

    Whatever someone did who is not one of `trace.members` can't be told to be anyone's work, so that one is left open.

    Args:
        trace: What was noted of the run.
        pause: Called between pieces of at most 0.4 ms of work, so that other threads can go first.
    """
    opened = {name: set(reasons) for name, reasons in trace.open.items()}
    acting = {entry.member for entry in trace.entries}
    pause()
    edges = set(_of_notes(trace))
    acting.update(one.source for one in edges)
    for name in acting.difference(trace.members):
        opened.setdefault(name, set()).add("unseen")
    pause()
    if _may_have_passed_texts(trace):
        from .given_texts import GivenTexts  # it needs numpy

        edges.update(GivenTexts(trace, pause).edges())
    calls = [entry for entry in trace.entries if isinstance(entry, Called)]
    pause()
    for source, target, sure in conflicts(calls, pause):
        edges.add(Edge(source, target, "files" if sure else "tools", sure))
    members = set(trace.members)
    edges = {one for one in edges if {one.source, one.target} <= members and one.source != one.target}
    return RunFlow(
        edges=[one for one in edges if one.sure or Edge(one.source, one.target, one.channel) not in edges],
        open={name: tuple(sorted(reasons)) for name, reasons in opened.items()},
        rounds=max((1, *trace.executions.values())),
        is_whole=all(trace.executions.get(name) for name in trace.members),
    )


def _may_have_passed_texts(trace: RunTrace) -> bool:
    """Return whether a member was given a text after another one had written any; else none holds another's work."""
    wrote: set[str] = set()
    for entry in trace.entries:
        if isinstance(entry, Wrote):
            wrote.add(entry.member)
        elif isinstance(entry, Given) and (len(wrote) > 1 or (wrote and entry.member not in wrote)):
            return True
    return False


def _of_notes(trace: RunTrace) -> Iterator[Edge]:
    """Give the edges that an entry tells by itself."""
    for entry in trace.entries:
        if isinstance(entry, ReadValue | Walked):
            sure = isinstance(entry, ReadValue)
            yield from (Edge(writer, entry.member, "context", sure) for writer in entry.writers)
        elif isinstance(entry, Sent):
            to = [entry.recipient] if entry.recipient in trace.members else trace.members_but(entry.member)
            yield from (Edge(entry.member, name, "messages", False) for name in to)
