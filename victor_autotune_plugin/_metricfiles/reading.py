"""Reading runs from a metrics file of any of the four forms, which is told by its first characters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TextIO

from .._analysis.facts import RunFacts
from ..errors import MetricsError
from .fields import MEMBERS, facts_of, known_keys
from .otlp import is_otlp, runs_of_traces
from .scanning import Batch, BrokenRow, json_lines, json_list
from .table import csv_rows, decoded_cells
from .values import WrongFieldError, show

JSON_LIST, JSON_LINES, CSV, OTLP = "json", "jsonl", "csv", "otlp"
"""The forms that a metrics file may have."""

_PROBLEMS_KEPT: Final = 20
_PLAIN_CELLS: Final = known_keys() - {MEMBERS}


class RunReader:
    """An iterator over the runs of a metrics file; it opens the file at the first run and closes it at the end.

    Args:
        path: The file.
        skip_bad: Whether a bad row is skipped and counted, and does not end the reading.

    Attributes:
        skipped: Rows skipped so far.
        problems: What was wrong with the first of them, as the error would have said it.
    """

    def __init__(self, path: str | Path, *, skip_bad: bool = False) -> None:
        self.path = Path(path)
        self.skip_bad = skip_bad
        self.skipped = 0
        self.problems: list[MetricsError] = []
        self._runs = self._read()

    def __iter__(self) -> Iterator[RunFacts]:
        return self._runs

    def __next__(self) -> RunFacts:
        return next(self._runs)

    def batches(self, file: TextIO, form: str) -> Iterator[Batch]:
        """Give the rows of a file that is open, in one of the forms but `OTLP`."""
        if form == JSON_LIST:
            return json_list(file, self.name)
        return csv_rows(file, self.name) if form == CSV else json_lines(file)

    def runs(self, batch: Batch, form: str) -> Iterator[RunFacts]:
        """Give the runs of a batch.

        Args:
            batch: The batch.
            form: Form of the file.

        Raises:
            MetricsError: A row is bad, and bad rows are not skipped.
        """
        for index, row in enumerate(batch.rows):
            try:
                yield _facts(row, form)
            except WrongFieldError as wrong:
                text = f"{wrong.name}: {wrong.message}" if wrong.name else wrong.message
                self.bad(MetricsError(text, where=f"{self.name}:{batch.line(index)}", hint=wrong.hint))

    def bad(self, problem: MetricsError) -> None:
        """Skip and count a bad row, or raise what is wrong with it."""
        if not self.skip_bad:
            raise problem
        self.skipped += 1
        if len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(problem)

    @property
    def name(self) -> str:
        """Name of the file for errors, with what can't be printed made visible."""
        name = str(self.path)
        return name if name.isprintable() else ascii(name)[1:-1]

    def _form(self, file: TextIO) -> str:
        start = file.read(1 << 16)
        text = start.lstrip()
        if text.startswith("["):
            return JSON_LIST
        if text.startswith("{"):
            return OTLP if is_otlp(text) else JSON_LINES
        if not text:
            return JSON_LINES
        if "team_id" in text.splitlines()[0] or self.path.suffix.lower() == ".csv":
            return CSV
        raise MetricsError(
            f"is no metrics file: it begins with {show(text[:20])}",
            where=f"{self.name}:1",
            hint="Give a JSON list of runs, JSON Lines, a CSV with a header, or OTLP JSON traces.",
        )

    @contextmanager
    def opened(self) -> Iterator[tuple[TextIO, str]]:
        """Hold the file open, at its beginning, and tell its form; what goes wrong with it is a `MetricsError`."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                form = self._form(file)
                file.seek(0)
                yield file, form
        except UnicodeDecodeError as error:
            raise MetricsError(
                f"is not UTF-8 text: {error.reason}", where=self.name, hint="Save it as UTF-8."
            ) from None
        except OSError as error:
            raise MetricsError(
                f"can't be read: {error.strerror}", where=self.name, hint="Name a file that you may read."
            ) from None

    def _read(self) -> Iterator[RunFacts]:
        with self.opened() as (file, form):
            if form == OTLP:
                yield from runs_of_traces(file, self)
                return
            for batch in self.batches(file, form):
                yield from self.runs(batch, form)


def _facts(row: object, form: str) -> RunFacts:
    if isinstance(row, BrokenRow):
        raise WrongFieldError("", row.message, "Mend the line, or skip bad rows with --skip-bad.")
    return facts_of(decoded_cells(row, _PLAIN_CELLS) if form == CSV and isinstance(row, dict) else row)


def read_runs(path: str | Path, *, skip_bad: bool = False) -> RunReader:
    """Read runs from a metrics file, one by one.

    Args:
        path: A JSON list, JSON Lines, a CSV with a header, or OTLP JSON traces with this plugin's spans; UTF-8.
        skip_bad: Whether bad rows are skipped and counted (`RunReader.skipped`).

    Returns:
        An iterator of `RunFacts`, in the order of the file. It raises `MetricsError` with file, line, field and the
        hint at the first bad row, and where the file can't be read at all.
    """
    return RunReader(path, skip_bad=skip_bad)
