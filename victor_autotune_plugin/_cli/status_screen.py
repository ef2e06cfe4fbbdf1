"""What `status` shows: what awaits a person, then a row for each team, then what a person should know of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._model.experiment import TESTED
from .._settings.trust import TRUST_COMMAND
from . import rendering as show
from .awaiting import print_decisions
from .price_source import price_source_text
from .status import TeamFacts, potential_pointer

if TYPE_CHECKING:
    from rich.text import Text

    from .._page.outcome import PlanOutcome
    from .._settings import SettingsResolver


def print_status(
    facts: Sequence[TeamFacts], resolver: SettingsResolver, *, all_paused: bool, scoring_cost: float
) -> None:
    """Print what is known of some teams.

    Args:
        facts: The teams.
        resolver: The project's settings.
        all_paused: Whether all tuning is paused.
        scoring_cost: What scoring has cost in the last 7 days, US dollars.
    """
    print_decisions(facts)
    if all_paused:
        show.say("All tuning is paused: victor autotune resume --all", "yellow")
    if resolver.ignored is not None:
        paths = show.listed(one.path for one in resolver.ignored.settings)
        show.say(f"Ignored until you trust the project: {show.clean(paths)}. {TRUST_COMMAND}", "yellow")
    for one in facts:
        if one.trouble is not None:
            show.say(f"{show.clean(one.state.team_id)}: {one.trouble}", "red")
    if not facts:
        return
    _print_table(facts)
    differing = [(one.state.team_id, one.modes.sentence) for one in facts if one.modes.sentence is not None]
    if differing:
        show.out().print(show.pairs((show.clean(team), said) for team, said in differing))
    for one in facts:
        said = one.quality.summary()
        if said is not None:
            show.say(f"{show.clean(one.state.team_id)}: {show.clean(said)}", "dim")
    pointer = next(filter(None, map(potential_pointer, facts)), None)
    if pointer is not None:
        show.say(pointer, "dim")
    spent = f"; scoring cost {show.usd(scoring_cost)} in 7 days" if scoring_cost else ""
    show.say(f"prices: {price_source_text(resolver, with_date=False)}{spent}", "dim")


def _print_table(facts: Sequence[TeamFacts]) -> None:
    table = show.table("Team", "Live plan", "Was → now", "State, next")
    for one in facts:
        success = f"{show.percent(one.figures.success_rate)} ok" if one.figures.runs else None
        table.add_row(
            show.lines(
                show.name(one.state.team_id),
                show.name(one.state.workflow),
                show.count(one.figures.runs, "run"),
                success,
            ),
            show.lines(
                show.plan_text(one.plan),
                _mode(one),
                None if one.flow is None else f"data flow {one.flow.knowledge.verdict}",
            ),
            _was_now(one),
            standing_cell(one),
        )
    show.out().print(table)
    show.say("Was → now: plan before → new plan, runs of the same time; details: explain TEAM", "dim")


def _mode(one: TeamFacts) -> str:
    modes = one.modes
    differs = None if modes.because is None else f"ran {modes.last}"
    return ", ".join(filter(None, (f"mode {modes.configured}", "paused" if one.state.paused else None, differs)))


def _was_now(one: TeamFacts) -> Text:
    """Return what the live plan brought, else how the team does."""
    from .._page.figure_words import FIGURE_TITLES, change_text, is_clear, shown_figures, sure_text, was_now

    outcome = one.outcome
    if outcome is None or not outcome.figures:
        told = f"median {show.seconds(one.figures.median_seconds)}" if one.figures.runs else show.DASH
        return show.lines(told, None if outcome is None or not outcome.is_live else _not_measured(outcome))
    first, *others = shown_figures(outcome)
    known = [change_text(first), sure_text(first)]
    also = [f"{FIGURE_TITLES[one.name]} {change_text(one)}" for one in others if is_clear(one) and one.name != "tokens"]
    return show.lines(was_now(first), ", ".join(filter(None, known)), *also, _basis(outcome))


def _basis(outcome: PlanOutcome) -> str:
    counted = " + ".join(f"{outcome.runs[arm]:,}" for arm in ("control", "treatment"))
    if outcome.not_measured_since is not None:
        return f"{counted} runs; {_not_measured(outcome)}"
    if outcome.basis == "since_promotion":
        return f"{counted} runs since"
    if outcome.status in TESTED:
        return f"{counted} runs so far"
    return f"test of {show.when(outcome.last_at)[:10]}, {counted} runs"


def _not_measured(outcome: PlanOutcome) -> str | None:
    since = outcome.not_measured_since
    return "too few runs to tell" if since is None else f"not measured since {show.when(since)}"


def standing_cell(one: TeamFacts) -> Text:
    """Return where the open experiments stand, and what the last verdict was, in a few words."""
    cells: list[object] = []
    for standing in one.standings:
        runs = standing.runs_by_arm
        takes = standing.experiment.takes_runs
        counted = f" {runs.get('control', 0)} + {runs.get('treatment', 0)}" if takes else ""
        told = [show.text(f"{standing.title}{counted}"), standing.brief, standing.p95]
        cells += [part for part in told if part is not None]
    open_now = [standing.experiment for standing in one.standings]
    replaced = (
        one.decided is not None and one.decided.status == "superseded" and any(test.is_verified for test in open_now)
    )
    last = None if one.decided in open_now or replaced else one.verdict_text()
    cells += [] if last is None else [f"last: {last}"]
    if one.standings:
        return show.lines(*cells)
    return show.lines("observed" if one.mode in ("off", "observe") else "no open test", *cells)
