"""What the settings accept as webhooks: `notify`, by name.

No secret may stand in a settings file, which others read and which ends up in a repository: neither the one that
notices are signed with nor an address that anybody could write to who knows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import frozen

from .._model.notice import EVENTS, FORMATS, Webhook
from .._values.fields import Choice, Kind, NameList, Text
from .._values.names import did_you_mean
from .._values.nodes import Node, Scalar, Table, WrongValueError
from .parts_by_name import NOT_BLANK, PartsByName

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SECRET_HOSTS: Final = ("hooks.slack.com", "discord.com", "discordapp.com", "webhook.office.com", "chat.googleapis.com")
"""Hosts that take a message from everybody who knows the address."""

_EXAMPLE: Final = "{ops: {url: https://ops.example.com/victor, secret_env: OPS_WEBHOOK_SECRET}}"


@frozen
class _WebAddress(Kind):
    """An http or https address without a secret. Errors don't show it, since it may hold one after all."""

    def read(self, node: Node) -> str:
        text = Text().read(node).strip()
        try:
            parts = urlsplit(text)
            host = parts.hostname or ""
            usable = parts.scheme in ("http", "https") and bool(host) and text.isprintable() and " " not in text
            usable = usable and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            hint = "Write one such as https://ops.example.com/hook."
            raise WrongValueError("this is not a web address", hint, node.where)
        if "@" in parts.netloc:
            hint = "Leave user and password out, or write url_env and the name of a variable that holds the address."
            raise WrongValueError("the address holds a password", hint, node.where)
        if any(host == known or host.endswith(f".{known}") for known in _SECRET_HOSTS):
            hint = "Write url_env: SLACK_WEBHOOK_URL, and set that environment variable to the address."
            raise WrongValueError(f"an address of {host} is a secret, which this file must not hold", hint, node.where)
        return text

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": r"^\s*https?://[^\s@]+\s*$"}


@frozen
class _Variable(Kind):
    """The name of an environment variable. Errors don't show what stands there, which may be the secret itself."""

    def read(self, node: Node) -> str:
        text = node.value if isinstance(node, Scalar) else None
        if isinstance(text, str) and _VARIABLE.fullmatch(text) and text.upper() == text:
            return text
        hint = "Write the name in capitals, such as OPS_WEBHOOK_SECRET, and set that variable where teams run."
        raise WrongValueError("this is not the name of an environment variable", hint, node.where)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^[A-Z_][A-Z0-9_]{0,127}$"}


_OPTIONS: Final[Mapping[str, Kind]] = {
    "url": _WebAddress(),
    "url_env": _Variable(),
    "format": Choice("format", FORMATS),
    "secret_env": _Variable(),
    "events": NameList(Choice("event", EVENTS), least=1),
}


@frozen
class Webhooks(PartsByName[Webhook]):
    """Webhooks by name."""

    def no_mapping(self, node: Node) -> WrongValueError:
        """Return the error, which does not show what stands there: it may be a secret."""
        hint = f"Write names, each with its webhook: {_EXAMPLE}."
        return WrongValueError("this is not a mapping", hint, node.where)

    def read_part(self, name: str, node: Node) -> Webhook:
        """Return the webhook that stands under a name."""
        return _webhook(name, node)

    def schema(self) -> dict[str, Any]:
        """Return a mapping of webhooks, each with one address."""
        properties = {name: kind.schema() for name, kind in _OPTIONS.items()}
        webhook = {
            "type": "object",
            "properties": properties,
            "oneOf": [{"required": ["url"]}, {"required": ["url_env"]}],
            "additionalProperties": False,
        }
        return {"type": ["object", "null"], "propertyNames": NOT_BLANK, "additionalProperties": webhook}


def _webhook(name: str, node: Node) -> Webhook:
    if not isinstance(node, Table):
        raise WrongValueError(f"{name} is not a mapping", f"Write what it needs: {_EXAMPLE}.", node.where)
    read: dict[str, Any] = {}
    for key, value in node.pairs:
        option = str(key.value)
        if option in read:
            raise WrongValueError(f"{name}.{option} is given twice", "Leave one of them out.", key.where)
        if option in ("secret", "token", "password"):
            hint = "Write secret_env: NAME, and set that environment variable to the secret where teams run."
            raise WrongValueError(f"{name}.{option}: a secret must not stand in the settings", hint, key.where)
        if option not in _OPTIONS:
            raise WrongValueError(f"{name}.{option} is not known", did_you_mean(option, _OPTIONS), key.where)
        try:
            read[option] = _OPTIONS[option].read(value)
        except WrongValueError as wrong:
            place = wrong.where or value.where
            raise WrongValueError(f"{name}.{option}: {wrong.message}", wrong.hint, place) from wrong
    if ("url" in read) == ("url_env" in read):
        both = "both url and url_env" if "url" in read else "no address"
        hint = "Write url, or url_env with the name of an environment variable that holds it."
        raise WrongValueError(f"{name} has {both}", hint, node.where)
    return Webhook(name, **read)


def plain_webhooks(webhooks: tuple[Webhook, ...]) -> dict[str, Any]:
    """Return webhooks as a person would write them."""
    return {one.name: one.to_dict() for one in webhooks}
