"""Before a run: ask the loop for the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from victor_autotune_plugin.hookspecs import PlannedRun, RunStart, hookimpl

if TYPE_CHECKING:
    from victor_autotune_plugin._tuning.loop import TuningLoop


class PlanHooks:
    """Answers `plan_team_run`, unless somebody else did before.

    Args:
        loop: Chooses the plan.
    """

    def __init__(self, loop: TuningLoop) -> None:
        self._loop = loop

    @hookimpl(trylast=True)
    def plan_team_run(self, event: RunStart) -> PlannedRun | None:
        """Return the plan of a run; if the store fails, the run is observed as configured."""
        return self._loop.plan(event)
