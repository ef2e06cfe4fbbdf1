"""`watch` in a terminal: teams, a team, and a run, which stay up to date. Textual comes with Victor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, cast

from rich.console import Group, RenderableType
from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Static

from .._page.run_series import RunFilter
from ..errors import AutotuneError
from . import rendering as show
from . import watch_text as words
from .command import ExitCode

if TYPE_CHECKING:
    from .._page.board import Board
    from .._page.run_index import TeamKey

LOOK_SECONDS: Final = 0.5
"""So often it looks whether something was written."""

_BUDGET_SECONDS: Final = 0.2
"""So long it makes rows before it shows those that are ready."""

_FIRST_ROWS: Final = 100
"""Teams that are shown as long as the rows of others are made."""

_LISTED_RUNS: Final = 50
_NO_RUNS: Final = RunFilter(since=math.inf)  # the page draws them, this screen lists the last ones
_TIMELINE: Final = 40


def _back(where: str) -> Binding:
    return Binding("escape,backspace,left", "app.pop_screen", where, key_display="Esc")


class OpeningTable(DataTable[Text]):
    """A table whose rows are opened with Enter, as the footer says."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "select_cursor", "Open")]

    def __init__(self, name: str, columns: Sequence[str], row_height: int = 1, less_needed: Sequence[str] = ()) -> None:
        super().__init__(id=name, cursor_type="row", zebra_stripes=True)
        self._less_needed = less_needed
        self._columns = 0  # that the screen had before
        self._headings = columns
        self._row_height = row_height
        self._shown: Sequence[tuple[str, tuple[Text, ...]]] = ()

    def on_mount(self) -> None:
        """Take the keys."""
        self.focus()

    def on_resize(self) -> None:
        """Show as many columns as there is room for."""
        if self._shown:
            self.fill(self._shown)

    def fill(self, rows: Sequence[tuple[str, tuple[Text, ...]]]) -> None:
        """Show rows, each a key and its cells. The cursor stays on its row, wherever that is now."""
        if rows == self._shown and self.size.width == self._columns:
            return
        self._columns = self.size.width
        offset, at = self.scroll_offset, self.cursor_row
        chosen = self._shown[at][0] if 0 < at < len(self._shown) else None
        # Made again with its widths, since a column does not always grow with a cell of two lines.
        self.clear(columns=True)
        widths = [
            max((len(heading), *(line.cell_len for _, cells in rows for line in cells[number].split())))
            for number, heading in enumerate(self._headings)
        ]
        room, fits = self.size.width - sum(width + 2 * self.cell_padding for width in widths), len(widths)
        while room < 0 and self._headings[fits - 1] in self._less_needed:
            fits -= 1
            room += widths[fits] + 2 * self.cell_padding
        for heading, width in zip(self._headings[:fits], widths, strict=False):
            self.add_column(heading, width=width)
        for key, cells in rows:
            self.add_row(*cells[:fits], key=key, height=self._row_height)
        self._shown = rows
        keys = [key for key, _ in rows]
        if chosen in keys:
            self.move_cursor(row=keys.index(chosen), animate=False, scroll=False)
        self.scroll_to(offset.x, offset.y, animate=False)


class WatchedScreen(Screen[None]):
    """One of the screens. It is read on another thread, and shown on the app's."""

    def read(self, board: Board) -> Any:
        """Return what it shows."""
        raise NotImplementedError

    def tell(self, data: Any) -> None:
        """Show what was read."""
        raise NotImplementedError

    def on_screen_resume(self) -> None:
        """Show what was written while another screen was above."""
        cast("WatchApp", self.app).look(again=True)


class OverviewScreen(WatchedScreen):
    """All teams: what awaits a person first."""

    def compose(self) -> ComposeResult:
        """Lay it out."""
        yield Static(id="heading", markup=False)
        yield Static(id="asking", markup=False)
        yield OpeningTable("teams", words.TEAM_COLUMNS, row_height=2, less_needed=words.LESS_NEEDED)
        yield Static(id="trouble", markup=False)
        yield Footer(show_command_palette=False)

    def read(self, board: Board) -> Any:
        """Return the rows of all teams."""
        return board.overview()

    def tell(self, data: Any) -> None:
        """Show the rows, and leave the cursor on the team that it is on."""
        teams = show.count(data["total"], "team")
        paused = "  all tuning is paused" if data["paused"] else ""
        heading = f"{data['project']}  {teams}, {show.count(data['runs'], 'run')}{paused}"
        self.query_one("#heading", Static).update(Text(show.clean(heading), "bold"))
        _fill(self, "#asking", words.asking(data["teams"]))
        shown = data["teams"] if data["whole"] else data["teams"][:_FIRST_ROWS]
        rows = [(f"{row['workflow']}\n{row['team']}", words.team_cells(row)) for row in shown]
        self.query_one(OpeningTable).fill(rows)
        if not rows and data["whole"]:
            _fill(self, "#asking", Text(show.NOTHING_YET))

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open a team."""
        workflow, _, team = str(event.row_key.value).partition("\n")
        self.app.push_screen(StoryScreen((workflow, team)))


class StoryScreen(WatchedScreen):
    """One team with its last runs.

    Args:
        key: Workflow and team id.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace,left", "app.pop_screen", "Teams", key_display="Esc")
    ]

    def __init__(self, key: TeamKey) -> None:
        super().__init__()
        self.key = key

    def compose(self) -> ComposeResult:
        """Lay it out."""
        yield Static(id="heading", markup=False)
        yield Static(id="asking", markup=False)
        with VerticalScroll(id="facts"):
            yield Static(id="known", markup=False)
        yield OpeningTable("runs", words.RUN_COLUMNS)
        yield Static(id="trouble", markup=False)
        yield Footer(show_command_palette=False)

    def read(self, board: Board) -> Any:
        """Return what is known of the team, and its last runs."""
        assert board.store is not None
        return board.team(*self.key, _NO_RUNS), list(board.store.runs(*self.key, limit=_LISTED_RUNS))

    def tell(self, data: Any) -> None:
        """Show the team; the cursor stays on its run."""
        team, runs = data
        row = team["row"]
        heading = Text(words.team_name(row), "bold").append(f"  {show.count(row['runs'], 'run')}, ", "none")
        heading.append(f"median {show.seconds(row['median'])} ", "none").append_text(words.sparkline(row["spark"]))
        self.query_one("#heading", Static).update(heading)
        _fill(self, "#asking", words.asking([row]))
        self.query_one("#known", Static).update(show.pairs(words.team_facts_rows(team)))
        self.query_one(OpeningTable).fill([(run.run_id, words.run_cells(run)) for run in runs])

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Open a run."""
        self.app.push_screen(MembersScreen(str(event.row_key.value)))


class MembersScreen(WatchedScreen):
    """One run with its members on a time axis.

    Args:
        run_id: The run.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,backspace,left", "app.pop_screen", "Team", key_display="Esc")
    ]

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id

    def compose(self) -> ComposeResult:
        """Lay it out."""
        yield Static(id="heading", markup=False)
        with VerticalScroll(id="run"):
            yield Static(id="known", markup=False)
        yield Static(id="trouble", markup=False)
        yield Footer(show_command_palette=False)

    def read(self, board: Board) -> Any:
        """Return the run."""
        return board.run(self.run_id)

    def tell(self, data: Any) -> None:
        """Show the run."""
        name = show.clean(f"{data['workflow']}/{data['team']}  run {data['id']}")
        self.query_one("#heading", Static).update(Text(name, "bold"))
        shown: list[RenderableType] = [show.pairs(words.run_facts_rows(data))]
        if data["members"]:
            columns = max(10, min(_TIMELINE, self.size.width - 50))
            shown += [Text(), show.pairs(words.timeline(data, columns))]
            if not data["measured"]:
                shown.append(Text("Begins follow from the formation: this run was recorded before 0.2.", "dim"))
        self.query_one("#known", Static).update(Group(*shown))


class WatchApp(App[None]):
    """The app.

    Args:
        board: What it shows. It is read on threads of the app.
        team: The team that is shown first; None for all.
        seconds: How often it looks whether something was written.
    """

    CSS = """
    #heading, #asking, #trouble { height: auto; padding: 0 1; }
    #asking, #trouble { max-height: 12; }
    #trouble { color: $error; }
    .empty { display: none; }
    #facts { height: auto; max-height: 50vh; padding: 0 1; }
    #run { height: 1fr; padding: 0 1; }
    DataTable { height: 1fr; }
    """
    TITLE = "victor autotune watch"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", show=False, priority=True),
    ]
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, board: Board, team: TeamKey | None = None, seconds: float = LOOK_SECONDS) -> None:
        super().__init__()
        self._board = board
        self._first = team
        self._seconds = seconds
        self._looking = False
        self._again = False

    def on_mount(self) -> None:
        """Open the first screen, and begin to look."""
        self.theme = "textual-dark"
        self.push_screen(OverviewScreen())
        if self._first is not None:
            self.push_screen(StoryScreen(self._first))
        self.set_interval(self._seconds, self.look)

    def action_interrupt(self) -> None:
        """End as Ctrl-C ends every command."""
        self.exit(return_code=ExitCode.INTERRUPTED)

    def look(self, *, again: bool = False) -> None:
        """Look whether something was written, on another thread, unless one does so already.

        Args:
            again: Whether the screen is shown again also when nothing was.
        """
        self._again = self._again or again
        loading = self._board.loading
        if loading is not None and self._looking and self.screen_stack:
            told = f"Reading the store: {loading[0]:,} of {show.count(loading[1], 'run')} …"
            for place in self.screen_stack[-1].query("#heading").results(Static):
                place.update(Text(told, "dim"))
        top = self.screen_stack[-1] if self.screen_stack else None  # none once the app ends
        if not self._looking and isinstance(top, WatchedScreen):
            self._looking, again, self._again = True, self._again, False
            self._read(top, again=again)

    @work(thread=True, exit_on_error=False)
    def _read(self, screen: WatchedScreen, *, again: bool) -> None:
        trouble, data = "", None
        try:
            changed = self._board.refresh(_BUDGET_SECONDS)
            if changed or again or screen.has_class("late"):
                data = screen.read(self._board)
        except AutotuneError as error:
            trouble = f"{error} Looking again."
        except Exception as error:  # what is shown is old then, and the screen says so
            trouble = f"{type(error).__name__}: {error}. Looking again."
        self.call_from_thread(self._told, screen, data, trouble)

    def _told(self, screen: WatchedScreen, data: Any, trouble: str) -> None:
        self._looking = False
        if not screen.is_attached:
            return
        _fill(screen, "#trouble", Text(show.clean(trouble)))
        screen.set_class(bool(trouble), "late")
        if data is not None:
            screen.tell(data)
        if self._again or not (trouble or self._board.is_whole):
            self.look()


def _fill(screen: WatchedScreen, place: str, text: Text) -> None:
    """Show a text; without one its place takes no room."""
    text.rstrip()
    widget = screen.query_one(place, Static)
    widget.update(text)
    widget.set_class(not text, "empty")
