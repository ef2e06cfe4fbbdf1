"""What is measured while a team runs: members' executions, tool calls and model usage.

Victor's results hold no tokens and no cost, and their durations are zero, so everything is measured here. A
`ContextVar` says which member is at work. It reaches whatever the member starts, in any task or thread that
copies the context, so parallel members are told apart. Sub-agents share their parent's provider object, and providers
may wrap other providers: the variable says who called, too, and only the outermost call counts.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from contextvars import ContextVar, Token
from typing import Any
from weakref import WeakKeyDictionary

from attrs import frozen

from .. import failsafe
from .._model.plan import MemberSpec
from .._model.run import MemberOutcome, TokenUse
from .enforcement import ToolBudget


@frozen
class ToolGrant:
    """Tool calls set aside for one batch.

    Attributes:
        calls: How many calls the batch may make.
        shares: What each budget set aside for it: `(budget, member id, calls)`.
    """

    calls: int
    shares: tuple[tuple[ToolBudget, str, int], ...]

    def settle(self, used: int) -> None:
        """Give back what the batch did not use, from the number of calls that it really made."""
        for budget, member_id, calls in self.shares:
            budget.settle(member_id, calls, used)


class MemberMeter:
    """Counts what one member does in one run. Nested team runs inside the member count for it, too.

    Args:
        parent: The meter of the member whose work the run is part of, or None.
        budget: The enforced tool budget of the run, or None.
    """

    def __init__(self, spec: MemberSpec, parent: MemberMeter | None, budget: ToolBudget | None) -> None:
        self.spec = spec
        self.parent = parent
        self.budget = budget
        self.executions = 0
        self.running = 0
        self.success = False
        self.finished = False
        self.error_class: str | None = None
        self.output: Any = None
        self.tool_calls = 0
        self.tool_calls_refused = 0
        self.llm_calls = 0
        self.tokens: dict[str, list[int]] = {}
        self._seconds = 0.0
        self._since = 0.0

    def start(self) -> None:
        """Note that an execution of the member starts."""
        if self.running == 0:
            self._since = time.monotonic()
        self.running += 1
        self.executions += 1
        self.finished = False
        self.success = False
        self.error_class = None

    def stop(self, *, success: bool, error_class: str | None, finished: bool = True) -> None:
        """Note that an execution of the member ended; `finished` is False when it was cancelled."""
        self.running -= 1
        if self.running == 0:
            self._seconds += time.monotonic() - self._since
        self.finished = finished
        self.success = success
        self.error_class = error_class

    def count_llm_call(self, model: str, usage: Mapping[str, Any] | None) -> None:
        """Count a call of the model, for this member and those above it; without `usage`, the call failed."""
        prompt = _count((usage or {}).get("prompt_tokens"))
        completion = _count((usage or {}).get("completion_tokens"))
        meter: MemberMeter | None = self
        while meter is not None:
            meter.llm_calls += 1
            use = meter.tokens.setdefault(model, [0, 0])
            use[0] += prompt
            use[1] += completion
            meter = meter.parent

    def reserve_tool_calls(self, wanted: int) -> ToolGrant | None:
        """Set tool calls aside in every budget that covers this member; return None when no budget limits it.

        Its own team has a budget, and so may the teams around it.
        """
        granted, shares = wanted, []
        meter: MemberMeter | None = self
        while meter is not None:
            if meter.budget is not None:
                share = meter.budget.reserve(meter.spec.id, granted)
                if share is not None:
                    shares.append((meter.budget, meter.spec.id, share))
                    granted = share
            meter = meter.parent
        return ToolGrant(granted, tuple(shares)) if shares else None

    def drop_budgets(self) -> None:
        """Drop every budget that covers this member: what it has used is no longer known."""
        meter: MemberMeter | None = self
        while meter is not None:
            if meter.budget is not None:
                meter.budget.drop()
            meter = meter.parent

    def count_tool_calls(self, ran: int, refused: int) -> None:
        """Count a batch of tool calls, executed and refused by a budget, for this member and those above it."""
        meter: MemberMeter | None = self
        while meter is not None:
            meter.tool_calls += ran
            meter.tool_calls_refused += refused
            meter = meter.parent

    def outcome(self) -> MemberOutcome:
        """Return what has been measured so far."""
        seconds = self._seconds
        if self.running:
            seconds += time.monotonic() - self._since
        return MemberOutcome(
            id=self.spec.id,
            role=self.spec.role,
            success=self.success,
            finished=self.finished,
            duration_seconds=seconds,
            tool_calls=self.tool_calls,
            tool_calls_refused=self.tool_calls_refused,
            llm_calls=self.llm_calls,
            input_tokens=sum(use[0] for use in self.tokens.values()),
            output_tokens=sum(use[1] for use in self.tokens.values()),
            models=sorted(self.tokens),
            error_class=self.error_class,
        )


class RunMeter:
    """Holds the member meters of one run.

    Args:
        budget: The enforced tool budget, or None.
    """

    def __init__(
        self, run_id: str, members: tuple[MemberSpec, ...], ids: Mapping[str, str], budget: ToolBudget | None
    ) -> None:
        self.run_id = run_id
        self.budget = budget
        self.span: Any = None
        """The run's open span, which its members' spans belong to."""
        self._ids = ids
        self.parent_member = current_member.get()
        self.members = {member.id: MemberMeter(member, self.parent_member, budget) for member in members}
        self.started = time.monotonic()
        self._lock = threading.Lock()

    def member(self, member_id: str) -> MemberMeter:
        """Return the meter of a member by Victor's id; a member that was not declared gets one, too."""
        member_id = self._ids.get(member_id, member_id)
        with self._lock:
            meter = self.members.get(member_id)
            if meter is None:
                meter = self.members[member_id] = MemberMeter(MemberSpec(member_id), self.parent_member, self.budget)
            return meter

    def tokens(self) -> tuple[TokenUse, ...]:
        """Return the token use of all members by model, sorted by name."""
        total: dict[str, list[int]] = {}
        for meter in self.members.values():
            for model, (prompt, completion) in meter.tokens.items():
                use = total.setdefault(model, [0, 0])
                use[0] += prompt
                use[1] += completion
        return tuple(TokenUse(model, *total[model]) for model in sorted(total))


current_run: ContextVar[RunMeter | None] = ContextVar("victor_autotune_run", default=None)
"""The innermost team run that the code is part of."""

current_member: ContextVar[MemberMeter | None] = ContextVar("victor_autotune_member", default=None)
"""The innermost member that is at work."""


_in_model_call: ContextVar[bool] = ContextVar("victor_autotune_in_llm_call", default=False)

_own_budget: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The budget that a tool pipeline had before a plan narrowed it."""


async def chat(wrapped: Callable[..., Any], _provider: Any, args: Any, kwargs: Any) -> Any:
    """Meter one call of a provider's `chat`; a wrapper in wrapt's form."""
    meter = current_member.get()
    if meter is None or _in_model_call.get():
        return await wrapped(*args, **kwargs)
    token = _in_model_call.set(True)
    response = None
    try:
        response = await wrapped(*args, **kwargs)
        return response
    finally:
        leave(_in_model_call, token)
        _count_model_call(meter, kwargs, response)


def stream(wrapped: Callable[..., Any], _provider: Any, args: Any, kwargs: Any) -> Any:
    """Meter one call of a provider's `stream`, whose chunks pass unchanged; a wrapper in wrapt's form."""
    chunks = wrapped(*args, **kwargs)
    with failsafe.guard("metering of a model's stream"):
        meter = current_member.get()
        if meter is not None and not _in_model_call.get() and inspect.isasyncgen(chunks):
            return _metered(chunks, meter, kwargs)
    return chunks


async def _metered(chunks: Any, meter: MemberMeter, kwargs: Any) -> AsyncIterator[Any]:
    last = None
    try:
        async with aclosing(chunks) as source:
            while True:
                token = _in_model_call.set(True)
                try:
                    chunk = await anext(source)
                except StopAsyncIteration:
                    return
                finally:
                    leave(_in_model_call, token)
                with failsafe.guard("metering of a model's stream"):
                    last = chunk if _usage(chunk) else last
                yield chunk
    finally:
        _count_model_call(meter, kwargs, last)


def leave(variable: ContextVar[Any], token: Token[Any]) -> None:
    """Reset a variable, as far as possible: a coroutine that is closed ends in a foreign context."""
    with failsafe.guard("end of a metered call"):
        try:
            variable.reset(token)
        except ValueError:  # the token is of another context, which ends with the coroutine
            return


def _usage(response: Any) -> Any:
    return getattr(response, "usage", None)


def _count_model_call(meter: MemberMeter, kwargs: Any, response: Any) -> None:
    """Count a call of the model; without a response it failed."""
    with failsafe.guard("metering of a model call"):
        meter.count_llm_call(str(kwargs.get("model") or ""), _usage(response))


async def tool_calls(wrapped: Callable[..., Any], pipeline: Any, args: Any, kwargs: Any) -> Any:
    """Meter a batch of tool calls, and give Victor's `ToolPipeline` what is left of the member's budget.

    A wrapper in wrapt's form. A call beyond the budget gets Victor's own "Tool budget exhausted" result.
    """
    meter = current_member.get()
    if meter is None:
        return await wrapped(*args, **kwargs)
    grant: ToolGrant | None = None
    before: int | None = None
    limited = False
    with failsafe.guard("tool budget, which is dropped for this run"):
        before = int(pipeline.calls_used)
        calls = args[0] if args else kwargs.get("tool_calls", ())
        grant = meter.reserve_tool_calls(len(calls))
        if grant is not None:
            own = _own_budget.setdefault(pipeline, pipeline.tool_budget)
            pipeline.set_tool_budget(min(own, before + grant.calls))
        limited = True
    if grant is None or not limited:
        _without_limit(meter, pipeline, drop=not limited)
        grant = None
    outcome = None
    try:
        outcome = await wrapped(*args, **kwargs)
        return outcome
    finally:
        settled = grant is None
        with failsafe.guard("metering of tool calls"):
            used = 0 if before is None else max(0, int(pipeline.calls_used) - before)
            if grant is not None:
                grant.settle(used)
                settled = True
            results = getattr(outcome, "results", ())
            refused = sum(getattr(one, "block_source", None) == "tool_budget" for one in results)
            meter.count_tool_calls(used, refused)
        if not settled:
            _without_limit(meter, pipeline, drop=True)


def _without_limit(meter: MemberMeter, pipeline: Any, *, drop: bool) -> None:
    """Give a pipeline its own budget back; with `drop`, limit no more tool calls of the run."""
    if drop:
        with failsafe.guard("end of a tool budget"):
            meter.drop_budgets()
    with failsafe.guard("return of a tool budget"):
        own = _own_budget.pop(pipeline, None)
        if own is not None:
            pipeline.set_tool_budget(own)


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and value > 0 else 0
