"""What `run` is asked to do, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from .._model.run import TeamRun
from .._settings import Settings


@frozen
class Job:
    """What to run.

    Attributes:
        file: Workflow file.
        workflow: Name of the workflow, or None when the file holds only one.
        runs: How often.
        concurrency: How many at the same time.
        provider: Victor's name of the provider, or None for the profile's.
        model: Model name, or None for the profile's.
        base_url: Endpoint, or None for the provider's.
        context: Initial state of each run.
        verbose: Whether Victor may write to the screen.
    """

    file: Path
    workflow: str | None
    runs: int
    concurrency: int
    provider: str | None
    model: str | None
    base_url: str | None
    context: Mapping[str, Any]
    verbose: bool = False


@frozen
class WorkflowRun:
    """What became of one run of the workflow.

    Attributes:
        number: From 1.
        duration_seconds: Wall-clock seconds.
        error: Why it failed, or None.
        teams: The team runs in it, those inside of others included, in the order of their ends.
    """

    number: int
    duration_seconds: float
    error: str | None
    teams: tuple[TeamRun, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "number": self.number,
            "success": self.error is None,
            "duration_seconds": self.duration_seconds,
            "error": self.error,
            "teams": [team.to_dict() for team in self.teams],
        }


@define
class Outcome:
    """What became of a job.

    Attributes:
        workflow: Name of the workflow.
        settings: Settings of its team steps by id, the workflow's own metadata included.
        wanted: How many runs were asked for.
        runs: Those that finished, in that order.
        seconds: Seconds from the start of the first run to the end of the last.
        interrupted: Whether Ctrl-C stopped it.
    """

    workflow: str
    settings: Mapping[str, Settings]
    wanted: int
    runs: list[WorkflowRun] = field(factory=list)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def off(self) -> bool:
        """Whether the plugin is off for all its teams."""
        return all(settings.mode == "off" for settings in self.settings.values())

    @property
    def failed(self) -> int:
        """Number of runs that failed."""
        return len(self.failures())

    def failures(self) -> list[WorkflowRun]:
        """Return the runs that failed."""
        return [run for run in self.runs if run.error is not None]

    def teams(self) -> list[tuple[str, str]]:
        """Return the keys of the teams that ran, in order."""
        return list(dict.fromkeys(team.spec.key for run in self.runs for team in run.teams))

    def team_runs(self, key: tuple[str, str]) -> list[TeamRun]:
        """Return the runs of one team, newest first."""
        return [team for run in reversed(self.runs) for team in reversed(run.teams) if team.spec.key == key]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "workflow": self.workflow,
            "runs_wanted": self.wanted,
            "runs_done": len(self.runs),
            "runs_failed": self.failed,
            "interrupted": self.interrupted,
            "seconds": self.seconds,
            "runs": [run.to_dict() for run in self.runs],
        }
