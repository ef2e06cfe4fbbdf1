"""The plugin's own behaviour, as pluggy hook implementations.

They are called on the event loop, and so only read memory and hand over; what takes time is done by threads behind.
Those of a third party stand beside them, and are called on a thread of their own.

| name | does |
|---|---|
| `autotune.plan` | chooses the plan of a run |
| `autotune.record` | hands over that a run started, and what it was |
| `autotune.value` | prices a run that no other implementation prices |
| `autotune.observe` | counts runs and changes in the OpenTelemetry metrics, and sends changes as events |
"""

from __future__ import annotations

import contextvars
from collections.abc import Callable
from typing import TYPE_CHECKING

from victor_autotune_plugin.failsafe import logger
from victor_autotune_plugin.hookspecs import Change, PlannedRun, RunStart, TeamRun, hookimpl

if TYPE_CHECKING:
    from victor_autotune_plugin._settings import SettingsResolver
    from victor_autotune_plugin._tuning.loop import TuningLoop

__all__ = ["ObserveHooks", "PlanHooks", "RecordHooks", "ValueHooks", "built_in"]


def built_in(
    loop: Callable[[], TuningLoop],
    resolver: Callable[[], SettingsResolver],
    behind: Callable[[Callable[[], object]], None],
) -> tuple[tuple[str, object], ...]:
    """Return the built-in hooks as `(name, hooks)` pairs, in the order in which they are registered.

    Args:
        loop: Gives the tuning loop of the process; a forked child has another one.
        resolver: Gives the current settings, for the prices.
        behind: Has a job done on another thread.
    """
    return (
        ("autotune.observe", ObserveHooks(behind)),
        ("autotune.value", ValueHooks(loop, resolver)),
        ("autotune.record", RecordHooks(loop)),
        ("autotune.plan", PlanHooks(loop)),
    )


class PlanHooks:
    """Answers `plan_team_run`, unless another implementation did before."""

    def __init__(self, loop: Callable[[], TuningLoop]) -> None:
        self._loop = loop

    @hookimpl(trylast=True)
    def plan_team_run(self, event: RunStart) -> PlannedRun:
        """Return the plan of a run, from memory."""
        return self._loop().plan(event)


class RecordHooks:
    """Hands runs over to the writer."""

    def __init__(self, loop: Callable[[], TuningLoop]) -> None:
        self._loop = loop

    @hookimpl(tryfirst=True)
    def team_run_started(self, event: RunStart, planned: PlannedRun) -> None:
        """Hand over that the run starts."""
        self._loop().started(event, planned)

    @hookimpl(tryfirst=True)
    def after_team_run(self, run: TeamRun) -> None:
        """Hand over the finished run; once it is written, it is judged."""
        self._loop().finished(run)


class ValueHooks:
    """Prices runs."""

    def __init__(self, loop: Callable[[], TuningLoop], resolver: Callable[[], SettingsResolver]) -> None:
        self._loop = loop
        self._resolver = resolver
        self._said: set[str] = set()

    @hookimpl(trylast=True)
    def price_team_run(self, run: TeamRun) -> float | None:
        """Price a run by the settings and public prices, those that its test began with first.

        Returns:
            Its cost in US dollars; None as soon as one model has no price or one answer's tokens were not reported.
            While public prices are not loaded, an event loop gets None, too, and the run is priced behind it.
        """
        if not run.tokens:
            return None
        test = self._loop().memory.snapshot.experiments.get(run.experiment_id or "")
        resolver, total = self._resolver(), 0.0
        for use in run.tokens:
            if use.unreported_calls:
                self._say(f"{use.provider or 'the provider'} does not report the tokens of model {use.model!r}")
                return None
            price = resolver.price_for(use, run.started_at, None if test is None else test.prices)
            if price is None:
                if resolver.can_price():
                    self._say(
                        f"no price is known for model {use.model!r}; the key `prices` of the settings can name it"
                    )
                return None
            total += price.cost_usd(use)
        return total

    def _say(self, why: str) -> None:
        """Log once why the cost of runs is not known."""
        if why not in self._said:
            self._said.add(why)
            logger.info("autotune: the cost of runs is not known: %s", why)


class ObserveHooks:
    """Feeds the OpenTelemetry metrics and events, behind the run: a team of four takes the SDK .4 ms."""

    def __init__(self, behind: Callable[[Callable[[], object]], None]) -> None:
        self._behind = behind

    @hookimpl
    def after_team_run(self, run: TeamRun) -> None:
        """Record the run's histograms and counters."""
        from victor_autotune_plugin._telemetry import metrics

        if metrics.are_recorded():
            context = contextvars.copy_context()  # in which the run's span is, for exemplars
            self._behind(lambda: context.run(metrics.record_run, run))

    @hookimpl
    def plan_changed(self, change: Change) -> None:
        """Count the change, once, and tell of it as a log event."""
        from victor_autotune_plugin._telemetry import events, metrics

        metrics.record_change(change.action, change.workflow, change.team_id)
        self._behind(lambda: events.tell_change(change))
