"""Around a run: keep its start, its score and its cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from victor_autotune_plugin.hookspecs import PlannedRun, RunStart, hookimpl

if TYPE_CHECKING:
    from victor_autotune_plugin._model.run import TeamRun
    from victor_autotune_plugin._settings import SettingsResolver
    from victor_autotune_plugin._tuning.recorder import Recorder


class RecordHooks:
    """Keeps runs.

    Args:
        recorder: Writes them.
        resolver: Gives the current settings, for the price table.
    """

    def __init__(self, recorder: Recorder, resolver: Callable[[], SettingsResolver]) -> None:
        self._recorder = recorder
        self._resolver = resolver

    @hookimpl(tryfirst=True)
    def team_run_started(self, event: RunStart, planned: PlannedRun) -> None:
        """Write that the run started, unless that was written with the choice of its plan."""
        if not planned.is_recorded:
            self._recorder.started(event, planned)

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
            price = self._resolver().price_of(use.model)
            if price is None:
                return None
            total += price.cost_usd(use.input_tokens, use.output_tokens)
        return total
