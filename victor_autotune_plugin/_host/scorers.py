"""The scorers that work through Victor: a model as judge, and Victor's own verifiers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from .._tuning.runtime import runtime

if TYPE_CHECKING:
    from .._model.scorer import ScorerSettings
    from ..quality import Scorer


def rubric(settings: ScorerSettings) -> Scorer:
    """Return a model as judge, which is paid by the process's prices."""
    from .judge_model import JudgeModel

    return JudgeModel(settings, lambda use, at: runtime().resolver.price_for(use, at))


def victor_verifier(settings: ScorerSettings) -> Scorer:
    """Return one of Victor's verifiers."""
    from .verifiers import VictorVerifier

    return VictorVerifier(settings)


MAKERS: Final[dict[str, Callable[[ScorerSettings], Scorer]]] = {"rubric": rubric, "victor_verifier": victor_verifier}
"""What makes them, by kind."""
