"""Teams whose work is scored: settings of theirs, scorers that do what they are told, and what they delivered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import evolve, frozen

from victor_autotune_plugin import quality
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._model.score import Gate
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart, hookimpl

from .simulated import Simulation


@frozen(eq=False)
class Scorer:
    """A scorer that does what it is told."""

    name: str
    does: Callable[[quality.RunOutput], Any] = lambda _: 1.0
    source: str = "check"
    judge: str = ""
    timeout: float = 60.0

    def score(self, output: quality.RunOutput) -> Any:
        """Score it so."""
        return self.does(output)


class Adding:
    """A hook package that adds scorers."""

    def __init__(self, *scorers: Scorer) -> None:
        self.scorers = scorers

    @hookimpl
    def add_scorers(self) -> tuple[Scorer, ...]:
        """Add them to every team."""
        return self.scorers


def by_text(output: quality.RunOutput) -> float:
    """Score a run by the number that it delivered."""
    return float(output.text)


BY_TEXT: Final = {"python": "victor_autotune_testing.scored:by_text"}
"""The settings of a scorer that does."""


def have_quality(runtime: Runtime, **given: object) -> None:
    """Set how the work of a project's teams is scored, from the next run on."""
    runtime._overrides |= {f"quality.{name}": value for name, value in given.items()}
    runtime._resolver = runtime._load_settings()


def have_gates(team: Simulation, *gates: Gate) -> None:
    """Let scorers decide for the team, as its judge would save it."""
    with team.store.transaction() as transaction:
        transaction.save_team(evolve(team.state(), gates=gates))


def deliver(
    team: Simulation, text: str = "work", *, until: tuple[RunStart, PlannedRun] | None = None, **changes: Any
) -> TeamRun:
    """Make a run that delivers this, as the host hands it over."""
    event, planned = until or team.start()
    loop = team.runtime.loop
    finished = loop.finished

    def hand_over(run: TeamRun) -> None:
        loop.to_score(run, text, {"a": text})
        finished(run)

    loop.finished = hand_over  # type: ignore[method-assign]
    try:
        return team.finish(event, planned, **changes)
    finally:
        loop.finished = finished  # type: ignore[method-assign]


def stored_scores(team: Simulation, run: TeamRun) -> list[tuple[str, float | None, str]]:
    """Return the scores of a run in the store."""
    with team.store.reading() as transaction:
        return [(one.name, one.value, one.why) for one in transaction.scores_of(run.run_id)]
