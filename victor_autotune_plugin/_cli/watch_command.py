"""`watch`: teams, their tests and runs in the terminal, live from the project's store."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from .console import is_terminal
from .options import HERE, Project, Team, TeamName, Workflow, chosen
from .project import opened
from .watch_lines import LineFollower

if TYPE_CHECKING:
    from .._page.board import Board
    from .._page.run_index import TeamKey

LINE_SECONDS: Final = 1.0
"""So often it looks where there is no terminal."""


def watch(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    once: Annotated[bool, typer.Option("--once", help="Print each team in a line, and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON Lines: an object for each team, and for each change.")
    ] = False,
) -> None:
    """Watch teams in the terminal, live, until you press q.

    Enter opens a team, and there a run; Esc goes back. It writes nothing.
    Where there is no terminal, it prints a line for each team, and another
    one whenever something changes, until Ctrl-C.
    """
    from .dashboard import board_of

    with opened(project) as session:
        team_id = chosen(name, team)
        first = None if team_id is None else session.team(team_id, workflow).key
        if workflow is not None:
            session.teams(workflow)  # which tells of a name that nothing has

        def of_workflow(key: TeamKey) -> bool:
            return workflow in (None, key[0])

        def of_first(key: TeamKey) -> bool:
            return key == first

        if once or as_json or not (is_terminal(sys.stdout) and is_terminal(sys.stdin)):
            wanted = of_workflow if first is None else of_first
            board = board_of(session, wanted)
            _follow(board, LineFollower(board, wanted, as_json=as_json), once=once)
            return
        from .watch_app import WatchApp

        app = WatchApp(board_of(session, of_workflow), first)
        app.run()
        if app.return_code:
            raise typer.Exit(app.return_code)


def _follow(board: Board, follower: LineFollower, *, once: bool) -> None:
    while True:
        for line in follower.look():
            typer.echo(line)
        sys.stdout.flush()
        if not once:
            time.sleep(LINE_SECONDS)
        elif board.is_whole:
            return
