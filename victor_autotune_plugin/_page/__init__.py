"""The HTML report: one file that needs nothing else, readable offline, in light and in dark."""

from __future__ import annotations

from .page import page
from .reported import ReportedExperiment, ReportedTeam

__all__ = ["ReportedExperiment", "ReportedTeam", "page"]
