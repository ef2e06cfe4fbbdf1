"""What the scripted model does: rules, tried in order, each with latency, tokens, tool calls, text and failures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from attrs import Attribute, evolve, field, frozen
from attrs.validators import optional

from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_testing.sandbox import NOTES as NOTES

from .distributions import Constant, Distribution, as_distribution, not_negative, share

ANSWER: Final = (
    "The task is complete. The material was read from beginning to end and checked against the request; "
    "it is consistent, no part of it is missing, and nothing in it has to be changed."
)
"""A final answer that Victor accepts at once: over 100 characters, no question, no announcement, no refusal."""


class ScriptError(AutotuneError):
    """A script can't be used."""


def _count(least: int) -> Callable[[object, Attribute[Any], Any], None]:
    def validate(_instance: object, attribute: Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError(f"{attribute.name} must be a whole number of at least {least}, not {value!r}")

    return validate


def _text(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{attribute.name} must be a text, not {value!r}")


def _whole(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{attribute.name} must be a whole number, not {value!r}")


def _yes_or_no(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} must be true or false, not {value!r}")


def _mapping(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{attribute.name} must be a mapping, not {value!r}")


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, Iterable) else value


def _numbers(_instance: object, attribute: Attribute[Any], value: object) -> None:
    right = isinstance(value, tuple) and all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in value)
    if not right:
        raise ValueError(f"{attribute.name} must be a list of whole numbers of at least 1, not {value!r}")


def _pattern(_instance: object, attribute: Attribute[Any], value: object) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value:
        raise ValueError(f"{attribute.name} must be a text, or a regular expression between slashes, not {value!r}")
    try:
        compile_pattern(value)
    except re.error as error:
        raise ValueError(f"{attribute.name} is not a regular expression: {error}") from error


def compile_pattern(text: str) -> re.Pattern[str]:
    """Return what a rule's text looks for, ignoring case.

    Args:
        text: A plain substring, or a regular expression between slashes.

    Raises:
        re.error: The expression can't be compiled.
    """
    if len(text) > 2 and text.startswith("/") and text.endswith("/"):
        return re.compile(text[1:-1], re.IGNORECASE | re.DOTALL)
    return re.compile(re.escape(text), re.IGNORECASE)


@frozen
class ToolTurns:
    """Consecutive turns in which the model asks for tools instead of answering.

    Attributes:
        turns: Number of turns.
        calls: Tool calls in each turn.
        tool: Name of the tool.
        arguments: Its arguments. `{n}` inside a text becomes the number of the tool call in its conversation, from 0;
            a text that is only `{n}` becomes that number itself. Victor runs equal calls once, so keep them distinct.
    """

    turns: int = field(default=1, validator=_count(1))
    calls: int = field(default=1, validator=_count(1))
    tool: str = field(default="read", validator=_text)
    arguments: Mapping[str, Any] = field(
        factory=lambda: {"path": NOTES, "offset": "{n}", "limit": 1}, validator=_mapping, hash=False
    )


@frozen
class Failure:
    """A way for calls to fail.

    Attributes:
        status: HTTP status of the answer, 400 to 599.
        probability: Share of the calls that fail, in [0, 1]. Not used when `calls` says which.
        calls: The calls of the rule that fail, counted from 1 since the script was set; empty for any.
        hang: Never answer, until the client gives up.
        retry_after: Seconds for the `Retry-After` header, or None to send none.
    """

    status: int = field(default=500, validator=_count(400))
    probability: float = field(default=1.0, validator=share)
    calls: tuple[int, ...] = field(default=(), converter=_tuple, validator=_numbers)
    hang: bool = field(default=False, validator=_yes_or_no)
    retry_after: float | None = field(default=None, validator=optional(not_negative))

    def __attrs_post_init__(self) -> None:
        if self.status > 599:
            raise ValueError(f"status must be from 400 to 599, not {self.status}")


@frozen
class Crowding:
    """How a provider slows down under load: latency times `1 + slowdown * max(0, in flight - free)`.

    Attributes:
        free: Calls in flight, this one included, that cost nothing.
        slowdown: Added share of the latency for each further call in flight.
    """

    free: int = field(default=1, validator=_count(0))
    slowdown: float = field(default=1.0, validator=not_negative)

    def factor(self, in_flight: int) -> float:
        """Return what the latency is multiplied by with so many calls in flight."""
        return 1.0 + self.slowdown * max(0, in_flight - self.free)


def _tools(groups: Iterable[ToolTurns]) -> tuple[ToolTurns, ...]:
    return tuple(groups)


def _failures(failures: Iterable[Failure]) -> tuple[Failure, ...]:
    return tuple(failures)


@frozen
class Rule:
    """What the model does with the calls that match. A condition that is None holds for every call.

    Attributes:
        name: Name in the call log; the script gives `rule 1`, `rule 2`, ... to rules without one.
        role: Role of the sub-agent, such as `researcher`, as Victor's system prompts name it.
        goal: In the first user message: a substring, or a regular expression between slashes; case is ignored.
        prompt: The same in the system prompt.
        model: Name of the model, exactly.
        turn: Number of the call in its conversation, from 1.
        in_flight: Least number of calls in flight when this one arrives, this one included.
        refused: Least number of new tool results that say that the tool budget is exhausted.
        latency: Seconds until the answer.
        together: Answer before the latency is over, as soon as so many calls are in flight, this one included. So calls
            that are made at the same time meet, however slow the machine is.
        crowding: How the latency grows with the calls in flight, or None.
        prompt_tokens: Reported prompt tokens.
        completion_tokens: Reported completion tokens.
        tools: Tool turns of a conversation, in order; the answer follows after the last.
        answer: The final text.
        finds: What to look for in user messages and tool results, written as `goal` is. The last place it is found,
            or its first group there, takes the place of `{found}` in the answer and in arguments of tools; so does
            `nothing` where it is not found.
        failures: Ways to fail; the first that applies is used.
    """

    name: str = field(default="", validator=_text)
    role: str | None = field(default=None, validator=optional(_text))
    goal: str | None = field(default=None, validator=_pattern)
    prompt: str | None = field(default=None, validator=_pattern)
    model: str | None = field(default=None, validator=optional(_text))
    turn: int | None = field(default=None, validator=optional(_count(1)))
    in_flight: int | None = field(default=None, validator=optional(_count(1)))
    refused: int | None = field(default=None, validator=optional(_count(1)))
    latency: Distribution = field(default=Constant(0.0), converter=as_distribution)
    together: int | None = field(default=None, validator=optional(_count(1)))
    crowding: Crowding | None = None
    prompt_tokens: Distribution = field(default=Constant(100), converter=as_distribution)
    completion_tokens: Distribution = field(default=Constant(20), converter=as_distribution)
    tools: tuple[ToolTurns, ...] = field(default=(), converter=_tools)
    answer: str = field(default=ANSWER, validator=_text)
    finds: str | None = field(default=None, validator=_pattern)
    failures: tuple[Failure, ...] = field(default=(), converter=_failures)

    def tool_turn(self, turn: int) -> tuple[ToolTurns, int] | None:
        """Return the tools of a turn, or None when it is the turn of the answer.

        Args:
            turn: Number of the call in its conversation, from 1.

        Returns:
            The group that the turn belongs to, and how many tool calls the turns before it made.
        """
        made, left = 0, turn
        for group in self.tools:
            if left <= group.turns:
                return group, made + (left - 1) * group.calls
            left -= group.turns
            made += group.turns * group.calls
        return None


def _named(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    return tuple(rule if rule.name else evolve(rule, name=f"rule {i}") for i, rule in enumerate(rules, start=1))


@frozen
class Script:
    """All that a scripted model needs to know.

    A call that matches no rule is answered by `Rule(name="default")`: at once, with success.

    Attributes:
        rules: Tried in order; the first that matches a call answers it.
        seed: Seed of everything random. The n-th call of a role under a rule draws the same numbers in every run,
            however the calls of other roles and rules fall in between.
    """

    rules: tuple[Rule, ...] = field(default=(), converter=_named)
    seed: int = field(default=0, validator=_whole)

    def __attrs_post_init__(self) -> None:
        names = [rule.name for rule in self.rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two rules are called {name!r}; names must be unique")
