"""`rollback`: take back a change of a team's plan, or list what can be taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import AutotuneError
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from .._apply.history import Optimization


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
            min=0,
            help="Take back the change with this number in --list (0 is the latest), and those made after it.",
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Take back every change: the team runs as configured again.")
    ] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")
    ] = "Taken back by hand.",
    as_json: Json = False,
) -> None:
    """Take back a team's last change: its running test, or what was put in place last.

    With --index or --all a running test ends, too. A change that was written
    into a file is taken back there.
    """
    from .._apply.history import optimizations
    from .._apply.rollback import take_back
    from . import rendering as show
    from .session import opened

    if sum((listed, index is not None, everything)) > 1:
        raise AutotuneError("--list, --index and --all exclude each other", hint="Give only one of them.")
    with opened(project) as session:
        state = session.team(chosen(name, team), workflow)
        store, key = session.store, state.key
        history = [] if store is None else store.changes(*key)
        experiments = {} if store is None else {one.id: one for one in store.experiments(*key)}
        found = [one for one in optimizations(history, experiments, state.plan) if one.in_effect][::-1]
        if listed:
            _list(found, as_json=as_json)
            return
        wanted = _wanted(found, index, everything=everything)
        testing = state.experiment_id in {one.id for one in experiments.values() if one.status in ("draft", "running")}
        if not wanted or (testing and index is None and not everything):
            changes = [session.runtime.manual.roll_back(*key, reason)]
        else:
            noted = [one for one in wanted if one.is_noted]
            changes = [take_back(session.runtime, one, reason) for one in noted]
            live = [one for one in wanted if not one.is_noted]
            changes += [take_back(session.runtime, live[-1], reason)] if live else []
    if as_json:
        show.write_json({"change": changes[-1].to_dict(), "changes": [one.to_dict() for one in changes]})
        return
    if changes[-1].action == "aborted":
        what = "The running test is aborted"
    elif len(wanted) == 1:
        what = "The last change is taken back"
    else:
        what = f"The last {len(wanted)} changes are taken back"
    said = f"{state.team_id} ({state.workflow}): {what}."
    files = [one.file["path"] for one in wanted if one.file is not None and changes[-1].action != "aborted"]
    if len(files) < len(changes):
        said += f" The plan is now: {show.plan_text(changes[-1].plan_after)}."
    show.say(said)
    for path in dict.fromkeys(files):
        show.say(f"{path} is as it was before.")


def _wanted(found: Sequence[Optimization], index: int | None, *, everything: bool) -> Sequence[Optimization]:
    """Return the optimizations to take back, the latest first.

    Raises:
        AutotuneError: If there is no such number.
    """
    if everything or not found:
        if index is not None and index > 0:
            raise AutotuneError("no change is in effect", where="--index", hint="See what there is: --list")
        return found
    if index is not None and index >= len(found):
        which = f"Choose from 0 to {len(found) - 1}" if len(found) > 1 else "There is only 0"
        raise AutotuneError(f"there is no change {index}", where="--index", hint=f"{which}; see --list.")
    return found[: (index or 0) + 1]


def _list(found: Sequence[Optimization], *, as_json: bool) -> None:
    from . import rendering as show

    if as_json:
        show.write_json({"changes": [{"index": number, **one.to_dict()} for number, one in enumerate(found)]})
    elif not found:
        show.say("No change is in effect: there is nothing to take back.")
    else:
        show.out().print(_table(found))


def _table(found: Sequence[Optimization]) -> Table:
    from . import rendering as show

    table = show.table("Index", "When", "Change", "Before", right=("Index",))
    for number, one in enumerate(found):
        better = one.improvement_percentage
        how = "not tested" if one.validation_status == "skipped" else one.validation_status
        how += f", {better:.0f} % better" if better else ""
        where = None if one.file is None else f"written into {one.file['path']}"
        table.add_row(
            str(number),
            show.text(show.when(one.at)),
            show.lines(str(one.optimization.get("description") or one.reason), how, where),
            show.text(_config_text(one.rollback_config)),
        )
    return table


def _config_text(config: Mapping[str, object]) -> str:
    """Return the knobs of a config in a line."""
    knobs = [(key, value) for key, value in config.items() if isinstance(value, str | int | float)]
    parts = [f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in knobs]
    return ", ".join(parts) or "as configured"
