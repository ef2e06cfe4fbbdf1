"""Where `analyze`, `suggest` and `apply` take runs from: a metrics file, or the project's store."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from .._api.analyzer import PerformanceAnalyzer
from ..errors import AutotuneError
from . import rendering as show

if TYPE_CHECKING:
    from .._analysis import TeamKey
    from .session import Session

MOST_RUNS = 100_000
"""How many of the newest recorded runs are looked at."""

_LONG_FILE = 5_000_000


@frozen
class Source:
    """Runs to look at.

    Attributes:
        analyzer: The runs.
        name: Where they are from, for people.
        hint: How to come by runs where there are none.
        keys: The teams that are meant, `(workflow, team_id)`; the workflow of a metrics file may be empty.
    """

    analyzer: PerformanceAnalyzer
    name: str
    hint: str
    keys: tuple[TeamKey, ...]

    def one(self) -> TeamKey:
        """Return the one team that is meant.

        Raises:
            AutotuneError: If there is none, or more than one.
        """
        if len(self.keys) == 1:
            return self.keys[0]
        if not self.keys:
            raise AutotuneError(f"{self.name} holds no runs", hint=self.hint)
        names = ", ".join(dict.fromkeys(show.clean(key[1]) for key in self.keys[:10]))
        more = f" and {len(self.keys) - 10} more" if len(self.keys) > 10 else ""
        raise AutotuneError("there are several teams", where="TEAM", hint=f"Name one of: {names}{more}.")


def from_file(path: Path, team_id: str | None, workflow: str | None, *, skip_bad: bool) -> Source:
    """Read a metrics file; on a terminal a remark on stderr tells that a long one is being read.

    Args:
        path: The file.
        team_id: Only this team.
        workflow: Only this workflow.
        skip_bad: Whether bad rows are left out; how many is told on stderr.

    Raises:
        MetricsError: If it can't be used.
        AutotuneError: If it holds no such team.
    """
    analyzer = PerformanceAnalyzer()
    with _waiting(path):
        analyzer.load_metrics_from_file(path, skip_bad=skip_bad)
    if analyzer.skipped:
        show.note(f"{show.count(analyzer.skipped, 'bad row')} left out; the first: {analyzer.problems[0]}")
    hint = "Name another file, or leave out --metrics to look at what was recorded."
    return Source(analyzer, str(path), hint, _chosen(analyzer, team_id, workflow))


def from_store(session: Session, team_id: str | None, workflow: str | None) -> Source:
    """Return the runs that a project recorded: of each team those of its definition as it is now.

    Args:
        session: The project.
        team_id: Only this team.
        workflow: Only this workflow.

    Raises:
        AutotuneError: If there is no such team.
        StoreError: If the store can't be read.
    """
    states = session.teams(workflow, team_id)
    analyzer = PerformanceAnalyzer()
    if session.store is not None:
        latest = {state.key: state.fingerprint for state in states}
        analyzer.add_runs(
            run
            for run in session.store.finished_runs(workflow, team_id, limit=MOST_RUNS)
            if latest.get(run.spec.key) in (None, run.spec.fingerprint())
        )
    hint = "Run a workflow (victor autotune run WORKFLOW.yaml), or give --metrics FILE."
    return Source(analyzer, "the store", hint, tuple(sorted(analyzer.teams)))


def _chosen(analyzer: PerformanceAnalyzer, team_id: str | None, workflow: str | None) -> tuple[TeamKey, ...]:
    found = tuple(key for key in analyzer.teams if workflow in (None, key[0]) and team_id in (None, key[1]))
    if not found and team_id is not None:
        from .._analysis.bottlenecks import team_key

        team_key(analyzer.metrics_history, team_id)  # says which there are
    if not found and workflow is not None:
        raise AutotuneError(f"there is no run of workflow {workflow!r}", where="--workflow")
    return found


@contextlib.contextmanager
def _waiting(path: Path) -> Iterator[None]:
    console = show.err()
    try:
        size = path.stat().st_size
    except OSError:
        size = 0
    if size < _LONG_FILE or not console.is_terminal or console.is_dumb_terminal:
        yield
        return
    with console.status(show.text(f"reading {path.name}, {size / 1e6:,.0f} MB …")):
        yield
