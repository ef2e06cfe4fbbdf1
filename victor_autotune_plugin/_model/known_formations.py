"""Formations: those whose behaviour is known here, and all others that a Victor may have.

The installed Victor is asked for its own, by the module that knows Victor. A formation that is not known here is
observed and kept: no strategy proposes it, nothing replaces it, and no reader refuses it, since files and rows outlive
a release. Only a name that looks like a known one with a mistake in it is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from .._values.names import nearest

FORMATIONS: Final = ("sequential", "parallel", "pipeline", "hierarchical", "consensus", "reflection")
"""Formations whose behaviour is known here, by the value of Victor's `TeamFormation` enum."""

WITHOUT_OWN_CALLS: Final = ("sequential", "parallel", "pipeline")
"""Those in which each member works once, and no model is called besides: no vote, no review, no summary."""

_LIKE: Final = 0.61
"""How similar a misspelt name is to a known one."""

_ask: Callable[[], Iterable[str]] = tuple


def ask_host(ask: Callable[[], Iterable[str]]) -> None:
    """Set who says which formations the installed Victor has; it is called when an unknown name comes up."""
    global _ask
    _ask = ask


def is_known(name: str) -> bool:
    """Return whether a formation is known here, or one of the installed Victor's."""
    return name in FORMATIONS or name in set(_ask())


def is_misspelt(name: str, known: Iterable[str] = FORMATIONS) -> bool:
    """Return whether a name is of no known formation, nor of Victor's, and looks like one of them."""
    return name not in known and nearest(name, known, cutoff=_LIKE) is not None and not is_known(name)
