"""The hooks: what the plugin asks and tells on the way of a run.

The plugin's own behaviour (`hooks/victor_autotune_hooks`) is made of implementations of these hooks. A third
party adds its own in a package with an entry point in the group `victor_autotune`:

```toml
[project.entry-points.victor_autotune]
my_hooks = "my_package.hooks"
```

```python
from victor_autotune_plugin.hookspecs import hookimpl

@hookimpl
def score_team_run(run):
    return 0.9 if run.success else 0.0
```

Implementations take any subset of a hook's arguments, are plain functions (hooks are synchronous) and are
called in pluggy's order: `tryfirst`, then last registered first, then `trylast`. Those of third parties come before the
built-in ones where an answer is wanted. Each is called on its own: one that raises or gives a wrong answer is skipped,
logged once by name, and shown by `victor autotune doctor`; the others still run. Wrappers (`wrapper=True`) are not
supported.

Each implementation of a third party is called on a daemon thread of its own, once at a time, with a copy of the run's
context variables and a deadline. What comes late is dropped; late twice within 5 minutes, and it is off for 5 minutes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pluggy

from ._model.experiment import Change, Experiment
from ._model.plan import TeamPlan, TeamSpec
from ._model.run import PlannedRun, RunStart, TeamRun

__all__ = [
    "Change",
    "ChangeSpecs",
    "Experiment",
    "PlannedRun",
    "RunSpecs",
    "RunStart",
    "TeamPlan",
    "TeamRun",
    "TeamSpec",
    "hookimpl",
]

PROJECT: Final = "victor_autotune"
"""pluggy project name, and the entry point group."""

DEPRECATED: Final = {
    "experiment_started": "experiment_started goes with 0.3: implement plan_changed, change.action == 'started'",
    "experiment_decided": "experiment_decided goes with 0.3: implement plan_changed, change.action in "
    "('promoted', 'failed', 'inconclusive', 'aborted')",
    "plan_promoted": "plan_promoted goes with 0.3: implement plan_changed, change.action == 'promoted'",
    "plan_rolled_back": "plan_rolled_back goes with 0.3: implement plan_changed, change.action == 'rolled_back'",
}
"""Hooks that still work in this version, by name: what to implement instead."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


def __getattr__(name: str) -> Any:
    if name == "TeamRunStarting":
        import warnings

        warnings.warn("TeamRunStarting is now called RunStart", DeprecationWarning, stacklevel=2)
        return RunStart
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class RunSpecs:
    """Hooks around one run of a team."""

    @hookspec(firstresult=True)
    def plan_team_run(self, event: RunStart) -> PlannedRun | None:
        """Choose the plan of a run.

        The built-in implementation asks the tuning loop. Any other is asked before it, and so can choose for the teams
        it cares about. The run waits 0.05 s in all for it and for `before_team_run`.

        Args:
            event: The run that is about to start.

        Returns:
            The plan, or None to leave the choice to the next implementation. Without any answer the run stays as
            configured and is not recorded.

        .. versionadded:: 0.1
        """

    @hookspec
    def before_team_run(self, event: RunStart, planned: PlannedRun) -> TeamPlan | None:
        """See the plan of a run, or change it.

        A run whose plan is changed stays in its arm and is counted as assigned, or what is left of the arms would not
        be comparable; its record names the hook as owner of the changed knobs. The run waits 0.05 s in all for it and
        for `plan_team_run`.

        Args:
            event: The run that is about to start.
            planned: The plan so far; an earlier implementation's change is already in it.

        Returns:
            Another plan, or None to keep it.

        .. versionadded:: 0.1
        """

    @hookspec
    def team_run_started(self, event: RunStart, planned: PlannedRun) -> None:
        """Be told that a run starts now with this plan.

        Args:
            event: The run.
            planned: Its final plan.

        .. versionadded:: 0.1
        """

    @hookspec(firstresult=True)
    def score_team_run(self, run: TeamRun) -> float | None:
        """Grade the outcome of a run.

        It is asked behind the run, and may take 5 s. Its answer is a score under the name of its package, which decides
        once it has scored some of a team's runs. For one that needs to see what the run delivered, implement
        `add_scorers`.

        Args:
            run: The finished run.

        Returns:
            A finite score in [0, 1], or None for no opinion.

        .. versionadded:: 0.1
        """

    @hookspec
    def add_scorers(self, spec: TeamSpec) -> Sequence[Any] | None:
        """Add scorers for a team, which tell behind each of its runs how good the work is.

        It may take 5 s, and is asked once per definition of a team in a process.

        Args:
            spec: The team.

        Returns:
            Objects with a `name` and a method `score`, as `victor_autotune_plugin.quality.Scorer` has it.

        .. versionadded:: 0.2
        """

    @hookspec(firstresult=True)
    def price_team_run(self, run: TeamRun) -> float | None:
        """Price a run.

        It is asked behind the run, and may take 5 s. The built-in implementation, called last, uses the prices of the
        settings, and public prices for what those do not name.

        Args:
            run: The finished run; `run.tokens` holds the token use by model, cached and reasoning tokens told apart.

        Returns:
            US dollars, finite and at least 0, or None to leave it to the next implementation.

        .. versionadded:: 0.1
        """

    @hookspec
    def after_team_run(self, run: TeamRun) -> None:
        """Be told that a run finished; its record and cost are final, and its score mostly comes later.

        Third parties are told behind the run, once it is priced; the built-in implementations hand it to the store's
        thread and count it in the metrics.

        Args:
            run: The finished run.

        .. versionadded:: 0.1
        """


class ChangeSpecs:
    """Hooks around a change of a team's plan."""

    @hookspec
    def add_strategies(self) -> Sequence[Any] | None:
        """Add strategies that suggest changes.

        Returns:
            Instances of subclasses of `victor_autotune_plugin.strategies.OptimizationStrategy`.

        .. versionadded:: 0.1
        """

    @hookspec(firstresult=True)
    def approve_change(self, experiment: Experiment, step: str) -> bool | None:
        """Approve a change in mode `approve`, within 30 s.

        Args:
            experiment: The change.
            step: `start` before its test starts, `probation` before its plan goes live while the test goes on,
                `promote` before its promotion.

        Returns:
            True to approve, False to reject, None to leave it to the next implementation. Without an answer the
            change waits for a person, who answers with `victor autotune approve` or `reject`.

        .. versionadded:: 0.1
        """

    @hookspec
    def plan_changed(self, change: Change, experiment: Experiment | None) -> None:
        """Be told of every line of a team's history, once it is committed.

        Args:
            change: The line. Its `action` says what happened: `awaits_approval`, `started`, `probation`,
                `awaits_promotion`, `promoted`, `reverifying`, `confirmed`, `failed`, `inconclusive`, `aborted`,
                `rejected`, `rolled_back`, `paused` or `resumed`.
            experiment: The experiment behind it, or None, as for a plan that a person applied.

        .. versionadded:: 0.2
        """

    @hookspec(warn_on_impl=DeprecationWarning(DEPRECATED["experiment_started"]))
    def experiment_started(self, experiment: Experiment, change: Change) -> None:
        """Be told that an A/B test started.

        .. versionadded:: 0.1
        .. deprecated:: 0.2 Implement `plan_changed`.
        """

    @hookspec(warn_on_impl=DeprecationWarning(DEPRECATED["experiment_decided"]))
    def experiment_decided(self, experiment: Experiment, change: Change) -> None:
        """Be told that an A/B test ended: promoted, failed, inconclusive or aborted.

        .. versionadded:: 0.1
        .. deprecated:: 0.2 Implement `plan_changed`.
        """

    @hookspec(warn_on_impl=DeprecationWarning(DEPRECATED["plan_promoted"]))
    def plan_promoted(self, experiment: Experiment, change: Change) -> None:
        """Be told that a proven plan is now the team's plan.

        .. versionadded:: 0.1
        .. deprecated:: 0.2 Implement `plan_changed`.
        """

    @hookspec(warn_on_impl=DeprecationWarning(DEPRECATED["plan_rolled_back"]))
    def plan_rolled_back(self, experiment: Experiment, change: Change) -> None:
        """Be told that a promoted plan was rolled back.

        .. versionadded:: 0.1
        .. deprecated:: 0.2 Implement `plan_changed`.
        """
