"""Scorers: what tells how good the work of a run is."""

from .scorer import RunOutput, Scored, Scorer

__all__ = ["RunOutput", "Scored", "Scorer"]
