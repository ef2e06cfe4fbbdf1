"""What is seen while something takes its time: runs of a workflow, a long file. All on stderr."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from . import rendering as show

if TYPE_CHECKING:
    from .._model.experiment import Change
    from ..hookspecs import PlannedRun, RunStart

_BYTES_BETWEEN: Final = 1 << 20
_LONG_FILE: Final = 5_000_000
_MANY_ITEMS: Final = 5_000
_ITEMS_BETWEEN: Final = 500
_T = TypeVar("_T")


class RunsScreen:
    """Shows how far the runs are and what is known of them: a bar on a terminal, a line for each run elsewhere.

    Args:
        runs: How many runs there will be.
        bar: Whether to draw a bar if stderr is a terminal.
        may_end_early: Whether there may be fewer.

    Attributes:
        drawn: Whether a bar is drawn.
    """

    def __init__(self, title: str, runs: int, *, bar: bool, may_end_early: bool = False) -> None:
        self._console = show.err()
        self._of = f"of at most {runs}" if may_end_early else f"of {runs}"
        self._plan, self._verdict = Text(style="dim"), Text(style="dim")
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
        self._task = self._progress.add_task(show.clean(title), total=runs, note="Victor starts", start=False)
        self._live = Live(
            Group(self._progress, self._plan, self._verdict),
            console=self._console,
            transient=True,
            redirect_stdout=False,
        )
        self.drawn = bar and _is_drawable(self._console)

    def __enter__(self) -> Self:
        if self.drawn:
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

    def ended(self, number: int, seconds: float, error: str | None, *, version: str = "", plans: str = "") -> None:
        """Count a run that ended.

        Args:
            number: Its number, from 1.
            error: Why it failed, or None.
            version: Which version ran, if there are several.
            plans: Arms and plans of its teams, as the end of a sentence.
        """
        self._failed += error is not None
        note = f"{self._failed} failed" if self._failed else ""
        self._progress.update(self._task, advance=1, note=note)
        if not self.drawn:
            said = "ok" if error is None else f"failed: {error}"
            which = f"{version}, " if version else ""
            self._line(show.text(f"run {number} {self._of}: {which}{said}, {show.seconds(seconds)}{plans}"))

    def judged(self, reason: str) -> None:
        """Show what the latest verdict says."""
        self._verdict.plain = f"  {show.clean(reason)}"

    def changed(self, change: Change) -> None:
        """Show a change of a team's plan, which stays above the bar."""
        action = show.word(show.action_text(change), change.action)
        self._line(show.name(change.team_id).append(": ").append_text(action).append(f". {show.clean(change.reason)}"))

    def _line(self, line: Text) -> None:
        self._console.print(line, soft_wrap=not self.drawn)


def tracked(lines: Iterable[bytes], title: str, size: int) -> Iterator[bytes]:
    """Yield the lines of a file; on a terminal a bar shows how far the reading is.

    Args:
        size: How many bytes there are.
    """
    console = show.err()
    if size < _BYTES_BETWEEN or not _is_drawable(console):
        yield from lines
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(show.clean(title), total=size)
        waiting = 0
        for line in lines:
            waiting += len(line)
            if waiting >= _BYTES_BETWEEN:
                progress.update(task, advance=waiting)
                waiting = 0
            yield line


def counted(items: Iterable[_T], title: str, total: int) -> Iterator[_T]:
    """Yield items; on a terminal a bar shows how many of them there were.

    Args:
        total: How many there are, about.
    """
    console = show.err()
    if total < _MANY_ITEMS or not _is_drawable(console):
        yield from items
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(show.clean(title), total=total)
        for number, item in enumerate(items, 1):
            if number % _ITEMS_BETWEEN == 0:
                progress.update(task, completed=number)
            yield item


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say on a terminal, for the time of a block, that a long file is being read."""
    console = show.err()
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    if size < _LONG_FILE or not _is_drawable(console):
        yield
        return
    with console.status(show.text(f"reading {path.name}, {size / 1e6:,.0f} MB …")):
        yield


@contextlib.contextmanager
def working(title: str) -> Iterator[Callable[[str], None]]:
    """Show on a terminal, for the time of a block, how far it is.

    Yields:
        What tells how far it is, in a few words.
    """
    console = show.err()
    if not _is_drawable(console):
        yield lambda _: None
        return
    with console.status(show.text(f"{title} …")) as status:
        yield lambda told: status.update(show.text(f"{title}: {told} …"))


def _is_drawable(console: Console) -> bool:
    return console.is_terminal and not console.is_dumb_terminal
