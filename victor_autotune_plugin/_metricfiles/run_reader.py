"""Reading runs from a metrics file of any form, which is told by how the file is built."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from .._analysis.run_history import Row, RunHistory
from .._values.nodes import Scalar, WrongValueError, show
from .._values.reading import open_file
from ..errors import MetricsError
from .column_names import Columns
from .csv_tables import csv_rows, dialect_of
from .otlp import TraceReader, is_telemetry
from .row_reading import LeftOut, rows_in, run_of_row
from .row_scanning import LONGEST_ROW, Batch, json_lines, json_list, take_blocks
from .value_scanning import goes_on, json_values

if TYPE_CHECKING:
    from .typed_rows import TypedRows

_HINT: Final = "Give JSON, JSON Lines, a table (CSV, TSV) with a header, or OpenTelemetry traces as JSON."
_SAMPLE: Final = 1 << 20
"""Characters by which the form is told."""

_GZIP: Final = b"\x1f\x8b"
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
_OTHER_FORMS: Final[Mapping[bytes, tuple[str, str]]] = {
    b"PK\x03\x04": ("is a workbook or another zip archive", "Save the table as CSV, or unpack the archive."),
    b"PAR1": ("is a Parquet file", "Write it as CSV or JSON Lines."),
    b"SQLite format 3": ("is an SQLite database", "For a store of the plugin leave --metrics out, and use --project."),
    b"\x28\xb5\x2f\xfd": ("is compressed with zstd", "Unpack it first: zstd -d FILE"),
}
"""Files that are no text, by how they begin."""

_PRINTED_SPAN: Final = re.compile(r'^\{\s*\n\s+"(?:name|resource_metrics)": ', re.MULTILINE)
"""What the console exporter prints, maybe after what else the program printed."""


class RunReader:
    """Reads a metrics file; as an iterator it opens the file at the first run and closes it at the end.

    Attributes:
        history: The runs that `read_history` read.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        skip_bad: bool = False,
        columns: Mapping[str, str] | None = None,
        run_ids: frozenset[int] = frozenset(),
    ) -> None:
        self.history = RunHistory()
        self._path = Path(path)
        self._columns = Columns(columns)
        name = str(path)
        # What can't be printed is made visible.
        name = name if name.isprintable() else ascii(name)[1:-1]
        self._left_out = LeftOut(name, skip=skip_bad, run_ids=run_ids)
        self._traces = TraceReader(self._left_out)
        self._runs = (run for runs in self._read(None) for run in runs)

    @property
    def skipped(self) -> int:
        """Bad rows skipped so far."""
        return self._left_out.skipped

    @property
    def repeated(self) -> int:
        """Rows left out so far because a run with this `run_id` came before."""
        return self._left_out.repeated

    @property
    def run_ids(self) -> frozenset[int]:
        """Hashes of the runs so far that have an id."""
        return frozenset(self._left_out.run_ids)

    @property
    def problems(self) -> list[MetricsError]:
        """What was wrong with the first of them, as the error would have said it."""
        return self._left_out.problems

    def __iter__(self) -> Iterator[Row]:
        return self._runs

    def __next__(self) -> Row:
        return next(self._runs)

    def fill(self) -> None:
        """Read all runs into `history`."""
        from .typed_rows import TypedRows

        # What the user says of columns goes the way of single rows.
        typed = None if self._columns.are_told else TypedRows(self.history, self._left_out)
        for runs in self._read(typed):
            self.history.extend(runs)

    def _read(self, typed: TypedRows | None) -> Iterator[Iterator[Row]]:
        """Give the runs of the file by batches, without the blocks that `typed` takes in."""
        with self._opened() as file:
            for batch in self._batches(file, typed):
                if typed is not None:
                    typed.learn(batch.rows)
                yield self._runs_of(batch)
            yield self._traces.rest()

    def _batches(self, file: TextIOWrapper, typed: TypedRows | None) -> Iterator[Batch]:
        sample = file.read(_SAMPLE)
        file.seek(0)
        options: dict[str, Any] = {} if typed is None else {"decode": typed.decode}
        begin = sample.lstrip()[:1]
        if begin == "[":
            if typed is not None and file.encoding == "utf-8-sig":
                taken, options["line"] = take_blocks(file.buffer, typed.decode)
                file.seek(taken)
                options["is_inside"] = taken > 0
            return json_list(file, self._left_out.source, **options)
        if begin == "{":
            first = next(line for line in iter(lambda: file.readline(LONGEST_ROW), "") if line.strip())
            file.seek(0)
            if goes_on(first):
                return json_values(file, among_text=_PRINTED_SPAN.search(sample) is not None)
            return json_lines(file, **options)
        if not begin:
            return iter(())
        if _PRINTED_SPAN.search(sample):
            return json_values(file, among_text=True)
        dialect = dialect_of(sample, self._columns)
        if dialect is None:
            shown = show(Scalar(ascii(sample.lstrip()[:20])[1:-1], ""))
            message = f"is not a metrics file: it begins with {shown}"
            raise MetricsError(message, where=f"{self._left_out.source}:1", hint=_HINT)
        return csv_rows(file, self._left_out.source, self._columns, dialect)

    def _runs_of(self, batch: Batch) -> Iterator[Row]:
        for index, value in enumerate(batch.rows):
            if is_telemetry(value):
                yield from self._traces.take(batch.line(index), value)
                continue
            for where, row in rows_in(value, self._columns):
                try:
                    if isinstance(row, WrongValueError):
                        raise row
                    run = run_of_row(row, self._columns)
                except WrongValueError as wrong:
                    self._left_out.add(batch.line(index), f"{where}{wrong.message}", wrong.hint)
                except RecursionError:
                    self._left_out.add(batch.line(index), f"{where}is nested too deeply", "Take some levels out.")
                else:
                    if self._left_out.is_new(run.get("workflow"), run["team_id"], run.get("run_id")):
                        yield run

    @contextmanager
    def _opened(self) -> Iterator[TextIOWrapper]:
        """Hold the file open, at its beginning; what goes wrong with it is a `MetricsError`."""
        where = self._left_out.source
        try:
            source = open_file(self._path, where, "Name a file; what a pipe holds must be put into one first.")
            with source, TextIOWrapper(self._unpacked(source), encoding="utf-8-sig", newline="") as file:
                encoding = "utf-16" if file.buffer.read(2) in _UTF_16 else "utf-8-sig"
                file.buffer.seek(0)
                file.reconfigure(encoding=encoding)
                yield file
        except WrongValueError as wrong:
            raise wrong.told(MetricsError) from None
        except UnicodeError as error:
            hint = "Save it as UTF-8."
            reason = error.reason if isinstance(error, UnicodeDecodeError) else str(error)
            raise MetricsError(f"is not UTF-8 text: {reason}", where=where, hint=hint) from None
        except (EOFError, zlib.error) as error:
            raise MetricsError(f"can't be unpacked: {error}", where=where, hint="Copy or export it again.") from None
        except OSError as error:
            hint = "Name a file that you may read."
            raise MetricsError(f"can't be read: {error.strerror or error}", where=where, hint=hint) from None

    def _unpacked(self, source: BinaryIO) -> Any:
        begin = source.read(16)
        source.seek(0)
        for mark, (what, hint) in _OTHER_FORMS.items():
            if begin.startswith(mark):
                raise MetricsError(what, where=self._left_out.source, hint=hint)
        if begin.startswith(_GZIP):
            from gzip import GzipFile

            return GzipFile(fileobj=source)
        return source


def read_runs(
    path: str | Path,
    *,
    skip_bad: bool = False,
    columns: Mapping[str, str] | None = None,
    run_ids: frozenset[int] = frozenset(),
) -> RunReader:
    """Read runs from a metrics file, one by one.

    Args:
        path: JSON, JSON Lines, a table with a header, or OpenTelemetry traces as JSON with this plugin's spans; UTF-8,
            UTF-16 with a byte order mark, or either packed by gzip.
        skip_bad: Whether bad rows are skipped and counted (`RunReader.skipped`).
        columns: Which columns hold fields, by field; see `column_names`.
        run_ids: `RunReader.run_ids` of files before, whose runs are left out and counted (`RunReader.repeated`).

    Returns:
        An iterator of mappings by the names of `row_fields.FIELDS` and of what else a row holds, in the file's order.
        It raises `MetricsError` with file, line, field and hint at the first bad row, and where the file can't be read.
    """
    return RunReader(path, skip_bad=skip_bad, columns=columns, run_ids=run_ids)


def read_history(path: str | Path, *, skip_bad: bool = False, columns: Mapping[str, str] | None = None) -> RunReader:
    """Read all runs of a metrics file into columns, `RunReader.history`; options and errors as for `read_runs`."""
    reader = RunReader(path, skip_bad=skip_bad, columns=columns)
    reader.fill()
    return reader
