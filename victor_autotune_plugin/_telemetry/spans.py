"""A span around a team run, and one around each member in it.

A span is made current while its block runs, so the spans of Victor and of the application nest under it; tasks
started inside inherit it through their context. Exceptions, cancellation included, pass through unchanged.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextvars import Token
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias

from .. import failsafe
from .._model.plan import TeamPlan, TeamSpec
from .._model.run import MemberOutcome, TeamRun
from . import conventions as names
from . import labels

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer, TracerProvider

_Ending: TypeAlias = tuple[str, str | None, Mapping[str, Any]]

_SHARED: Final = (names.WORKFLOW, names.TEAM_ID, names.MODE, names.EXPERIMENT, names.ARM)


_known: tuple[TracerProvider, Tracer] | None = None
"""The provider that was asked last, and its tracer."""


def tracer_provider() -> TracerProvider | None:
    """Return the provider that the application has set, or None while none is set."""
    if not names.BY_ENVIRONMENT and "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry import trace

    # A version of the API that keeps it under another name is asked.
    if not names.BY_ENVIRONMENT and getattr(trace, "_TRACER_PROVIDER", trace) is None:
        return None
    return trace.get_tracer_provider()


def _tracer() -> Tracer | None:
    """Return the tracer of the provider that is set now, or None while none is set."""
    global _known
    provider = tracer_provider()
    if provider is None or type(provider).__module__.startswith(names.NO_PROVIDERS):
        return None
    known = _known
    if known is None or known[0] is not provider:
        known = _known = (provider, provider.get_tracer(names.SCOPE, names.scope_version(), names.SCHEMA_URL))
    return known[1]


class _CurrentSpan:
    """A span that is current while its block runs. Whatever fails in it is reported to `failsafe`."""

    where = "telemetry.span"
    stopped = names.CANCELLED

    def __init__(self) -> None:
        self._attributes: dict[str, Any] = {}
        self._span: Span | None = None
        self._token: Token[Context] | None = None
        self._finished = False

    @property
    def is_open(self) -> bool:
        """Whether the span exists, so that it is worth telling how it ended."""
        return self._span is not None

    @property
    def trace_id(self) -> str:
        """Id of its trace in hexadecimal, as tools show it; empty where the span is not recorded."""
        span = self._span
        if span is not None:
            with failsafe.guard(f"{self.where}.trace_id", foreign=True):
                if span.is_recording():
                    return f"{span.get_span_context().trace_id:032x}"
        return ""

    def __enter__(self) -> Self:
        with failsafe.guard(f"{self.where}.start", foreign=True):
            self._open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        span = self._span
        if span is None:
            return
        if error is not None and not self._finished:
            self._finish(lambda: self._broken_off(error))
        self._leave(span, error)
        with failsafe.guard(f"{self.where}.end", foreign=True):
            span.end()

    def _open(self) -> None:
        tracer = _tracer()
        if tracer is None:
            return
        name, self._attributes = self._identity()
        from opentelemetry import context, trace

        around = trace.get_current_span()
        inherited = None if around.get_span_context().is_valid else self._parent_context()
        span = tracer.start_span(name, inherited, attributes=self._attributes)
        own, surrounding = span.get_span_context(), around.get_span_context()
        # A tracer that does nothing gives a span with no identity, or the surrounding one's. Making that current
        # would hide the application's own span from its code.
        if not own.is_valid or own.span_id == surrounding.span_id:
            return
        self._span = span
        self._token = context.attach(trace.set_span_in_context(span))
        if span.is_recording():
            span.set_attributes(self._details())

    def _leave(self, span: Span, error: BaseException | None) -> None:
        token, self._token = self._token, None
        if token is None:
            return
        with failsafe.guard(f"{self.where}.end", foreign=True):
            from opentelemetry import context, trace

            # A coroutine that is closed, rather than run to its end, leaves from a foreign context, where the
            # token means nothing.
            if not isinstance(error, GeneratorExit) or trace.get_current_span() is span:
                context.detach(token)

    def _finish(self, ending: Callable[[], _Ending]) -> None:
        span = self._span
        if span is None:
            return
        self._finished = True
        with failsafe.guard(f"{self.where}.finish", foreign=True):
            if not span.is_recording():
                return
            outcome, error_type, attributes = ending()
            span.set_attributes({**attributes, names.OUTCOME: outcome})
            if error_type is not None:
                from opentelemetry.trace import Status, StatusCode

                span.set_attribute(names.ERROR_TYPE, error_type)
                span.set_status(Status(StatusCode.ERROR))

    def _broken_off(self, error: BaseException) -> _Ending:
        # Only the class: a message could hold a prompt. Cancellation and exit are no `Exception`, and no failure.
        if isinstance(error, Exception):
            return names.FAILURE, labels.error_type(type(error).__qualname__), {}
        return self.stopped, None, {}

    def _parent_context(self) -> Context | None:
        return None

    def _identity(self) -> tuple[str, dict[str, Any]]:
        """Return the span's name and the attributes that a sampler sees."""
        raise NotImplementedError

    def _details(self) -> dict[str, Any]:
        """Return the attributes that are worth computing only for a span that is recorded."""
        raise NotImplementedError


class TeamRunSpan(_CurrentSpan):
    """The span of one team run; `team_run_span` makes it."""

    where = "telemetry.team_run_span"

    def __init__(
        self,
        spec: TeamSpec,
        run_id: str,
        mode: str,
        plan: TeamPlan,
        experiment_id: str | None,
        arm: str | None,
        parent_run_id: str | None,
    ) -> None:
        super().__init__()
        self._spec = spec
        self._plan = plan
        self._run_id = run_id
        self._mode = mode
        self._experiment_id = experiment_id
        self._arm = arm
        self._parent_run_id = parent_run_id

    def finish(self, run: TeamRun) -> None:
        """Add the outcome of the run, inside the block. Neither its error message nor its task key is used."""
        self._finish(lambda: (*labels.run_outcome(run), labels.run_attributes(run)))

    def _identity(self) -> tuple[str, dict[str, Any]]:
        workflow = labels.stable_name(self._spec.workflow)
        attributes = {
            names.OPERATION: names.INVOKE_WORKFLOW,
            names.WORKFLOW: self._spec.workflow,
            names.AGENT: workflow,
            names.TEAM_ID: self._spec.team_id,
            names.MODE: self._mode,
        }
        if self._experiment_id is not None:
            attributes[names.EXPERIMENT] = self._experiment_id
        if self._arm is not None:
            attributes[names.ARM] = self._arm
        return f"{names.INVOKE_WORKFLOW} {workflow}", attributes

    def _details(self) -> dict[str, Any]:
        details: dict[str, Any] = {
            names.RUN_ID: self._run_id,
            names.NESTED: self._parent_run_id is not None,
            names.PLAN_ID: self._plan.id,
            names.PLAN_CHANGES: self._plan.describe(),
            names.PLAN_FORMATION: self._plan.formation or self._spec.formation,
            names.PLAN_MEMBERS: self._plan.members or self._spec.member_ids,
        }
        if self._parent_run_id is not None:
            details[names.PARENT_RUN_ID] = self._parent_run_id
        return details


class MemberSpan(_CurrentSpan):
    """The span of one execution of a member; `member_span` makes it."""

    where = "telemetry.member_span"
    stopped = names.UNFINISHED

    def __init__(self, member_id: str, role: str, team: TeamRunSpan | None) -> None:
        super().__init__()
        self._member_id = member_id
        self._role = role
        self._team = team

    def finish(self, outcome: MemberOutcome) -> None:
        """Add the outcome of the member, inside the block: totals over its executions if it runs several times."""
        self._finish(lambda: (*labels.member_outcome(outcome), labels.member_attributes(outcome)))

    def _identity(self) -> tuple[str, dict[str, Any]]:
        name = labels.stable_name(self._member_id, self._role or "member")
        attributes = {names.OPERATION: names.INVOKE_AGENT, names.AGENT: name}
        shared = self._team._attributes if self._team is not None else {}
        attributes.update((key, shared[key]) for key in _SHARED if key in shared)
        return f"{names.INVOKE_AGENT} {name}", attributes

    def _parent_context(self) -> Context | None:
        from opentelemetry import trace

        span = self._team._span if self._team is not None else None
        return trace.set_span_in_context(span) if span is not None else None

    def _details(self) -> dict[str, Any]:
        details = {names.MEMBER_ID: self._member_id}
        if self._role:
            details[names.MEMBER_ROLE] = self._role
        if self._team is not None:
            details[names.RUN_ID] = self._team._run_id
        return details


def team_run_span(
    spec: TeamSpec,
    *,
    run_id: str,
    mode: str,
    plan: TeamPlan,
    experiment_id: str | None = None,
    arm: str | None = None,
    parent_run_id: str | None = None,
) -> TeamRunSpan:
    """Return a context manager that holds a span open around a team run.

    Open it around the awaited call, in one coroutine: `with team_run_span(...) as span: ...; span.finish(run)`.
    """
    return TeamRunSpan(spec, run_id, mode, plan, experiment_id, arm, parent_run_id)


def member_span(member_id: str, role: str = "", *, team: TeamRunSpan | None = None) -> MemberSpan:
    """Return a context manager that holds a span open around one execution of a member.

    Args:
        team: Span of its team's run. It is the parent where no span is current, as in a thread that was started
            without a copy of the context.
    """
    return MemberSpan(member_id, role, team)
