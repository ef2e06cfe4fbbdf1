"""Which changes of a team are told to webhooks, and in which words."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from .._model.notice import Notice, NoticeEvent, Webhook, notice_id
from .._model.text import clean
from .worse_work import REACHED

if TYPE_CHECKING:
    from .._model.experiment import Change, Experiment
    from ..storage import Transaction

_LONGEST: Final = 1_000

_TITLES: Final = {
    "awaits_approval": "a change awaits your answer",
    "proven": "a faster or better plan is proven and live",
    "probation": "a plan is live on probation, while its test goes on",
    "rolled_back": "the changed plan is no longer live",
    "reverifying": "the live plan is compared with the one before again",
    "budget_reached": "a limit of its tests is reached",
    "judge_lost_trust": "a model as judge decides no more",
}

_ASKING: Final = ("awaits_approval", "awaits_promotion")
_OF_THE_CAP: Final = {"cost_usd"}
"""What the evidence of a change holds, and nothing else, where the cost cap of a run was reached."""


def events_of(change: Change, experiment: Experiment | None) -> Iterator[NoticeEvent]:
    """Give the events that a line of the history is.

    Args:
        change: The line.
        experiment: The experiment behind it, or None.
    """
    if change.action in _ASKING:
        yield "awaits_approval"
    elif change.action == "promoted":
        if experiment is not None and experiment.verdict is not None:  # else a person applied it
            yield "proven"
    elif change.action == "probation":
        yield "probation"
    elif change.action == "reverifying":
        yield "reverifying"
    elif change.action == "judge_distrusted":
        yield "judge_lost_trust"
    elif change.action == "rolled_back" or (
        change.action in ("failed", "inconclusive", "aborted") and change.plan_before != change.plan_after
    ):
        yield "rolled_back"
    if change.actor == "auto" and (REACHED in change.evidence or set(change.evidence) == _OF_THE_CAP):
        yield "budget_reached"


def notices_of(change: Change, experiment: Experiment | None) -> Iterator[Notice]:
    """Give the notices of a line of the history, which has its id by now."""
    for event in events_of(change, experiment):
        told = change.reason
        if event == "awaits_approval" and experiment is not None and experiment.description not in told:
            told = f"{experiment.description} {told}"
        yield _notice(event, change, told, change.id)


def notice_of_asking(test: Experiment, at: float) -> Notice:
    """Return the notice that a person is asked whether a test's plan goes on probation.

    Args:
        test: The test.
        at: When, Unix seconds.
    """
    told = f"{test.description} It is likely to be better: may it go live on probation, while its test goes on?"
    return Notice(
        notice_id(test.id, "probation", at),
        "awaits_approval",
        at,
        _title("awaits_approval", test.team_id),
        _cut(told),
        test.workflow,
        test.team_id,
        test.environment,
        test.id,
        command=_command("approve", test.team_id, test.workflow),
    )


def notice_of_cap(at: float, day: float, cap: float, environment: str) -> Notice:
    """Return the notice that scorers have spent what they may in a day; every process has the same one.

    Args:
        at: When, Unix seconds.
        day: When the day began, Unix seconds.
        cap: What they may spend, US dollars.
        environment: The environment of the runs.
    """
    told = (
        f"Scorers have spent the {cap:g} USD that quality.max_cost_usd_per_day allows. Those that cost give no opinion "
        "until 0:00 UTC, and tests that rest on them wait."
    )
    title = "Scorers have reached what they may cost in a day"
    command = "victor autotune status"
    return Notice(
        notice_id("scorers' cost", environment, day), "budget_reached", at, title, told,
        environment=environment, command=command,
    )  # fmt: skip


def write_notices(transaction: Transaction, webhooks: Iterable[Webhook], notices: Iterable[Notice]) -> None:
    """Put notices into the outbox, for the webhooks that want them."""
    hooks = tuple(webhooks)
    for notice in notices if hooks else ():
        targets = [hook.name for hook in hooks if notice.event in hook.events]
        if targets:
            transaction.add_notice(notice, targets)


def _notice(event: NoticeEvent, change: Change, told: str, number: int | None) -> Notice:
    verb = "approve" if event == "awaits_approval" else "explain"
    return Notice(
        notice_id(change.environment, change.workflow, change.team_id, number, change.at, event),
        event,
        change.at,
        _title(event, change.team_id),
        _cut(told),
        change.workflow,
        change.team_id,
        change.environment,
        change.experiment_id,
        change.improvement_percent,
        _command(verb, change.team_id, change.workflow),
    )


def _title(event: NoticeEvent, team_id: str) -> str:
    return f"Team {clean(team_id)}: {_TITLES[event]}"


def _cut(told: str) -> str:
    return clean(told)[:_LONGEST]


def _command(verb: str, team_id: str, workflow: str) -> str:
    return f"victor autotune {verb} {shlex.quote(clean(team_id))} --workflow {shlex.quote(clean(workflow))}"
