"""Before a run: ask the autotuner for the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from victor_autotune_plugin.hookspecs import PlannedRun, TeamRunStarting, hookimpl

if TYPE_CHECKING:
    from victor_autotune_plugin.autotuner import Autotuner


class PlanHooks:
    """Answers `plan_team_run`, unless somebody else did before.

    Args:
        autotuner: Chooses the plan.
    """

    def __init__(self, autotuner: Autotuner) -> None:
        self._autotuner = autotuner

    @hookimpl(trylast=True)
    def plan_team_run(self, event: TeamRunStarting) -> PlannedRun | None:
        """Return the plan of a run; if the store fails, the run is observed as configured."""
        return self._autotuner.plan(event)
