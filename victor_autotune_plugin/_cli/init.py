"""`init`: a settings file to start from, for a project's workflows; `schema`: what editors check settings by."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from attrs import evolve, field, frozen

from ..errors import AutotuneError, SettingsError
from . import rendering as show
from .options import HERE, Json, Project

if TYPE_CHECKING:
    from .._model.plan import TeamSpec
    from ..configfiles.discovery import Found


@frozen
class Begun:
    """What `init` did, or would do.

    Attributes:
        file: The settings file.
        schema: Its JSON Schema for editors, beside it.
        text: Contents of the settings file.
        found: The project's teams.
        recorded: Teams that the store knows and no file holds, such as those outside workflows.
        told: What is wrong with names in the settings that are there, and what in them has no effect any more.
        written: Whether the files were written.
        backup: Copy of the settings file that was there before, or None.
    """

    file: Path
    schema: Path
    text: str
    found: Found
    recorded: list[TeamSpec] = field(factory=list)
    told: list[SettingsError] = field(factory=list)
    written: bool = False
    backup: Path | None = None

    def notes(self) -> list[str]:
        """Return what a person should know, sentence by sentence."""
        from ..configfiles.discovery import MOST_FILES

        notes = [*(f"left out: {error}" for error in self.found.broken), *self.found.notes]
        notes += map(str, self.told)
        if self.found.cut:
            notes.append(f"only the first {MOST_FILES:,} YAML files were looked into")
        return notes

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "file": str(self.file),
            "schema": str(self.schema),
            "written": self.written,
            "backup": None if self.backup is None else str(self.backup),
            "teams": [
                {
                    "workflow": team.spec.workflow,
                    "team_id": team.spec.team_id,
                    "file": str(team.file),
                    "line": team.line,
                    "formation": team.spec.formation,
                    "members": list(team.spec.member_ids),
                }
                for team in self.found.teams
            ],
            "recorded_teams": [
                {"workflow": spec.workflow, "team_id": spec.team_id, "members": list(spec.member_ids)}
                for spec in self.recorded
            ],
            "notes": self.notes(),
            "text": self.text,
        }


def init(
    project: Project = HERE,
    force: Annotated[
        bool, typer.Option("--force", help="Replace a settings file that is there; it is kept as a backup.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the file, and write nothing.")] = False,
    database: Annotated[
        bool, typer.Option("--database", help="Create or migrate the store's tables, and write no settings file.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write a commented settings file for the workflows of a project that have team steps.

    Every team is observed, as without the file: nothing changes until you
    say so in it. An editor checks and explains the keys while you type, by
    the schema that is put beside the file.

    A shared database (PostgreSQL) gets the plugin's tables by --database,
    once. A file needs it only to be migrated without running a team.
    """
    if database:
        _init_database(project, force=force, dry_run=dry_run, as_json=as_json)
        return
    begun = _begun(project)
    for note in () if as_json else begun.notes():
        show.note(note)
    if not dry_run:
        begun = _written(begun, project, force=force)
    if as_json:
        show.write_json(begun.to_dict())
        return
    if dry_run:
        typer.echo(begun.text, nl=False)
        return
    teams = show.count(len(begun.found.teams), "team")
    if begun.recorded:
        teams += f" in workflow files and {len(begun.recorded)} that only runs are known of"
    show.say(f"Wrote {begun.file} for {teams}, and its schema for editors.")
    if begun.backup is not None:
        show.say(f"The old file is {begun.backup}.")


def _init_database(project: Path, *, force: bool, dry_run: bool, as_json: bool) -> None:
    from .._settings import SettingsResolver
    from ..storage import create_schema, default_url
    from ..storage.location import without_secrets

    if force or dry_run:
        raise AutotuneError(
            "goes with neither --force nor --dry-run", where="--database", hint="victor autotune init --database"
        )
    url = SettingsResolver.load(project).database_url or default_url(project)
    change = create_schema(url)
    shown = without_secrets(url)
    if as_json:
        show.write_json({"database": shown, "before": change.before, "after": change.after})
    elif change.before is None:
        show.say(f"Created the tables (schema {change.after}) in {shown}.")
    elif change.before == change.after:
        show.say(f"Nothing to do: {shown} has schema {change.after} already.")
    else:
        show.say(f"Migrated {shown} from schema {change.before} to {change.after}.")


def _begun(project: Path) -> Begun:
    from .._settings import FILE_NAME, SettingsResolver, victor_dir_name
    from .._settings.keys import SCHEMA_FILE
    from ..configfiles.discovery import find_teams, starting_text
    from .project import opened, unknown_in_project

    folder = victor_dir_name(os.environ)
    found = find_teams(project, folder)
    # The settings know no name that is all spaces.
    named = [team for team in found.teams if team.spec.workflow.strip()]
    found = evolve(found, teams=named)
    told, recorded = [], []
    with contextlib.suppress(AutotuneError), opened(project) as session:
        declared = {team.spec.key for team in found.teams}
        specs = (state.spec for state in session.teams() if state.key not in declared)
        recorded = [spec for spec in specs if spec is not None and spec.workflow.strip()]
    with contextlib.suppress(SettingsError):  # `--force` replaces wrong settings; `doctor` tells of them
        resolver = SettingsResolver.load(project, log=False)
        told = [*unknown_in_project(resolver, project, found), *resolver.retired(found.own)]
    text = starting_text(named, recorded)
    return Begun(project / folder / FILE_NAME, project / folder / SCHEMA_FILE, text, found, recorded, told)


def _written(begun: Begun, project: Path, *, force: bool) -> Begun:
    from .._settings.keys import schema_text
    from .._values.files import unwritten, write_atomically
    from .._values.links import followed

    file = begun.file
    try:
        for one in (begun.schema, file):
            followed(one, project)
    except OSError as error:
        raise unwritten(error, str(error.filename)) from error
    if file.exists() and not force:
        hint = "Look at what would be written (--dry-run), or replace the file (--force)."
        raise AutotuneError("is there already", where=str(file), hint=hint)
    if file.parent.exists() and not file.parent.is_dir():
        raise AutotuneError("is not a folder", where=str(file.parent), hint=f"Move it away: mv {file.parent} FILE")
    try:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomically(begun.schema, schema_text().encode(), project=project)
        backup = write_atomically(file, begun.text.encode(), backup=True, project=project)
    except OSError as error:
        raise unwritten(error, error.filename or str(file)) from error
    return evolve(begun, written=True, backup=backup)


def schema(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write it to this file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print the JSON Schema of settings files, with the strategies that installed packages add.

    In VS Code and other editors that speak to yaml-language-server, this
    first line of a settings file makes them check and complete it:
    # yaml-language-server: $schema=autotune.schema.json
    """
    from .._settings import STRATEGIES
    from .._settings.keys import schema_text
    from .._tuning.hookmanager import HookManager

    hooks = HookManager()
    hooks.load_entry_points()
    offered = [strategy.name for answer in hooks.answers("add_strategies") for strategy in answer.value]
    text = schema_text(dict.fromkeys((*STRATEGIES, *offered)))
    if output is None:
        typer.echo(text, nl=False)
        return
    from .._values.files import unwritten, write_atomically

    try:
        write_atomically(output, text.encode())
    except OSError as error:
        raise unwritten(error, str(output)) from error
    if as_json:
        show.write_json({"written": str(output)})
    else:
        show.say(f"Wrote {output}.")
