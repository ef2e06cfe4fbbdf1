"""After a run: let the experiment decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from victor_autotune_plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from victor_autotune_plugin.loop.tuning import TuningLoop
    from victor_autotune_plugin.model.run import TeamRun


class JudgeHooks:
    """Asks the loop what follows from a finished run.

    Args:
        loop: Judges.
    """

    def __init__(self, loop: TuningLoop) -> None:
        self._loop = loop

    @hookimpl(trylast=True)
    def after_team_run(self, run: TeamRun) -> None:
        """Promote, reject, roll back, or start a test, if the evidence says so."""
        self._loop.judge(run)
