"""The settings, store, hooks and tuning loop of this process, made when the first team runs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import failsafe
from .._settings import Settings, SettingsResolver
from .hookmanager import HookManager
from .loop import TuningLoop
from .manual import ManualChanges
from .recorder import Recorder

if TYPE_CHECKING:
    from .._model.plan import TeamSpec
    from ..storage import Store


class Runtime:
    """Settings, store, hooks and tuning loop of a project.

    Args:
        project: The project's folder.
        overrides: Settings from the command line, by dotted key.
        with_entry_points: Whether to look for hook packages of third parties.
    """

    def __init__(
        self, project: Path, *, overrides: Mapping[str, object] | None = None, with_entry_points: bool = True
    ) -> None:
        self.project = project
        self._overrides = dict(overrides or {})
        self.hooks = HookManager()
        if with_entry_points:
            self.hooks.load_entry_points()
        self._resolver = self._load_settings()
        self.recorder = Recorder(self.open_store)
        self.loop = TuningLoop(self.settings, self.recorder, self.hooks)
        self.manual = ManualChanges(self.recorder, self.hooks)
        self._register_hooks()

    @property
    def resolver(self) -> SettingsResolver:
        """The settings, read again when their files changed; while an edited file is wrong, the last good ones."""
        if self._resolver.changed():
            with failsafe.guard("reading of edited settings"):
                self._resolver = self._load_settings()
        return self._resolver

    def settings(self, spec: TeamSpec, metadata: Mapping[str, Any] | None = None) -> Settings:
        """Return the settings of a team.

        Args:
            metadata: The workflow's own `metadata.autotune`, or None.

        Raises:
            SettingsError: If they are wrong.
        """
        return self.resolver.for_team(spec.workflow, spec.team_id, metadata)

    def open_store(self, *, look_only: bool = False) -> Store:
        """Open the store that the settings name.

        Args:
            look_only: Whether to leave a database of an older version as it is.

        Raises:
            StoreError: If it can't be used.
        """
        from ..storage import Store, default_url

        return Store.open(self.resolver.database_url or default_url(self.project), look_only=look_only)

    def open_existing_store(self) -> Store | None:
        """Open the store that the settings name, or return None while its file does not exist.

        For commands that only read, and so must not create one.

        Raises:
            StoreError: If there is one that can't be used.
        """
        from ..storage import default_url
        from ..storage.location import target_of

        file = target_of(self.resolver.database_url or default_url(self.project)).file
        return None if file is not None and not file.exists() else self.open_store(look_only=True)

    def close(self) -> None:
        """Write what waits and close the store."""
        self.recorder.close()

    def _load_settings(self) -> SettingsResolver:
        offered = [strategy for answer in self.hooks.answers("add_strategies") for strategy in answer.value]
        names = [strategy.name for strategy in offered]
        return SettingsResolver.load(self.project, overrides=self._overrides, extra_strategies=names)

    def _register_hooks(self) -> None:
        from victor_autotune_hooks import built_in

        for name, plugin in built_in(self.loop, self.recorder, lambda: self.resolver):
            self.hooks.register(plugin, name)


_lock = threading.Lock()
_runtime: Runtime | None = None


def runtime() -> Runtime:
    """Return the process's runtime; the first call makes it, for the project that Victor works on.

    Raises:
        SettingsError: If the settings are wrong.
    """
    global _runtime
    if _runtime is None:
        with _lock:
            if _runtime is None:
                _runtime = Runtime(project_folder())
    return _runtime


def use(replacement: Runtime | None) -> Runtime | None:
    """Replace the process's runtime.

    Args:
        replacement: The new one, or None to make one at the next run.

    Returns:
        The one before, still open, or None.
    """
    global _runtime
    with _lock:
        before, _runtime = _runtime, replacement
    return before


def project_folder() -> Path:
    """Return the project's folder: the one Victor works on when it is loaded, else the current one."""
    victor_settings = sys.modules.get("victor.config.settings")
    if victor_settings is not None:
        return Path(victor_settings.get_project_paths().project_root)
    return Path.cwd()


def warm_up() -> None:
    """Have the runtime made behind, unless it is; a team is near."""
