"""How the work of a team is scored: who decides, who does not and why, and what the scores say."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from .._model.run import TeamRun
from . import rendering as show

if TYPE_CHECKING:
    from .._model.experiment import TeamState
    from .._model.plan import TeamPlan
    from .._settings import Settings
    from .._tuning.gates import ScorerStatus
    from .._tuning.opened_by_scorer import Opened
    from ..storage import Store
    from ..storage.run_listing import ListedRun

_WEEK_SECONDS: Final = 7 * 86_400


@frozen
class QualityFacts:
    """What is known of a team's scores.

    Attributes:
        scorers: Who scores it, in the order of the settings, and whether each decides.
        scored: Of the runs that were looked at, those with a score.
        now: Mean score of the runs with the live plan; None without one.
        before: Mean score of those with the plan that it replaced; None without one.
        member_success_share: Mean share of members that succeeded; None without a run.
    """

    scorers: tuple[ScorerStatus, ...] = ()
    scored: int = 0
    now: float | None = None
    before: float | None = None
    member_success_share: float | None = None

    def mean_text(self) -> str | None:
        """Return the mean scores in words, or None where there is none."""
        if self.now is None and self.before is None:
            return None
        parts = [show.DASH if mean is None else show.number(mean) for mean in (self.before, self.now)]
        return parts[1] if self.before is None else f"{parts[0]} before, {parts[1]} now"

    def summary(self) -> str | None:
        """Return in a line who scores the team and what came of it; None where no scorer does."""
        deciding = [one.name for one in self.scorers if one.decides]
        others = [f"{one.name} does not decide ({one.why})" for one in self.scorers if not one.decides]
        parts = [f"scored by {show.listed(deciding)}"] if deciding else []
        if deciding:
            mean = self.mean_text()
            parts.append("from the next run on" if mean is None else f"mean {mean}")
        return "; ".join([*parts, *others]) or None

    def sentences(self) -> list[str]:
        """Return what is known of the scores in sentences, for the report; none without a run."""
        said = self.summary()
        told = [] if said is None else [f"{said[0].upper()}{said[1:]}."]
        if self.member_success_share is not None:
            told.append(f"{show.percent(self.member_success_share)} of the members say that they succeeded.")
        return told

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "scorers": [one.to_dict() for one in self.scorers],
            "scored_runs": self.scored,
            "mean_score": {"before": self.before, "now": self.now},
            "member_success_share": self.member_success_share,
        }


def quality_of(
    store: Store,
    state: TeamState,
    settings: Settings,
    runs: Sequence[TeamRun | ListedRun],
    live: TeamPlan,
    replaced: TeamPlan | None,
) -> QualityFacts:
    """Gather what is known of a team's scores.

    Args:
        store: The store.
        state: The team's state.
        settings: Its settings.
        runs: Its last runs.
        live: The plan of its next run outside of a test.
        replaced: The plan that this one replaced; None where none did.
    """
    from .._tuning.gates import scorers_now

    counted = [run for run in runs if not run.cancelled]
    scored = [run for run in counted if run.score is not None]
    return QualityFacts(
        scorers=scorers_now(store, state, settings),
        scored=len(scored),
        now=_mean(run.score for run in scored if _plan(run) == live),
        before=None if replaced in (None, live) else _mean(run.score for run in scored if _plan(run) == replaced),
        member_success_share=_mean(run.member_success_share for run in counted),
    )


def _plan(run: TeamRun | ListedRun) -> TeamPlan:
    return run.plan_asked if isinstance(run, TeamRun) else run.plan


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None


def cost_of_week(store: Store) -> float:
    """Return what scoring has cost in the last 7 days, US dollars, in the store's environment."""
    return store.scorer_cost_since(time.time() - _WEEK_SECONDS)


def print_quality(facts: QualityFacts, opened: Sequence[Opened], cost_usd: float) -> None:
    """Print who scores a team, what the scores say, and what a scorer would open."""
    console = show.out()
    rows: list[tuple[str, object]] = []
    for one in facts.scorers:
        weight = "" if one.gate is None or one.gate.weight == 1 else f", weight {one.gate.weight:g}"
        rows.append((show.clean(one.name), f"decides{weight}" if one.decides else f"does not decide: {one.why}"))
    if not facts.scorers:
        rows.append(("Scorers", "none; set some under quality.scorers"))
    if facts.mean_text() is not None:
        rows.append(("Mean score", f"{facts.mean_text()} ({show.count(facts.scored, 'scored run')})"))
    rows.append(("Members", f"{show.percent(facts.member_success_share)} of them succeeded"))
    if cost_usd:
        rows.append(("Scoring cost", f"{show.usd(cost_usd)} in the last 7 days, all teams"))
    console.print()
    console.print("Quality", style="bold")
    console.print(show.pairs(rows))
    if opened:
        table = show.table("A scorer would open", ">Expected", "Of", "Refused now because")
        for change in opened:
            table.add_row(
                show.text(show.plan_text(change.plan)),
                f"{show.percent(change.improvement)} better",
                show.text(show.TITLES.get(change.metric, change.metric)),
                show.text(change.refusal),
            )
        console.print(table)
