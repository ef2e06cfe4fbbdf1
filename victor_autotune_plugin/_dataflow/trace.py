"""What the host notes of one run to find its data flow, in memory only.

Entries stand in the order in which things happened. Noting one is an append, cheap enough for the event loop; whatever
takes time is left to the analysis. Texts are the caller's own objects and are dropped with the trace.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

from attrs import define, field, frozen

MOST_CHARACTERS: Final = 4_000_000
"""Text of a run that is kept at most. Beyond it, the member whose text it was is open."""

GivenAs = Literal["task", "system", "message", "result"]
"""How a text came to a member: as its task, as system prompt, as another message to its model, or as what a tool told
it."""

Access = Literal["read", "write", "execute", "mixed", "network", "unclassified"]
"""What a tool call may have done; `network` reads the outside world and changes nothing."""


@frozen
class Given:
    """A text that reached a member."""

    member: str
    text: str
    how: GivenAs


@frozen
class Wrote:
    """A text that a member made: its result, an answer of its model, or the arguments of a tool call."""

    member: str
    text: str
    is_result: bool = False


@frozen
class ReadValue:
    """A member read a value of the shared context that other members wrote or changed."""

    member: str
    writers: tuple[str, ...]


@frozen
class Walked:
    """A member went through the whole shared context, or read what one of several has changed.

    Attributes:
        writers: The members that had written anything there.
    """

    member: str
    writers: tuple[str, ...]


@frozen
class Called:
    """A member called a tool.

    Attributes:
        access: What the call may have done.
        paths: Absolute, normalised paths that it touched; empty where they can't be told.
        failed: Whether it failed: it may have read anything, since its message tells of files that others made.
    """

    member: str
    access: Access
    paths: tuple[str, ...] = ()
    failed: bool = False


@frozen
class Sent:
    """A message went over Victor's message bus.

    Attributes:
        recipient: The member it was for; None for all.
    """

    member: str
    recipient: str | None = None


Entry = Given | Wrote | ReadValue | Walked | Called | Sent


@define(eq=False)
class RunTrace:
    """Everything that was noted of one run.

    Attributes:
        members: Ids of the members that take part, in order.
        goal: What the team was asked to do.
        known: Texts that every member may know without another one: goal, role prompts, values of the context at the
            start.
        entries: What happened, in order.
        open: Why it can't be known what a member used, by its id.
        executions: How often each member worked.
        characters: Number of characters of all texts among the entries.
    """

    members: tuple[str, ...]
    goal: str = ""
    known: list[str] = field(factory=list)
    entries: list[Entry] = field(factory=list)
    open: dict[str, set[str]] = field(factory=dict)
    executions: dict[str, int] = field(factory=dict)
    characters: int = 0

    def note(self, entry: Entry) -> None:
        """Append an entry; a text beyond the bound is left out, and its member is open. Never raises, never waits."""
        if isinstance(entry, Given | Wrote):
            self.characters += len(entry.text)
            if self.characters > MOST_CHARACTERS:
                self.leave_open(entry.member, "too_much")
                return
        self.entries.append(entry)

    def leave_open(self, member: str, reason: str) -> None:
        """Note why it can't be known what a member used."""
        self.open.setdefault(member, set()).add(reason)

    def members_but(self, member: str) -> Iterable[str]:
        """Return the ids of the other members."""
        return (one for one in self.members if one != member)
