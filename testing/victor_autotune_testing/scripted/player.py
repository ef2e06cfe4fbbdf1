"""Plays a script: finds the rule for a call, and draws what it gives."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from .protocol import Conversation, Reply, ToolCall
from .script import Rule, Script, ToolTurns, compile_pattern

FOUND: Final = "{found}"
NOTHING: Final = "nothing"
_DEFAULT: Final = Rule(name="default")


class Player:
    """A script and how far it has been played. Used by one thread at a time.

    Args:
        script: The script.
    """

    def __init__(self, script: Script) -> None:
        self.script = script
        self._rules = tuple((rule, _Matcher(rule)) for rule in (*script.rules, _DEFAULT))
        self._of_rule: Counter[str] = Counter()
        self._of_role: Counter[tuple[str, str]] = Counter()

    def play(self, call: Conversation, in_flight: int) -> Reply:
        """Return what happens to a call.

        Args:
            call: The call.
            in_flight: Calls in flight, this one included.
        """
        rule, matcher = next(one for one in self._rules if one[1].matches(call, in_flight))
        self._of_rule[rule.name] += 1
        self._of_role[rule.name, call.role] += 1
        # A generator per call, so that parallel members do not change each other's numbers by their order.
        random = Random(f"{self.script.seed}/{rule.name}/{call.role}/{self._of_role[rule.name, call.role]}")
        seconds: float | None = rule.latency.draw(random)
        prompt_tokens = round(rule.prompt_tokens.draw(random))
        completion_tokens = round(rule.completion_tokens.draw(random))
        if rule.crowding is not None and seconds is not None:
            seconds *= rule.crowding.factor(in_flight)
        for failure in rule.failures:
            chance = random.random()
            if self._of_rule[rule.name] in failure.calls if failure.calls else chance < failure.probability:
                seconds = None if failure.hang else seconds
                return Reply(rule.name, seconds, failure.status, "", (), 0, 0, failure.retry_after)
        tools = rule.tool_turn(call.turn)
        found = matcher.found(call)
        tool_calls = _tool_calls(*tools, found) if tools else ()
        text = "" if tools else rule.answer.replace(FOUND, found)
        return Reply(rule.name, seconds, 200, text, tool_calls, prompt_tokens, completion_tokens, None, rule.together)


class _Matcher:
    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self._goal: re.Pattern[str] | None = compile_pattern(rule.goal) if rule.goal else None
        self._prompt: re.Pattern[str] | None = compile_pattern(rule.prompt) if rule.prompt else None
        self._finds: re.Pattern[str] | None = compile_pattern(rule.finds) if rule.finds else None

    def matches(self, call: Conversation, in_flight: int) -> bool:
        rule = self._rule
        return (
            (rule.role is None or rule.role.lower() == call.role)
            and (rule.model is None or rule.model == call.model)
            and (rule.turn is None or rule.turn == call.turn)
            and (rule.in_flight is None or in_flight >= rule.in_flight)
            and (rule.refused is None or call.tool_results_refused >= rule.refused)
            and (self._goal is None or self._goal.search(call.goal) is not None)
            and (self._prompt is None or self._prompt.search(call.prompt) is not None)
        )

    def found(self, call: Conversation) -> str:
        """Return what the rule looks for in a conversation, or `nothing`."""
        matches = list(self._finds.finditer(call.material)) if self._finds is not None else []
        return matches[-1][1 if matches[-1].re.groups else 0] or NOTHING if matches else NOTHING


def _tool_calls(group: ToolTurns, made: int, found: str) -> tuple[ToolCall, ...]:
    return tuple(
        ToolCall(f"call_{n}", group.tool, json.dumps(_filled(group.arguments, n, found)))
        for n in range(made, made + group.calls)
    )


def _filled(value: Any, n: int, found: str) -> Any:
    if value == "{n}":
        return n
    if isinstance(value, str):
        return value.replace("{n}", str(n)).replace(FOUND, found)
    if isinstance(value, Mapping):
        return {key: _filled(one, n, found) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_filled(one, n, found) for one in value]
    return value
