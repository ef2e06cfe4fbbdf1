"""Scorers: what tells how good the work of a run is."""

from .built_in import scorers_of
from .scorer import RunOutput, Scored, Scorer
from .scoring_call import run_scorer

__all__ = ["RunOutput", "Scored", "Scorer", "run_scorer", "scorers_of"]
