"""Reading runs from a metrics file of any of the four forms, which is told by its first characters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from .._analysis.run_history import Row, RunHistory
from .._values.nodes import Scalar, WrongValueError, show
from .._values.reading import open_file
from ..errors import MetricsError
from .otlp import is_otlp, runs_of_traces
from .row_fields import PLAIN_KEYS, BadRows, run_of_row
from .row_scanning import Batch, csv_rows, json_lines, json_list, take_blocks

if TYPE_CHECKING:
    from .typed_rows import TypedRows

_JSON_LIST, _JSON_LINES, _CSV, _OTLP = "json", "jsonl", "csv", "otlp"
_HINT: Final = "Give a JSON list of runs, JSON Lines, a CSV with a header, or OTLP JSON traces."


class RunReader:
    """Reads a metrics file; as an iterator it opens the file at the first run and closes it at the end.

    Attributes:
        history: The runs that `read_history` read.
    """

    def __init__(self, path: str | Path, *, skip_bad: bool = False) -> None:
        self.history = RunHistory()
        self._path = Path(path)
        name = str(path)
        # What can't be printed is made visible.
        self._bad = BadRows(name if name.isprintable() else ascii(name)[1:-1], skip=skip_bad)
        self._runs = (run for runs in self._read(None) for run in runs)

    @property
    def skipped(self) -> int:
        """Bad rows skipped so far."""
        return self._bad.skipped

    @property
    def problems(self) -> list[MetricsError]:
        """What was wrong with the first of them, as the error would have said it."""
        return self._bad.problems

    def __iter__(self) -> Iterator[Row]:
        return self._runs

    def __next__(self) -> Row:
        return next(self._runs)

    def fill(self) -> None:
        """Read all runs into `history`."""
        from .typed_rows import TypedRows

        for runs in self._read(TypedRows(self.history)):
            self.history.extend(runs)

    def _read(self, typed: TypedRows | None) -> Iterator[Iterator[Row]]:
        """Give the runs of the file by batches, without the blocks that `typed` takes in."""
        with self._opened() as (file, form):
            if form == _OTLP:
                yield runs_of_traces(file, self._bad)
                return
            for batch in self._batches(file, form, typed):
                if typed is not None and form != _CSV:
                    typed.learn(batch.rows)
                yield self._runs_of(batch)

    def _batches(self, file: TextIOWrapper, form: str, typed: TypedRows | None) -> Iterator[Batch]:
        options: dict[str, Any] = {} if typed is None else {"decode": typed.decode}
        if form == _JSON_LIST:
            if typed is not None:
                taken, options["line"] = take_blocks(file.buffer, typed.decode)
                file.seek(taken)
                options["is_inside"] = taken > 0
            return json_list(file, self._bad.source, **options)
        return json_lines(file, **options) if form == _JSON_LINES else csv_rows(file, self._bad.source, PLAIN_KEYS)

    def _runs_of(self, batch: Batch) -> Iterator[Row]:
        for index, row in enumerate(batch.rows):
            try:
                if isinstance(row, WrongValueError):
                    raise row
                run = run_of_row(row)
            except WrongValueError as wrong:
                self._bad.add(batch.line(index), wrong.message, wrong.hint)
            except RecursionError:
                self._bad.add(batch.line(index), "is nested too deeply", "Take some levels out.")
            else:
                yield run

    @contextmanager
    def _opened(self) -> Iterator[tuple[TextIOWrapper, str]]:
        """Hold the file open, at its beginning, and tell its form; what goes wrong with it is a `MetricsError`."""
        where = self._bad.source
        try:
            source = open_file(self._path, where, "Name a file; what a pipe holds must be put into one first.")
            with TextIOWrapper(source, encoding="utf-8-sig", newline="") as file:
                form = self._form(file)
                file.seek(0)
                yield file, form
        except WrongValueError as wrong:
            raise wrong.told(MetricsError) from None
        except UnicodeDecodeError as error:
            raise MetricsError(f"is not UTF-8 text: {error.reason}", where=where, hint="Save it as UTF-8.") from None
        except OSError as error:
            hint = "Name a file that you may read."
            raise MetricsError(f"can't be read: {error.strerror}", where=where, hint=hint) from None

    def _form(self, file: TextIO) -> str:
        text = file.read(1 << 16).lstrip()
        if text.startswith("["):
            return _JSON_LIST
        if text.startswith("{"):
            return _OTLP if is_otlp(text) else _JSON_LINES
        if not text:
            return _JSON_LINES
        if "team_id" in text.splitlines()[0] or self._path.suffix.lower() == ".csv":
            return _CSV
        shown = show(Scalar(ascii(text[:20])[1:-1], ""))
        raise MetricsError(f"is not a metrics file: it begins with {shown}", where=f"{self._bad.source}:1", hint=_HINT)


def read_runs(path: str | Path, *, skip_bad: bool = False) -> RunReader:
    """Read runs from a metrics file, one by one.

    Args:
        path: A JSON list, JSON Lines, a CSV with a header, or OTLP JSON traces with this plugin's spans; UTF-8.
        skip_bad: Whether bad rows are skipped and counted (`RunReader.skipped`).

    Returns:
        An iterator of mappings by the names of `row_fields.FIELDS` and of what else a row holds, in the file's order.
        It raises `MetricsError` with file, line, field and hint at the first bad row, and where the file can't be read.
    """
    return RunReader(path, skip_bad=skip_bad)


def read_history(path: str | Path, *, skip_bad: bool = False) -> RunReader:
    """Read all runs of a metrics file into columns, `RunReader.history`; options and errors as for `read_runs`."""
    reader = RunReader(path, skip_bad=skip_bad)
    reader.fill()
    return reader
