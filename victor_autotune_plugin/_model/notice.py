"""What a team or a person outside of the process is told of: events, and the webhooks that get them."""

from __future__ import annotations

import hashlib
from typing import Any, Final, Literal, get_args

from attrs import frozen

from .quantities import DEFAULT_ENVIRONMENT, Name, UnixTime

NoticeEvent = Literal[
    "awaits_approval",
    "proven",
    "probation",
    "rolled_back",
    "reverifying",
    "budget_reached",
    "judge_lost_trust",
    "test",
]
"""What happened: a person is asked; a plan is proven and live; one is live while its test goes on; the plan before is
live again; a live plan is compared with the one before; a limit of money or bad runs is reached; a model as judge
decides no more; or someone tries the webhook."""

EVENTS: Final[tuple[str, ...]] = tuple(event for event in get_args(NoticeEvent) if event != "test")
"""The events that a webhook may ask for."""

FORMATS: Final = ("json", "slack")
"""What a webhook may get: a JSON object of fields, or a message that Slack and what is compatible with it show."""


@frozen
class Webhook:
    """An address that notices go to.

    Attributes:
        name: Its name in the settings.
        url: The address; empty where `url_env` names it.
        url_env: Environment variable that holds the address, where that is a secret.
        format: One of `FORMATS`.
        secret_env: Environment variable that holds the secret by which notices are signed; empty for no signature.
        events: The events that it gets.
    """

    name: Name
    url: str = ""
    url_env: str = ""
    format: str = "json"
    secret_env: str = ""
    events: tuple[str, ...] = EVENTS

    def to_dict(self) -> dict[str, Any]:
        """Return it as a person would write it, without its name."""
        written = {
            "url": self.url,
            "url_env": self.url_env,
            "format": self.format,
            "secret_env": self.secret_env,
            "events": list(self.events),
        }
        return {key: value for key, value in written.items() if value}


@frozen
class Notice:
    """One thing to tell. It holds no prompt and no output.

    Attributes:
        id: Unique id; a notice that comes twice has the same.
        event: What happened.
        at: Unix time, seconds.
        title: What happened, in a line for people.
        text: Why.
        workflow: Workflow name; empty where it is about no single team.
        team_id: Team step id; empty as well.
        environment: Environment that the team runs in.
        experiment_id: The experiment behind it, or None.
        improvement_percent: Proven or likely improvement in percent, or None.
        command: The command that answers it or shows more.
    """

    id: Name
    event: NoticeEvent
    at: UnixTime
    title: str
    text: str
    workflow: str = ""
    team_id: str = ""
    environment: Name = DEFAULT_ENVIRONMENT
    experiment_id: str | None = None
    improvement_percent: float | None = None
    command: str = ""


def notice_id(*parts: object) -> str:
    """Return the id of a notice: the same parts give the same one."""
    return hashlib.sha256("\0".join(map(str, parts)).encode(errors="replace")).hexdigest()[:24]
