"""The scorers of a team: those of its settings, those that third parties add, and their `score_team_run`."""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from .. import failsafe
from ..quality import scorers_of
from .hook_calls import Implementation
from .hook_hop import Hop

if TYPE_CHECKING:
    from .._settings.team_settings import QualitySettings
    from ..quality import RunOutput

BEHIND_SECONDS: Final = 5.0
"""How long a hook may take that is called behind a run."""

MOST_WEIGHT: Final = 1_000
"""The most that a scorer may weigh, as in the settings: a mean of larger numbers is not exact."""

ADDED_SECONDS: Final = 60.0
"""How long a scorer may take that a third party added and that says nothing else."""


class HookScorer:
    """Asks one implementation of `score_team_run`, on its own thread.

    Attributes:
        name: Name of the package that holds it.
        weight: Its weight in the run's score.
        gates: Whether it decides.
        timeout: Most seconds that a caller waits: the hook's own `BEHIND_SECONDS` count from when its turn comes.
        source: Where its scores come from.
        judge: As in `Gate`.
        needs_text: Whether it looks at what the run delivered.
    """

    weight: Final = 1.0
    gates: Final = True
    timeout: Final = 60.0
    source: Final = "hook"
    judge: Final = ""
    needs_text: Final = False

    def __init__(self, implementation: Implementation) -> None:
        self.name = implementation.plugin
        self._implementation = implementation

    def score(self, output: RunOutput) -> float | None:
        """Return the score that it gives a run; None where it has no opinion, raises, or takes too long."""
        done: SimpleQueue[None] = SimpleQueue()
        hop = Hop(
            "score_team_run",
            [self._implementation],
            {"run": output.run},
            BEHIND_SECONDS,
            contextvars.Context(),
            then=lambda _: done.put(None),
        )
        hop.next()
        try:
            done.get(timeout=self.timeout)
        except Empty:
            hop.expire()
        value: float | None = hop.answers[0].value if hop.answers else None
        return value


class AddedScorer:
    """A scorer that a third party added, with what it says of itself as far as that makes sense.

    Its scores are a third party's, whatever it says: only a person's and a command's are what judges are compared with.

    Attributes:
        name: Its name.
        weight: Its weight in the run's score.
        gates: Whether it decides.
        timeout: Most seconds that it may take.
        source: Where its scores come from.
        judge: As in `Gate`.
    """

    source: Final = "hook"
    judge: Final = ""

    def __init__(self, scorer: Any) -> None:
        self.name: str = scorer.name
        self.weight = _positive(getattr(scorer, "weight", 1.0), 1.0, MOST_WEIGHT)
        self.gates = getattr(scorer, "gates", True) is not False
        self.timeout = _positive(getattr(scorer, "timeout", ADDED_SECONDS), ADDED_SECONDS, sys.float_info.max)
        self.score = scorer.score

    @classmethod
    def all_of(cls, scorers: Iterable[Any]) -> list[AddedScorer]:
        """Return those that can be read; one that raises keeps none of the others from scoring."""
        found = []
        for scorer in scorers:
            with failsafe.guard("scorer of a hook package", foreign=True):
                found.append(cls(scorer))
        return found


def _positive(value: Any, otherwise: float, most: float) -> float:
    return float(value) if isinstance(value, int | float) and 0 < value <= most else otherwise


MAKERS: Final[dict[str, Callable[..., Any]]] = {}
"""What makes the scorers of a kind that only the host can make, by kind; the host fills it."""


def scorers_for(quality: QualitySettings, theirs: Iterable[Any]) -> list[Any]:
    """Return the scorers of a team, one of each name.

    Where two have one name, the settings' own wins, then what `add_scorers` gave; that is said once.

    Args:
        quality: The team's settings.
        theirs: The scorers of third parties, in the order in which they win.
    """
    found = list(scorers_of(quality, MAKERS))
    taken = {one.name for one in quality.scorers}
    for scorer in theirs:
        if scorer.name in taken:
            failsafe.log_once(
                ("scorer", scorer.name),
                "autotune: scorer %r of a hook package is not asked: another scorer of the team has its name",
                scorer.name,
            )
            continue
        taken.add(scorer.name)
        found.append(scorer)
    return found
