"""What a command works with: a project's settings, its store if there is one, and the team that was named."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import frozen

from .._model.experiment import TeamState
from .._tuning.runtime import Runtime
from .._values.names import did_you_mean
from ..errors import AutotuneError
from .rendering import clean

if TYPE_CHECKING:
    from ..storage import Store

SCANNED_RUNS: Final = 5_000
"""How many of the newest runs are looked through for teams that were never tuned."""


@frozen
class Session:
    """A project, opened for one command.

    Attributes:
        runtime: Its settings, hooks and tuning loop.
        store: Its store, or None while nothing was recorded. A command that only looks must not create one.
    """

    runtime: Runtime
    store: Store | None

    def teams(self, workflow: str | None = None, team_id: str | None = None) -> list[TeamState]:
        """Return the teams that the store knows.

        Args:
            workflow: Only of this workflow.
            team_id: Only with this id.

        Raises:
            AutotuneError: If a name is given and there is none such.
        """
        known = self._known()
        found = [state for state in known if workflow in (None, state.workflow) and team_id in (None, state.team_id)]
        if not found and (workflow is not None or team_id is not None):
            raise self._unknown(known, workflow, team_id)
        return found

    def team(self, team_id: str | None, workflow: str | None) -> TeamState:
        """Return the one team that is meant.

        Args:
            team_id: Its id, or None when the store knows only one team.
            workflow: Its workflow, needed when several have a team of this id.

        Raises:
            AutotuneError: If there is none, or more than one.
        """
        found = self.teams(workflow, team_id)
        if not found:
            raise self._unknown([], workflow, team_id)
        if len(found) == 1:
            return found[0]
        if team_id is None:
            names = ", ".join(dict.fromkeys(clean(state.team_id) for state in found))
            raise AutotuneError("there are several teams", where="TEAM", hint=f"Name one of: {names}.")
        choices = " or ".join(f"--workflow {shlex.quote(clean(state.workflow))}" for state in found)
        raise AutotuneError(f"several workflows have a team {team_id!r}", where="TEAM", hint=f"Add {choices}.")

    def _known(self) -> list[TeamState]:
        """Return the teams with a state, and those that were only observed, by workflow and id."""
        if self.store is None:
            return []
        states = {state.key: state for state in self.store.teams()}
        for record in self.store.runs(limit=SCANNED_RUNS):
            spec = record.spec
            if spec.key not in states:
                states[spec.key] = TeamState(*spec.key, fingerprint=spec.fingerprint(), spec=spec)
        return [states[key] for key in sorted(states)]

    def _unknown(self, known: list[TeamState], workflow: str | None, team_id: str | None) -> AutotuneError:
        look = "List what was recorded: victor autotune status"
        if not known:
            folder = self.runtime.project.absolute()
            return AutotuneError(
                f"nothing was recorded in {folder} yet",
                where="TEAM" if workflow is None else "--workflow",
                hint="Run a workflow (victor autotune run WORKFLOW.yaml), or name its folder with --project.",
            )
        workflows = [state.workflow for state in known]
        if workflow is not None and workflow not in workflows:
            return AutotuneError(
                f"no workflow {workflow!r} was recorded",
                where="--workflow",
                hint=did_you_mean(workflow, workflows, look),
            )
        teams = [state.team_id for state in known if workflow in (None, state.workflow)]
        whose = "" if workflow is None else f" of workflow {workflow!r}"
        return AutotuneError(
            f"no team {team_id!r}{whose} was recorded", where="TEAM", hint=did_you_mean(team_id or "", teams, look)
        )


@contextmanager
def opened(project: Path, overrides: Mapping[str, object] | None = None) -> Iterator[Session]:
    """Open a project for the time of a block.

    Args:
        project: Its folder.
        overrides: Settings from options, by dotted key.

    Raises:
        SettingsError: If the settings are wrong.
        StoreError: If there is a store that can't be used.
    """
    runtime = Runtime(project, overrides=overrides)
    try:
        store = runtime.open_existing_store()
        if store is None:
            yield Session(runtime, None)
            return
        with store:
            yield Session(runtime, store)
    finally:
        runtime.close()
