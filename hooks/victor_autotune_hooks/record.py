"""Around a run: keep its start, its score and its cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from victor_autotune_plugin._tuning.recorder import run_start
from victor_autotune_plugin.hookspecs import PlannedRun, TeamRunStarting, hookimpl

if TYPE_CHECKING:
    from victor_autotune_plugin._model.run import TeamRun
    from victor_autotune_plugin._settings import SettingsBook
    from victor_autotune_plugin._tuning.recorder import Recorder


class RecordHooks:
    """Keeps runs.

    Args:
        recorder: Writes them.
        book: Gives the current settings, for the price table.
    """

    def __init__(self, recorder: Recorder, book: Callable[[], SettingsBook]) -> None:
        self._recorder = recorder
        self._book = book

    @hookimpl(tryfirst=True)
    def team_run_started(self, event: TeamRunStarting, planned: PlannedRun) -> None:
        """Write that the run started, unless that was written with the choice of its plan."""
        if not planned.is_recorded:
            self._recorder.started(run_start(event, planned))

    @hookimpl(trylast=True)
    def score_team_run(self, run: TeamRun) -> float:
        """Grade a run by the share of its members that succeeded."""
        return run.score

    @hookimpl(trylast=True)
    def price_team_run(self, run: TeamRun) -> float | None:
        """Price a run by the price table; None as soon as one model has no price."""
        if not run.tokens:
            return None
        total = 0.0
        for use in run.tokens:
            price = self._book().price_of(use.model)
            if price is None:
                return None
            total += use.input_tokens * price.input_per_million_usd / 1e6
            total += use.output_tokens * price.output_per_million_usd / 1e6
        return total
