"""Numbers and times in words, and names that can't do harm."""

from __future__ import annotations

import io
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding

from victor_autotune_plugin._cli import progress
from victor_autotune_plugin._cli import rendering as show
from victor_autotune_plugin.errors import AutotuneError


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.00 s"),
        (0.354, "0.35 s"),
        (9.996, "10.0 s"),
        (12.34, "12.3 s"),
        (99.96, "1 min 40 s"),
        (125, "2 min 05 s"),
        (3725, "1 h 02 min"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_durations(value: float | None, shown: str) -> None:
    assert show.seconds(value) == shown


def test_shares_and_counts() -> None:
    assert show.percent(0.254) == "25 %"
    assert show.percent(0.054) == "5.4 %"
    assert show.percent(None) == show.DASH
    assert show.count(1, "run") == "1 run"
    assert show.count(2, "run") == "2 runs"


@given(st.text(st.characters(codec=None)))
def test_no_text_can_steer_the_terminal(text: str) -> None:
    shown = show.clean(text)
    assert "\n" not in shown
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 or 0xD800 <= ord(char) < 0xE000 for char in shown)
    shown.encode()


def test_line_breaks_stay_where_they_are_wanted() -> None:
    assert show.clean("a\n\x1b[31mb", keep_lines=True) == "a\n\\x1b[31mb"


def test_markup_in_a_cell_is_shown_as_it_is() -> None:
    table = show.table("Name")
    table.add_row(show.name("[red]x[/red] :smile:"))
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    console.print(table)
    assert "[red]x[/red] :smile:" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_name_is_cut_when_it_is_too_long() -> None:
    assert len(show.name("x" * 500)) == 60


def test_json_is_ascii_and_has_no_numbers_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    show.write_json({"é\x1b": [float("nan"), float("inf"), 1.5, (1, None)]})
    out = capsys.readouterr().out
    assert out.isascii()
    assert json.loads(out) == {"é\x1b": [None, None, 1.5, [1, None]]}


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_says_what_where_and_how_to_mend_it(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    error = AutotuneError("is wrong\x1b[2J", where="a.yaml:3", hint="Write it right.")
    show.write_error(error, as_json=as_json)
    out, err = capsys.readouterr()
    if as_json:
        assert json.loads(out)["error"] == {
            "message": "is wrong\x1b[2J",
            "where": "a.yaml:3",
            "hint": "Write it right.",
            "mend": "Write it right.",  # its name in 0.1
        }
        assert err == ""
    else:
        assert err == "error: a.yaml:3: is wrong\\x1b[2J\n  Write it right.\n"
        assert out == ""


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "no_color", "coloured"), [(_Terminal, None, True), (_Terminal, "1", False), (io.StringIO, None, False)]
)
def test_colours_only_on_a_terminal_that_wants_them(
    stream: type[io.StringIO], no_color: str | None, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    out = stream()
    monkeypatch.setattr(sys, "stdout", out)
    show.out().print(show.word("failed"))
    assert ("\x1b[31m" in out.getvalue()) is coloured


def test_a_sentence_is_one_line_for_programs_and_broken_for_eyes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    for stream, lines in ((io.StringIO(), 1), (_Terminal(), 3)):
        monkeypatch.setattr(sys, "stdout", stream)
        show.say("word " * 40)
        assert stream.getvalue().count("\n") == lines


def test_a_narrow_screen_breaks_no_word_of_a_heading() -> None:
    table = show.table("Guardrail", "Worse by", "Tolerated")
    table.add_row("success share of all the runs", "+10 points in the mean", "+10 points")
    console = Console(file=io.StringIO(), width=40)
    console.print(table)
    assert {"Guardrail", "Worse", "by", "Tolerated"} <= set(console.file.getvalue().split())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("shown", "width", "lines"),
    [
        ("saved 1 h 02 min in all", 14, ["saved", "1 h 02 min in", "all"]),
        ("from −5.2 % to +12 % more", 11, ["from −5.2 %", "to +12 %", "more"]),
        ("proven 72 + 78", 11, ["proven", "72 + 78"]),
        ("ends in ≤ 30 runs", 9, ["ends in", "≤ 30 runs"]),
        ("pull-request-review", 14, ["pull-request-", "review"]),
        ("a pull-request-review/team_of_reviewers", 14, ["a", "pull-request-", "review/team_", "of_reviewers"]),
        ("abcdefghijklmnop", 10, ["abcdefghij", "klmnop"]),
    ],
)
def test_no_number_is_broken_from_its_unit_and_names_break_at_hyphens(shown: str, width: int, lines: list[str]) -> None:
    console = Console(file=io.StringIO(), width=width)
    console.print(Padding(show.lines(show.text(shown))))
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == lines  # type: ignore[attr-defined]


@given(
    st.lists(st.text("ab5 s%±中-", min_size=1, max_size=12).filter(str.strip), min_size=1, max_size=4),
    st.sampled_from([0, 1, 100]),
)
def test_a_text_whose_lines_fit_keeps_them(lines: list[str], more: int) -> None:
    lines = [line.strip() for line in lines]
    shown = show.text("x").append("\n" + "\n".join(lines), style="dim")
    console = Console(file=io.StringIO(), force_terminal=True)
    found = shown.wrap(console, max(map(cell_len, lines)) + more)
    assert [line.plain.rstrip() for line in found] == ["x", *lines]


def test_names_of_teams_stay_whole_in_a_table() -> None:
    table = show.table("Team", "Why")
    table.add_row(show.lines(show.name("pull-request-review"), show.name("reviewers")), "a long reason " * 9)
    console = Console(file=io.StringIO(), width=40)
    console.print(table)
    assert "pull-request-review " in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("chance", "shown"), [(1.0, ">99 %"), (0.93, "93 %"), (0.0, "<1 %"), (None, "–")])
def test_nothing_is_certain(chance: float | None, shown: str) -> None:
    assert show.likely(chance) == shown


def test_a_note_comes_after_what_was_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    place = io.BytesIO()
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, io.TextIOWrapper(place, encoding="utf-8", write_through=stream == "stderr"))
    show.say("first")
    show.note("second")
    assert place.getvalue() == b"first\nnote: second\n"


def test_an_object_written_part_by_part_is_the_same_text() -> None:
    rows = [{"name": "line\nbreak \u2028", "deep": {"values": [1, float("nan"), []]}}, {}, []]
    whole = {"header": {"a": [1, {"b": 2}]}, "rows": rows, "none": [], "last": None}
    written = io.StringIO()
    show.write_parts({**whole, "rows": iter(rows), "none": iter(())}, written)
    assert written.getvalue() == show.json_text(whole)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_bar_shows_how_many_of_many_things_are_done(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    console = Console(file=io.StringIO(), force_terminal=is_terminal, width=80, _environ={"TERM": "xterm"})
    monkeypatch.setattr(show, "err", lambda: console)
    assert list(progress.counted(iter(range(6_000)), "export", 6_000)) == [*range(6_000)]
    said = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("export" in said) is is_terminal
