"""Where in Victor a team run happens: in which workflow, as which step, under which timeout.

The coordinator, where every run passes, knows none of this; the layers above it do. The functions here, in wrapt's
form, wrap those layers, and leave what each knows in a `ContextVar` on the way down.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from contextvars import ContextVar, Token
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, frozen

from .. import failsafe

if TYPE_CHECKING:
    from .._settings import Settings
    from .translation import ArmedPlan

_MOST_WORKFLOWS: Final = 1000

_metadata: dict[str, Mapping[str, Any]] = {}
"""The `metadata.autotune` of workflows that were compiled in this process, by name; a compiled graph has none."""


@frozen
class Place:
    """What the layers above the coordinator said.

    Attributes:
        workflow: Name of the workflow, or None outside one.
        metadata: The workflow's own `metadata.autotune`, or None.
        team_id: Id of the team step, graph node or configured team, or None.
        step_timeout: The team step's own timeout in seconds, or None.
        limit: The timeout as it runs, where a plan may move it, or None.
        settings: The team's settings where a layer has looked them up, or None.
    """

    workflow: str | None = None
    metadata: Mapping[str, Any] | None = None
    team_id: str | None = None
    step_timeout: float | None = None
    limit: asyncio.Timeout | None = None
    settings: Settings | None = None

    def lift(self) -> None:
        """Let the step's own timeout never pass: the plan's deadline is enforced instead."""
        if self.limit is not None:
            self.limit.reschedule(None)


_as_configured: ContextVar[bool] = ContextVar("victor_autotune_as_configured", default=False)

OFF_KEY: Final = "autotune"
"""Key of a run's shared context; `off` there runs the team untouched, once."""


@contextmanager
def as_configured() -> Iterator[None]:
    """Run the teams of a `with` block as configured, without a plan, a test or a record.

    .. versionadded:: 0.2
    """
    token = _as_configured.set(True)
    try:
        yield
    finally:
        _as_configured.reset(token)


def is_left_alone(context: Mapping[str, Any]) -> bool:
    """Return whether a run is to be left alone, by the block around it or by its shared context."""
    asked = context.get(OFF_KEY)
    # YAML 1.1 reads the word `off` as false.
    return _as_configured.get() or asked is False or (isinstance(asked, str) and asked.strip().lower() == "off")


_place: ContextVar[Place] = ContextVar("victor_autotune_place", default=Place())  # noqa: B039 - frozen


def here() -> Place:
    """Return the current place."""
    return _place.get()


class inside:  # noqa: N801 - reads as a statement
    """Sets the current place for a block. If that fails, the block runs all the same, in the place before.

    Args:
        make: Returns the place, or what to change in the current one.
    """

    __slots__ = ("_make", "_token")

    def __init__(self, make: Callable[[], Place | Mapping[str, Any]]) -> None:
        self._make = make
        self._token: Token[Place] | None = None

    def __enter__(self) -> None:
        """Set the place."""
        with failsafe.guard("reading of a run's place"):
            made = self._make()
            place = made if isinstance(made, Place) else evolve(_place.get(), **{"settings": None, **made})
            self._token = _place.set(place)

    def __exit__(self, *_: object) -> None:
        """Set the place before it again."""
        token, self._token = self._token, None
        if token is None:
            return
        with failsafe.guard("end of a run's place"), suppress(ValueError):
            # A coroutine that is closed ends in a foreign context, where the token means nothing.
            _place.reset(token)


def inside_run() -> Any:
    """Enter a team run: what named it must not name the runs inside it."""
    return inside(_inside_run)


def _inside_run() -> Place:
    place = _place.get()
    return Place(place.workflow, place.metadata)


async def graph_node(wrapped: Callable[..., Any], node: Any, args: Any, kwargs: Any) -> Any:
    """Run a graph node; one that is a coordinator names its team."""
    is_coordinator = False
    with failsafe.guard("reading of a graph node"):
        is_coordinator = hasattr(node.func, "execute_team_config")
    if not is_coordinator:
        return await wrapped(*args, **kwargs)
    with inside(lambda: {"team_id": str(node.id)}):
        return await wrapped(*args, **kwargs)


async def resolved_team(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
    """Run a configured team under its name."""
    with inside(lambda: {"team_id": getattr(kwargs.get("resolved_plan"), "team_name", None)}):
        return await wrapped(*args, **kwargs)


async def execute_workflow(wrapped: Callable[..., Any], _executor: Any, args: Any, kwargs: Any) -> Any:
    """Run a workflow under its name and with its metadata."""
    with inside(lambda: _named(args, kwargs)):
        return await wrapped(*args, **kwargs)


async def stream_workflow(wrapped: Callable[..., Any], _executor: Any, args: Any, kwargs: Any) -> Any:
    """Do what `execute_workflow` does, for each step that is streamed."""
    async with aclosing(wrapped(*args, **kwargs)) as steps:
        while True:
            with inside(lambda: _named(args, kwargs)):
                try:
                    step = await anext(steps)
                except StopAsyncIteration:
                    return
            yield step


def _named(args: Any, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    workflow = args[0] if args else kwargs.get("workflow")
    metadata = getattr(workflow, "metadata", None)
    return {
        "workflow": getattr(workflow, "name", None),
        "metadata": metadata.get("autotune") if isinstance(metadata, Mapping) else None,
    }


def compile_definition(wrapped: Callable[..., Any], _compiler: Any, args: Any, kwargs: Any) -> Any:
    """Keep the metadata of a workflow that is compiled."""
    with failsafe.guard("reading of a workflow's metadata"):
        definition = args[0] if args else kwargs.get("definition")
        remember_metadata(getattr(definition, "name", None), getattr(definition, "metadata", None))
    return wrapped(*args, **kwargs)


def remember_metadata(workflow: Any, metadata: Any) -> None:
    """Keep the `autotune` part of a workflow's metadata."""
    own = metadata.get("autotune") if isinstance(metadata, Mapping) else None
    _metadata.pop(workflow, None)
    if own is not None and len(_metadata) < _MOST_WORKFLOWS:
        _metadata[workflow] = own


async def team_step(wrapped: Callable[..., Any], step: Any, args: Any, kwargs: Any) -> Any:
    """Run a team step under its name."""
    with inside(lambda: _place_of(step, args, kwargs)):
        return await wrapped(*args, **kwargs)


def _place_of(step: Any, args: Any, kwargs: Mapping[str, Any]) -> Place:
    place = here()
    state = args[1] if len(args) > 1 else kwargs.get("graph_state")
    named = getattr(state, "get", lambda _: None)("_workflow_name")
    workflow = place.workflow or named or None
    metadata = place.metadata if place.metadata is not None else _metadata.get(workflow or "")
    return Place(workflow, metadata, str(step.id), step.config.timeout_seconds or None)


async def step_timeout(_wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
    """Wait for a team step's work as long as the step may take, or its plan.

    Victor puts the step's timeout around the coordinator, and throws away what members delivered when it passes. In the
    modes in which a plan may set another timeout, it is one that can be moved once the plan is known.
    """
    work: Any = None
    around = inside(here)
    with failsafe.guard("reading of a step's timeout"):
        place = here()
        if place.step_timeout is not None:
            place = evolve(place, settings=await _settings_of(place))
            around = inside(lambda: place)
            if place.settings is not None and place.settings.mode in ("approve", "auto"):
                work, limit = _movable(*args, **kwargs)
                around = inside(lambda: evolve(place, limit=limit))
    if work is None:
        with around:
            return await asyncio.wait_for(*args, **kwargs)
    async with limit:
        with around:
            return await work


def _movable(fut: Any, timeout: float) -> tuple[Any, asyncio.Timeout]:
    return fut, asyncio.timeout(timeout)


async def _settings_of(place: Place) -> Settings | None:
    from .._model.plan import ADHOC_WORKFLOW
    from .._tuning.runtime import current

    owner = await current()
    if owner is None:
        return None
    return owner.resolver.for_team(place.workflow or ADHOC_WORKFLOW, place.team_id or "", place.metadata)


armed: ContextVar[ArmedPlan | None] = ContextVar("victor_autotune_plan", default=None)
"""The plan of the innermost run, for Victor's coordinator."""


async def execute_with(wrapped: Callable[..., Any], coordinator: Any, args: Any, kwargs: Any) -> Any:
    """Begin a run of a coordinator under its plan; a wrapper in wrapt's form.

    Victor's own `_execute_with` takes formation and members for one run, and leaves the coordinator as it is.
    """
    call = partial(wrapped, *args, **kwargs)
    plan = arguments = None
    with failsafe.guard("application of a plan, which is dropped for this run"):
        plan = armed.get()
        if plan is not None:
            given = _execute_arguments(*args, **kwargs)
            changed = plan.begin(coordinator, given)
            call, arguments = partial(wrapped, **changed), given if changed is not given else None
    result = await call()
    if plan is not None and arguments is not None:
        with failsafe.guard("state after a planned run"):
            plan.end(coordinator, arguments, result)
    return result


def _execute_arguments(task: Any, context: Any, **more: Any) -> dict[str, Any]:
    return {"task": task, "context": context, **more}


async def parallel_formation(wrapped: Callable[..., Any], _formation: Any, args: Any, kwargs: Any) -> Any:
    """Run the sub-teams of a plan where Victor runs members side by side; a wrapper in wrapt's form."""
    call = partial(wrapped, *args, **kwargs)
    with failsafe.guard("application of sub-teams, which are dropped for this run"):
        plan = armed.get()
        groups = None if plan is None else plan.take_sub_teams()
        if groups is not None:
            call = partial(groups.execute, *args, **kwargs, instead=call)
    return await call()


# --- the wrappers of runs, members and models


def late(module: str, name: str) -> Callable[..., Any]:
    """Return a wrapper that is imported when it is first called; if that fails, Victor's method runs alone."""

    async def wrapper(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        execute: Callable[..., Any] = _alone
        with failsafe.guard(f"loading of {module}"):
            execute = getattr(import_module(f"{__package__}.{module}"), name)
        return await execute(wrapped, instance, args, kwargs)

    return wrapper


async def _alone(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
    return await wrapped(*args, **kwargs)


_warmed = False


def warm_up(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
    """Have the plugin loaded on a thread, once: a team is near."""
    global _warmed
    if not _warmed:
        _warmed = True
        with failsafe.guard("early loading"):
            from .._tuning.threads import start_once

            start_once("autotune warm-up", _load_runtime)
    return wrapped(*args, **kwargs)


def _load_runtime() -> None:
    with failsafe.guard("early loading"):
        from .._tuning import runtime

        runtime.warm_up()


def provider_init(wrapped: Callable[..., Any], provider: Any, args: Any, kwargs: Any) -> Any:
    """Have a provider's calls metered once it is made."""
    result = wrapped(*args, **kwargs)
    with failsafe.guard("metering of a provider"):
        from .seams import meter_provider

        meter_provider(type(provider))
    return result
