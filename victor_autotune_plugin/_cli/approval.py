"""`approve` and `reject`: a person's answer to what the plugin asks, for exactly the change that was shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from .._model.run import ARMS
from ..errors import AutotuneError
from . import rendering as show
from .command import ExitCode
from .console import is_terminal
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen
from .project import opened
from .status import TeamFacts, team_facts

if TYPE_CHECKING:
    from .._model.experiment import Experiment
    from .._tuning.standing import Standing
    from ..storage import Store
    from .project import OpenProject

Id = Annotated[
    str | None,
    typer.Option("--id", metavar="ID", help="Id of what was shown; without it you are asked on the terminal."),
]
Name = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who answers, for the history.", show_default="your user")
]

_ALLOWED_BY: Final = {
    "data_flow": "it keeps the work, by the team's data flow",
    "score": "it may change the work, which a scorer grades",
    "person": "it may change the work, so a person decides",
}
_DONE: Final = {
    ("approve", "start"): "approved; its test starts with the next run",
    ("approve", "probation"): "approved; the plan is live on probation, while its test goes on",
    ("approve", "promotion"): "approved; the plan is live, and verified with every run",
    ("reject", "start"): "rejected; its test does not start",
    ("reject", "probation"): "rejected; its test goes on, and the plan goes live only when it is proven",
    ("reject", "promotion"): "rejected; the plan does not go live",
}


def approve(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    experiment_id: Id = None,
    by: Name = None,
    as_json: Json = False,
) -> None:
    """Approve what awaits you: the start of a test, a probation, or a promotion.

    It shows the change, what it does and its guardrails, and asks. Without a
    terminal, name what was shown with --id.
    """
    _answer("approve", chosen(name, team), project, workflow, experiment_id, by, "", as_json=as_json)


def reject(
    name: TeamName = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    experiment_id: Id = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")] = "",
    by: Name = None,
    as_json: Json = False,
) -> None:
    """Reject what awaits you: a test does not start, or a plan does not go live.

    A test whose plan was to go on probation goes on until it is proven.
    """
    _answer("reject", chosen(name, team), project, workflow, experiment_id, by, reason, as_json=as_json)


def _answer(
    answer: str,
    team_id: str | None,
    project: Path,
    workflow: str | None,
    experiment_id: str | None,
    by: str | None,
    reason: str,
    *,
    as_json: bool,
) -> None:
    from .._model.process import person_name

    who = person_name(by)
    with opened(project, sends_notices=True) as session:
        facts, asked = _asked(session, team_id, workflow, experiment_id)
        store, decision = session.store, asked.decision
        assert store is not None
        assert decision is not None
        if not as_json:
            _show(store, facts, asked)
        if experiment_id is None:
            _ask(answer, asked, can_ask=not as_json)
        key, manual = facts.state.key, session.runtime.manual
        if answer == "approve":
            change = manual.approve(*key, experiment_id=decision.experiment_id, by=who)
        else:
            change = manual.reject(*key, experiment_id=decision.experiment_id, by=who, reason=reason)
    if as_json:
        told = {"answer": answer, "asked": asked.to_dict(), "experiment": asked.experiment.to_dict()}
        show.write_json({**told, "change": change.to_dict()})
    else:
        show.say(f"{facts.state.team_id}: {_DONE[answer, decision.asks]}.")


def _asked(
    session: OpenProject, team_id: str | None, workflow: str | None, experiment_id: str | None
) -> tuple[TeamFacts, Standing]:
    """Return what awaits a person of the team that is meant.

    Raises:
        AutotuneError: There is no such team, or nothing of it awaits a person.
    """
    states = session.teams(workflow, team_id)
    if session.store is not None and experiment_id is not None:  # the id tells teams of one name apart
        waiting = {(one.workflow, one.team_id) for one in _awaiting(session.store) if one.id == experiment_id}
        states = [one for one in states if one.key in waiting] or states
    state = states[0] if len(states) == 1 else session.team(team_id, workflow)
    facts = team_facts(session, state)
    found = [one for one in facts.standings if one.decision is not None and one.decision.asks != "keep"]
    asked = next((one for one in found if experiment_id in (None, one.experiment.id)), None)
    if asked is not None:
        return facts, asked
    what, hint = "nothing awaits a person", "See what does: victor autotune status"
    if experiment_id is not None:
        what = f"{experiment_id} awaits no person's answer"
        if any(one.id == experiment_id for one in _awaiting(session.store)):
            what += " any more, since the team changed"
        if found:
            hint = f"What awaits one is {found[0].experiment.id}: {found[0].experiment.description}"
    raise AutotuneError(f"team {state.team_id!r} of workflow {state.workflow!r}: {what}", hint=hint)


def _awaiting(store: Store | None) -> list[Experiment]:
    return [] if store is None else store.experiments_that_await()


def _ask(answer: str, asked: Standing, *, can_ask: bool) -> None:
    """Ask on the terminal.

    Raises:
        AutotuneError: There is no terminal to ask on.
        typer.Exit: The person said no.
    """
    import click

    if can_ask and is_terminal(sys.stdin):
        try:
            if typer.confirm(f"{answer.capitalize()}?", default=False, err=True):
                return
        except click.Abort:
            pass
        show.say("Nothing is changed.")
        raise typer.Exit(ExitCode.BAD)
    assert asked.decision is not None
    command = asked.decision.approve if answer == "approve" else asked.decision.reject
    hint = f"{answer.capitalize()} exactly what is shown: {command}"
    raise AutotuneError("no terminal to ask on", where=answer, hint=hint)


def _show(store: Store, facts: TeamFacts, asked: Standing) -> None:
    """Print what is decided: the change, its effect, and its guardrails."""
    from .explain_screen import guardrail_table

    experiment, verdict = asked.experiment, facts.verdict or {}
    assert asked.decision is not None
    show.say(f"{facts.state.team_id} ({facts.state.workflow}): {asked.decision.question}", "bold")
    rows: list[tuple[str, object]] = [
        ("Id", experiment.id),
        ("Change", experiment.description),
        ("Plan", f"{show.plan_text(experiment.control)} → {show.plan_text(experiment.treatment)}"),
        *([] if experiment.allowed_by is None else [("Allowed", _ALLOWED_BY[experiment.allowed_by])]),
    ]
    if asked.decision.asks == "start":
        expected = list(_expected(store, experiment))
        show.out().print(show.pairs([*rows, *expected]))
        return
    rows += [("Test says", verdict["reason"]), ("Effect", "; ".join(_effect(store, experiment, verdict)))]
    if asked.open:
        rows.append(("Not proven yet", show.listed(show.TITLES[name] for name in asked.open)))
    missing = verdict.get("missing") or {}
    if any(missing.values()):
        rows.append(("Missing runs", ", ".join(f"{missing.get(arm, 0)} {arm}" for arm in ARMS)))
    show.out().print(show.pairs(rows))
    show.out().print(guardrail_table(verdict))


def _expected(store: Store, experiment: Experiment) -> Iterator[tuple[str, object]]:
    """Give what a change that was not tested yet is expected to do, as the one who suggested it says."""
    lines = store.changes(experiment.workflow, experiment.team_id)
    said: Any = next((one.evidence for one in reversed(lines) if one.experiment_id == experiment.id), {})
    gain = said.get("expected_improvement")
    if isinstance(gain, int | float):
        yield "Expected", f"{show.percent(gain / 100)} better ({experiment.strategy}); no run has it yet"
    policy = experiment.policy
    yield "Its test", f"at most {show.count(policy.max_runs_per_arm, 'run')} in each arm, the first ones a canary"


def _effect(store: Store, experiment: Experiment, verdict: Any) -> Iterator[str]:
    """Give the effect in per cent with its interval, and of the duration in seconds."""
    low, high = verdict["interval"]
    ends = "no interval yet" if None in (low, high) else f"interval {show.interval(low, high)}"
    yield f"{show.TITLES[verdict['metric']]} {show.change(verdict['effect'])} ({ends})"
    seen = store.observations(experiment.id, "test")
    times = {arm: [one.duration_seconds for one in seen if one.arm == arm and not one.missing] for arm in ARMS}
    if all(times.values()):
        before, after = (median(times[arm]) for arm in ARMS)
        word = "less" if after <= before else "more"
        yield (
            f"a run takes {show.seconds(before)} → {show.seconds(after)} (median), "
            f"{show.seconds(abs(after - before))} {word}"
        )
