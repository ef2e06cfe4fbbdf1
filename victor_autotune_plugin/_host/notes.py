"""Notes what a run's members get and make, for the analysis of who uses whose work.

Texts are kept by reference, each once for each member, so that a note costs a microsecond on the event loop. A fault
here drops the notes of the run; the run and its record go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from .. import failsafe
from .._dataflow.trace import Called, Given, GivenAs, RunTrace, Sent, Wrote

_ADAPTER: Final = ("victor.teams.unified_coordinator", "UnifiedTeamCoordinator._adapt_team_members.")
"""Module and beginning of the qualified name of the executor that Victor makes for a member that is a sub-agent."""

_NUDGES: Final = frozenset({"an", "ac"})
"""Values of a message's `source` by which Victor marks what it tells a sub-agent about its own turns."""

_PROMPT_KINDS: Final = frozenset({"task_hint", "force_completion", "force_tool_execution"})
"""Kinds of Victor's other prompts that hold nothing but fixed text and a member's own counts."""

_GUIDANCE: Final = "[Tool recovery guidance]"

_ROLES: Final[Mapping[str, GivenAs]] = {"system": "system", "tool": "result"}

_LEAST_APART: Final = 500
"""Characters from which a value among a call's arguments is noted by itself instead of being copied."""

_MOST_VALUES: Final = 1000


class noting(failsafe.guard):  # noqa: N801 - reads as a statement
    """Guards a block that notes something; if it fails, the run goes on without its notes.

    Args:
        run: The notes.
    """

    __slots__ = ("_run",)

    def __init__(self, run: RunNotes) -> None:
        super().__init__("notes of who uses whose work, which are dropped for this run")
        self._run = run

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        """Drop the notes after a fault."""
        if error is not None:
            self._run.drop()
        return super().__exit__(kind, error, trace)


class RunNotes:
    """The notes of one run.

    Args:
        members: Ids of the members that take part, in order.
        goal: What the team is asked to do.
        context: The run's shared context at the start.
        ids: Stable ids of the members by Victor's.
    """

    def __init__(self, members: Iterable[str], goal: Any, context: Mapping[str, Any], ids: Mapping[str, str]) -> None:
        self.trace = RunTrace(tuple(members), goal=goal if isinstance(goal, str) else "")
        self.trace.known.extend(strings_of(context))
        self.context = context
        self.ids = ids
        self.worked: set[str] = set()
        """Members whose work may have reached others by now."""
        self.outputs: dict[str, str] = {}
        """The member that delivered a text, by the text."""
        self.early: set[str] = set()
        """What was given to a member before any other one had worked."""
        self.is_dropped = False
        self.shared: Any = None
        """What custom members share, where there are any; see `watched_context`."""
        self.of_members: list[MemberNotes] = []

    def drop(self) -> None:
        """Note nothing any more: something was missed."""
        self.is_dropped = True

    def stable(self, member_id: Any) -> str:
        """Return the stable id of a member by Victor's."""
        return self.ids.get(str(member_id), str(member_id))

    def others_worked(self, member: str) -> bool:
        """Return whether anything that another member made may have reached a member."""
        return bool(self.worked - {member})

    def sent(self, log: Any) -> None:
        """Note the messages of Victor's bus.

        Args:
            log: The `communication_log` of the result.
        """
        if not log:
            return
        known = set(self.trace.members)
        for message in log:
            sender, recipient = self.stable(message.sender_id), message.recipient_id
            if sender in known:
                self.trace.note(Sent(sender, None if recipient is None else self.stable(recipient)))

    def finished(self) -> RunTrace | None:
        """Return what was noted, or None where it is not whole."""
        trace = None if self.is_dropped else self.trace
        self.drop()  # what still runs must not change what a thread reads
        # A context that a member kept, or a task that it left behind, must not keep the texts of the run.
        self.trace = RunTrace(self.trace.members)
        self.context = {}
        self.outputs.clear()
        self.early.clear()
        if self.shared is not None:
            self.shared.forget()
        for notes in self.of_members:
            notes.forget()
        return trace


class MemberNotes:
    """The notes of one member.

    Args:
        run: The run's notes.
        member: The member's stable id.
        parent: Notes of the member whose work the run is part of, or None.
    """

    def __init__(self, run: RunNotes, member: str, parent: MemberNotes | None) -> None:
        self.run = run
        self.member = member
        self.parent = parent
        self.is_custom = True
        self._calls = 0
        self._tasks: set[str] = set()
        self._prompt = ""
        self._seen: dict[Any, set[str]] = {}
        self._answers: dict[str, None] = {}
        self._asked: set[Any] = set()
        run.of_members.append(self)

    def forget(self) -> None:
        """Let go of all texts."""
        for texts in (self._tasks, self._seen, self._answers, self._asked):
            if texts:
                texts.clear()

    def start(self, participant: Any, task: Any) -> None:
        """Note that an execution of the member starts.

        Args:
            participant: What Victor executes: its `TeamParticipant`, or a custom one.
            task: The task that it is given.
        """
        trace = self.run.trace
        trace.executions[self.member] = trace.executions.get(self.member, 0) + 1
        agent = sub_agent(participant)
        self.is_custom = agent is None
        self._calls = 0
        if agent is None:
            trace.leave_open(self.member, "custom")
            self.run.worked.add(self.member)
        else:
            self._prompt = _role_prompt(agent)
            if self._prompt and self._prompt not in trace.known:
                trace.known.append(self._prompt)
        if isinstance(task, str):
            self._tasks.add(task.strip())
            self._given(task, "task")
        else:  # a supervisor gets what the others delivered as plain data
            for text in strings_of(task):
                self._given(text, "task")
        if self.parent is not None:  # of another team inside a member, not all is seen
            self.parent.run.trace.leave_open(self.parent.member, "custom")

    def end(self, output: str) -> None:
        """Note the result of an execution, which is empty where it failed."""
        if self.run.is_dropped:
            return
        if not self.is_custom and not self._calls:
            self.run.trace.leave_open(self.member, "unseen")
        self.run.worked.add(self.member)
        self.run.outputs[output] = self.member
        if output:
            self._wrote(output, is_result=True)

    def ask(self, messages: Iterable[Any]) -> None:
        """Note a call of the member's model: every message that it had not been given before."""
        if self.run.is_dropped:
            return
        self._calls += 1
        seen = self._seen
        for message in messages:
            if isinstance(message, Mapping):
                role, text = message.get("role"), message.get("content")
            else:
                role, text = getattr(message, "role", None), getattr(message, "content", None)
            known = seen.get(role)
            if known is None:
                known = seen[role] = set()
            if not isinstance(text, str):
                text = self._flat(text)
            if not text or text in known:
                continue
            known.add(text)
            if text.isspace():
                continue
            if role == "assistant" and self._is_own(text):
                continue
            if not self.is_custom and not self._is_explained(role, text, message):
                self.run.trace.leave_open(self.member, "unexplained")
            self._given(text, _ROLES.get(str(role), "message"))

    def answer(self, text: Any, tool_calls: Any) -> None:
        """Note an answer of the member's model, and the tool calls that it asks for."""
        if self.run.is_dropped:
            return
        self.run.worked.add(self.member)
        if isinstance(text, str) and text and text not in self._answers:
            self._answers[text] = None
            self._wrote(text)
        for call in tool_calls or ():
            if isinstance(call, Mapping):
                function = call.get("function")
                self._asked.add(call.get("id"))
                self._arguments(call.get("arguments", function.get("arguments") if function else None))

    def called(self, tools: Any, results: Iterable[Any]) -> None:
        """Note tool calls that ran.

        Args:
            tools: Victor's registry of the member's tools.
            results: Victor's `ToolCallResult`s.
        """
        if self.run.is_dropped:
            return
        for result in results:
            self._asked.add(getattr(result, "tool_call_id", None))
            told = result.result if isinstance(result.result, str) else result.error
            if isinstance(told, str) and told and told not in self._seen.setdefault("tool", set()):
                self._seen["tool"].add(told)
                self._given(told, "result")
            if result.skipped and not result.cached:
                continue  # it never ran
            name, arguments = str(result.tool_name), result.arguments
            arguments = arguments if isinstance(arguments, Mapping) else {}
            self._call(tools, name, arguments, failed=not result.success)

    def broken_off(self, tools: Any, calls: Iterable[Any]) -> None:
        """Note tool calls of which some may have run when Victor was stopped, by a timeout for instance.

        Args:
            tools: Victor's registry of the member's tools.
            calls: The calls as the model asked for them.
        """
        if self.run.is_dropped:
            return
        for call in calls:
            name, arguments = str(_field(call, "name")), _field(call, "arguments")
            known = isinstance(arguments, Mapping)  # else JSON text, perhaps a broken one, which Victor mends
            self._call(tools, name if known else "", arguments if known else {}, failed=True)

    def _call(self, tools: Any, name: str, arguments: Mapping[str, Any], *, failed: bool) -> None:
        from .tool_access import access_of, paths_of

        self._arguments(arguments)
        access = access_of(tools.get(name), name, arguments)
        paths = paths_of(access, name, arguments)
        self.run.worked.add(self.member)
        for notes in self._up():
            notes.run.trace.note(Called(notes.member, access, paths, failed))

    def _up(self) -> Iterator[MemberNotes]:
        """Yield the notes of this member, and of those whose work it is part of."""
        notes: MemberNotes | None = self
        while notes is not None:
            if not notes.run.is_dropped:
                yield notes
            notes = notes.parent

    def _given(self, text: str, how: GivenAs) -> None:
        for notes in self._up():
            notes.run.trace.note(Given(notes.member, text, how))

    def _wrote(self, text: str, *, is_result: bool = False) -> None:
        for notes in self._up():
            notes.run.trace.note(Wrote(notes.member, text, is_result and notes is self))

    def _arguments(self, arguments: Any) -> None:
        short = []
        for text in strings_of(arguments):
            if len(text) < _LEAST_APART:
                short.append(text)
            elif text not in self._seen.setdefault("arguments", set()):
                self._seen["arguments"].add(text)
                self._wrote(text)
        joined = "\n".join(short)
        if joined and joined not in self._seen.setdefault("arguments", set()):
            self._seen["arguments"].add(joined)
            self._wrote(joined)

    def _flat(self, content: Any) -> str:
        """Return the text of a message in parts; an image can't be looked at."""
        if content is None:
            return ""
        parts = content if isinstance(content, list | tuple) else (content,)
        if any(not isinstance(part, str) and not (isinstance(part, Mapping) and "text" in part) for part in parts):
            self.run.trace.leave_open(self.member, "unexplained")
        return "\n".join(strings_of(parts))

    def _is_own(self, text: str) -> bool:
        """Return whether its model wrote a text; Victor shortens some."""
        return text in self._answers or any(text in answer for answer in self._answers)

    def _is_explained(self, role: Any, text: str, message: Any) -> bool:
        """Return whether a message to a sub-agent's model can hold nothing of another member's work.

        What came before any other member worked can't either, whatever it is.
        """
        if not self.run.others_worked(self.member):
            self.run.early.add(text)
            return True
        if _field(message, "images"):
            return False
        if role == "system" and text == self._prompt:
            return True
        if role == "tool" and _field(message, "tool_call_id") in self._asked:
            return True
        if role == "user" and (text.strip() in self._tasks or _is_victors_nudge(text, _field(message, "metadata"))):
            return True
        return text in self.run.early


def _field(message: Any, name: str) -> Any:
    return message.get(name) if isinstance(message, Mapping) else getattr(message, name, None)


def _is_victors_nudge(text: str, metadata: Any) -> bool:
    if text.startswith(_GUIDANCE):
        return True
    if not isinstance(metadata, Mapping):
        return False
    return metadata.get("source") in _NUDGES or metadata.get("internal_prompt_kind") in _PROMPT_KINDS


def sub_agent(participant: Any) -> Any:
    """Return the `TeamMember` that Victor's own adapter runs as a sub-agent; None for a custom participant."""
    from victor.teams.types import TeamParticipant

    while type(participant) is TeamParticipant:
        executor = participant.executor
        module, name = getattr(executor, "__module__", None), getattr(executor, "__qualname__", "")
        if module == _ADAPTER[0] and name.startswith(_ADAPTER[1]):
            return participant.member
        participant = participant.member
    return None


def _role_prompt(member: Any) -> str:
    from victor.agent.subagents.prompts import get_role_prompt

    with failsafe.guard("reading of a role's prompt"):
        return str(get_role_prompt(member.role))
    return ""


def strings_of(value: Any) -> Sequence[str]:
    """Return the strings in nested plain data, by reference; numbers as text, too. At most `_MOST_VALUES` are read.

    Other mappings are left out: what stands behind one may be the caller's code, or a database.
    """
    found: list[str] = []
    waiting, count = [value], 0
    while waiting and count < _MOST_VALUES:
        one = waiting.pop()
        count += 1
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, dict):
            waiting.extend(list(islice(dict.values(one), _MOST_VALUES))[::-1])
        elif isinstance(one, list | tuple | set | frozenset):
            waiting.extend(list(islice(one, _MOST_VALUES))[::-1])
        elif isinstance(one, int | float) and not isinstance(one, bool):
            found.append(str(one))
    return found
