"""What a scorer is, and what it gets."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from attrs import field, frozen

from .._model.run import TeamRun
from .._model.score import ScoreSource
from .._model.scorer_settings import ScorerSettings


@frozen
class RunOutput:
    """What a scorer gets of a run. It is in memory only, and goes when the run is scored.

    Attributes:
        run: The run.
        text: What the team delivered.
        members: What each member delivered, by id.
        project: Folder that the run worked in.
    """

    run: TeamRun
    text: str = field(repr=False)
    members: Mapping[str, str] = field(factory=dict, repr=False)
    project: Path = field(factory=Path)


@frozen
class Scored:
    """What a scorer may give in place of a bare number.

    Attributes:
        value: From 0 to 1; None for no opinion.
        why: Why there is none, in a word or two that hold nothing of the output.
        cost_usd: What it cost in US dollars; None where that is not known.
        details: Plain numbers that tell more, as in `Score`.
        judge: Digest of the model as judge that was really asked; empty for the scorer's own.
    """

    value: float | None
    why: str = ""
    cost_usd: float | None = None
    details: Mapping[str, Any] = field(factory=dict)
    judge: str = ""


Answer: TypeAlias = float | Scored | None
"""What a scorer says of a run."""


@runtime_checkable
class Scorer(Protocol):
    """Scores the work of runs. The hook `add_scorers` returns some; all but `name` and `score` may be left out.

    Attributes:
        name: Its name, unique among the team's scorers.
        weight: Its weight in the run's score, 1 by default.
        gates: Whether it decides, as it does by default; else it is only shown.
        timeout: Most seconds that it may take, 60 by default.
    """

    name: str

    def score(self, output: RunOutput) -> Answer | Awaitable[Answer]:
        """Score a run, on a thread of the plugin's own; a coroutine runs on an event loop of its own there.

        Args:
            output: The run and what it delivered.

        Returns:
            From 0 to 1, a `Scored` that tells more than that, or None for no opinion.
        """


class SettingsScorer:
    """What the scorers that settings describe have in common.

    Attributes:
        settings: Its settings.
        name: As in `Scorer`, like `weight`, `gates` and `timeout`.
        source: Where its scores come from, as in `Score`.
        judge: As in `Score`.
        needs_text: Whether it looks at what the run delivered.

    Args:
        settings: Its settings.
    """

    source: ScoreSource = "check"
    judge = ""
    needs_text = True

    def __init__(self, settings: ScorerSettings) -> None:
        self.settings = settings
        self.name = settings.name
        self.weight = settings.weight
        self.gates = settings.gates
        self.timeout = settings.timeout
