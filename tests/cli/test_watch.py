"""`watch`: in a terminal by Textual's pilot, and the lines that it prints where there is none."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable

from victor_autotune_plugin._cli import watch_command
from victor_autotune_plugin._cli.project import opened
from victor_autotune_plugin._cli.watch_app import MembersScreen, OverviewScreen, StoryScreen, WatchApp
from victor_autotune_plugin._cli.watch_lines import LineFollower
from victor_autotune_plugin._cli.watch_text import sparkline, timeline
from victor_autotune_plugin._page.board import Board
from victor_autotune_plugin.errors import StoreUnavailableError
from victor_autotune_plugin.storage.run_listing import ListedRun
from victor_autotune_testing.imports import loaded_by, packages
from victor_autotune_testing.simulated import SPEC, Simulation

from .conftest import Said

MOST_LOOKS = 2_000
"""So often a test looks at the screen before it fails."""


@contextmanager
def board_of(folder: Path) -> Iterator[Board]:
    with opened(folder) as session:
        yield Board(session.runtime, session.store)


def watching(board: Board, **options: Any) -> WatchApp:
    return WatchApp(board, seconds=0.01, **options)


async def until(pilot: Pilot[None], true: Callable[[], bool]) -> None:
    for _ in range(MOST_LOOKS):
        if true():
            return
        await pilot.pause(0.01)
    raise AssertionError(f"the screen did not get there:\n{text_of(pilot)}")


def text_of(pilot: Pilot[None]) -> str:
    """All that the screen shows, as text."""
    size = pilot.app.size
    lines = pilot.app.screen._compositor.render_strips(size)
    return "\n".join(strip.text.rstrip() for strip in lines)


async def shows(pilot: Pilot[None], *texts: str) -> None:
    await until(pilot, lambda: all(text in text_of(pilot) for text in texts))


def table_of(pilot: Pilot[None]) -> DataTable[Any]:
    return pilot.app.screen.query_one(DataTable)


async def test_teams_lead_to_a_team_and_to_a_run_and_back(project: Callable[[str], None], tmp_path: Path) -> None:
    project("proven")
    with board_of(tmp_path) as board:
        app = watching(board)
        async with app.run_test(size=(100, 40)) as pilot:
            await shows(pilot, "1 team", "proven", "sure")
            assert isinstance(app.screen, OverviewScreen)
            await pilot.press("enter")
            await shows(
                pilot, f"{SPEC.workflow}/{SPEC.team_id}", "Live plan", "formation parallel", "promoted by itself"
            )
            assert isinstance(app.screen, StoryScreen)
            last = next(iter(board.store.runs(*SPEC.key, limit=1))) if board.store else None
            assert last is not None
            await shows(pilot, last.run_id[:8])
            await pilot.press("enter")
            await shows(pilot, last.run_id, "━", *SPEC.member_ids)
            assert isinstance(app.screen, MembersScreen)
            await pilot.press("escape")
            assert isinstance(app.screen, StoryScreen)
            await pilot.press("escape")
            assert isinstance(app.screen, OverviewScreen)


async def test_a_team_that_is_named_comes_first_and_its_runs_appear_by_themselves(
    simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    simulation = simulate()
    for _ in range(3):
        simulation.run()
    with board_of(tmp_path) as board:
        async with watching(board, team=SPEC.key).run_test(size=(100, 40)) as pilot:
            await shows(pilot, "3 runs")
            assert isinstance(pilot.app.screen, StoryScreen)
            await until(pilot, lambda: table_of(pilot).row_count == 3)
            await pilot.press("down")
            chosen = table_of(pilot).coordinate_to_cell_key(table_of(pilot).cursor_coordinate).row_key
            simulation.run()
            await shows(pilot, "4 runs")
            await until(pilot, lambda: table_of(pilot).row_count == 4)
            assert table_of(pilot).cursor_row == 2  # the same run, below a new one
            assert table_of(pilot).coordinate_to_cell_key(table_of(pilot).cursor_coordinate).row_key == chosen


async def test_it_says_how_far_it_is_while_the_runs_are_read(
    project: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project("proven")
    goes_on = threading.Event()
    with board_of(tmp_path) as board:
        assert board.store is not None
        read, runs = board.store.listed_runs, board.store.pulse().runs

        def slowly(*since: float) -> Iterator[ListedRun]:
            for number, one in enumerate(read(*since)):
                if number == 10:
                    goes_on.wait(60)
                yield one

        monkeypatch.setattr(board.store, "listed_runs", slowly)
        async with watching(board).run_test(size=(100, 24)) as pilot:
            await shows(pilot, f"Reading the store: 10 of {runs} runs")
            goes_on.set()
            await shows(pilot, "1 team", "proven")


async def test_a_narrow_screen_has_the_columns_that_it_has_room_for(
    project: Callable[[str], None], tmp_path: Path
) -> None:
    project("proven")
    with board_of(tmp_path) as board:
        async with watching(board).run_test(size=(120, 24)) as pilot:
            await shows(pilot, "Trend", "Median", "proven")
            await pilot.resize_terminal(64, 24)
            await until(pilot, lambda: "Trend" not in text_of(pilot))
            await shows(pilot, "Median", "proven")
            assert table_of(pilot).max_scroll_x == 0


async def test_the_first_run_of_a_project_appears(simulate: Callable[..., Simulation], tmp_path: Path) -> None:
    with board_of(tmp_path) as board:
        async with watching(board).run_test(size=(100, 24)) as pilot:
            await shows(pilot, "Nothing was recorded here yet")
            simulate().run()
            await shows(pilot, "1 team", SPEC.team_id)
            assert "Nothing was recorded" not in text_of(pilot)
            await pilot.press("enter")
            await shows(pilot, "Live plan")
        if board.store is not None:
            board.store.close()


@pytest.mark.parametrize(("key", "code"), [("q", 0), ("ctrl+c", 130)])
async def test_it_ends_with_the_code_of_its_key(
    project: Callable[[str], None], tmp_path: Path, key: str, code: int
) -> None:
    project("testing")
    with board_of(tmp_path) as board:
        app = watching(board)
        async with app.run_test(size=(100, 24)) as pilot:
            await shows(pilot, SPEC.team_id)
            await pilot.press(key)
    assert app.return_code == code


async def test_what_awaits_a_person_stands_above_with_the_command_that_answers(
    simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    simulation = simulate(mode="approve")
    simulation.run_until("awaits_approval")
    with board_of(tmp_path) as board:
        async with watching(board).run_test(size=(80, 24)) as pilot:
            await shows(pilot, f"{SPEC.team_id} asks you:", f"victor autotune approve {SPEC.team_id}")
            await shows(pilot, "awaits approval", "asks you: start")


async def test_a_store_that_fails_is_told_and_looked_at_again(
    project: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project("testing")
    with board_of(tmp_path) as board:
        async with watching(board).run_test(size=(100, 24)) as pilot:
            await shows(pilot, SPEC.team_id)

            def fails(_seconds: float = 0.0) -> bool:
                raise StoreUnavailableError("the disk is gone")

            whole = board.refresh
            monkeypatch.setattr(board, "refresh", fails)
            await shows(pilot, "the disk is gone", SPEC.team_id)
            monkeypatch.setattr(board, "refresh", whole)
            await until(pilot, lambda: "the disk is gone" not in text_of(pilot))


@pytest.mark.parametrize("no_color", [True, False])
async def test_without_colours_the_screen_is_grey(
    project: Callable[[str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_color: bool
) -> None:
    project("proven")
    monkeypatch.setenv("NO_COLOR", "1") if no_color else monkeypatch.delenv("NO_COLOR", raising=False)
    with board_of(tmp_path) as board:
        async with watching(board).run_test(size=(100, 24)) as pilot:
            await shows(pilot, "proven")
            picture = pilot.app.export_screenshot()
    colours = re.findall(r"\.terminal-[\w-]+-r\d+ \{ fill: #(\w{6})", picture)
    parts = [[int(part, 16) for part in re.findall("..", colour)] for colour in colours]
    assert parts
    assert any(max(one) - min(one) > 8 for one in parts) != no_color


async def test_names_that_steer_a_terminal_are_shown_as_escapes(
    simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    simulate(team="x\x1b[2Jy", workflow="[red]flow").run()
    with board_of(tmp_path) as board:
        async with watching(board).run_test(size=(100, 24)) as pilot:
            await shows(pilot, r"x\x1b[2Jy", "[red]flow")
            await pilot.press("enter")
            await shows(pilot, r"[red]flow/x\x1b[2Jy", "Live plan")


def test_where_there_is_no_terminal_each_team_is_a_line(
    project: Callable[[str], None], call: Callable[..., Said]
) -> None:
    project("proven")
    said = call("watch", "--once")
    (line,) = said.out.splitlines()
    assert re.fullmatch(
        rf"{SPEC.workflow}/{SPEC.team_id}: proven, [\d.]+ s → [\d.]+ s, >99 % sure, \d+ runs, median [\d.]+ s", line
    )
    assert call("watch", SPEC.team_id, "--once").out == said.out


def test_lines_as_json_hold_what_the_screen_shows(project: Callable[[str], None], call: Callable[..., Said]) -> None:
    project("testing")
    (line,) = call("watch", "--once", "--json").out.splitlines()
    team = json.loads(line)["team"]
    assert (team["workflow"], team["team"], team["state"]["name"]) == (*SPEC.key, "canary")


def test_changes_are_told_when_they_come_and_only_of_teams_that_are_shown(
    simulate: Callable[..., Simulation], tmp_path: Path
) -> None:
    simulation, other = simulate(), simulate("other")
    other.run()
    simulation.run()
    with board_of(tmp_path) as board:
        board = Board(board.runtime, board.store, wanted=lambda key: key == SPEC.key)
        follower = LineFollower(board, lambda key: key == SPEC.key)
        assert [line.partition(",")[0] for line in follower.look()] == [f"{SPEC.workflow}/{SPEC.team_id}: no open test"]
        assert list(follower.look()) == []
        simulation.run_until("started")
        other.run()
        change, team = follower.look()
        assert change.startswith(f"{SPEC.workflow}/{SPEC.team_id}: started by itself, ")
        assert team.startswith(f"{SPEC.workflow}/{SPEC.team_id}: ")
        assert list(follower.look()) == []


def test_it_goes_on_until_it_is_interrupted(
    project: Callable[[str], None], call: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    project("testing")
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watch_command.time, "sleep", sleep)
    said = call("watch")
    assert said.code == 130
    assert len(said.out.splitlines()) == 1
    assert looks == [watch_command.LINE_SECONDS] * 3


def test_a_team_that_is_not_there_is_wrong_usage(project: Callable[[str], None], call: Callable[..., Said]) -> None:
    project("testing")
    said = call("watch", "teem")
    assert said.code == 2
    assert "no team 'teem' was recorded" in said.err
    assert call("watch", "--workflow", "flaw").code == 2


def test_lines_need_no_textual() -> None:
    code = "from victor_autotune_plugin._cli import watch_command, watch_lines"
    assert "textual" not in packages(loaded_by(code))


def test_bars_start_at_nothing_and_the_largest_is_whole() -> None:
    assert sparkline([0.0, 4.0, None, 8.0]).plain == "▁▅█"
    assert sparkline([]).plain == ""


def test_a_member_stands_where_it_began_on_the_time_axis() -> None:
    member = {"success": True, "finished": True, "error_class": None, "llm_calls": 1, "tool_calls": 0}
    view = {
        "seconds": 10.0,
        "members": [
            {**member, "id": "first", "begin": 0.0, "seconds": 5.0},
            {**member, "id": "second", "begin": 5.0, "seconds": 5.0, "success": False, "error_class": "TimeoutError"},
            {**member, "id": "never", "begin": None, "seconds": None, "success": False, "finished": False},
        ],
    }
    bars = {name: bar.plain for name, bar in timeline(view, 10)}
    assert bars["first"] == "━━━━━      5.00 s, 1 model call, 0 tool calls"
    assert bars["second"] == "     ━━━━━ 5.00 s, 1 model call, 0 tool calls, TimeoutError"
    assert bars["never"].endswith("did not finish")
