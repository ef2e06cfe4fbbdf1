"""After a run and after a change: count it in the metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from victor_autotune_plugin.hookspecs import hookimpl

if TYPE_CHECKING:
    from victor_autotune_plugin._model.experiment import Change
    from victor_autotune_plugin._model.run import TeamRun


class ObserveHooks:
    """Feeds the OpenTelemetry metrics."""

    @hookimpl
    def after_team_run(self, run: TeamRun) -> None:
        """Record the run's histograms and counters."""
        from victor_autotune_plugin._telemetry import metrics

        metrics.record_run(run)

    @hookimpl
    def experiment_started(self, change: Change) -> None:
        """Count an experiment that started."""
        _count(change)

    @hookimpl
    def experiment_decided(self, change: Change) -> None:
        """Count an experiment that ended; a promotion is counted as such."""
        if change.action != "promoted":
            _count(change)

    @hookimpl
    def plan_promoted(self, change: Change) -> None:
        """Count a promotion."""
        _count(change)

    @hookimpl
    def plan_rolled_back(self, change: Change) -> None:
        """Count a rollback."""
        _count(change)


def _count(change: Change) -> None:
    from victor_autotune_plugin._telemetry import metrics

    metrics.record_change(change.action, change.workflow, change.team_id)
