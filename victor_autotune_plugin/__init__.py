"""Tunes the agent teams inside Victor workflows by A/B tests on their real runs.

Importing it loads nothing heavy: each public name is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from ._api.analyzer import PerformanceAnalyzer
    from ._api.autotuner import PerformanceAutotuner
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
    "install",
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
}
"""Module of each public name that is loaded on first use."""


def install() -> None:
    """Intercept Victor's team runs in this process.

    Victor does it by itself when it loads its plugins; call this where a program uses Victor's coordinators without
    an agent of Victor's. Installing twice is the same as once.
    """
    from ._host import seams

    seams.install()


def uninstall() -> None:
    """Take the interception out again until `install` is called, and write and close what is open."""
    from ._host import seams
    from ._tuning import runtime

    seams.uninstall()
    before = runtime.use(None)
    if before is not None:
        before.close()


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
