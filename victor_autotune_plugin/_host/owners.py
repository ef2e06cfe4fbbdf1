"""Who else in Victor sets knobs of a run: formation hints, the topology selector, a limit on workers.

Each knob of a run has one owner. What another one has set before the plan is chosen is left alone, and the run takes
part in no test; so a test never compares what another tuner has changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .._model.plan import TeamPlan
from . import step_state

TOPOLOGY: Final = "topology selector"
FOUND: Final = "unknown, found in the result"
"""Owner of a formation that the run had although neither the plan nor the context asked for it."""

_OF_TOPOLOGY: Final = "topology_"


def owners_of(context: Mapping[str, Any], overrides: TeamPlan) -> dict[str, str]:
    """Return the knobs that a run's context sets, by name, and who set each.

    Args:
        context: The run's shared context.
        overrides: Formation and members as the context sets them.
    """
    selects = any(str(key).startswith(_OF_TOPOLOGY) for key in context)
    owners: dict[str, str] = {}
    if overrides.formation is not None:
        owners["formation"] = TOPOLOGY if selects else step_state.HINTS[0]
    if overrides.members is not None:
        owners["members"] = TOPOLOGY if selects else "max_workers"
    if selects and context.get("tool_budget"):  # of another origin, Victor's teams don't look at it
        owners["tool_budget"] = TOPOLOGY
    return owners


def calibrates_budgets() -> bool:
    """Whether Victor's own calibration of tool budgets is switched on; it reads Victor's settings."""
    from victor.config.settings import load_settings

    tools = getattr(load_settings(), "tools", None)
    return bool(getattr(tools, "tool_budget_calibration_enabled", False))
