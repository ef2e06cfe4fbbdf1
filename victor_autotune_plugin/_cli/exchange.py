"""`report`, `export` and `import`: all that is known of the teams, as a page to read, or to keep or carry elsewhere."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, TextIO

import typer
from attrs import evolve

from .._model.plan import is_called
from ..errors import AutotuneError
from . import rendering as show
from .command import ExitCode
from .earlier import EarlierOfTeam, earlier_of
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen, environment
from .progress import counted, tracked
from .project import opened

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..storage.archive import Item
    from .project import OpenProject

_MOST_TOLD: Final = 10
"""Bad lines that are told one by one."""

_LONGEST_LINE: Final = 64 << 20
"""Bytes of a line of an archive; one line holds an experiment with all its observations."""

_REPORTED_RUNS: Final = 300
_REPORTED_CHANGES: Final = 200


class ExportFormat(StrEnum):
    """What `export` writes."""

    JSONL = "jsonl"
    PARQUET = "parquet"


SkipBad = Annotated[bool, typer.Option("--skip-bad", help="Leave out lines that can't be used, and count them.")]


def report(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.html", help="File to write.")] = Path(
        "autotune-report.html"
    ),
    as_json: Json = False,
) -> None:
    """Write the dashboard's page as one HTML file: teams, tests, evidence, data flow, runs and the history.

    It loads nothing, is readable by its owner alone (mode 0600), and has at most 10 MB: of large stores runs are drawn
    in groups.
    """
    from .._page.offline import offline_report
    from .._values.files import write_text
    from ..storage.team_records import TeamRecords
    from .dashboard import board_of
    from .progress import working

    team_id = chosen(name, team)
    with opened(project) as session:
        store = None if session.store is None else TeamRecords(session.store)
        named = session.named_teams(workflow, team_id, {} if store is None else store.last_seen())
        wanted = {one.key for one in named}
        keys = session.keys(workflow, team_id, named)
        if store is not None and len(named) == 1:
            store = TeamRecords(store, named[0].key)
        board = board_of(evolve(session, store=store), wanted.__contains__)
        with working("report") as tell:
            text = offline_report(board, f"Autotune report of {project.absolute().name}", tell)
        experiments = pruned = 0
        earlier: list[EarlierOfTeam] = []
        if store is not None:
            experiments = sum(len(store.experiments(*key)) for key in keys)
            pruned = sum(store.pruned_runs(*key) for key in keys)
            earlier = [] if team_id is None else earlier_of(store, named)
    write_text(output, text, project=project)
    if as_json:
        before = {} if team_id is None else {"earlier_runs": [one.to_dict() for one in earlier]}
        counts = {"teams": len(wanted), "experiments": experiments, "runs_in_totals": pruned}
        show.write_json({"file": str(output), **counts, **before})
    else:
        show.say(f"{output}: {show.count(len(wanted), 'team')}.")
        for one in earlier:
            one.say()
        if pruned and not earlier:
            are = "is" if pruned == 1 else "are"
            show.say(f"Of these teams {show.count(pruned, 'earlier run')} {are} kept as daily totals.", "dim")
        if not wanted:
            show.note(show.NOTHING_YET)


def export(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write.", show_default="standard output"),
    ] = None,
    form: Annotated[
        ExportFormat,
        typer.Option("--format", help="jsonl: the whole history. parquet: a table of the finished runs, for --output."),
    ] = ExportFormat.JSONL,
    as_json: Json = False,
) -> None:
    """Write the history of all teams or of one, as JSON Lines that `import` reads.

    In it are changes, finished runs and their scores, totals of runs that are
    no longer kept in full, experiments with all that `replay` needs, and the
    teams' live plans, of all environments unless one is named; neither prompt
    nor output. With --json it is one object with `header`, `changes`, `days`,
    `runs`, `scores`, `experiments` and `teams` instead.
    """
    from ..storage import archive

    team_id = chosen(name, team)
    with opened(project) as session:
        store = session.store
        if store is not None and environment() is None:
            session = evolve(session, store=store.of(None))
        if form is ExportFormat.PARQUET:
            _write_parquet(_items(session, workflow, team_id)["runs"], output, project, as_json=as_json)
            return
        before = _in_totals(session, workflow, team_id)
        kinds = _items(session, workflow, team_id)
        if as_json and output is None:
            parts = {kind: (one.to_dict() for one in items) for kind, items in kinds.items()}
            show.write_parts({"header": archive.header(), **parts})
            _tell_gone(_in_totals(session, workflow, team_id) - before)
            return
        counts = dict.fromkeys(kinds, 0)
        with _to(output, project) as file:
            file.write(archive.to_line(archive.header()))
            for kind, items in kinds.items():
                for item in items:
                    file.write(archive.to_line(item))
                    counts[kind] += 1
            file.flush()
        gone = _in_totals(session, workflow, team_id) - before
    if output is not None and as_json:
        show.write_json({"file": str(output), **counts})
    elif output is not None:
        show.say(f"{output}: {_counted(counts)}.")
    _tell_gone(gone)


def _in_totals(session: OpenProject, workflow: str | None, team_id: str | None) -> int:
    """Return how many runs are kept as the totals of their days."""
    store = session.store
    return 0 if store is None else sum(store.pruned_runs(*key) for key in session.keys(workflow, team_id))


def _tell_gone(count: int) -> None:
    """Say that runs went while an archive was written: the totals came first, so that it may have them nowhere.

    Raises:
        typer.Exit: Some went.
    """
    if count > 0:
        went = f"{show.count(count, 'run')} went from the store meanwhile, by its retention"
        show.note(f"{went}, and the export may lack them; export again")
        raise typer.Exit(ExitCode.BAD)


def _write_parquet(runs: Iterable[Any], output: Path | None, project: Path, *, as_json: bool) -> None:
    from .._values.files import written_data
    from ..storage.run_frames import write_parquet

    if output is None:
        raise AutotuneError(
            "a Parquet file is not for a terminal", where="--format parquet", hint="Name a file: --output runs.parquet"
        )
    with written_data(output, where=f"--output {output}", project=project) as file:
        written = write_parquet(runs, file)
    if as_json:
        show.write_json({"file": str(output), "runs": written})
    else:
        show.say(f"{output}: {show.count(written, 'run')}.")


def _to(output: Path | None, project: Path) -> contextlib.AbstractContextManager[TextIO]:
    from .._values.files import written

    if output is None:
        return contextlib.nullcontext(sys.stdout)
    return written(output, where=f"--output {output}", project=project)


def _items(session: OpenProject, workflow: str | None, team_id: str | None) -> dict[str, Iterable[Item]]:
    """Return what there is to export by its kind, in the order in which it must be imported."""
    from ..storage.archive import ExperimentRecord

    keys, store = session.keys(workflow, team_id), session.store
    if store is None:
        return {"changes": (), "days": (), "runs": (), "scores": (), "experiments": (), "teams": ()}
    counts = [store.run_count(flow, name) for flow, name in keys if flow is not None and name is not None]
    runs = sum(counts) if counts else store.pulse().runs
    # States are read first: the experiment that one names is there then.
    states = [one for one in store.teams() if workflow in (None, one.workflow) and is_called(one.key, team_id)]
    experiments = [one for key in keys for one in store.experiments(*key)[::-1]]
    return {
        "changes": [one for key in keys for one in store.changes(*key)],
        "days": (one for key in keys for one in store.day_totals(*key)),
        "runs": counted((one for key in keys for one in store.finished_runs(*key)), "export", runs),
        "scores": (one for key in keys for one in store.scores(*key)),
        "experiments": (ExperimentRecord.stored(store, one) for one in experiments),
        "teams": states,
    }


def _counted(counts: Mapping[str, int]) -> str:
    """Return how many there are of each kind, in words; scores are told of where there are any."""
    kinds = ("run", *(("score",) if counts["scores"] else ()), "change", "experiment", "team")
    days = [show.count(counts["days"], "day total")] if counts["days"] else []
    return show.listed([*(show.count(counts[f"{kind}s"], kind) for kind in kinds), *days])


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `export` wrote; - for standard input.")],
    project: Project = HERE,
    skip_bad: SkipBad = False,
    as_json: Json = False,
) -> None:
    """Read a history into the project's store. What is there already stays as it is.

    The whole file is checked before anything is written. A team that this
    store does not know gets its live plan and its open test from the file. For
    one that it knows they stay what they are here, and an open test of the
    file is left out.
    """
    from attrs import asdict

    from ..storage import archive, importing

    bad: list[archive.ArchiveError] | None = [] if skip_bad else None
    with source_file(file) as source, opened(project) as session:
        size = source.seek(0, 2)
        names = importing.EarlierNames()
        for stage in ("checking", "importing"):
            source.seek(0)
            lines = tracked(lines_in(source, str(file)), f"{stage} {file.name}", size)
            if stage == "checking":
                for item in archive.read(lines, str(file), bad=bad):
                    names.note(item)
                continue
            with session.runtime.open_store() as store:
                items = archive.read(lines, str(file), bad=[] if skip_bad else None)
                done = importing.write(store, map(names.renamed, items))
    errors = bad or []
    done.skipped = len(errors)
    if as_json:
        wrong = [{"where": one.where, "message": one.message} for one in errors[:_MOST_TOLD]]
        show.write_json({"file": str(file), **asdict(done), "errors": wrong})
        return
    for one in errors[:_MOST_TOLD]:
        show.note(f"left out: {one}")
    there = sum(count for name, count in asdict(done).items() if name.startswith("duplicate_"))
    said = f"Imported {_counted(asdict(done))}"
    said += f"; {there} were there already" if there else ""
    said += f"; {show.count(done.skipped, 'line')} left out" if done.skipped else ""
    show.say(f"{said}.")
    if done.old_runs:
        left = show.count(done.old_runs, "run")
        show.note(f"{left} left out: of that time this store has totals, which may hold them already.")
    if done.open_experiments:
        left = show.count(done.open_experiments, "open experiment")
        show.note(f"{left} left out: the team has its own plan here. When it has ended, export and import it again.")


@contextlib.contextmanager
def source_file(path: Path) -> Iterator[Any]:
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
        from .._values.nodes import WrongValueError
        from .._values.reading import open_file

        try:
            source = open_file(path, instead="Name a file, or - to read standard input.")
        except WrongValueError as wrong:
            raise wrong.told(AutotuneError) from wrong
        with source:
            yield source
    except OSError as error:
        raise AutotuneError(f"can't be read: {error.strerror}", where=str(path)) from error


def lines_in(source: BinaryIO, name: str) -> Iterator[bytes]:
    from .._values.nodes import WrongValueError
    from .._values.reading import lines_of

    try:
        yield from lines_of(source, name, _LONGEST_LINE)
    except WrongValueError as wrong:
        raise wrong.told(AutotuneError) from wrong


def _stdin() -> BinaryIO:
    return sys.stdin.buffer
