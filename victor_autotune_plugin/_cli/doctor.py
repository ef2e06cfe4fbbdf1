"""`doctor`: is everything as it should be, and if not, what to do about it."""

from __future__ import annotations

import typer
from attrs import evolve

from . import rendering as show
from .command import ExitCode
from .options import HERE, Json, Project, placed


def doctor(project: Project = HERE, as_json: Json = False) -> None:
    """Check Victor, settings, store, hook packages and telemetry; exit code 1 if something is wrong."""
    from .checks import BAD, WARN, examine

    checks = [evolve(check, hint=placed(check.hint)) for check in examine(project)]
    bad = [check for check in checks if check.status == BAD]
    warned = sum(check.status == WARN for check in checks)
    if as_json:
        show.write_json({"healthy": not bad, "checks": [check.to_dict() for check in checks]})
    else:
        table = show.table("", "What", "Found")
        for check in checks:
            hint = None if check.hint is None else f"→ {check.hint}"
            table.add_row(show.word(check.status), show.name(check.name), show.lines(*check.found.splitlines(), hint))
        show.out().print(table)
        if bad:
            show.say(f"{show.count(len(bad), 'check')} of {len(checks)} found something wrong.", "red")
        elif warned:
            show.say(f"Nothing is wrong, but {show.count(warned, 'check')} of {len(checks)} warned.", "yellow")
        else:
            show.say("Everything is as it should be.", "green")
    if bad:
        raise typer.Exit(ExitCode.BAD)
