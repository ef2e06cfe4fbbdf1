"""What is seen while a workflow runs: a bar on a terminal, a line a run elsewhere. All on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from . import rendering as show

if TYPE_CHECKING:
    from .._model.experiment import Change
    from ..hookspecs import PlannedRun, RunStart


class Screen:
    """Shows how far the runs are, the plan of the latest one, and what was decided last.

    Args:
        workflow: Name of the workflow.
        runs: How many there will be.
        bar: Whether to draw a bar if stderr is a terminal.

    Attributes:
        drawn: Whether a bar is drawn.
    """

    def __init__(self, workflow: str, runs: int, *, bar: bool) -> None:
        self._console: Console = show.err()
        self._runs = runs
        self._plan, self._verdict = Text(), Text()
        self._failed = 0
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task = self._progress.add_task(show.clean(workflow), total=runs, note="", start=False)
        self._live = Live(
            Group(self._progress, self._plan, self._verdict),
            console=self._console,
            transient=True,
            redirect_stdout=False,
        )
        self.drawn = bar and self._console.is_terminal and not self._console.is_dumb_terminal

    def __enter__(self) -> Self:
        if self.drawn:
            self._progress.update(self._task, note="Victor starts")
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.drawn:
            self._live.stop()

    def ready(self) -> None:
        """Show that Victor is ready and the runs begin."""
        self._progress.start_task(self._task)
        self._progress.update(self._task, note="")

    def started(self, event: RunStart, planned: PlannedRun) -> None:
        """Show the plan that a team runs with."""
        arm = "" if planned.arm is None else f"{planned.arm}: "
        self._plan.plain = show.clean(f"  {event.spec.team_id}: {arm}{show.plan_text(planned.plan)} ({planned.mode})")
        self._plan.stylize("dim")

    def ended(self, number: int, seconds: float, error: str | None, plans: str) -> None:
        """Count a run that ended.

        Args:
            number: Its number, from 1.
            seconds: How long it took.
            error: Why it failed, or None.
            plans: Arms and plans of its teams, or nothing.
        """
        self._failed += error is not None
        note = f"{self._failed} failed" if self._failed else ""
        self._progress.update(self._task, advance=1, note=note)
        if not self.drawn:
            said = "ok" if error is None else f"failed: {error}"
            self._line(show.text(f"run {number} of {self._runs}: {said}, {show.seconds(seconds)}{plans}"))

    def judged(self, reason: str) -> None:
        """Show what the latest verdict says."""
        self._verdict.plain = f"  {show.clean(reason)}"
        self._verdict.stylize("dim")

    def changed(self, change: Change) -> None:
        """Show a change of a team's plan, which stays above the bar."""
        action = show.word(change.action)
        self._line(show.name(change.team_id).append(": ").append_text(action).append(f". {show.clean(change.reason)}"))

    def _line(self, line: Text) -> None:
        self._console.print(line, soft_wrap=not self.drawn)
