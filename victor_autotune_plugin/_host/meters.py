"""What is measured while a team runs: members' executions, tool calls and model usage.

Victor's results hold no tokens and no cost, and their durations are zero, so everything is measured here. A
`ContextVar` says which member is at work. It reaches whatever the member starts, in any task or thread that
copies the context, so parallel members are told apart. Sub-agents share their parent's provider object: the variable
says who called, too. Providers may wrap others: the outermost call counts, and what it asked others for is billed.
"""

from __future__ import annotations

import inspect
import threading
import time
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar, Token
from typing import Any, Final
from weakref import WeakKeyDictionary, WeakSet

from attrs import astuple, frozen

from .. import failsafe
from .._model.plan import MemberSpec
from .._model.run import CONTEXT_TOKENS, MemberOutcome, TokenUse
from .enforcement import ToolBudget
from .notes import MemberNotes, RunNotes, noting
from .usage import Usage, billed


class Stopwatch:
    """Seconds in which at least one of several overlapping pieces of work was under way."""

    __slots__ = ("_seconds", "_since", "first", "running")

    def __init__(self) -> None:
        self.running = 0
        self._seconds = 0.0
        self._since = 0.0
        self.first: float | None = None
        """Monotonic seconds of the first beginning."""

    def start(self) -> None:
        """Note that a piece of work begins."""
        if self.running == 0:
            self._since = time.monotonic()
            self.first = self._since if self.first is None else self.first
        self.running += 1

    def stop(self) -> None:
        """Note that one ended."""
        self.running -= 1
        if self.running == 0:
            self._seconds += time.monotonic() - self._since

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._seconds + (time.monotonic() - self._since if self.running else 0.0)


class CallInFlight:
    """A call of a model that is under way; one that is lost on its way is no longer counted.

    Attributes:
        begun: Monotonic seconds of its beginning.
        area: The integral of the number of calls over time until then.
    """

    __slots__ = ("__weakref__", "area", "begun")

    def __init__(self, begun: float, area: float) -> None:
        self.begun = begun
        self.area = area


class InFlight:
    """How many calls of models are under way in this process; calls may come from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: WeakSet[CallInFlight] = WeakSet()
        self._area = 0.0
        self._at = 0.0

    def begin(self) -> CallInFlight:
        """Note that a call begins; it is under way until its `end`, or until what is returned is dropped."""
        with self._lock:
            call = CallInFlight(self._advance(), self._area)
            self._calls.add(call)
            return call

    def end(self, call: CallInFlight) -> tuple[float, float]:
        """Note that a call ended; return its seconds, and the mean number of calls under way meanwhile, itself one."""
        with self._lock:
            seconds = self._advance() - call.begun
            number = len(self._calls)
            self._calls.discard(call)
            return seconds, (self._area - call.area) / seconds if seconds > 0 else float(number)

    def _advance(self) -> float:
        """Add what has passed to the integral of the number of calls over time; return the time."""
        now = time.monotonic()
        self._area += len(self._calls) * (now - self._at)
        self._at = now
        return now


in_flight: Final = InFlight()
"""Of this process."""


UseKey = tuple[str, str, int]
"""Provider, model, and the `CONTEXT_TOKENS` that the calls' prompts exceed."""

_COUNTED: Final = (
    *("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"),
    "unreported_calls",
)


@frozen
class BilledCall:
    """One call as its provider bills it.

    Attributes:
        provider: The provider's name.
        model: The model's name.
        usage: What is billed; None where the call failed, or its provider did not report it.
        answered: Whether the model answered.
    """

    provider: str
    model: str
    usage: Usage | None
    answered: bool

    @property
    def key(self) -> UseKey:
        """What its tokens are counted under."""
        context = 0 if self.usage is None else bisect_left(CONTEXT_TOKENS, self.usage.input_tokens) - 1
        return self.provider, self.model, CONTEXT_TOKENS[max(0, context)]

    @property
    def counts(self) -> tuple[int, ...]:
        """What is counted, in the order of `_COUNTED`."""
        return (*astuple(self.usage or _NOTHING), int(self.answered and self.usage is None))

    @property
    def use(self) -> TokenUse:
        """What a price is asked for."""
        return _token_use(self.key, self.counts)


_NOTHING: Final = Usage()


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
        notes: Where what it gets and makes is noted, or None.
        run_started: Monotonic seconds of the start of its team's run; None where that is not known.
    """

    def __init__(
        self,
        spec: MemberSpec,
        parent: MemberMeter | None,
        budget: ToolBudget | None,
        notes: RunNotes | None = None,
        run_started: float | None = None,
    ) -> None:
        self.spec = spec
        self.notes: MemberNotes | None = None
        if notes is not None:
            self.notes = MemberNotes(notes, spec.id, None if parent is None else parent.notes)
        self.parent = parent
        self.budget = budget
        self.executions = 0
        self.success = False
        self.finished = False
        self.error_class: str | None = None
        self.output: Any = None
        self.tool_calls = 0
        self.tool_calls_refused = 0
        self.llm_calls = 0
        self.tokens: dict[UseKey, list[int]] = {}
        self.work, self.models, self.tools = Stopwatch(), Stopwatch(), Stopwatch()
        self._calls_seconds, self._calls_area = 0.0, 0.0
        self._run_started = run_started

    def start(self) -> None:
        """Note that an execution of the member starts."""
        self.work.start()
        self.executions += 1
        self.finished = False
        self.success = False
        self.error_class = None

    def stop(self, *, success: bool, error_class: str | None, finished: bool = True) -> None:
        """Note that an execution of the member ended; `finished` is False when it was cancelled."""
        self.work.stop()
        self.finished = finished
        self.success = success
        self.error_class = error_class

    def _covering(self) -> Iterator[MemberMeter]:
        """Give this member's meter and those of the members above it."""
        meter: MemberMeter | None = self
        while meter is not None:
            yield meter
            meter = meter.parent

    def count_llm_call(self, bill: Sequence[BilledCall]) -> None:
        """Count a call of the model, for this member and those above it.

        Args:
            bill: What it is billed for: itself, or the calls that its provider made of other providers.
        """
        for meter in self._covering():
            meter.llm_calls += 1
            for call in bill:
                _add(meter.tokens, call.key, call.counts)

    def ask_model(self) -> list[Stopwatch]:
        """Note that a call of the model begins, for this member and those above it; return the clocks that run for it.

        A call that one of its tools makes is part of the tool's time.
        """
        clocks = []
        for meter in self._covering():
            if not meter.tools.running:
                meter.models.start()
                clocks.append(meter.models)
        return clocks

    def model_answered(self, seconds: float, calls: float) -> None:
        """Note that a call ended.

        Args:
            seconds: What it took.
            calls: Mean number of calls under way meanwhile.
        """
        for meter in self._covering():
            meter._calls_seconds += seconds
            meter._calls_area += seconds * calls

    def use_tools(self) -> None:
        """Note that a batch of tool calls begins, for this member and those above it."""
        for meter in self._covering():
            meter.tools.start()

    def tools_done(self) -> None:
        """Note that it ended."""
        for meter in self._covering():
            meter.tools.stop()

    def reserve_tool_calls(self, wanted: int) -> ToolGrant | None:
        """Set tool calls aside in every budget that covers this member; return None when no budget limits it.

        Its own team has a budget, and so may the teams around it.
        """
        granted, shares = wanted, []
        for meter in self._covering():
            if meter.budget is not None:
                share = meter.budget.reserve(meter.spec.id, granted)
                if share is not None:
                    shares.append((meter.budget, meter.spec.id, share))
                    granted = share
        return ToolGrant(granted, tuple(shares)) if shares else None

    def drop_budgets(self) -> None:
        """Drop every budget that covers this member: what it has used is no longer known."""
        for meter in self._covering():
            if meter.budget is not None:
                meter.budget.drop()

    def count_tool_calls(self, ran: int, refused: int) -> None:
        """Count a batch of tool calls, executed and refused by a budget, for this member and those above it."""
        for meter in self._covering():
            meter.tool_calls += ran
            meter.tool_calls_refused += refused

    def outcome(self) -> MemberOutcome:
        """Return what has been measured so far."""
        calls, first, started = self._calls_seconds, self.work.first, self._run_started
        tokens = self.tokens
        return MemberOutcome(
            id=self.spec.id,
            role=self.spec.role,
            success=self.success,
            finished=self.finished,
            duration_seconds=self.work.seconds,
            tool_calls=self.tool_calls,
            tool_calls_refused=self.tool_calls_refused,
            llm_calls=self.llm_calls,
            input_tokens=sum(use[0] for use in tokens.values()) if tokens else 0,
            output_tokens=sum(use[1] for use in tokens.values()) if tokens else 0,
            models=sorted({model for _, model, _ in tokens}) if tokens else (),
            error_class=self.error_class,
            model_seconds=self.models.seconds,
            tool_seconds=self.tools.seconds,
            in_flight=self._calls_area / calls if calls > 0 else 1.0,
            begun_after=None if first is None or started is None else max(0.0, first - started),
        )


def _add(total: dict[UseKey, list[int]], key: UseKey, counts: Iterable[int]) -> None:
    """Add counts, in the order of `_COUNTED`, to those of a key."""
    use = total.setdefault(key, [0] * len(_COUNTED))
    for place, tokens in enumerate(counts):
        use[place] += tokens


def _token_use(key: UseKey, counts: Iterable[int]) -> TokenUse:
    provider, model, context = key
    return TokenUse(model, provider=provider, context_tokens=context, **dict(zip(_COUNTED, counts, strict=True)))


class RunMeter:
    """Holds the member meters of one run.

    Args:
        budget: The enforced tool budget, or None.
        notes: Where what the members get and make is noted, or None.
    """

    def __init__(
        self,
        run_id: str,
        members: tuple[MemberSpec, ...],
        ids: Mapping[str, str],
        budget: ToolBudget | None,
        notes: RunNotes | None = None,
    ) -> None:
        self.run_id = run_id
        self.budget = budget
        self.notes = notes
        self.span: Any = None
        """The run's open span, which its members' spans belong to."""
        self._ids = ids
        self.parent_member = current_member.get()
        self.started = time.monotonic()
        self.members = {
            member.id: MemberMeter(member, self.parent_member, budget, notes, self.started) for member in members
        }
        self._lock = threading.Lock()

    def member(self, member_id: str) -> MemberMeter:
        """Return the meter of a member by Victor's id; a member that was not declared gets one, too."""
        member_id = self._ids.get(member_id, member_id)
        with self._lock:
            meter = self.members.get(member_id)
            if meter is None:
                spec = MemberSpec(member_id)
                meter = MemberMeter(spec, self.parent_member, self.budget, self.notes, self.started)
                self.members[member_id] = meter
            return meter

    def tokens(self) -> tuple[TokenUse, ...]:
        """Return the token use of all members by model, sorted by its name."""
        total: dict[UseKey, list[int]] = {}
        for meter in self.members.values():
            for key, counts in meter.tokens.items():
                _add(total, key, counts)
        return tuple(_token_use(key, total[key]) for key in sorted(total, key=lambda key: (key[1], key)))


current_run: ContextVar[RunMeter | None] = ContextVar("victor_autotune_run", default=None)
"""The innermost team run that the code is part of."""

current_member: ContextVar[MemberMeter | None] = ContextVar("victor_autotune_member", default=None)
"""The innermost member that is at work."""


class ModelCall:
    """A call of a provider that is under way, and the calls of other providers that it makes: retries among them."""

    def __init__(self, provider: Any, args: Any, kwargs: Any) -> None:
        self._provider = provider
        self._model = kwargs.get("model")
        self._inner: list[BilledCall] = []
        self._outer = _model_call.get()
        self._meter = current_member.get()
        self._flight: CallInFlight | None = None
        self._clocks: list[Stopwatch] = []
        self.notes: MemberNotes | None = None
        """Where what is said is noted: for the call of the member's own, not for those that it makes."""
        if self._outer is None and self._meter is not None and self._meter.notes is not None:
            with noting(self._meter.notes.run):
                self._meter.notes.ask(args[0] if args else kwargs.get("messages", ()))
                self.notes = self._meter.notes

    def begin(self) -> None:
        """Start its clock, if it is the outermost call."""
        if self._outer is None and self._meter is not None:
            with failsafe.guard("timing of a model call"):
                self._clocks = self._meter.ask_model()
                self._flight = in_flight.begin()

    def ended(self, response: Any, usage: Any = None) -> None:
        """Bill it to the call that made it, else to the member; without a response it failed, and is not billed.

        Args:
            usage: What was reported; None for what the response says.
        """
        with failsafe.guard("metering of a model call"):
            for clock in self._clocks:
                clock.stop()
            if self._flight is not None and self._meter is not None:
                self._meter.model_answered(*in_flight.end(self._flight))
            bill = self._inner
            if not any(call.usage for call in bill):
                bill = [self._billed(response, usage)]
            if self._outer is not None:
                self._outer._inner += bill
            elif self._meter is not None:
                self._meter.count_llm_call(bill)

    def _billed(self, response: Any, usage: Any) -> BilledCall:
        provider, model, found = "", str(self._model or ""), None
        with failsafe.guard("metering of a model call"):
            provider = str(getattr(self._provider, "name", ""))
            model = model or str(getattr(response, "model", None) or "")
            if response is not None:
                usage = _usage(response) if usage is None else usage
                found = billed(provider, usage, getattr(response, "raw_response", None))
        return BilledCall(provider, model, found, response is not None)


_model_call: ContextVar[ModelCall | None] = ContextVar("victor_autotune_model_call", default=None)
"""The innermost call of a provider that the code is part of."""

_own_budget: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The budget that a tool pipeline had before a plan narrowed it."""


async def chat(wrapped: Callable[..., Any], provider: Any, args: Any, kwargs: Any) -> Any:
    """Meter one call of a provider's `chat`; a wrapper in wrapt's form."""
    if current_member.get() is None:
        return await wrapped(*args, **kwargs)
    call = ModelCall(provider, args, kwargs)
    token = _model_call.set(call)
    call.begin()
    response = None
    try:
        response = await wrapped(*args, **kwargs)
        return response
    finally:
        leave(_model_call, token)
        call.ended(response)
        if call.notes is not None and response is not None:
            with noting(call.notes.run):
                call.notes.answer(getattr(response, "content", None), getattr(response, "tool_calls", None))


def stream(wrapped: Callable[..., Any], provider: Any, args: Any, kwargs: Any) -> Any:
    """Meter one call of a provider's `stream`, whose chunks pass unchanged; a wrapper in wrapt's form."""
    chunks = wrapped(*args, **kwargs)
    with failsafe.guard("metering of a model's stream"):
        if current_member.get() is not None and inspect.isasyncgen(chunks):
            return _metered(chunks, ModelCall(provider, args, kwargs))
    return chunks


async def _metered(chunks: Any, call: ModelCall) -> AsyncIterator[Any]:
    answer = None
    usage: dict[str, Any] = {}
    said: list[tuple[Any, Any]] = []
    call.begin()
    try:
        async with aclosing(chunks) as source:
            while True:
                token = _model_call.set(call)
                try:
                    chunk = await anext(source)
                except StopAsyncIteration:
                    answer = chunks if answer is None else answer
                    return
                finally:
                    leave(_model_call, token)
                with failsafe.guard("metering of a model's stream"):
                    if call.notes is not None:
                        said.append((getattr(chunk, "content", None), getattr(chunk, "tool_calls", None)))
                    reported = _usage(chunk)
                    if reported or getattr(chunk, "is_final", False):
                        answer = chunk
                    if reported:  # some tell the prompt first and the completion last, and all tell sums
                        usage |= {name: value for name, value in reported.items() if value or name not in usage}
                yield chunk
    finally:
        call.ended(answer, usage)
        if call.notes is not None:
            with noting(call.notes.run):
                text = "".join(part for part, _ in said if isinstance(part, str))
                call.notes.answer(text, [one for _, asked in said for one in asked or ()])


def leave(variable: ContextVar[Any], token: Token[Any]) -> None:
    """Reset a variable, as far as possible: a coroutine that is closed ends in a foreign context."""
    with failsafe.guard("end of a metered call"):
        try:
            variable.reset(token)
        except ValueError:  # the token is of another context, which ends with the coroutine
            return


def _usage(response: Any) -> Any:
    return getattr(response, "usage", None)


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
    with failsafe.guard("timing of tool calls"):
        meter.use_tools()
    try:
        outcome = await wrapped(*args, **kwargs)
        return outcome
    finally:
        with failsafe.guard("timing of tool calls"):
            meter.tools_done()
        settled = grant is None
        with failsafe.guard("metering of tool calls"):
            used = 0 if before is None else max(0, int(pipeline.calls_used) - before)
            if grant is not None:
                grant.settle(used)
                settled = True
            results = getattr(outcome, "results", ())
            refused = sum(getattr(one, "block_source", None) == "tool_budget" for one in results)
            meter.count_tool_calls(used, refused)
        if meter.notes is not None:
            with noting(meter.notes.run):
                if outcome is None:  # some may have run to their end
                    meter.notes.broken_off(pipeline.tools, args[0] if args else kwargs.get("tool_calls", ()))
                else:
                    meter.notes.called(pipeline.tools, getattr(outcome, "results", ()))
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
