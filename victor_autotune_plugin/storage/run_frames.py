"""Finished runs as a table, one row a run: a frame of pandas or polars, or a Parquet file.

The libraries are the user's own choice, so none is required, and each is imported on first use.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO, Final, Literal

from attrs import frozen

from ..errors import AutotuneError

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from .._model.run import TeamRun

Kind = Literal["text", "flag", "count", "number", "time"]
FrameLibrary = Literal["pandas", "polars"]

_CHUNK: Final = 10_000
"""Runs that are held as Python values at a time."""


def _time(seconds: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None  # beyond the calendar; an imported history may hold anything


def _own(name: str) -> Callable[[TeamRun], Any]:
    return lambda run: getattr(run, name)


def _used(name: str) -> Callable[[TeamRun], Any]:
    return lambda run: getattr(run.plan_used, name)


@frozen
class RunColumn:
    """A column of the table.

    Attributes:
        kind: What its values are; one that a run does not have is missing.
        value: Returns the value of a run.
    """

    kind: Kind
    value: Callable[[TeamRun], Any]


RUN_COLUMNS: Final[Mapping[str, RunColumn]] = {
    "run_id": RunColumn("text", _own("run_id")),
    "environment": RunColumn("text", _own("environment")),
    "workflow": RunColumn("text", lambda run: run.spec.workflow),
    "team_id": RunColumn("text", lambda run: run.spec.team_id),
    "definition": RunColumn("text", lambda run: run.spec.fingerprint()),
    "started_at": RunColumn("time", lambda run: _time(run.started_at)),
    "duration_seconds": RunColumn("number", _own("duration_seconds")),
    "success": RunColumn("flag", _own("success")),
    "member_success_share": RunColumn("number", _own("member_success_share")),
    "score": RunColumn("number", _own("score")),
    "cost_usd": RunColumn("number", _own("cost_usd")),
    "timed_out": RunColumn("flag", _own("timed_out")),
    "cancelled": RunColumn("flag", _own("cancelled")),
    "error_class": RunColumn("text", _own("error_class")),
    "mode": RunColumn("text", _own("mode")),
    "plan": RunColumn("text", lambda run: run.plan_asked.describe()),
    "plan_id": RunColumn("text", lambda run: run.plan_asked.id),
    "experiment_id": RunColumn("text", _own("experiment_id")),
    "arm": RunColumn("text", _own("arm")),
    "phase": RunColumn("text", _own("phase")),
    "formation": RunColumn("text", _used("formation")),
    "members": RunColumn("text", lambda run: ",".join(member.id for member in run.members)),
    "member_count": RunColumn("count", lambda run: len(run.members)),
    "tool_budget": RunColumn("count", _used("tool_budget")),
    "timeout_seconds": RunColumn("number", _used("timeout_seconds")),
    "tool_calls": RunColumn("count", _own("tool_calls")),
    "llm_calls": RunColumn("count", _own("llm_calls")),
    "input_tokens": RunColumn("count", _own("input_tokens")),
    "output_tokens": RunColumn("count", _own("output_tokens")),
    "cached_tokens": RunColumn("count", _own("cached_tokens")),
    "cache_write_tokens": RunColumn("count", _own("cache_write_tokens")),
    "reasoning_tokens": RunColumn("count", _own("reasoning_tokens")),
    "models": RunColumn("text", _own("models")),
    "task_key": RunColumn("text", _own("task_key")),
    "parent_id": RunColumn("text", _own("parent_id")),
    "trace_id": RunColumn("text", lambda run: run.trace_id or None),
}
"""The columns by name, in their order; `docs/notebooks.md` says what each holds."""


class MissingLibraryError(AutotuneError):
    """A library is needed that is not installed."""


def frame(runs: Iterable[TeamRun], library: FrameLibrary | None = None) -> pd.DataFrame | pl.DataFrame:
    """Return runs as a frame, one row a run, in the order in which they come.

    Args:
        runs: Finished runs.
        library: Whose frame; None for the one that the program has imported, else the one that is installed, pandas
            first.

    Raises:
        MissingLibraryError: It is not installed.
    """
    if _chosen(library) == "polars":
        return _polars_frame(runs)
    return _pandas_frame(runs)


def write_parquet(runs: Iterable[TeamRun], file: BinaryIO) -> int:
    """Write runs as a Parquet file, a chunk of rows at a time.

    Args:
        runs: Finished runs.
        file: Where to; it is not closed.

    Returns:
        Number of runs.

    Raises:
        MissingLibraryError: Neither pyarrow nor polars is installed.
    """
    if find_spec("pyarrow") is not None:
        return _arrow_file(runs, file)
    if find_spec("polars") is not None:
        table = _polars_frame(runs)
        table.write_parquet(file)
        return table.height
    raise MissingLibraryError("Parquet needs pyarrow or polars", hint="pip install 'victor-autotune-plugin[frames]'")


def _chosen(library: FrameLibrary | None) -> FrameLibrary:
    names: tuple[FrameLibrary, ...] = ("pandas", "polars")
    if library is not None:
        if library not in names:
            raise ValueError(f"library must be one of {', '.join(names)}, or None, not {library!r}")
        if find_spec(library) is None:
            raise MissingLibraryError(f"{library} is not installed", hint=f"pip install {library}")
        return library
    imported = [name for name in names if name in sys.modules]
    if len(imported) == 1:
        return imported[0]
    for name in names:
        if find_spec(name) is not None:
            return name
    raise MissingLibraryError(
        "a frame needs pandas or polars", hint="pip install 'victor-autotune-plugin[frames]' or pip install polars"
    )


def _chunks(runs: Iterable[TeamRun]) -> Iterator[dict[str, list[Any]]]:
    """Yield the values by column, at least once, so that a table of no runs has its columns."""
    left = iter(runs)
    chunk = [*islice(left, _CHUNK)]
    while True:
        yield {name: [column.value(run) for run in chunk] for name, column in RUN_COLUMNS.items()}
        chunk = [*islice(left, _CHUNK)]
        if not chunk:
            return


def _pandas_frame(runs: Iterable[TeamRun]) -> pd.DataFrame:
    import pandas as pd

    kinds = {
        "text": "string",
        "flag": "boolean",
        "count": "Int64",
        "number": "float64",
        "time": "datetime64[us, UTC]",
    }
    frames = [
        pd.DataFrame({name: pd.Series(values, dtype=kinds[RUN_COLUMNS[name].kind]) for name, values in columns.items()})
        for columns in _chunks(runs)
    ]
    return pd.concat(frames, ignore_index=True)


def _polars_frame(runs: Iterable[TeamRun]) -> pl.DataFrame:
    import polars as pl

    kinds: dict[Kind, Any] = {
        "text": pl.String,
        "flag": pl.Boolean,
        "count": pl.Int64,
        "number": pl.Float64,
        "time": pl.Datetime("us", "UTC"),
    }
    schema = {name: kinds[column.kind] for name, column in RUN_COLUMNS.items()}
    return pl.concat([pl.DataFrame(columns, schema=schema) for columns in _chunks(runs)])


def _arrow_file(runs: Iterable[TeamRun], file: BinaryIO) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {
        "text": pa.string(),
        "flag": pa.bool_(),
        "count": pa.int64(),
        "number": pa.float64(),
        "time": pa.timestamp("us", tz="UTC"),
    }
    schema = pa.schema([(name, kinds[column.kind]) for name, column in RUN_COLUMNS.items()])
    written = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for columns in _chunks(runs):
            table = pa.table(columns, schema=schema)
            writer.write_table(table)
            written += table.num_rows
    return written
