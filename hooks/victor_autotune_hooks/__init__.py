"""The plugin's own behaviour, as pluggy hook implementations; those of a third party stand beside them as equals.

| name | does |
|---|---|
| `autotune.plan` | chooses the plan of a run |
| `autotune.record` | records that a run started, and what it was |
| `autotune.value` | scores and prices a run that no other implementation scores or prices |
| `autotune.judge` | judges the open experiment after a run, or starts one |
| `autotune.flush` | writes a recorded run that was not written by a judgement |
| `autotune.observe` | counts runs and changes in the OpenTelemetry metrics |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from victor_autotune_plugin.hookspecs import Change, PlannedRun, RunStart, TeamRun, hookimpl

if TYPE_CHECKING:
    from victor_autotune_plugin._settings import SettingsResolver
    from victor_autotune_plugin._tuning.loop import TuningLoop
    from victor_autotune_plugin._tuning.recorder import Recorder

__all__ = ["FlushHooks", "JudgeHooks", "ObserveHooks", "PlanHooks", "RecordHooks", "ValueHooks", "built_in"]


def built_in(
    loop: TuningLoop, recorder: Recorder, resolver: Callable[[], SettingsResolver]
) -> tuple[tuple[str, object], ...]:
    """Return the built-in hooks as `(name, hooks)` pairs, in the order in which they are registered.

    What is registered later is called earlier: a run is recorded, then judged, then flushed if it was not judged.
    """
    return (
        ("autotune.observe", ObserveHooks()),
        ("autotune.flush", FlushHooks(recorder)),
        ("autotune.judge", JudgeHooks(loop)),
        ("autotune.value", ValueHooks(resolver)),
        ("autotune.record", RecordHooks(recorder)),
        ("autotune.plan", PlanHooks(loop)),
    )


class PlanHooks:
    """Answers `plan_team_run`, unless another implementation did before."""

    def __init__(self, loop: TuningLoop) -> None:
        self._loop = loop

    @hookimpl(trylast=True)
    def plan_team_run(self, event: RunStart) -> PlannedRun:
        """Return the plan of a run; if the store fails, the run is observed as configured."""
        return self._loop.plan(event)


class RecordHooks:
    """Records runs."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @hookimpl(tryfirst=True)
    def team_run_started(self, event: RunStart, planned: PlannedRun) -> None:
        """Write that the run started, unless that was written with the choice of its plan."""
        if not planned.is_recorded:
            self._recorder.started(event, planned)

    @hookimpl(tryfirst=True)
    def after_team_run(self, run: TeamRun) -> None:
        """Take in the finished run, which is written with what is judged after it, or flushed."""
        self._recorder.finished(run)


class FlushHooks:
    """Writes recorded runs from which no change followed."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @hookimpl(tryfirst=True)
    def after_team_run(self) -> None:
        """Write what is not in the store yet; while the store is away, it waits in memory."""
        if self._recorder.is_ready:
            self._recorder.flush()


class ValueHooks:
    """Scores and prices runs.

    Args:
        resolver: Gives the current settings, for the price table.
    """

    def __init__(self, resolver: Callable[[], SettingsResolver]) -> None:
        self._resolver = resolver

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


class JudgeHooks:
    """Lets the experiment of a team decide."""

    def __init__(self, loop: TuningLoop) -> None:
        self._loop = loop

    @hookimpl(tryfirst=True)
    def team_run_started(self, event: RunStart) -> None:
        """Keep the settings that the run starts with; it is judged by them."""
        self._loop.started(event)

    @hookimpl(tryfirst=True)
    def after_team_run(self, run: TeamRun) -> None:
        """Promote, reject, roll back, or start a test, if the observations say so."""
        self._loop.judge(run)


class ObserveHooks:
    """Feeds the OpenTelemetry metrics."""

    @hookimpl
    def after_team_run(self, run: TeamRun) -> None:
        """Record the run's histograms and counters."""
        from victor_autotune_plugin._telemetry import metrics

        metrics.record_run(run)

    @hookimpl
    def plan_changed(self, change: Change) -> None:
        """Count the change, once."""
        from victor_autotune_plugin._telemetry import metrics

        metrics.record_change(change.action, change.workflow, change.team_id)
