"""`savings`: what promotions have saved since, by team, by week, and in the whole store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from . import rendering as show
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen
from .project import opened

if TYPE_CHECKING:
    from rich.table import Table

    from .._page.ledger import PromotionSavings, Saved, SavingsLedger, TeamSavings

_MOST_WEEKS: Final = 12
"""Last weeks that are listed; `--json` has all."""

NOTHING_PROMOTED: Final = "No plan was promoted yet, so nothing is saved. What could be: victor autotune potential"


def savings(
    name: TeamName = None, project: Project = HERE, workflow: Workflow = None, team: Team = None, as_json: Json = False
) -> None:
    """Show what promoted plans have saved, against runs of the plans before from the same time.

    Every promotion counts, also one that was rolled back. An interval holds
    the truth with 95 %. Where no run has the plan before, nothing is told.
    """
    from .._page.ledger import SavingsLedger, savings_ledger

    team_id = chosen(name, team)
    with opened(project) as session:
        if team_id is None:
            session.teams(workflow)  # which says whether there is such a workflow
        key = (workflow, None) if team_id is None else session.team(team_id, workflow).key
        ledger = SavingsLedger({}, (), ()) if session.store is None else savings_ledger(session.store, *key)
    if as_json:
        show.write_json(ledger.to_dict())
    elif not ledger.teams:
        show.say(NOTHING_PROMOTED)
    else:
        _print(ledger, in_detail=team_id is not None)


def _print(ledger: SavingsLedger, *, in_detail: bool) -> None:
    from .._page.figure_words import KIND_TITLES

    measured, all_of_them = sum(bool(one.saved) for one in ledger.teams), show.count(len(ledger.teams), "team")
    teams = f"{measured} of {all_of_them}" if 0 < measured < len(ledger.teams) else all_of_them
    show.say(_headline(ledger, teams), "bold")
    told = {kind for kind, saved in ledger.saved.items() if saved.low or saved.high}
    kinds = [kind for kind in KIND_TITLES if kind in told] or ["seconds"]
    if in_detail:
        promotions = [one for team in ledger.teams for one in team.promotions]
        show.out().print(_table("Change", kinds, [(_change(one), one.saved, _why(one)) for one in promotions]))
    else:
        show.out().print(_table("Team", kinds, [(_team(one), one.saved, _live_why(one)) for one in ledger.teams]))
    weeks = ledger.weeks[-_MOST_WEEKS:]
    if len(weeks) > 1:
        days = [(show.lines(_day(one.start), show.count(one.runs, "run")), one.saved, None) for one in weeks]
        show.out().print(_table("Week from", kinds, days))
    show.say("95 % intervals, against runs of the plan before from the same time", "dim")


def _headline(ledger: SavingsLedger, teams: str) -> str:
    """Return what was surely saved, and lost, and where the runs show no clear difference."""
    from .._page.figure_words import KIND_TITLES, saved_amount

    known = {kind: saved for kind, saved in ledger.saved.items() if saved.low or saved.high}
    gains = [saved_amount(saved) for saved in known.values() if saved.low > 0]
    losses = [saved_amount(saved, lost=True) for saved in known.values() if saved.high < 0]
    unclear = [KIND_TITLES[kind] for kind, saved in known.items() if saved.low <= 0 <= saved.high]
    if not known:
        return f"{'No difference' if ledger.saved else 'Nothing measured yet'} in {teams}."
    said = [f"Saved in {teams}: {show.listed(gains)}."] if gains else [f"Nothing is clearly saved in {teams}."]
    said += [f"Lost: {show.listed(losses)}."] if losses else []
    said += [f"No clear difference: {show.listed(unclear)}."] if unclear else []
    return " ".join(said)


def _table(heading: str, kinds: list[str], rows: Iterable[tuple[Any, Mapping[str, Saved], str | None]]) -> Table:
    from .._page.figure_words import KIND_TITLES, amounts

    table = show.table(heading, *(f"{KIND_TITLES[kind].capitalize()} saved" for kind in kinds))
    for title, saved, why in rows:
        cells = []
        for kind in kinds:
            if kind in saved:
                value, low, high = amounts(saved[kind])
                cells.append(show.lines(value, None if low == high else f"{low} to {high}"))
            else:
                cells.append(show.text(show.DASH))
        if why is not None:
            cells[0] = show.lines(why) if kinds[0] not in saved else show.lines(*cells[0].split("\n"), why)
        table.add_row(title, *cells)
    return table


def _day(start: float) -> str:
    """Return the Monday of a week; it begins at midnight UTC."""
    return datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d")


def _team(one: TeamSavings) -> Any:
    promotions = show.count(len(one.promotions), "promotion")
    return show.lines(show.name(one.team_id), show.name(one.workflow), promotions)


def _live_why(one: TeamSavings) -> str | None:
    return _why(one.promotions[0]) if one.promotions else None


def _change(one: PromotionSavings) -> Any:
    until = "" if one.until is None else f" until {show.when(one.until)[:10]}"
    state = show.state_text(one.status)
    return show.lines(one.description, f"{state}, since {show.when(one.since)[:10]}{until}", _runs(one))


def _runs(one: PromotionSavings) -> str:
    return f"{one.compared:,} of {show.count(one.runs, 'run')} beside {one.runs_before:,} of the plan before"


def _why(one: PromotionSavings) -> str | None:
    from .._page.figure_words import not_saved_text

    return not_saved_text(one)
