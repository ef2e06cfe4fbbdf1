"""Where Victor is intercepted: public methods, wrapped when Victor loads their module, and unwrapped again.

Installing costs nothing at Victor's start: a method is wrapped only when Victor itself imports the
module that holds it. A seam that is missing or has another signature is left alone and shows up in `health`.
"""

from __future__ import annotations

import inspect
import sys
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any

import wrapt

from .. import failsafe
from .seam_table import BEGINNING, PARALLEL, PARTICIPANT, TOOL_CALLS, Seam, Wrapper
from .seam_table import SEAMS as SEAMS

if TYPE_CHECKING:
    from .._model.plan import TeamPlan

_lock = threading.RLock()
_active = threading.Event()  # asked at every call of Victor's
_uninstalled = False
_status: dict[str, str] = {}
"""What was wrong with a seam when it was wrapped, by its name."""
_announced: set[str] = set()
_wrapped: list[tuple[Any, str, Any, Any]] = []


def is_active() -> bool:
    """Return whether the seams are installed."""
    return _active.is_set()


def unenforceable(plan: TeamPlan) -> str | None:
    """Return the knob of a plan that this Victor has no place for, or None."""
    limited = plan.tool_budget is not None or bool(plan.member_budgets)
    grouped = plan.sub_teams is not None
    arranged = grouped or plan.formation is not None or plan.members is not None
    needed = (
        ("tool budgets", limited, (PARTICIPANT, TOOL_CALLS)),
        ("formations and members", arranged, (BEGINNING,)),
        ("sub-teams", grouped, (PARALLEL,)),
    )
    return next((knob for knob, asked, of in needed if asked and any(seam.name in _status for seam in of)), None)


def install(*, again: bool = True) -> None:
    """Wrap Victor's methods, now or when Victor loads them. Installing twice is the same as once.

    Args:
        again: Whether to do it although `uninstall` was called. Victor registers its plugins again for every sub-agent,
            and that must not undo an `uninstall`.
    """
    global _uninstalled
    with _lock:
        if _active.is_set() or (_uninstalled and not again):
            return
        _uninstalled = False
        _active.set()
        for module in dict.fromkeys(seam.module for seam in SEAMS):
            if module in sys.modules:
                _wrap_module(sys.modules[module])
            elif module not in _announced:
                _announced.add(module)
                wrapt.register_post_import_hook(_wrap_module, module)


def uninstall() -> None:
    """Remove every wrapper. One that another library has wrapped since stays, and does nothing."""
    global _uninstalled
    with _lock:
        _uninstalled = True
        _active.clear()
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
    found: dict[str, str | None] = {}
    for seam in SEAMS:
        try:
            fault = _status.get(seam.name) or _fault_of(import_module(seam.module), seam)
        except Exception as error:
            fault = f"{type(error).__name__}: {error}"
        if fault is None or seam.is_expected:
            found[seam.name] = fault
    return found


def _wrap_module(module: Any) -> None:
    with _lock:
        if not _active.is_set():
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
        if not seam.is_expected:
            return
        _status[seam.name] = fault
        failsafe.report(f"interception of {seam.name}", LookupError(f"{fault}; without it: no {seam.serves}"))
    if required_fault is None:
        _put_on(module, seam.path, seam.wrapper)


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
    original: Any
    owner, attribute, original = wrapt.resolve_path(parent, path)
    of_another_module = inspect.ismodule(owner) and owner is not parent
    place = (parent, path.partition(".")[0]) if of_another_module else (owner, attribute)
    if any((known, name) == place for known, name, _, _ in _wrapped):
        return
    put: Any = wrapt.FunctionWrapper(original, wrapper, enabled=_active.is_set)
    if of_another_module:
        # Victor's module sees the other one through a view that differs in this function; nobody else does.
        original, put = owner, type("ModuleView", (wrapt.ObjectProxy,), {attribute: staticmethod(put)})(owner)
    wrapt.apply_patch(*place, put)
    _wrapped.append((*place, original, put))


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
            if _active.is_set():
                _put_on(owner, attribute, wrapper)


def _subclasses(cls: type) -> list[type]:
    direct: list[type] = cls.__subclasses__()
    return [found for child in direct for found in (child, *_subclasses(child))]
