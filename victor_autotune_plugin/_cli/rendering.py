"""Where results go: consoles, tables, sentences, JSON and files.

A name of a workflow, team or member may hold anything, so its control characters are shown as escapes, and nothing is
read as markup.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TextIO

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console
from rich.containers import Lines
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .._model.text import DASH as DASH
from .._model.text import TITLES as TITLES
from .._model.text import action_text as action_text
from .._model.text import change as change
from .._model.text import clean as clean
from .._model.text import count as count
from .._model.text import interval as interval
from .._model.text import likely as likely
from .._model.text import listed as listed
from .._model.text import number as number
from .._model.text import percent as percent
from .._model.text import plan_text as plan_text
from .._model.text import points as points
from .._model.text import rounded as rounded
from .._model.text import seconds as seconds
from .._model.text import signed as signed
from .._model.text import signed_seconds as signed_seconds
from .._model.text import state_text as state_text
from .._model.text import usd as usd
from .._model.text import when as when
from .._model.text import who as who
from ..errors import AutotuneError
from .console import is_terminal

if TYPE_CHECKING:
    from .._model.experiment import Change

STYLES: Final[Mapping[str, str]] = {
    "ok": "green",
    "passed": "green",
    "promoted": "green",
    "proven": "green",
    "confirmed": "green",
    "merged": "green",
    "settled": "green",
    "bad": "red",
    "failed": "red",
    "harmed": "red",
    "rolled_back": "red",
    "warn": "yellow",
    "inconclusive": "yellow",
    "aborted": "yellow",
    "unclear": "yellow",
    "paused": "yellow",
    "running": "cyan",
    "canary": "cyan",
    "testing": "cyan",
    "probation": "cyan",
    "reverifying": "yellow",
    "awaits_approval": "bold yellow",
    "awaits_promotion": "bold yellow",
    "rejected": "yellow",
    "open": "yellow",
}
"""Colours of words; others have none."""

NOTHING_YET: Final = "Nothing was recorded here yet. Run a workflow: victor autotune run WORKFLOW.yaml"

_LONGEST_NAME: Final = 60
_WHOLE: Final = 34
"""Characters up to which the name of a setting is not broken; with its workflow and team it may be of any length."""

_WHOLE_TEAM: Final = 22
"""Characters up to which the name of a team or workflow is not broken."""

_UNBROKEN: Final = 100_000
"""Columns of what is no terminal, unless `COLUMNS` says otherwise: lines are broken for eyes only."""

_FILLING: Final = re.compile(r"[ \t]+(?=\n)")
_SETTING: Final = re.compile(r"(?<![\w./])[a-z_]+(?:\.[a-z_]+)+(?![\w./:])")
"""The name of a setting, and not of a file."""


_GLUED: Final = re.compile(
    r"(?<=\d) (?=(?:%|USD|h|min|ms|s|points?)(?!\w))|(?<=[≤~]) (?=\d)"
    r"|(?<=\d) (?=\+ \d)|(?<=\d \+) (?=\d)|(?<=\d h) (?=\d\d min)|(?<=\d min) (?=\d\d s)"
)
"""The space between a number and its unit or sign, and within a duration."""

_GLUE: Final = "\ue000"
"""Stands for such a space while lines are broken; as wide as one, and never shown."""

_PIECE: Final = re.compile(r"[-_./:+](?=\w)")
"""Ends a piece of a long name, behind which it is broken."""


class UnbrokenText(Text):
    """A text whose lines break between words: never between a number and its unit, and in a long name at a hyphen."""

    def wrap(self, console: Console, width: int, **options: Any) -> Lines:
        """Return the lines of a text, as `Text` does."""
        if options.get("no_wrap") or options.get("overflow") == "ignore":
            return super().wrap(console, width, **options)
        if all(cell_len(line) <= width for line in self.plain.split("\n")) and "\t" not in self.plain:
            return super().wrap(console, width, **options)  # nothing is broken
        whole = self.copy()
        whole.plain = _GLUED.sub(_GLUE, self.plain)
        pieces = Text("\n").join(whole.divide(_breaks(whole.plain, width)))
        lines = pieces.wrap(console, width, **options)
        for line in lines:
            line.plain = line.plain.replace(_GLUE, " ")
        return lines


def _breaks(shown: str, width: int) -> list[int]:
    """Return where words that are longer than a line are broken between their pieces."""
    found = []
    for word in re.finditer(r"\S+", shown):
        begin = word.start()
        while word.end() - begin > width:
            ends = [one.end() for one in _PIECE.finditer(shown, begin, word.end()) if one.end() - begin <= width]
            if not ends:
                break
            begin = ends[-1]
            found.append(begin)
    return found


class _PipeConsole(Console):
    """Prints for programs and files: lines as long as they are, without the space that fills a table's last column."""

    def print(self, *objects: Any, **options: Any) -> None:
        """Print objects as `Console` does."""
        with self.capture() as captured:
            super().print(*objects, **options)
        self.file.write(_FILLING.sub("", captured.get()))


def out() -> Console:
    """Return the console of results, stdout. Colours on a terminal or with `FORCE_COLOR`, never with `NO_COLOR`."""
    return _console(sys.stdout, coloured=bool(os.environ.get("FORCE_COLOR")))


def err() -> Console:
    """Return the console of progress, notes and errors, stderr. Colours only on a terminal, never with `NO_COLOR`."""
    return _console(sys.stderr)


def _console(stream: TextIO, *, coloured: bool = False) -> Console:
    """Return a console; `FORCE_COLOR` and its like make no terminal of a pipe, as rich would have it.

    Args:
        coloured: Whether there are colours also where there is no terminal.
    """
    options: dict[str, Any] = {"file": stream, "markup": False, "emoji": False, "highlight": False}
    if is_terminal(stream):
        return Console(**options, force_terminal=True)
    width = None if os.environ.get("COLUMNS", "").isdigit() else _UNBROKEN
    colours: Literal["standard"] | None = "standard" if coloured else None
    return _PipeConsole(**options, force_terminal=False, width=width, color_system=colours)


def text(value: object, style: str = "") -> Text:
    """Return a cell: cleaned, and never read as markup."""
    return UnbrokenText(clean(value), style=style)


def name(value: object) -> Text:
    """Return a name for a cell, cut when it is longer than anybody's name should be."""
    shown = clean(value)
    return UnbrokenText(shown if len(shown) <= _LONGEST_NAME else f"{shown[: _LONGEST_NAME - 1]}…")


def word(value: str, kind: str | None = None) -> Text:
    """Return a word in its colour.

    Args:
        value: What is shown, as by `state_text`.
        kind: The word of `STYLES` whose colour it has, if it is not its own.
    """
    return Text(state_text(clean(value)), style=STYLES.get(kind or value, ""))


def lines(*values: object) -> Text:
    """Return a cell of several lines; all but the first are dim, and None is left out."""
    first, *rest = [value if isinstance(value, Text) else text(value) for value in values if value is not None]
    made = UnbrokenText().append_text(first)
    for line in rest:
        made.append(f"\n{line.plain}", style="dim")
    return made


class _WholeNames(Table):
    """A table that breaks no name of a setting or team of the usual length, however narrow the screen is."""

    def add_row(self, *cells: Any, **options: Any) -> None:
        """Add a row as `Table` does."""
        super().add_row(*cells, **options)
        for column, cell in zip(self.columns, cells, strict=False):
            shown = cell.plain if isinstance(cell, Text) else str(cell)
            names, longest = _SETTING.findall(shown), _WHOLE
            if column.header == "Team":
                names, longest = shown.split(), _WHOLE_TEAM
            column.min_width = max([column.min_width or 0, *(len(one) for one in names if len(one) <= longest)])


def table(*columns: str) -> Table:
    """Return an empty table that folds long cells instead of cutting them, and breaks no word of a heading.

    Args:
        *columns: Headings; one that begins with `>` is of a column of numbers.
    """
    made = _WholeNames(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in columns:
        numbers, heading = column.startswith(">"), column.removeprefix(">")
        made.add_column(
            heading,
            justify="right" if numbers else "left",
            no_wrap=numbers,
            overflow="fold",
            min_width=max(map(len, heading.split()), default=0),
        )
    return made


def pairs(rows: Iterable[tuple[str, object]]) -> Table:
    """Return a table without heading of names and values."""
    made = _WholeNames(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        made.add_row(name, value if isinstance(value, Text) else text(value))
    return made


def bullets(sentences: Iterable[str]) -> Table:
    """Return a list of sentences."""
    made = _WholeNames(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for sentence in sentences:
        made.add_row("-", text(sentence))
    return made


def say(message: object, style: str = "", *, indent: int = 0) -> None:
    """Print a sentence of a result to stdout."""
    _sentence(out(), message if isinstance(message, Text) else text(message, style), indent)


def blank() -> None:
    """Print an empty line to stdout."""
    out().print()


def note(message: object) -> None:
    """Show a remark on stderr, after what stdout has got so far: both may go to one place."""
    sys.stdout.flush()
    _sentence(err(), Text("note: ", style="yellow").append(clean(message, keep_lines=True), style="none"))


def _sentence(console: Console, shown: Text, indent: int = 0) -> None:
    """Print a text; it is broken into lines for eyes only, so that a program finds it in one."""
    # A pipe with colours and a width is shown to eyes, as the log of a build is.
    if console.is_terminal or (console.color_system is not None and console.width != _UNBROKEN):
        console.print(
            Padding(shown, (0, 0, 0, indent), expand=False)
        )  # alone, its lines would be broken by the console
    else:
        console.print(Text(" " * indent).append_text(shown), soft_wrap=True)


def write_json(data: object) -> None:
    """Write data as JSON to stdout. ASCII only, so that any terminal and pipe takes it."""
    sys.stdout.write(json_text(data))
    sys.stdout.flush()


def json_text(data: object) -> str:
    """Return data as JSON of several lines; numbers that are not finite become null."""
    return json.dumps(_finite(data), indent=2, allow_nan=False) + "\n"


def write_parts(data: Mapping[str, object], *files: TextIO) -> None:
    """Write an object as `json_text` has it, of which lists may be iterators: their items are made one by one.

    Args:
        data: The object.
        files: Where to; none for stdout.
    """
    for part in _parts(data):
        for file in files or (sys.stdout,):
            file.write(part)
    for file in files or (sys.stdout,):
        file.flush()


def _parts(data: Mapping[str, object]) -> Iterator[str]:
    def deep(value: object, spaces: int) -> str:
        text = json.dumps(_finite(value), indent=2, allow_nan=False)
        return text.replace("\n", "\n" + " " * spaces)  # in its strings a line break is escaped

    before = "{\n  "
    for name, value in data.items():
        yield f"{before}{json.dumps(name)}: "
        before = ",\n  "
        if isinstance(value, Iterator):
            begin = "["
            for item in value:
                yield f"{begin}\n    {deep(item, 4)}"
                begin = ","
            yield "[]" if begin == "[" else "\n  ]"
        else:
            yield deep(value, 2)
    yield "\n}\n"


def answered(data: Mapping[str, object], output: Path | None, *, as_json: bool, project: Path | None = None) -> bool:
    """Write a result as JSON to the file of `--output` and, with `--json`, to stdout.

    Args:
        data: The result, as for `write_parts`.
        project: The project's folder, whose links must not lead the result out of it.

    Returns:
        Whether that is the whole answer; a person is told nothing more then.
    """
    if output is not None:
        from .._values.files import written

        with written(output, where=f"--output {output}", project=project) as file:
            write_parts(data, file, *((sys.stdout,) if as_json else ()))
    elif as_json:
        write_parts(data)
    return as_json


def write_error(error: AutotuneError, *, as_json: bool) -> None:
    """Tell an error: as text on stderr, or as `{"error": {"message", "where", "hint"}}` on stdout."""
    if as_json:
        write_json({"error": {"message": error.message, "where": error.where, "hint": error.hint, "mend": error.hint}})
    else:
        _sentence(err(), Text("error: ", style="bold red").append(clean(error, keep_lines=True), style="none"))


def _finite(value: object) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def step(made: Change, *, why: bool = True) -> str:
    """Return a change in one sentence: what, who, when, and if wanted why."""
    said = f"{action_text(made)} {who(made)}, {when(made.at)}"
    return f"{said}: {made.reason}" if why else said
