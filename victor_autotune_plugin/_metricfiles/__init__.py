"""Metrics files: runs read from JSON lists, JSON Lines, CSV and OTLP JSON traces, and written to the first three.

    for run in read_runs("metrics.json"): …                # RunFacts, one by one; MetricsError names file, line, field
    history = read_history("metrics.json").history         # all of them in compact columns, the fast way
    write_runs("metrics.jsonl", runs)                      # reads back the same

- `read_runs(path, skip_bad=False)`: an iterator with `skipped` and `problems`.
- `read_history(path, skip_bad=False)`: a `ReadHistory` with `history`, `skipped` and `problems`.
- `write_runs(path, runs, form=None)`: the form by the ending of the name; atomically, readable by the owner alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .reading import CSV, JSON_LINES, JSON_LIST, OTLP, RunReader, read_runs
from .writing import write_runs

if TYPE_CHECKING:
    from .columns import ReadHistory, read_history

__all__ = [
    "CSV",
    "JSON_LINES",
    "JSON_LIST",
    "OTLP",
    "ReadHistory",
    "RunReader",
    "read_history",
    "read_runs",
    "write_runs",
]


def __getattr__(name: str) -> Any:
    if name in ("ReadHistory", "read_history"):
        from . import columns  # brings numpy along

        return getattr(columns, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
