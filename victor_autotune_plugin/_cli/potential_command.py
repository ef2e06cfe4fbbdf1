"""`potential`: what could be saved a week, what that rests on, and what is missing to know more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import rendering as show
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen
from .project import opened

if TYPE_CHECKING:
    from .._tuning.potential import Potential, Range


def potential(
    name: TeamName = None, project: Project = HERE, workflow: Workflow = None, team: Team = None, as_json: Json = False
) -> None:
    """Show what could be saved on each team in a week, in time and money, and what is missing to know more.

    It works in every mode, `observe` too, and changes nothing. An expected
    figure comes with its 90 % interval; what is not known has no figure.
    """
    from .._tuning.potential import potential_of

    with opened(project) as session:
        states = session.teams(workflow, chosen(name, team))
        store, runtime = session.store, session.runtime
        found = []
        if store is not None:
            found = [
                potential_of(store, state, runtime.resolver.for_team(*state.key), runtime.hooks) for state in states
            ]
    found.sort(key=_saved, reverse=True)
    if as_json:
        show.write_json({"teams": [one.to_dict() for one in found]})
        return
    if not found:
        show.say("No team has run here yet.")
    for one in found:
        _print(one)


def _saved(one: Potential) -> tuple[float, float]:
    expected = one.improvement[0] if one.improvement is not None else -1.0
    return (one.seconds_per_week[0] if one.seconds_per_week is not None else -1.0), expected


def _print(one: Potential) -> None:
    show.say(f"{show.clean(one.team_id)} ({show.clean(one.workflow)})", "bold")
    weekly = "not known: fewer than 5 runs in 4 weeks"
    if one.runs_per_week is not None:
        weekly = f"{one.runs_per_week:,.0f} a week"
    rows: list[tuple[str, object]] = [("Runs", weekly)]
    if one.plan is not None and one.improvement is not None:
        rows.append(("Being tested" if one.is_tested else "Best change", one.plan))
        rows.append(("Time", _share(one.improvement)))
        if one.seconds_per_week is not None:
            rows.append(("Saved a week", _range(one.seconds_per_week, _time)))
        if one.cost_improvement is not None:
            rows.append(("Cost", _share(one.cost_improvement)))
        if one.usd_per_week is not None:
            rows.append(("Saved a week", _range(one.usd_per_week, _usd)))
        rows.append(("Rests on", "; ".join(one.rests_on)))
    else:
        rows.append(("Potential", one.because or "Nothing better is known."))
    if one.opened:
        best = one.opened[0]
        rows.append(("A scorer opens", f"{best.plan.describe()}: {show.percent(best.improvement)} better expected"))
    for place, missing in enumerate(one.missing):
        rows.append(("Missing" if not place else "", missing))
    show.out().print(show.pairs(rows))


def _share(effect: Range) -> str:
    expected, low, high = effect
    word = "less" if expected >= 0 else "more"
    return f"{show.percent(abs(expected))} {word} expected ({_signed(low)} to {_signed(high)})"


def _signed(improvement: float) -> str:
    return f"{'−' if improvement >= 0 else '+'}{show.percent(abs(improvement))}"


def _range(values: Range, told: object) -> str:
    assert callable(told)
    expected, low, high = (told(value) for value in values)
    return f"{expected} ({low} to {high})"


def _time(seconds: float) -> str:
    sign, size = ("−" if seconds < 0 else ""), abs(seconds)
    for unit, name in ((3600.0, "h"), (60.0, "min")):
        if size >= unit:
            return f"{sign}{size / unit:.1f} {name}"
    return f"{sign}{size:.0f} s"


def _usd(dollars: float) -> str:
    return f"{'−' if dollars < 0 else ''}{abs(dollars):.2f} USD"
