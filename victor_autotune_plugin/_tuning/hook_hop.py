"""One question to several hooks of third parties, which are asked one after the other until enough have answered."""

from __future__ import annotations

import contextvars
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from attrs import frozen

from .hook_calls import Call, Implementation
from .waiting import Signal


@frozen
class Answer:
    """What one implementation returned.

    Attributes:
        value: The value; never None.
        by: Name of the plugin that holds the implementation.
    """

    value: Any
    by: str


class Hop:
    """Implementations that are called one after the other, each on its thread, until enough of them have answered.

    Args:
        seconds: How long each may take.
        most: How many answers are wanted at most.
        start_by: As in `Call`.
        on_answer: Called with each answer before the next implementation is called.
        then: Called with the answers in the end.
    """

    def __init__(
        self,
        hook: str,
        implementations: Iterable[Implementation],
        arguments: Mapping[str, Any],
        seconds: float,
        context: contextvars.Context,
        *,
        most: int = sys.maxsize,
        start_by: float = math.inf,
        on_answer: Callable[[Answer], None] | None = None,
        then: Callable[[list[Answer]], None] | None = None,
    ) -> None:
        self.hook = hook
        self.answers: list[Answer] = []
        self.done = Signal()
        self._left = iter(implementations)
        self._arguments = arguments
        self._context = context
        self._seconds = seconds
        self._most = most
        self._start_by = start_by
        self._on_answer = on_answer
        self._then = then
        self._given_up = False
        self._current: tuple[Implementation, Call] | None = None

    def next(self) -> None:
        """Call the next implementation, or end."""
        if not self._given_up and len(self.answers) < self._most:
            for implementation in self._left:
                # Each gets a copy of its own: one that hangs keeps its context entered.
                context = self._context.copy()

                def answered(value: Any, by: str = implementation.plugin) -> None:
                    self._answered(value, by)

                call = Call(self._arguments, context, self._seconds, answered, self._start_by)
                self._current = implementation, call
                if implementation.put(call):
                    return
        self.done.set()
        if self._then is not None:
            self._then(self.answers)

    def expire(self) -> None:
        """End now, with the answers so far."""
        self._given_up = True
        if self._current is not None and not self.done.is_set:
            implementation, call = self._current
            implementation.expire(call)

    def give_up(self) -> None:
        """Drop it: no run needs the answers any more."""
        self._given_up = True
        if self._current is not None:
            implementation, call = self._current
            implementation.give_up(call)

    def _answered(self, value: Any, by: str) -> None:
        if value is not None and not self._given_up:
            answer = Answer(value, by)
            if self._on_answer is not None:
                self._on_answer(answer)
            self.answers.append(answer)
        self.next()
