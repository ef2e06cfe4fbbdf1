"""`rollback`, `pause`, `resume`: what a person changes of a team's tuning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AutotuneError
from . import rendering as show
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen
from .project import opened

if TYPE_CHECKING:
    from .._apply.optimizations import Optimization

_LATEST = -1


def rollback(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the changes that are in effect, the latest first, and change nothing.")
    ] = False,
    index: Annotated[
        int | None,
        typer.Option(
            "--index",
            metavar="N",
            help="Roll back the change with this number in --list (-1 is the latest), and those made after it.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Roll back every change: the team runs as configured again.")
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")
    ] = "Rolled back by hand.",
    as_json: Json = False,
) -> None:
    """Roll back a team's last change: end its running test, or undo what was applied last.

    With --index or --all a running test ends, too. A change that was written
    into a file is rolled back there.
    """
    from .._apply.application import take_back
    from .._apply.optimizations import recorded

    if sum((listed, index is not None, everything)) > 1:
        raise AutotuneError("--list, --index and --all exclude each other", hint="Give only one of them.")
    with opened(project, sends_notices=True) as session:
        state = session.team(chosen(name, team), workflow)
        store, key = session.store, state.key
        assert store is not None
        found = [one for one in recorded(store, *key) if one.in_effect]
        if listed:
            _list(found, as_json=as_json)
            return
        wanted = found if everything else _wanted(found, index)
        open_test = None if state.experiment_id is None else store.experiment(state.experiment_id)
        testing = open_test is not None and open_test.status != "probation"
        if not wanted or (testing and index is None and not everything):
            changes = [session.runtime.manual.roll_back(*key, reason)]
        else:
            noted = [one for one in reversed(wanted) if one.is_noted]
            changes = [take_back(session.runtime, one, reason) for one in noted]
            live = [one for one in wanted if not one.is_noted]
            changes += [take_back(session.runtime, live[0], reason)] if live else []
    if as_json:
        show.write_json({"change": changes[-1].to_dict(), "changes": [one.to_dict() for one in changes]})
        return
    aborted = changes[-1].action == "aborted"
    what = "The last change is rolled back" if len(wanted) == 1 else f"The last {len(wanted)} changes are rolled back"
    said = f"{state.team_id} ({state.workflow}): {'The open test is aborted' if aborted else what}."
    files = [] if aborted else [one.file["path"] for one in reversed(wanted) if one.file is not None]
    if len(files) < len(changes):
        said += f" The plan is now: {show.plan_text(changes[-1].plan_after)}."
    show.say(said)
    for path in dict.fromkeys(files):
        show.say(f"{path} is as it was before.")


def _wanted(found: Sequence[Optimization], index: int | None) -> Sequence[Optimization]:
    """Return the optimizations to roll back, oldest first.

    Args:
        found: Those in effect, oldest first.
        index: Which one, counted as by a Python list, as `rollback_optimization` counts; None for the latest.

    Raises:
        AutotuneError: If there is no such number, or 0.1 meant another change by it.
    """
    if not found:
        if index not in (None, 0, _LATEST):
            raise AutotuneError("no change is in effect", where="--index", hint="See what there is: --list")
        return found
    place = _LATEST if index is None else index
    which = f"Choose from -1 (the latest) to -{len(found)} (the oldest)" if len(found) > 1 else "There is only -1"
    if not -len(found) <= place < len(found):
        raise AutotuneError(f"there is no change {index}", where="--index", hint=f"{which}; see --list.")
    before = len(found) - 1 - place  # in 0.1, 0 was the latest
    if place >= 0 and before != place:
        meant, was = place - len(found), before - len(found)
        raise AutotuneError(
            f"{index} meant {was} in 0.1, and means {meant} now: numbers are those of the Python API",
            where="--index",
            hint=f"{which}; see --list.",
        )
    return found[place:]


def _list(found: Sequence[Optimization], *, as_json: bool) -> None:
    numbered = [(number - len(found), one) for number, one in enumerate(found)][::-1]
    if as_json:
        show.write_json({"changes": [{"index": number, **one.to_dict()} for number, one in numbered]})
    elif not found:
        show.say("No change is in effect: there is nothing to roll back.")
    else:
        table = show.table(">Index", "When", "Change", "Before")
        for number, one in numbered:
            # What is in effect while its test runs is on probation.
            how = {"skipped": "not tested", "running": "on probation"}.get(one.validation_status, one.validation_status)
            if one.improvement_percentage:
                how += f", {show.percent(one.improvement_percentage / 100)} better"
            table.add_row(
                str(number),
                show.text(show.when(one.at)),
                show.lines(
                    str(one.optimization.get("description") or one.reason),
                    how,
                    None if one.file is None else f"written into {one.file['path']}",
                ),
                show.text(_config_text(one.rollback_config)),
            )
        show.out().print(table)


def _config_text(config: Mapping[str, object]) -> str:
    """Return the knobs of a config in a line."""
    knobs = [(key, value) for key, value in config.items() if isinstance(value, str | int | float)]
    parts = [f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in knobs]
    return ", ".join(parts) or "as configured"


Everywhere = Annotated[
    bool, typer.Option("--all", help="All teams of the store, in every environment and process, within a second or so.")
]


def pause(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    everywhere: Everywhere = False,
    as_json: Json = False,
) -> None:
    """Pause the tuning of a team: it keeps its plan, and its runs take part in no test until it is resumed."""
    _set_paused(chosen(name, team), project, workflow, everywhere, paused=True, as_json=as_json)


def resume(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    everywhere: Everywhere = False,
    as_json: Json = False,
) -> None:
    """Resume the tuning of a team that was paused; an open test goes on where it was.

    With --all, end a pause of all teams; a team that was paused by its name stays so.
    """
    _set_paused(chosen(name, team), project, workflow, everywhere, paused=False, as_json=as_json)


def _set_paused(
    team_id: str | None, project: Path, workflow: str | None, everywhere: bool, *, paused: bool, as_json: bool
) -> None:
    if everywhere:
        if team_id is not None or workflow is not None:
            raise AutotuneError("--all and a team or workflow exclude each other", hint="Give only one of them.")
        _pause_all(project, paused=paused, as_json=as_json)
        return
    with opened(project, sends_notices=True) as session:
        before = session.team(team_id, workflow)
        after = session.runtime.manual.set_paused(*before.key, paused)
    if as_json:
        show.write_json({"changed": before.paused != paused, "team": after.to_dict()})
        return
    word = "paused" if paused else "resumed"
    if before.paused == paused:
        word = "paused already" if paused else "not paused, so nothing changed"
    show.say(f"{after.team_id} ({after.workflow}): {word}. The plan is: {show.plan_text(after.plan)}.")


def _pause_all(project: Path, *, paused: bool, as_json: bool) -> None:
    with opened(project, sends_notices=True) as session:
        changed = session.runtime.manual.pause_all(paused)
    if as_json:
        show.write_json({"changed": changed, "paused": paused})
    elif not changed:
        show.say(f"All tuning {'is paused already' if paused else 'is not paused, so nothing changed'}.")
    elif paused:
        show.say("All tuning is paused: every team keeps its plan, and no run takes part in a test.")
    else:
        show.say("All tuning goes on; teams that were paused by name stay so.")
