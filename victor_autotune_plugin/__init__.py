"""Tunes the agent teams inside Victor workflows by A/B tests on their real runs.

Importing it loads nothing heavy: each public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ._deprecated import install_finder
from ._model.known_formations import ask_host

if TYPE_CHECKING:
    from ._api.analyzer import PerformanceAnalyzer
    from ._api.autotuner import PerformanceAutotuner
    from ._host.call_context import as_configured
    from ._host.workflows import make_orchestrator, read_workflows, run_workflow, settle
    from ._model.optimization import (
        OptimizationPriority,
        OptimizationResult,
        OptimizationSuggestion,
        OptimizationType,
        PerformanceInsight,
    )
    from .strategies import (
        FormationSelectionStrategy,
        MemberSelectionStrategy,
        OptimizationStrategy,
        ParallelizationStrategy,
        TeamSizingStrategy,
        TimeoutTuningStrategy,
        ToolBudgetStrategy,
    )

    __version__: str

__all__ = [
    "FormationSelectionStrategy",
    "MemberSelectionStrategy",
    "OptimizationPriority",
    "OptimizationResult",
    "OptimizationStrategy",
    "OptimizationSuggestion",
    "OptimizationType",
    "ParallelizationStrategy",
    "PerformanceAnalyzer",
    "PerformanceAutotuner",
    "PerformanceInsight",
    "TeamSizingStrategy",
    "TimeoutTuningStrategy",
    "ToolBudgetStrategy",
    "__version__",
    "as_configured",
    "health",
    "install",
    "make_orchestrator",
    "read_workflows",
    "run_workflow",
    "settle",
    "uninstall",
]

_HOMES: Final = {
    "PerformanceAnalyzer": "._api.analyzer",
    "PerformanceAutotuner": "._api.autotuner",
    "OptimizationPriority": "._model.optimization",
    "OptimizationResult": "._model.optimization",
    "OptimizationSuggestion": "._model.optimization",
    "OptimizationType": "._model.optimization",
    "PerformanceInsight": "._model.optimization",
    "FormationSelectionStrategy": ".strategies",
    "MemberSelectionStrategy": ".strategies",
    "OptimizationStrategy": ".strategies",
    "ParallelizationStrategy": ".strategies",
    "TeamSizingStrategy": ".strategies",
    "TimeoutTuningStrategy": ".strategies",
    "ToolBudgetStrategy": ".strategies",
    "as_configured": "._host.call_context",
    "make_orchestrator": "._host.workflows",
    "read_workflows": "._host.workflows",
    "run_workflow": "._host.workflows",
    "settle": "._host.workflows",
}
"""Module of each public name that is loaded on first use."""


install_finder()


def _formations_of_victor() -> tuple[str, ...]:
    try:
        from ._host.translation import formations

        return formations()
    except ImportError:  # only files are read here, without a Victor
        return ()


ask_host(_formations_of_victor)


def install() -> None:
    """Intercept Victor's team runs in this process.

    Victor does it by itself when it loads its plugins; call this where a program uses Victor's coordinators without
    an agent of Victor. Installing twice is the same as once.

    .. versionadded:: 0.1
    """
    from ._host import seams

    seams.install()


def uninstall() -> None:
    """Remove the interception until `install` is called, and write and close what is open.

    .. versionadded:: 0.1
    """
    from ._host import seams
    from ._tuning import runtime

    seams.uninstall()
    before = runtime.use(None)
    if before is not None:
        before.close()


def health() -> dict[str, Any]:
    """Tell whether team runs are intercepted as they should be.

    Returns:
        `healthy` and `active`; `seams` by name, with what is wrong with each, None where nothing is; `broken`, those
        with a fault; and the `faults` of this process.

    .. versionadded:: 0.2
    """
    from .plugin import plugin

    return plugin.health_check()


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("victor-autotune-plugin")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home, __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
