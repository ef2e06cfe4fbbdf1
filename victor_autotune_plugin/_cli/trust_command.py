"""`trust`: what a project's own files ask the machine to do, and the user's answer."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import AutotuneError
from . import rendering as show
from .command import ExitCode
from .options import HERE, Json, Project

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._settings import SettingsResolver
    from .._settings.trust import ActingSource, TrustStore

Files = Annotated[
    list[Path] | None,
    typer.Argument(metavar="WORKFLOW.yaml", help="Workflow files to look into besides the project's own."),
]


def trust(
    files: Files = None,
    project: Project = HERE,
    yes: Annotated[bool, typer.Option("--yes", help="Trust what is shown, and don't ask.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Trust nothing of this project any more.")] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the projects that you trust.")] = False,
    as_json: Json = False,
) -> None:
    """Let settings of a project's own files act: start programs, connect to servers.

    Until you trust them, such settings of .victor/autotune.yaml and of a
    workflow's metadata.autotune are ignored. They are shown, and counted from
    then on as they are now: when one of them changes, you are asked again.
    With --json nothing is asked; add --yes to trust what it shows.
    """
    from .._settings import SettingsResolver

    resolver = SettingsResolver.load(project, log=False)
    if list_:
        _list(resolver.trust, as_json=as_json)
        return
    if revoke:
        _save(resolver.trust, project, ())
        _told_revoked(project, resolver.trust, as_json=as_json)
        return
    sources = tuple(acting_sources(project, resolver, files or ()))
    new = [source for source in sources if not resolver.trust.trusts(project, source)]
    if not as_json:
        _show(project, sources, new)
        if new and not yes and not _agrees():
            show.say("Nothing new is trusted.")
            raise typer.Exit(ExitCode.BAD)
    if yes or (new and not as_json):
        _save(resolver.trust, project, sources)
        if new and not as_json:
            show.say("You trust these settings from now on.")
        new = []
    if as_json:
        listed = [_shown(source, trusted=source not in new) for source in sources]
        show.write_json({"project": str(project.resolve()), "file": str(resolver.trust.path), "sources": listed})


def acting_sources(project: Path, resolver: SettingsResolver, files: Iterable[Path] = ()) -> Iterable[ActingSource]:
    """Give what a project's settings file and its workflows ask the machine to do, trusted or not.

    Args:
        files: Further workflow files.

    Raises:
        AutotuneError: One of the further files can't be used.
    """
    from .._settings import victor_dir_name
    from ..configfiles.discovery import find_own_settings

    if resolver.acting is not None:
        yield resolver.acting
    for workflow, node, where in find_own_settings(project, victor_dir_name(os.environ), files):
        source = resolver.acting_of(workflow, node, where)
        if source is not None:
            yield source


def _show(project: Path, sources: tuple[ActingSource, ...], new: list[ActingSource]) -> None:
    folder = project.resolve()
    if not sources:
        show.say(f"Nothing of {folder} needs your trust.")
    elif not new:
        show.say(f"You trust all that {folder} asks for:")
    else:
        show.say(f"{folder} asks for this, which is ignored until you trust it:")
    for source in new or sources:
        for one in source.settings:
            show.say(f"{one.where}: {one.path}: {one.shown}", indent=2)


def _agrees() -> bool:
    import click

    try:
        return typer.confirm("Trust these settings?", default=False, err=True)
    except click.Abort as error:
        hint = "Read what is shown, and add --yes."
        raise AutotuneError("no terminal to ask on", where="trust", hint=hint) from error


def _save(trusted: TrustStore, project: Path, sources: tuple[ActingSource, ...]) -> None:
    if trusted.problem is not None:
        hint = f"Put that right, or move it away: mv {trusted.path} {trusted.path}.old"
        raise AutotuneError(f"can't be used: {trusted.problem}", where=str(trusted.path), hint=hint)
    changed = trusted.with_project(project, sources, time.time())
    if changed.digests != trusted.digests:
        changed.save()


def _list(trusted: TrustStore, *, as_json: bool) -> None:
    rows = [
        {"project": path, "at": record["at"], "trusted": sorted(set(record["trusted"].values()))}
        for path, record in sorted(trusted.projects.items())
    ]
    if as_json:
        show.write_json({"file": str(trusted.path), "problem": trusted.problem, "projects": rows})
        return
    if trusted.problem is not None:
        show.note(f"{trusted.path} does not count: {trusted.problem}")
    for row in rows:
        show.say(f"{row['project']}: {', '.join(row['trusted'])}; since {show.when(row['at'])}")
    if not rows:
        show.say("You trust no project's settings to act.")


def _told_revoked(project: Path, trusted: TrustStore, *, as_json: bool) -> None:
    if as_json:
        show.write_json({"project": str(project.resolve()), "file": str(trusted.path), "sources": []})
    else:
        show.say(f"Nothing of {project.resolve()} is trusted any more.")


def _shown(source: ActingSource, *, trusted: bool) -> dict[str, Any]:
    settings = [one.to_dict() for one in source.settings]
    return {"name": source.name, "trusted": trusted, "settings": settings}
