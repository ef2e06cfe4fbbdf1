"""Scorers: what tells how good the work of a run is."""

from .scorer import RunOutput, Scorer

__all__ = ["RunOutput", "Scorer"]
