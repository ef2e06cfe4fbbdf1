"""Around a run: keep its start and its end, its score and its cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from victor_autotune_plugin.hookspecs import PlannedRun, TeamRunStarting, hookimpl
from victor_autotune_plugin.model.state import RunStart

if TYPE_CHECKING:
    from victor_autotune_plugin.model.run import TeamRun
    from victor_autotune_plugin.recorder import Recorder
    from victor_autotune_plugin.settings import SettingsBook


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
        """Write that the run started."""
        self._recorder.started(
            RunStart(
                run_id=event.run_id,
                spec=event.spec,
                started_at=event.started_at,
                entry=event.entry,
                parent_id=event.parent_id,
                task_key=event.task_key,
                mode=planned.mode,
                plan_asked=planned.plan,
                experiment_id=planned.experiment_id,
                arm=planned.arm,
            )
        )

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

    @hookimpl(tryfirst=True)
    def after_team_run(self, run: TeamRun) -> None:
        """Write the finished run, before anybody judges it."""
        self._recorder.finished(run)
