"""What a plan needs to go live on probation, before it is proven, for judges and for screens that tell of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from .._model.experiment import Experiment

PROBATION_PAIRS: Final = 6
"""Pairs of runs from which a plan may go live on probation."""

PROBATION_CHANCE: Final = 0.9
"""Probability, by the test's own pairs, that a plan is better from which it may."""

KEPT_CHANCE: Final = 0.8
"""Probability that a trusted score is kept within its margin, from which a layout may where no data flow tells."""


def kept_by(test: Experiment) -> Literal["data_flow", "score"] | None:
    """Return what tells that a test's layout keeps the work, so that it may go on probation; None where it may not."""
    if test.promotion != "probation" or not test.treatment.is_layout_of(test.control):
        return None
    if test.allowed_by == "data_flow":
        return "data_flow"
    return "score" if test.allowed_by == "score" and test.gates else None
