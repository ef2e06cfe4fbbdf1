"""What a team's figures are compared with: what the caller says, its own history, or constants."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from attrs import frozen

from .._model.optimization import Evidence
from ..errors import MetricsError
from .estimates import Contrast, contrast
from .run_table import Flags, Floats, TeamTable

DEFAULT_BASELINES: Final[Mapping[str, float]] = {
    "duration_seconds": 30.0,
    "p95_duration_seconds": 60.0,
    "success_rate": 0.95,
    "tool_calls": 15.0,
}
"""Constants for teams without a history of their own: seconds, seconds, share, calls."""

_ALIASES: Final[Mapping[str, str]] = {
    "duration": "duration_seconds",
    "avg_duration": "duration_seconds",
    "avg_duration_seconds": "duration_seconds",
    "mean_duration": "duration_seconds",
    "mean_duration_seconds": "duration_seconds",
    "p95_duration": "p95_duration_seconds",
    "p95_latency": "p95_duration_seconds",
    "avg_tool_calls": "tool_calls",
    "mean_tool_calls": "tool_calls",
    "total_tool_calls": "tool_calls",
    "avg_total_tool_calls": "tool_calls",
    "avg_success_rate": "success_rate",
}

GIVEN, OWN, DEFAULT = "given", "own history", "default"
"""Where a baseline is from: the caller, the team's earlier runs, or `DEFAULT_BASELINES`."""

MIN_REFERENCE: Final = 50
"""Earlier runs that make a history."""

MIN_RECENT: Final = 20
"""Latest runs that are compared with it."""


@frozen(eq=False)
class Baseline(Evidence):
    """What a figure is compared with.

    Attributes:
        value: The baseline.
        source: `GIVEN`, `OWN` or `DEFAULT`.
        runs: Runs behind it, 0 unless it is the team's own.
        difference: How much higher the mean of the latest runs is than that of the earlier ones, with its standard
            error, within tasks where possible; None unless the baseline is the team's own.
    """

    value: float
    source: str
    runs: int = 0
    difference: Contrast | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        data: dict[str, Any] = {"value": self.value, "source": self.source, "runs": self.runs}
        if self.difference is not None:
            data["difference"] = self.difference.difference
            data["difference_interval"] = [self.difference.low, self.difference.high]
            data["within_tasks"] = self.difference.within_tasks
        return data


class Baselines:
    """Finds the baseline for each figure of one team.

    The caller's comes first. Else, with at least `MIN_REFERENCE` earlier runs beside at least `MIN_RECENT` latest
    ones, it is what the team did earlier, and the latest fifth of the runs is compared with it. Else the constants.

    Args:
        table: The team's runs.
        given: The caller's, by the names of `DEFAULT_BASELINES` (or `avg_duration` and the like); may be empty.

    Raises:
        MetricsError: A name is not known, or a value is no positive number.
    """

    def __init__(self, table: TeamTable, given: Mapping[str, float] | None = None) -> None:
        self.given = _checked(given or {})
        runs = len(table)
        latest = max(MIN_RECENT, runs // 5)
        self._table = table
        self._has_history = runs - latest >= MIN_REFERENCE
        self._recent: Flags = np.arange(runs) >= (runs - latest if self._has_history else 0)
        self._latest = table.where(self._recent)
        self._earlier = table.where(~self._recent)

    def has_own(self, name: str) -> bool:
        """Return whether a figure is compared with the team's own history."""
        return self._has_history and name not in self.given

    def current(self, name: str) -> TeamTable:
        """Return the runs that a figure is about: the latest where they are compared with earlier ones, else all."""
        return self._latest if self.has_own(name) else self._table

    def of(self, name: str, values: Floats, figure: Callable[[TeamTable], float]) -> Baseline:
        """Return the baseline of a figure.

        Args:
            name: One of `DEFAULT_BASELINES`.
            values: One value for each run of the whole table, whose mean the figure is about.
            figure: The figure, such as the mean duration, of some runs.
        """
        if not self.has_own(name):
            source = GIVEN if name in self.given else DEFAULT
            return Baseline({**DEFAULT_BASELINES, **self.given}[name], source)
        difference = contrast(values, self._recent, self._table.task)
        return Baseline(figure(self._earlier), OWN, len(self._earlier), difference)


def _checked(given: Mapping[str, float]) -> dict[str, float]:
    checked = {}
    for name, value in given.items():
        known = _ALIASES.get(name, name)
        if known not in DEFAULT_BASELINES:
            raise MetricsError(
                f"baseline_metrics: {name!r} is no figure", hint=f"Known: {', '.join(DEFAULT_BASELINES)}."
            )
        number: object = value  # callers without types give anything
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
            raise MetricsError(f"baseline_metrics: {name} is {value!r}", hint="Write a number above 0.")
        checked[known] = float(value)
    return checked
