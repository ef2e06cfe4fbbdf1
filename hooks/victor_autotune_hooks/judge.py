"""After a run: keep it, and let the experiment decide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from victor_autotune_plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from victor_autotune_plugin._model.run import TeamRun
    from victor_autotune_plugin._tuning.loop import TuningLoop


class JudgeHooks:
    """Gives a finished run to the loop.

    Args:
        loop: Keeps it and judges.
    """

    def __init__(self, loop: TuningLoop) -> None:
        self._loop = loop

    @hookimpl(tryfirst=True)
    def after_team_run(self, run: TeamRun) -> None:
        """Write the run, and promote, reject, roll back, or start a test, if the evidence says so."""
        self._loop.finished(run)
