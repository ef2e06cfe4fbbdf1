"""Where the real runs of the experiment benchmarks come from."""

from __future__ import annotations

import csv
import math
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def find_real(given: Path | None = None) -> Path | None:
    """Return the file of real runs: the given one, that of `AGENT_RUNS_CSV`, or the one beside the project, or None."""
    named = os.environ.get("AGENT_RUNS_CSV")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data" / "agent_runs.csv"
    for path in (given, Path(named) if named else None, beside):
        if path is not None and path.is_file():
            return path
    return None


def read_in_order(path: Path | None) -> list[NDArray[np.float64]]:
    """Return the log durations of each set in the order in which its runs started, less their median."""
    found: dict[str, list[tuple[str, float]]] = {}
    if path is not None:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                found.setdefault(row["set"], []).append((row["start_time"], math.log(float(row["duration_seconds"]))))
    logs = [np.array([value for _, value in sorted(found[name])]) for name in sorted(found)]
    return [values - np.median(values) for values in logs]
