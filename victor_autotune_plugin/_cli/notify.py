"""`notify`: which webhooks are told, what waits for them, and a trial."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer
from attrs import frozen

from .._values.names import did_you_mean
from ..errors import AutotuneError
from . import rendering as show
from .command import ExitCode
from .options import HERE, Json, Project
from .project import opened

if TYPE_CHECKING:
    from .._model.notice import Notice, Webhook
    from ..storage.outbox import WaitingNotice


@frozen
class WebhookFacts:
    """What is known of a webhook here.

    Attributes:
        webhook: The webhook.
        host: Host of its address; empty where that is not known here.
        waiting: How many notices wait for it.
        since: When the oldest of these was written, Unix seconds, or None.
        problem: Why nothing can be sent to it from here, or why the trial failed; empty where all is well.
        tried: Whether the trial was sent; None for no trial.
    """

    webhook: Webhook
    host: str
    waiting: int
    since: float | None
    problem: str
    tried: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data, without an address that a variable holds."""
        known = {"name": self.webhook.name, **self.webhook.to_dict(), "host": self.host, "waiting": self.waiting}
        return {**known, "since": self.since, "problem": self.problem, "tried": self.tried}


def notify(
    project: Project = HERE,
    test: Annotated[bool, typer.Option("--test", help="Send each webhook a notice that says it is a trial.")] = False,
    send: Annotated[bool, typer.Option("--send", help="Send what waits now, and don't wait for a run.")] = False,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Only the webhook of this name.")] = None,
    as_json: Json = False,
) -> None:
    """Show which webhooks are told, and what waits for them; or try them.

    They are set under notify in the settings. The exit code is 1 where a
    trial failed, or something that --send was to send still waits.
    """
    with opened(project) as session:
        webhooks = _chosen(session.runtime.options().notify, name, must_be=test or send)
        if send and session.store is not None:
            from .._tuning.notice_work import send_waiting

            send_waiting(session.runtime.store(), webhooks)
        waiting: list[WaitingNotice] = []
        if session.store is not None:
            with session.store.reading() as transaction:
                waiting = transaction.waiting_notices()
        found = [_facts(one, waiting, test=test, environment=session.runtime.environment) for one in webhooks]
    if as_json:
        show.write_json({"webhooks": [one.to_dict() for one in found]})
    else:
        _print(found, test=test)
    if any(one.tried is False or (send and one.waiting) for one in found):
        raise typer.Exit(ExitCode.BAD)


def _chosen(webhooks: tuple[Webhook, ...], name: str | None, *, must_be: bool) -> tuple[Webhook, ...]:
    if not webhooks and must_be:
        hint = "Name one under notify in .victor/autotune.yaml, and trust it: victor autotune trust"
        raise AutotuneError("no webhook is set", where="notify", hint=hint)
    chosen = tuple(one for one in webhooks if name in (None, one.name))
    if name is not None and not chosen:
        hint = did_you_mean(name, [one.name for one in webhooks])
        raise AutotuneError(f"no webhook is called {name!r}", where="--name", hint=hint)
    return chosen


def _facts(webhook: Webhook, waiting: list[WaitingNotice], *, test: bool, environment: str) -> WebhookFacts:
    from .._tuning.webhook import DeliveryError, address_of, deliver, key_of

    host, problem, tried = "", "", None
    try:
        host = urlsplit(address_of(webhook, os.environ)).hostname or ""
        key_of(webhook, os.environ)
        if test:
            tried = False
            deliver(webhook, _trial(environment), os.environ)
            tried = True
    except DeliveryError as error:
        problem, tried = f"{error.message}. {error.hint}", False if test else None
    mine = [one.notice.at for one in waiting if one.target == webhook.name]
    return WebhookFacts(webhook, host, len(mine), min(mine, default=None), problem, tried)


def _trial(environment: str) -> Notice:
    from .._model.notice import Notice, notice_id

    at = time.time()
    told = "This is a trial: notices of teams arrive here."
    return Notice(
        notice_id("test", at),
        "test",
        at,
        "A trial of victor autotune notify",
        told,
        environment=environment,
        command="victor autotune notify",
    )


def _print(found: list[WebhookFacts], *, test: bool) -> None:
    if not found:
        show.say("No webhook is told. Name one under notify in .victor/autotune.yaml.")
        return
    table = show.table("Webhook", "Host", "Format", "Signed", ">Waiting", "Trial" if test else "Can send")
    for one in found:
        said = "sent" if one.tried else "failed" if test else "no" if one.problem else "yes"
        table.add_row(
            show.clean(one.webhook.name),
            show.clean(one.host or "not known"),
            one.webhook.format,
            "yes" if one.webhook.secret_env else "no",
            str(one.waiting),
            show.text(said, "red" if one.problem else ""),
        )
    show.out().print(table)
    for one in found:
        if one.problem:
            show.say(f"{one.webhook.name}: {one.problem}", "red")
    if any(one.waiting for one in found):
        oldest = min(one.since for one in found if one.since is not None)
        show.say(
            f"The oldest waits since {show.when(oldest)}. A run sends it, or: victor autotune notify --send", "dim"
        )
