"""`dashboard`: the page in a browser, live from the project's store."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING, Annotated

import typer

from . import rendering as show
from .options import HERE, Json, Project, same_place
from .project import opened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._model.experiment import TeamState
    from .._model.run import TeamRun
    from .._page.board import Board
    from .._page.outcome import PlanOutcome
    from .._settings import Settings
    from .._tuning.standing import Standing
    from ..storage import Store
    from ..storage.run_listing import ListedRun
    from .project import OpenProject


def dashboard(
    project: Project = HERE,
    port: Annotated[
        int,
        typer.Option("--port", metavar="N", min=0, max=65535, help="Port on this machine.", show_default="a free one"),
    ] = 0,
    allow_actions: Annotated[
        bool, typer.Option("--allow-actions", help="Let the page approve, reject, pause, resume and roll back.")
    ] = False,
    open_browser: Annotated[bool, typer.Option("--open", help="Open the page in your browser.")] = False,
    as_json: Json = False,
) -> None:
    """Show teams, tests and runs in a browser, live, until you press Ctrl-C.

    It listens on this machine alone, and the address that it prints holds a
    random token: anyone who has it can look. It writes nothing, unless you allow
    actions. For a page to keep or to send, see `report`.
    """
    with opened(project) as session:
        board = board_of(session)
        board.check()
        title = f"Autotune of {project.absolute().name}"
        asyncio.run(_serve(board, title, port, may_act=allow_actions, opens=open_browser, as_json=as_json))


def board_of(
    session: OpenProject,
    wanted: Callable[[tuple[str, str]], bool] = lambda _: True,
    clock: Callable[[], float] = time.time,
) -> Board:
    """Return what the page shows of a project, in the words of the other screens.

    Args:
        wanted: Whether a team is shown, by workflow and team id.
        clock: Unix time, seconds.
    """
    from .._page.board import Board
    from .awaiting import waiting
    from .modes import Modes
    from .quality_facts import quality_of

    modes = Modes(session.runtime.resolver, session.runtime.project)

    def mode_of(key: tuple[str, str], last: TeamRun | None) -> tuple[str, str | None]:
        found = modes.of(key, last)
        return found.next, found.sentence

    def waits(one: Standing, started: Sequence[float], outcome: PlanOutcome | None) -> tuple[str, str] | None:
        found = waiting(one, started, outcome)
        return None if found is None else (found.begun, found.cost)

    def quality(store: Store, state: TeamState, settings: Settings, runs: Sequence[ListedRun]) -> Sequence[str]:
        live = None if state.live_id is None else store.experiment(state.live_id)
        return quality_of(store, state, settings, runs, state.plan, None if live is None else live.control).sentences()

    return Board(
        session.runtime,
        session.store,
        options=same_place(),
        wanted=wanted,
        mode_of=mode_of,
        waits=waits,
        quality=quality,
        clock=clock,
    )


async def _serve(board: Board, title: str, port: int, *, may_act: bool, opens: bool, as_json: bool) -> None:
    from .._page.server import PageServer

    stop = asyncio.Event()
    for one in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # on Windows, where Ctrl-C interrupts
            asyncio.get_running_loop().add_signal_handler(one, stop.set)
    async with PageServer(board, may_act=may_act, title=title).serving(port) as server:
        if as_json:
            show.write_json({"url": server.url, "port": server.port, "actions": may_act})
        else:
            show.say(server.url)
            allowed = "You can act on the page." if may_act else "The page only shows; --allow-actions lets you act."
            show.note(f"{allowed} Stop with Ctrl-C.")
        if opens:
            import webbrowser

            await asyncio.to_thread(webbrowser.open, server.url)
        await stop.wait()
