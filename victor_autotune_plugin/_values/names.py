"""Unknown names: the nearest known one, and the hint that an error gives.

Every room says it in the same words: `did_you_mean("paralel", FORMATIONS)`. Pure, so the decision core may use it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_FEW: Final = 10
"""How many names a hint lists."""


def nearest(word: object, known: Iterable[str], *, cutoff: float = 0.5) -> str | None:
    """Return the known name that is most like a word, in upper or lower case, or None when none is like it.

    Args:
        cutoff: How similar they must be, 0 to 1.
    """
    # Imported here, since only errors need it.
    import difflib

    names = {name.lower(): name for name in known}
    similar = difflib.get_close_matches(str(word).lower(), names, n=1, cutoff=cutoff)
    return names[similar[0]] if similar else None


def did_you_mean(word: object, known: Iterable[str], otherwise: str | None = None) -> str:
    """Return how to fix an unknown name: the nearest known one, and the known ones or other advice.

    Args:
        otherwise: Advice to give instead of the list of known names.
    """
    names = list(known)
    near = nearest(word, names)
    guess = "" if near is None else f"Did you mean `{near}`?"
    if otherwise is None:
        otherwise = "" if near is not None and len(names) > _FEW else f"Known here: {listed(names)}."
    return f"{guess} {otherwise}".strip()


def listed(names: Iterable[str]) -> str:
    """Return names as a list for people; of many only the first ones and how many more there are."""
    every = list(names)
    more = f" and {len(every) - _FEW} more" if len(every) > _FEW else ""
    return ", ".join(every[:_FEW]) + more if every else "none"
