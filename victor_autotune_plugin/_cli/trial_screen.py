"""What is seen of a trial: a bar or lines while it runs, and the table of its verdict."""

from __future__ import annotations

import math
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from rich.console import Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from . import rendering as show

if TYPE_CHECKING:
    from .._apply.trial import ArmFigures, TrialResult
    from .job import WorkflowRun

_METRICS: Final = {"duration": "duration", "cost": "cost", "tool_calls": "tool calls", "score": "score"}


class TrialScreen:
    """Shows how far a trial is, and what the evidence says: a bar on a terminal, a line a run elsewhere; on stderr.

    Args:
        title: What is compared.
        most: How many runs there will be at most.
        bar: Whether to draw a bar if stderr is a terminal.
    """

    def __init__(self, title: str, most: int, *, bar: bool) -> None:
        self._console = show.err()
        self._most = most
        self._reason = Text(style="dim")
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
        self._task = self._progress.add_task(show.clean(title), total=most, note="Victor starts", start=False)
        self._live = Live(
            Group(self._progress, self._reason), console=self._console, transient=True, redirect_stdout=False
        )
        self.drawn = bar and self._console.is_terminal and not self._console.is_dumb_terminal

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

    def ended(self, run: WorkflowRun, version: str, reason: str) -> None:
        """Count a run that ended.

        Args:
            run: The run.
            version: Name of the version that ran.
            reason: What the evidence says now.
        """
        self._failed += run.error is not None
        self._progress.update(self._task, advance=1, note=f"{self._failed} failed" if self._failed else "")
        self._reason.plain = f"  {show.clean(reason)}"
        if not self.drawn:
            said = "ok" if run.error is None else f"failed: {run.error}"
            line = f"run {run.number} of at most {self._most}: {version}, {said}, {show.seconds(run.duration_seconds)}"
            self._console.print(show.text(line), soft_wrap=True)


def print_trial(result: TrialResult, control: str, treatment: str) -> None:
    """Print the table and the verdict of a trial.

    Args:
        result: The result.
        control: What the control is called.
        treatment: What the treatment is called.
    """
    table = show.table(
        "Version",
        "Runs",
        "Success",
        "Median",
        "P95",
        "Cost",
        "Tool calls",
        right=("Runs", "Success", "Median", "P95", "Cost", "Tool calls"),
    )
    for title, figures in ((control, result.control), (treatment, result.treatment)):
        table.add_row(show.name(title), *_row(figures))
    show.out().print(table)
    verdict = result.verdict
    if math.isfinite(verdict.effect):
        low, high = (_signed(end) for end in verdict.interval)
        metric = _METRICS[verdict.metric]
        show.say(f"Effect on the {metric}: {_signed(verdict.effect)}, {show.percent(1 - verdict.error_rate)} interval "
                 f"{low} to {high}, valid at every look.")  # fmt: skip
    show.say(show.word(result.status).append(": ").append(show.clean(result.reason)))
    if result.status == "inconclusive" and verdict.minimum_detectable_effect is not None:
        seen = show.percent(verdict.minimum_detectable_effect)
        show.say(f"A test of this length finds an improvement of {seen} four times in five.", "dim")


def _row(figures: ArmFigures) -> list[str]:
    cost, calls = figures.mean_cost_usd, figures.mean_tool_calls
    return [
        str(figures.runs),
        show.percent(figures.success_rate),
        show.seconds(figures.median_seconds),
        show.seconds(figures.p95_seconds),
        show.DASH if cost is None else f"${cost:.4f}",
        show.DASH if calls is None else f"{calls:.1f}",
    ]


def _signed(share: float) -> str:
    if math.isinf(share):
        return "unbounded"
    return f"{100 * share:+.0f} %"
