"""Metrics files: runs from JSON, JSON Lines, tables (CSV) and OpenTelemetry traces as JSON.

    for run in read_runs("metrics.json"): …                # mappings, one by one; MetricsError names file, line, field
    history = read_history("metrics.json").history         # all of them in compact columns, the fast way

Both take `skip_bad=True`, and tell what they left out in `skipped`, `repeated` and `problems`.
"""

from __future__ import annotations

from .run_reader import read_history, read_runs

__all__ = ["read_history", "read_runs"]
