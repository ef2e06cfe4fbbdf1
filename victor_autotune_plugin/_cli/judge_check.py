"""`judge-check`: whether a model as judge agrees with people and commands, and where it is biased."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from attrs import frozen

from .._values.names import did_you_mean
from ..errors import AutotuneError
from . import rendering as show
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen
from .project import opened

if TYPE_CHECKING:
    from .._model.experiment import TeamState
    from .._model.score import JudgedRun
    from .._settings import Settings
    from ..quality.agreement import Agreement, Bias, Trust
    from ..storage import Store

_MOST_JUDGED: Final = 500
"""How many of a judge's last runs are looked at, as where it is decided whether it is trusted."""


@frozen
class JudgeFacts:
    """What is known of a model as judge of a team.

    Attributes:
        workflow: The team's workflow.
        team_id: The team.
        name: The judge.
        judge: Digest of its rubric, model and version; empty before its first score.
        decides: Whether it decides for the team now.
        is_set: Whether the project's settings name it.
        gates: Whether they let it decide once it is trusted.
        scored: Runs that it scored, with an opinion.
        asked: Runs that it was asked about.
        cost_usd: What these cost; None where that is not known of any.
        trust: How far it agrees with the labels.
        bias: Where it errs by something other than the work.
    """

    workflow: str
    team_id: str
    name: str
    judge: str
    decides: bool
    is_set: bool
    gates: bool
    scored: int
    asked: int
    cost_usd: float | None
    trust: Trust
    bias: Bias

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        names = ("workflow", "team_id", "name", "judge", "decides", "is_set", "gates", "asked", "scored", "cost_usd")
        facts = {name: getattr(self, name) for name in names}
        return {**facts, "trust": self.trust.to_dict(), "bias": self.bias.to_dict()}


def judge_check(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    judge: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only the judge of this name.")] = None,
    as_json: Json = False,
) -> None:
    """Show how far each model as judge agrees with people and commands, and where it is biased.

    It decides once it agreed with 20 labels at an α of .7 (Krippendorff), of
    which a bootstrap's lower bound is at least .5; it ends at an α below .6
    over the last 30. The exit code is 0 also for a judge that is not trusted.
    """
    with opened(project) as session:
        states = session.teams(workflow, chosen(name, team))
        found: list[JudgeFacts] = []
        if session.store is not None:
            for state in states:
                found += judges_of(session.store, state, session.runtime.resolver.for_team(*state.key))
    if judge is not None:
        names = list(dict.fromkeys(one.name for one in found))
        found = [one for one in found if one.name == judge]
        if not found:
            hint = did_you_mean(judge, names) if names else "Set one: quality.scorers, with a rubric."
            raise AutotuneError(f"no model as judge is called {judge!r}", where="--name", hint=hint)
    if as_json:
        show.write_json({"judges": [one.to_dict() for one in found]})
        return
    if not found:
        show.say("No model judges here. One is set under quality.scorers, with a rubric.")
    for one in found:
        _print(one)


def judges_of(store: Store, state: TeamState, settings: Settings) -> Iterator[JudgeFacts]:
    """Give what is known of each model as judge that a team has in its settings or that scored it lately."""
    from .._tuning.gates import LOOKED_AT, scorers_now
    from ..quality.agreement import LabelledRun, bias, trust

    wanted = {one.name: one for one in settings.quality.scorers if one.kind == "rubric"}
    lately = [one for _, scores in store.team_scores(*state.key, LOOKED_AT) for one in scores if one.source == "model"]
    gates = {gate.name: gate.judge for gate in state.gates if gate.judge}
    asked_now = {one.name: one.judge for one in scorers_now(store, state, settings)}  # by what is set now
    for name in dict.fromkeys((*wanted, *gates, *(one.name for one in lately))):
        newest = max((one for one in lately if one.name == name and one.judge), key=lambda one: one.at, default=None)
        digest = asked_now.get(name) or ("" if newest is None else newest.judge) or gates.get(name, "")
        judged = store.judged_runs(*state.key, name, digest, _MOST_JUDGED) if digest else []
        labelled = [one for one in (LabelledRun.of(*run) for run in judged) if one is not None]
        yield JudgeFacts(
            *state.key,
            name=name,
            judge=digest,
            decides=bool(digest) and gates.get(name) == digest,
            is_set=name in wanted,
            gates=name not in wanted or wanted[name].gates,
            scored=sum(run.score.value is not None for run in judged),
            asked=len(judged),
            cost_usd=_cost(judged),
            trust=trust(labelled, before=gates.get(name) == digest),
            bias=bias(labelled),
        )


def _cost(judged: Iterable[JudgedRun]) -> float | None:
    known = [run.score.cost_usd for run in judged if run.score.cost_usd is not None]
    return math.fsum(known) if known else None


def _print(one: JudgeFacts) -> None:
    show.say(f"{show.clean(one.name)} of team {show.clean(one.team_id)} ({show.clean(one.workflow)})", "bold")
    asked = f"{show.count(one.asked, 'run')}, {one.scored} with an opinion"
    rows: list[tuple[str, object]] = [
        ("Decides", "yes" if one.decides else f"no: {_why_not(one)}"),
        ("Trust", one.trust.why),
        ("Agreement", _agreement(one.trust.agreement)),
        ("Last labels", _agreement(one.trust.recent)),
        ("Judged", asked),
        ("Cost", "not known" if one.cost_usd is None else f"{show.usd(one.cost_usd)} for these runs"),
    ]
    for arm, known in one.bias.arms.items():
        rows.append((f"Arm {arm}" if arm != "none" else "Outside tests", _agreement(known)))
    rows.append(("Length", _length(one.bias)))
    show.out().print(show.pairs(rows))
    if one.bias.positions:
        table = show.table(">Place in the list", ">Answers", ">Yes", ">Expected", "")
        for place in one.bias.positions:
            table.add_row(
                str(place.position),
                str(place.answers),
                show.percent(place.yes),
                show.percent(place.expected),
                show.text("biased" if place.is_clear else ""),
            )
        show.out().print(table)


def _why_not(one: JudgeFacts) -> str:
    if not one.gates:
        return "its settings say gates: false"
    if not one.judge:
        return "it has scored no run yet"
    if not one.trust.is_trusted:
        return "it is not trusted"
    return "it does from one of the next runs on" if one.is_set else "the settings name it no more"


def _agreement(known: Agreement) -> str:
    if not known.runs:
        return "no labels"
    labels = show.count(known.runs, "label")
    if known.alpha is None:
        return f"α without a value, since nothing varies; {labels}"
    bound = "" if known.low is None else f", at least {show.number(known.low)}"
    difference = known.difference or 0.0
    side = "higher" if difference > 0 else "lower"
    err = f"; {abs(difference):.2f} {side} than the labels" if abs(difference) >= 0.005 else ""
    return f"α {show.number(known.alpha)}{bound}; {labels}{err}"


def _length(bias: Bias) -> str:
    if bias.length_correlation is None:
        return "not known"
    likes = "long" if bias.length_correlation > 0 else "short"
    verdict = f"it likes {likes} texts" if bias.length_is_clear else "no clear bias"
    return f"{verdict}: correlation {show.number(bias.length_correlation)} over {show.count(bias.length_runs, 'run')}"
