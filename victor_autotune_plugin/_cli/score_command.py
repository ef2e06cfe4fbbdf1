"""`score`: what a run was worth, said by a person or another tool."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..errors import AutotuneError, MetricsError
from . import rendering as show
from .exchange import SkipBad, lines_in, source_file
from .options import HERE, Json, Project, environment
from .project import opened

if TYPE_CHECKING:
    from .._apply.rating import Rating
    from .._metricfiles.score_file import GivenScore, Scale
    from .._model.run import TeamRun
    from ..storage import Store
    from .project import OpenProject

_MOST_TOLD: Final = 10

ScoreName = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What the score is called.", show_default="review")
]


def score(
    run: Annotated[
        str | None, typer.Argument(metavar="RUN", help="Id of the run, its first 6 characters or more, or its trace.")
    ] = None,
    project: Project = HERE,
    value: Annotated[float | None, typer.Option("--value", metavar="VALUE", help="From 0 to 1; 1 is best.")] = None,
    no_opinion: Annotated[bool, typer.Option("--no-opinion", help="Say that there is none, in place of --value.")] = (
        False
    ),
    name: ScoreName = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", metavar="FILE", help="Scores as JSON Lines: own, of Langfuse or LangSmith."),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option("--scale", metavar="LOW:HIGH", help="What the numbers mean.", show_default="0:1"),
    ] = None,
    skip_bad: SkipBad = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and write nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Score a run, or the runs of a file, now that it is known what they were worth.

    A score of the same name is replaced. One that a test waits for is in the
    test; one that comes after its run was judged is kept beside it.
    """
    from .._metricfiles.score_file import Scale

    means = None if scale is None else Scale.parse(scale)
    if file is not None:
        _check_only_file(run, name, value=value is not None or no_opinion)
        _of_file(project, file, means, skip_bad=skip_bad, dry_run=dry_run, as_json=as_json)
        return
    if run is None:
        raise AutotuneError("neither a run nor a file is named", where="RUN", hint="Name a RUN, or --file FILE.")
    if (value is None) != no_opinion:
        hint = "Give --value VALUE, from 0 to 1, or --no-opinion."
        raise AutotuneError("both are given" if no_opinion else "missing", where="--value", hint=hint)
    _of_run(project, run, value, name, means, dry_run=dry_run, as_json=as_json)


def _check_only_file(run: str | None, name: str | None, *, value: bool) -> None:
    hint = "A file says these for each score; leave them out, or leave out --file."
    for where, given in (("RUN", run is not None), ("--value", value), ("--name", name is not None)):
        if given:
            raise AutotuneError("can't be given with --file", where=where, hint=hint)


def _of_run(
    project: Path,
    text: str,
    value: float | None,
    name: str | None,
    scale: Scale | None,
    *,
    dry_run: bool,
    as_json: bool,
) -> None:
    from .._apply.rating import DEFAULT_NAME, checked_name, checked_value, named_run

    if scale is not None and value is not None:
        value = scale.share(value)
    share = checked_value(value, "--value")
    called = checked_name(DEFAULT_NAME if name is None else name, "--name")
    with opened(project) as session:
        run = named_run(everywhere(session), text)
        rating = None if dry_run else _written(session, run, share, called)
    if as_json:
        told: dict[str, object] = {"run_id": run.run_id, "workflow": run.spec.workflow, "team_id": run.spec.team_id}
        told |= {"name": called, "value": share}
        show.write_json({"dry_run": dry_run, **(told if rating is None else rating.to_dict())})
        return
    which = f"{run.run_id}, team {run.spec.team_id} of workflow {run.spec.workflow}, {show.when(run.started_at)}"
    if rating is None:
        show.say(f"{which}: {called} would be {opinion(share)}. Nothing was written.")
        return
    replaced = "" if rating.before is None else f" (was {opinion(rating.before.value)})"
    show.say(f"{which}: {called} {opinion(share)}{replaced}.")
    tell_what_it_makes(rating)


def opinion(value: float | None) -> str:
    """Return the value of a score in words."""
    return "no opinion" if value is None else show.number(value)


def tell_what_it_makes(rating: Rating) -> None:
    """Print what a score makes of its run."""
    if rating.waits_for:
        show.say(f"The run's score waits for {show.listed(rating.waits_for)}.", indent=2)
    elif rating.run.score is not None:
        show.say(f"The run's score is {show.number(rating.run.score)}.", indent=2)


def everywhere(session: OpenProject) -> Store | None:
    """Return the store; of all environments unless one is named, since a run's id names it in any."""
    store = session.store
    return store if store is None or environment() is not None else store.of(None)


def _written(session: OpenProject, run: TeamRun, value: float | None, name: str) -> Rating:
    from .._apply.rating import rate

    with session.runtime.open_store() as store:
        return rate(session.runtime, store, run, value, name, "person", None)


def _of_file(project: Path, file: Path, scale: Scale | None, *, skip_bad: bool, dry_run: bool, as_json: bool) -> None:
    from .._apply.rating import rate
    from .._metricfiles.score_file import read_scores

    bad: list[MetricsError] | None = [] if skip_bad else None
    counts: Counter[str] = Counter(dict.fromkeys(("scores", "people", "unknown_runs", "parts", "skipped"), 0))
    with source_file(file) as source, opened(project) as session:
        given = read_scores(lines_in(source, str(file)), str(file), scale, bad)
        found = list(_with_runs(session, given, counts, bad))  # all is checked before any is kept
        if found and not dry_run:
            with session.runtime.open_store() as store:
                for run, one in found:
                    rate(session.runtime, store, run, one.value, one.name, one.source, one.at)
    errors = bad or []
    counts["skipped"] = len(errors)
    if as_json:
        wrong = [{"where": one.where, "message": one.message} for one in errors[:_MOST_TOLD]]
        show.write_json({"file": str(file), "dry_run": dry_run, **counts, "errors": wrong})
        return
    for error in errors[:_MOST_TOLD]:
        show.note(f"left out: {error}")
    show.say(f"{'Would keep' if dry_run else 'Kept'} {_counted(counts)}.")


def _with_runs(
    session: OpenProject, given: Iterable[GivenScore], counts: Counter[str], bad: list[MetricsError] | None
) -> Iterator[tuple[TeamRun, GivenScore]]:
    """Give the scores of runs that the store knows, each with its run, and count all."""
    from .._apply.rating import check_free

    store = everywhere(session)
    for one in given:
        if one.is_of_part:
            counts["parts"] += 1
            continue
        try:
            found = None if store is None else _run_of(store, one)
            if store is not None and found is not None:
                check_free(session.runtime, store, found, one.name)
        except AutotuneError as error:
            wrong = MetricsError(error.message, where=one.where, hint=error.hint)
            if bad is None:
                raise wrong from error
            bad.append(wrong)
            continue
        if found is None:
            counts["unknown_runs"] += 1
            continue
        counts["scores"] += 1
        counts["people"] += one.source == "person"
        yield found, one


def _run_of(store: Store, one: GivenScore) -> TeamRun | None:
    found = (store.find_run(text) for text in one.runs)
    return next((run for run in found if run is not None and run.status == "finished"), None)


def _counted(counts: Counter[str]) -> str:
    said = [show.count(counts["scores"], "score")]
    said += [f"{counts['people']} of them by people"] if counts["people"] else []
    left = [f"{counts['unknown_runs']} of runs that this store does not know"] if counts["unknown_runs"] else []
    left += [f"{counts['parts']} of a part of a run, or of none"] if counts["parts"] else []
    left += [f"{show.count(counts['skipped'], 'line')} that can't be used"] if counts["skipped"] else []
    return ", ".join(said) + (f"; left out: {', '.join(left)}" if left else "")
