"""`export` and `import`: the history as JSON Lines, to keep or to carry to another store."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import typer

from ..errors import AutotuneError
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model.run import TeamRun
    from ..model.state import Change
    from .session import Session

_MOST_TOLD: Final = 10
"""Bad lines that are told one by one."""

SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out lines that can't be used, and count them.")]


def export(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write.", show_default="standard output"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the history of all teams or of one: finished runs and changes, as JSON Lines that `import` reads.

    With --json it is one object with `header`, `changes` and `runs` instead.
    Neither prompt nor output is in it.
    """
    from .. import archive
    from . import rendering as show
    from .files import written
    from .session import opened

    team_id = chosen(name, team)
    with opened(project) as session:
        session.teams(workflow, team_id)
        if as_json and output is None:
            changes, runs = _items(session, workflow, team_id)
            show.write_json(
                {
                    "header": archive.header(),
                    "changes": [one.to_dict() for one in changes],
                    "runs": [one.to_dict() for one in runs],
                }
            )
            return
        with contextlib.nullcontext(sys.stdout) if output is None else written(output, "--output") as file:
            file.write(archive.to_line(archive.header()))
            counts = []
            for some in _items(session, workflow, team_id):
                count = 0
                for item in some:
                    file.write(archive.to_line(item))
                    count += 1
                counts.append(count)
            file.flush()
    if output is not None:
        changed, ran = counts
        if as_json:
            show.write_json({"file": str(output), "changes": changed, "runs": ran})
        else:
            show.say(f"{output}: {show.count(ran, 'run')} and {show.count(changed, 'change')}.")


def _items(session: Session, workflow: str | None, team_id: str | None) -> tuple[Iterable[Change], Iterable[TeamRun]]:
    if session.store is None:
        return (), ()
    return session.store.changes(workflow, team_id), session.store.finished_runs(workflow, team_id)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` wrote; - for standard input.")],
    project: Project = HERE,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Read a history into the project's store. Runs and changes that are there already stay as they are.

    The whole file is checked before anything is written. Plans and tests
    that are live here stay what they are: imported changes are history only.
    """
    from .. import archive
    from . import rendering as show
    from .reading import tracked
    from .session import opened

    bad: list[archive.ArchiveError] | None = [] if skip_bad else None
    with _opened(file) as source, opened(project) as session:
        size = source.seek(0, 2)
        for stage in ("checking", "importing"):
            source.seek(0)
            lines = tracked(source, f"{stage} {file.name}", size)
            if stage == "checking":
                for _ in archive.read(lines, str(file), bad=bad):
                    pass
                continue
            with session.runtime.open_store() as store:
                done = archive.write(store, archive.read(lines, str(file), bad=[] if skip_bad else None))
    errors = bad or []
    done.skipped = len(errors)
    if as_json:
        from attrs import asdict

        wrong = [{"where": one.where, "message": one.message} for one in errors[:_MOST_TOLD]]
        show.write_json({"file": str(file), **asdict(done), "errors": wrong})
        return
    for one in errors[:_MOST_TOLD]:
        show.note(f"left out: {one}")
    there = done.duplicate_runs + done.duplicate_changes
    said = f"Imported {show.count(done.runs, 'run')} and {show.count(done.changes, 'change')}"
    said += f"; {there} were there already" if there else ""
    said += f"; {show.count(done.skipped, 'line')} left out" if done.skipped else ""
    show.say(f"{said}.")


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file, or what standard input holds, for reading twice.

    Raises:
        AutotuneError: If it can't be read.
    """
    try:
        if str(path) == "-":
            import shutil
            import tempfile

            with tempfile.TemporaryFile() as copy:
                shutil.copyfileobj(_stdin(), copy)
                yield copy
            return
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise AutotuneError(f"can't be read: {error.strerror}", where=str(path)) from error


def _stdin() -> BinaryIO:
    return sys.stdin.buffer
