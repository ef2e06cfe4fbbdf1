"""The mode that is set for a team beside the one that its last run had, and why they differ."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import asdict, frozen

from .._model.text import clean, when
from .._settings.layers import option, variable, victor_dir_name
from ..errors import AutotuneError, SettingsError

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._settings import SettingsResolver
    from ..storage.run_listing import ListedRun

MODE: Final = "mode"

_OF_THIS_COMMAND: Final = "it is set for this command alone; start the process of that run again with it"
_ELSEWHERE: Final = (
    "the process of that run had it from its workflow's metadata.autotune, a variable or an option, which are not seen "
    "from here; see `explain --settings --file WORKFLOW.yaml`"
)


@frozen
class TeamMode:
    """A team's mode.

    Attributes:
        configured: The mode that is set, by what can be seen from here.
        source: Where it is set: `default`, `file:line`, or a variable.
        last: Mode of the last run, or None without one.
        next: Mode that the next run has, by all that is known: the one that is set, or that of the last run where it
            is not known why they differ.
        because: Why they differ, in a part of a sentence; None where they don't.
    """

    configured: str
    source: str
    last: str | None
    next: str
    because: str | None = None

    @property
    def sentence(self) -> str | None:
        """What is set, what the last run had, and why they differ; None where they don't."""
        if self.because is None:
            return None
        return f"mode {self.configured} is set ({clean(self.source)}), the last run had {self.last}: {self.because}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)


class Modes:
    """Finds the modes of the teams of a project; its workflow files are searched when they are needed, once."""

    def __init__(self, resolver: SettingsResolver, project: Path) -> None:
        self._resolver = resolver
        self._project = project

    def of(
        self,
        key: tuple[str, str],
        last_run: TeamRun | ListedRun | None,
        metadata: Mapping[str, Any] | None = None,
        source: str | None = None,
    ) -> TeamMode:
        """Return the mode of a team.

        Args:
            key: `(workflow, team_id)`.
            last_run: Its last run, or None.
            metadata: The workflow's own `metadata.autotune`, where its file was named.
            source: Where that stands.

        Raises:
            SettingsError: The metadata is wrong.
        """
        configured, where = self._configured(key, metadata, source)
        last = None if last_run is None else last_run.mode
        if last_run is None or last == configured:
            return TeamMode(configured, where, last, configured)
        own = self._own.get(key[0]) if metadata is None else None
        if own is not None:
            with contextlib.suppress(SettingsError):  # its run was refused, and doctor tells what is wrong
                configured, where = self._configured(key, *own)
            if last == configured:
                return TeamMode(configured, where, last, configured)
        written = self._written(where)
        if written is not None and written > last_run.started_at:
            because = f"{clean(where.rpartition(':')[0])} was written after that run, of {when(last_run.started_at)}"
            return TeamMode(configured, where, last, configured, f"{because}; it counts from the next run on")
        is_here = where in (f"env {variable(MODE)}", f"option {option(MODE)}")
        return TeamMode(configured, where, last, last or configured, _OF_THIS_COMMAND if is_here else _ELSEWHERE)

    def _configured(
        self, key: tuple[str, str], metadata: Mapping[str, Any] | None, source: str | None
    ) -> tuple[str, str]:
        settings = self._resolver.for_team(*key, metadata, source)
        return settings.mode, self._resolver.source_of(MODE, *key, metadata, source)

    @cached_property
    def _own(self) -> dict[str, tuple[Any, str]]:
        """What the project's workflows set themselves, by name; nothing where two of a name differ."""
        from ..configfiles.discovery import find_own_settings

        found: dict[str, tuple[Any, str]] = {}
        double = set()
        try:
            for workflow, node, where in find_own_settings(self._project, victor_dir_name(os.environ)):
                if workflow in found:
                    double.add(workflow)
                found[workflow] = node.plain(), where
        except (AutotuneError, OSError):
            return {}  # another command tells what is wrong there
        return {name: one for name, one in found.items() if name not in double}

    def _written(self, where: str) -> float | None:
        """Return when the file of a source was written, Unix seconds; None where no file sets it."""
        name, _, line = where.rpartition(":")
        if not name or not line.isdecimal():
            return None
        try:
            return (self._project / Path(name).expanduser()).stat().st_mtime
        except (OSError, RuntimeError):
            return None
