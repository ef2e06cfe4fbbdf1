"""The plugin's own pluggy manager: finds hook implementations and calls each of them on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Final

import pluggy
from attrs import evolve, frozen

from .. import failsafe
from .._model.plan import TeamPlan
from ..hookspecs import DEPRECATED, PROJECT, ChangeSpecs, PlannedRun, RunSpecs, RunStart

if TYPE_CHECKING:
    from .._model.experiment import Change, Experiment

_OLD_HOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    "started": ("experiment_started",),
    "promoted": ("experiment_decided", "plan_promoted"),
    "failed": ("experiment_decided",),
    "inconclusive": ("experiment_decided",),
    "aborted": ("experiment_decided",),
    "rolled_back": ("plan_rolled_back",),
}
"""The hooks of 0.1 that each action of a change still calls where it has an experiment; they go with 0.3."""


@frozen
class Answer:
    """What one implementation returned.

    Attributes:
        value: The value; never None.
        by: Name of the plugin that holds the implementation.
    """

    value: Any
    by: str


class HookManager:
    """Holds the hook implementations and calls them so that none can hurt a run or another one."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(RunSpecs)
        self._manager.add_hookspecs(ChangeSpecs)

    def register(self, plugin: object, name: str) -> None:
        """Add hook implementations.

        Args:
            plugin: A module or object with functions marked by `hookimpl`.
            name: Name to log and to show.

        Raises:
            ValueError: If that name or object is registered already.
            pluggy.PluginValidationError: If it implements a hook that does not exist, takes arguments that the
                hook does not have, or is a wrapper.
        """
        try:
            self._manager.register(plugin, name)
            for caller in self._manager.get_hookcallers(plugin) or []:
                if any(impl.plugin is plugin and (impl.wrapper or impl.hookwrapper) for impl in caller.get_hookimpls()):
                    raise pluggy.PluginValidationError(plugin, f"hook {caller.name!r}: wrappers are not supported")
            self._manager.check_pending()
        except (pluggy.PluginValidationError, DeprecationWarning):  # the warning, where warnings are errors
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            raise
        old = [caller.name for caller in self._manager.get_hookcallers(plugin) or [] if caller.name in DEPRECATED]
        if old:  # Python shows the warning of the specification to few
            texts = "; ".join(DEPRECATED[hook] for hook in old)
            failsafe.logger.warning("autotune: hooks of %r are deprecated: %s", name, texts)

    def load_entry_points(self) -> None:
        """Register the hook packages that are installed; a broken one is reported."""
        for entry in entry_points(group=PROJECT):
            if self._manager.has_plugin(entry.name):
                continue
            with failsafe.guard(f"hook package {entry.name!r}"):
                self.register(entry.load(), entry.name)

    def names(self) -> tuple[str, ...]:
        """Return the names of the registered plugins."""
        return tuple(name for name, plugin in self._manager.list_name_plugin() if plugin is not None)

    def answers(self, hook: str, **arguments: Any) -> Iterator[Answer]:
        """Call the implementations of a hook one by one, skipping those that raise.

        Lazy: stop iterating and the rest is not called.

        Yields:
            What each returned, unless None.
        """
        for implementation in self._implementations(hook):
            value = self._ask(hook, implementation, arguments)
            if value is not None:
                yield Answer(value, implementation.plugin_name)

    def first(self, hook: str, **arguments: Any) -> Answer | None:
        """Call the implementations of a hook until one answers."""
        return next(self.answers(hook, **arguments), None)

    def tell(self, hook: str, **arguments: Any) -> None:
        """Call all implementations of a hook and drop what they return."""
        for _ in self.answers(hook, **arguments):
            pass

    def plan_changed(self, change: Change, experiment: Experiment | None) -> None:
        """Tell of a line that was added to a team's history."""
        self.tell("plan_changed", change=change, experiment=experiment)
        for hook in _OLD_HOOKS.get(change.action, ()) if experiment is not None else ():
            self.tell(hook, change=change, experiment=experiment)

    def plan(self, event: RunStart) -> PlannedRun | None:
        """Ask for the plan of a run, and let `before_team_run` change it; None when no implementation answered."""
        planned: PlannedRun | None = None
        for implementation in self._implementations("plan_team_run"):
            planned = self._ask("plan_team_run", implementation, {"event": event}, PlannedRun)
            if planned is not None:
                break
        if planned is None:
            return None
        for implementation in self._implementations("before_team_run"):
            plan = self._ask("before_team_run", implementation, {"event": event, "planned": planned}, TeamPlan)
            if plan is not None and plan != planned.plan:
                source = implementation.plugin_name
                planned = evolve(planned, plan=plan, assignment=None, source=source, is_recorded=False)
        return planned

    def _implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """Return the implementations in pluggy's calling order."""
        return list(reversed(getattr(self._manager.hook, hook).get_hookimpls()))

    @staticmethod
    def _ask(hook: str, implementation: pluggy.HookImpl, arguments: dict[str, Any], kind: type | None = None) -> Any:
        """Call one implementation; None when it raises or answers with something that is not of `kind`."""
        try:
            value = implementation.function(*[arguments[name] for name in implementation.argnames])
            if kind is not None and value is not None and not isinstance(value, kind):
                raise TypeError(f"it must return a {kind.__name__} or None, not {type(value).__name__}")
        except Exception as error:
            failsafe.report(f"hook {hook} of {implementation.plugin_name!r}", error)
            return None
        return value
