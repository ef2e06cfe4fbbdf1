"""`rate`: walks a person through the last runs that no person has rated, blind to what was tested on them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from attrs import define, field
from rich.padding import Padding
from rich.text import Text

from ..errors import AutotuneError
from . import rendering as show
from .command import ExitCode
from .console import is_terminal
from .options import HERE, Json, Project, Team, Workflow
from .project import opened

if TYPE_CHECKING:
    from .._apply.rating import Rating
    from .._model.run import TeamRun
    from .._settings.team_settings import QualitySettings
    from ..storage import Store
    from .project import OpenProject

FALLBACK_NAME: Final = "rating"
"""What a rating is called where nothing says it."""

_ASKS: Final = "How good, 0 to 1, or y, n, s(kip), q(uit)"
_WORDS: Final = {"y": 1.0, "yes": 1.0, "n": 0.0, "no": 0.0, "s": None, "skip": None}
_ENDS: Final = ("q", "quit")


def rate(
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="What the rating is called.",
            show_default="the team's external scorer, or rating",
        ),
    ] = None,
    last: Annotated[int, typer.Option("--last", metavar="N", min=1, help="At most so many runs.")] = 20,
    as_json: Json = False,
) -> None:
    """Rate the last runs that no person has rated, one by one.

    You see id, time, task and trace of a run, not the plan it ran with. The
    command of quality.show shows its work, with the run's id as last argument;
    an output that quality.keep_outputs kept is shown here, and removed once
    you rated it. Each answer is kept at once. With --json the answers are
    printed as an object at the end, and all else goes to stderr.
    """
    from .._apply.rating import checked_name

    called = None if name is None else checked_name(name, "--name")
    if not is_terminal(sys.stdin):
        hint = "Run it in a terminal; a program gives scores with: victor autotune score RUN --value VALUE"
        raise AutotuneError("no terminal to ask on", where="rate", hint=hint)
    with opened(project) as session:
        for_teams = session.keys(workflow, team)
        runs = [] if session.store is None else _unrated(session.store, for_teams, last)
        walk = _Walk(session, called)
        if runs:
            with session.runtime.open_store() as store:
                walk.through(store, runs)
    if as_json:
        left = len(runs) - len(walk.ratings) - walk.skipped
        show.write_json({"rated": [one.to_dict() for one in walk.ratings], "skipped": walk.skipped, "left": left})
    elif not runs:
        show.say("No run is left to rate.")
    else:
        skipped = f", {walk.skipped} skipped" if walk.skipped else ""
        show.say(f"{show.count(len(walk.ratings), 'run')} rated{skipped}.")
    if walk.was_interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)


def _unrated(store: Store, keys: list[tuple[str | None, str | None]], last: int) -> list[TeamRun]:
    """Return the last runs to rate, newest first; a cancelled one has nothing to rate."""
    found: list[TeamRun] = []
    for key in keys:
        asked = last
        rated: list[TeamRun] = []
        while len(rated) < last:
            read = store.unrated_runs(asked, *key)
            rated = [run for run in read if not run.cancelled]
            if len(read) < asked:
                break
            asked *= 2
        found += rated
    return sorted(found, key=lambda run: (-run.started_at, run.run_id))[:last]


@define
class _Walk:
    session: OpenProject
    name: str | None
    ratings: list[Rating] = field(factory=list)
    skipped: int = 0
    was_interrupted: bool = False

    def through(self, store: Store, runs: list[TeamRun]) -> None:
        """Ask for each run until the person stops."""
        from .._apply.rating import check_free
        from .._apply.rating import rate as write
        from ..storage.kept_outputs import KeptOutputs

        runtime = self.session.runtime
        kept = KeptOutputs.of(runtime.project)
        for number, run in enumerate(runs, 1):
            quality = runtime.resolver.for_team(*run.spec.key).quality
            called = self.name or name_of(quality)
            check_free(runtime, store, run, called)
            _say(f"{number} of {len(runs)}: run {run.run_id}")
            for line in _facts(run):
                _say(line, indent=2)
            _show_output(kept, run)
            _start_viewer(quality, run)
            answer = self._asked(called)
            if isinstance(answer, str):
                return
            if answer is None:
                self.skipped += 1
                continue
            self.ratings.append(write(runtime, store, run, answer, called, "person", None))

    def _asked(self, called: str) -> float | str | None:
        """Return a rating, None to skip, or a word of the end."""
        import click

        while True:
            try:
                said: str = click.prompt(f"{called}: {_ASKS}", err=True, prompt_suffix=": ").strip().lower()
            except (click.Abort, KeyboardInterrupt):
                self.was_interrupted = True
                return _ENDS[0]
            if said in _ENDS:
                return said
            if said in _WORDS:
                return _WORDS[said]
            try:
                value = float(said.replace(",", "."))
            except ValueError:
                value = -1.0
            if 0 <= value <= 1:
                return value
            _say("Write a number from 0 to 1, y for 1, n for 0, s to skip this run, or q to stop.", indent=2)


def name_of(quality: QualitySettings) -> str:
    """Return what a person's rating is called: the team's only external scorer, else `FALLBACK_NAME`."""
    external = [one.name for one in quality.scorers if one.kind == "external"]
    return external[0] if len(external) == 1 else FALLBACK_NAME


def _facts(run: TeamRun) -> Iterator[str]:
    """Give what tells a person which run it was, and nothing of what was tested on it."""
    yield f"team {run.spec.team_id} of workflow {run.spec.workflow}, started {show.when(run.started_at)}"
    if run.task_key:
        yield f"task {run.task_key}"
    if run.trace_id:
        yield f"trace {run.trace_id}"


def _say(message: str, *, indent: int = 0) -> None:
    show.err().print(Padding(show.text(message), (0, 0, 0, indent)))


def _show_output(kept: Any, run: TeamRun) -> None:
    try:
        text = kept.read(run.run_id, time.time())
    except OSError as error:
        show.note(f"the output that was kept of run {run.run_id} can't be read: {error.strerror or error}")
        return
    if text is not None:
        show.err().print(Text(show.clean(text, keep_lines=True)))


def _start_viewer(quality: QualitySettings, run: TeamRun) -> None:
    """Show the run's work with the person's own command, and wait for its end."""
    if not quality.show:
        return
    try:
        with _left_to_the_viewer():
            subprocess.run([*quality.show, run.run_id], check=False)
    except OSError as error:
        show.note(f"quality.show: {quality.show[0]!r} can't be started: {error.strerror or error}")


@contextmanager
def _left_to_the_viewer() -> Iterator[None]:
    """Let a Ctrl-C end the viewer alone. A handler, since a signal that is ignored here would be ignored there, too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
