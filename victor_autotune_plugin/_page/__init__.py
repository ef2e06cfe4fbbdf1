"""The HTML report: one file that needs nothing else, readable offline, in light and in dark."""

from __future__ import annotations

from .data import ReportedExperiment, ReportedTeam
from .page import page

__all__ = ["ReportedExperiment", "ReportedTeam", "page"]
