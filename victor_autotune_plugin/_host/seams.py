"""Where Victor is intercepted: public methods, wrapped when Victor loads their module, and unwrapped again.

Installing costs nothing at Victor's start: a method is wrapped only when Victor itself imports the
module that holds it. A seam that is missing or has another signature is left alone and shows up in `health`.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

import wrapt
from attrs import frozen

from .. import failsafe
from . import call_context

Wrapper = Callable[[Callable[..., Any], Any, Any, Any], Any]


@frozen
class Seam:
    """A method of Victor's that is wrapped.

    Attributes:
        module: Module that holds it.
        path: Dotted path in the module.
        parameters: Names of the parameters that the wrapper relies on.
        wrapper: The wrapper, in wrapt's form.
        serves: What would be missing without it.
        required: Whether runs are not intercepted at all without it.
    """

    module: str
    path: str
    parameters: tuple[str, ...]
    wrapper: Wrapper
    serves: str
    required: bool = False

    @property
    def name(self) -> str:
        """The whole dotted name."""
        return f"{self.module}.{self.path}"


# --- the wrappers of runs, members and models; what they need is imported when the first team runs


async def _execute_team_config(wrapped: Callable[..., Any], coordinator: Any, args: Any, kwargs: Any) -> Any:
    return await _intercepted("ConfigCall", wrapped, coordinator, args, kwargs)


async def _execute_task(wrapped: Callable[..., Any], coordinator: Any, args: Any, kwargs: Any) -> Any:
    return await _intercepted("TaskCall", wrapped, coordinator, args, kwargs)


async def _intercepted(kind: str, wrapped: Callable[..., Any], coordinator: Any, args: Any, kwargs: Any) -> Any:
    intercept: Callable[..., Any] | None = None
    with failsafe.guard("loading of the way of a run"):
        from . import calls
        from .interception import intercept

        make = getattr(calls, kind)
    if intercept is None:
        return await call_context.as_it_came(wrapped, args, kwargs)
    return await intercept(
        lambda: make(wrapped, coordinator, args, kwargs, call_context.here()),
        lambda: call_context.as_it_came(wrapped, args, kwargs),
    )


async def _participant(wrapped: Callable[..., Any], participant: Any, args: Any, kwargs: Any) -> Any:
    meter: Callable[..., Any] = _unmetered
    with failsafe.guard("loading of the meters"):
        from .member_execution import member_execution as meter
    return await meter(wrapped, participant, args, kwargs)


async def _tool_calls(wrapped: Callable[..., Any], pipeline: Any, args: Any, kwargs: Any) -> Any:
    meter: Callable[..., Any] = _unmetered
    with failsafe.guard("loading of the meters"):
        from .meters import tool_calls as meter
    return await meter(wrapped, pipeline, args, kwargs)


async def _unmetered(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
    return await wrapped(*args, **kwargs)


_warmed = False


def _warm_up(wrapped: Callable[..., Any], _instance: Any, args: Any, kwargs: Any) -> Any:
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


def _provider_init(wrapped: Callable[..., Any], provider: Any, args: Any, kwargs: Any) -> Any:
    result = wrapped(*args, **kwargs)
    with failsafe.guard("metering of a provider"):
        meter_provider(type(provider))
    return result


_COORDINATOR: Final = "victor.teams.unified_coordinator"

_PARTICIPANT: Final = Seam(
    "victor.teams.types",
    "TeamParticipant.execute_task",
    ("task", "context"),
    _participant,
    "durations, tool calls and tokens of members",
)
_TOOL_CALLS: Final = Seam(
    "victor.agent.tool_pipeline",
    "ToolPipeline.execute_tool_calls",
    ("tool_calls",),
    _tool_calls,
    "tool calls, and tool budgets that are enforced",
)

SEAMS: Final = (
    Seam(
        _COORDINATOR,
        "UnifiedTeamCoordinator.execute_team_config",
        ("config", "members"),
        _execute_team_config,
        "runs of team steps, AgentTeam, configured teams and the legacy coordinator",
        required=True,
    ),
    Seam(
        _COORDINATOR,
        "UnifiedTeamCoordinator.execute_task",
        ("task", "context"),
        _execute_task,
        "runs of coordinators used directly or as graph nodes",
        required=True,
    ),
    _PARTICIPANT,
    _TOOL_CALLS,
    Seam(_COORDINATOR, "UnifiedTeamCoordinator.__init__", (), _warm_up, "early loading when a coordinator is made"),
    Seam(
        "victor.framework.agent_factory", "AgentFactory.__init__", (), _warm_up, "early loading when an agent is made"
    ),
    Seam("victor.providers.base", "BaseProvider.__init__", (), _provider_init, "model calls, tokens and cost"),
    Seam(
        "victor.framework.workflows.nodes",
        "TeamStep.execute_async",
        ("orchestrator", "graph_state"),
        call_context.team_step,
        "ids and timeouts of team steps",
    ),
    Seam(
        "victor.framework.graph_primitives",
        "Node.execute",
        ("state",),
        call_context.graph_node,
        "ids of coordinators used as graph nodes",
    ),
    Seam(
        "victor.framework.team_runtime",
        "execute_resolved_team",
        ("resolved_plan",),
        call_context.resolved_team,
        "ids of configured teams",
    ),
    Seam(
        "victor.workflows.unified_executor",
        "StateGraphExecutor.execute",
        ("workflow",),
        call_context.execute_workflow,
        "workflow names under StateGraphExecutor",
    ),
    Seam(
        "victor.workflows.unified_executor",
        "StateGraphExecutor.stream",
        ("workflow",),
        call_context.stream_workflow,
        "workflow names under StateGraphExecutor, streamed",
    ),
    Seam(
        "victor.workflows.unified_compiler",
        "UnifiedWorkflowCompiler.compile_definition",
        ("definition",),
        call_context.compile_definition,
        "metadata.autotune under UnifiedWorkflowCompiler",
    ),
)


# --- installing and removing them

_lock = threading.RLock()
_active = False
_uninstalled = False
_status: dict[str, str] = {}
"""What was wrong with a seam when it was wrapped, by its name."""
_announced: set[str] = set()
_wrapped: list[tuple[Any, str, Any, Any]] = []


def is_active() -> bool:
    """Return whether the seams are installed."""
    return _active


def can_enforce_budgets() -> bool:
    """Return whether tool budgets can be enforced in this Victor."""
    return _PARTICIPANT.name not in _status and _TOOL_CALLS.name not in _status


def install(*, again: bool = True) -> None:
    """Wrap Victor's methods, now or when Victor loads them. Installing twice is the same as once.

    Args:
        again: Whether to do it although `uninstall` was called. Victor registers its plugins again for every sub-agent,
            and that must not undo an `uninstall`.
    """
    global _active, _uninstalled
    with _lock:
        if _active or (_uninstalled and not again):
            return
        _active, _uninstalled = True, False
        for module in dict.fromkeys(seam.module for seam in SEAMS):
            if module in sys.modules:
                _wrap_module(sys.modules[module])
            elif module not in _announced:
                _announced.add(module)
                wrapt.register_post_import_hook(_wrap_module, module)


def uninstall() -> None:
    """Remove every wrapper. One that another library has wrapped since stays, and does nothing."""
    global _active, _uninstalled
    with _lock:
        _active, _uninstalled = False, True
        for parent, attribute, original, wrapper in reversed(_wrapped):
            if vars(parent).get(attribute) is wrapper:
                setattr(parent, attribute, original)
        _wrapped.clear()
        _status.clear()


def health() -> dict[str, str | None]:
    """Look at every seam of the installed Victor.

    Modules that Victor has not loaded yet are loaded to look at them.

    Returns:
        What is wrong by the seam's name; None where nothing is.
    """
    found: dict[str, str | None] = {_COORDINATOR + ".UnifiedTeamCoordinator": _coordinator_fault()}
    for seam in SEAMS:
        try:
            found[seam.name] = _status.get(seam.name) or _fault_of(import_module(seam.module), seam)
        except Exception as error:
            found[seam.name] = f"{type(error).__name__}: {error}"
    return found


def _wrap_module(module: Any) -> None:
    with _lock:
        if not _active:
            return
        for seam in SEAMS:
            if seam.module == module.__name__:
                with failsafe.guard(f"interception of {seam.name}"):
                    _wrap(module, seam)
        if module.__name__ == "victor.providers.base":
            with failsafe.guard("metering of providers"):
                for provider in _subclasses(module.BaseProvider):
                    meter_provider(provider)


def _wrap(module: Any, seam: Seam) -> None:
    fault = _fault_of(module, seam)
    required_fault = fault or next((_status[s.name] for s in SEAMS if s.required and s.name in _status), None)
    if fault is not None:
        _status[seam.name] = fault
        failsafe.report(f"interception of {seam.name}", LookupError(f"{fault}; without it: no {seam.serves}"))
    if required_fault is None:
        _put_on(module, seam.path, seam.wrapper)


def _coordinator_fault() -> str | None:
    """Return what a changed copy of a coordinator would need and this Victor's does not have, or None."""
    from .translation import COORDINATOR_STATE, COORDINATOR_STRATEGIES

    try:
        coordinator = import_module(_COORDINATOR).UnifiedTeamCoordinator(lightweight_mode=True)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    missing = [name for name in (*COORDINATOR_STATE, COORDINATOR_STRATEGIES) if not hasattr(coordinator, name)]
    return f"a coordinator has no {', '.join(missing)}" if missing else None


def _fault_of(module: Any, seam: Seam) -> str | None:
    """Return what keeps a seam from being used, or None."""
    target = module
    for part in seam.path.split("."):
        target = getattr(target, part, None)
        if target is None:
            return f"this Victor has no {seam.path}"
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return f"{seam.path} has no signature to look at"
    missing = [name for name in seam.parameters if name not in parameters]
    if missing:
        return f"{seam.path} has no parameter {', '.join(missing)}"
    plain = inspect.unwrap(target)
    wanted = _kind(seam.wrapper)
    return None if _kind(plain) == wanted else f"{seam.path} is no longer {wanted}"


def _kind(function: Any) -> str:
    if inspect.isasyncgenfunction(function):
        return "an async generator"
    return "a coroutine function" if inspect.iscoroutinefunction(function) else "a plain function"


def _put_on(parent: Any, path: str, wrapper: Wrapper) -> None:
    owner, attribute, original = wrapt.resolve_path(parent, path)
    if any(known is owner and name == attribute for known, name, _, _ in _wrapped):
        return
    put = wrapt.FunctionWrapper(original, wrapper, enabled=is_active)
    wrapt.apply_patch(owner, attribute, put)
    _wrapped.append((owner, attribute, original, put))


def meter_provider(provider: type) -> None:
    """Meter the `chat` and `stream` of a provider class, wherever they are defined.

    Args:
        provider: A subclass of Victor's `BaseProvider`.
    """
    from .meters import chat, stream

    for attribute, wrapper in (("chat", chat), ("stream", stream)):
        owner = next((cls for cls in provider.__mro__ if attribute in vars(cls)), None)
        defined = None if owner is None else vars(owner)[attribute]
        if (
            owner is None
            or isinstance(defined, wrapt.FunctionWrapper)
            or getattr(defined, "__isabstractmethod__", False)
        ):
            continue
        with _lock:
            if _active:
                _put_on(owner, attribute, wrapper)


def _subclasses(cls: type) -> list[type]:
    direct: list[type] = cls.__subclasses__()
    return [found for child in direct for found in (child, *_subclasses(child))]
