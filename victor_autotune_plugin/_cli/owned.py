"""Which knobs of a team's runs something other than the plugin set, and how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .._model.run import TeamRun


def owned_knobs(runs: Iterable[TeamRun]) -> list[tuple[str, str, int]]:
    """Return the knobs that others set in some runs, the most frequent first.

    Returns:
        `(knob, who, in how many runs)` of each.
    """
    found = Counter((knob, who) for run in runs for knob, who in run.owners.items())
    return [(knob, who, times) for (knob, who), times in found.most_common()]
