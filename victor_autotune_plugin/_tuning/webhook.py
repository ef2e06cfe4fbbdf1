"""Sends a notice to a webhook: the two bodies, the signature, and tries again where that may help.

A signature is made as the Standard Webhooks specification says: HMAC-SHA256 of `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit

from .._model.converter import to_plain
from .._model.notice import Notice, Webhook
from ..errors import AutotuneError

SEND_SECONDS: Final = 5.0
"""How long a webhook may take to connect, and then to answer."""

TRIES: Final = 3
"""How often a notice is sent before it is put off."""

RETRY_SECONDS: Final = 15.0
"""After so long no further try follows at once."""

_BUSY: Final = (408, 425, 429)
_ENCODED: Final = "whsec_"
# Begins a secret that is written in base64, as the specification has it.


class DeliveryError(AutotuneError):
    """A webhook did not take a notice."""


class RetryableDeliveryError(DeliveryError):
    """A webhook did not take a notice, and may do so in a moment."""


def address_of(webhook: Webhook, environ: Mapping[str, str]) -> str:
    """Return the address of a webhook.

    Args:
        webhook: The webhook.
        environ: The environment variables.

    Raises:
        DeliveryError: The variable that holds it is not set, or holds something else.
    """
    if not webhook.url_env:
        return webhook.url
    address = environ.get(webhook.url_env, "").strip()
    if not address:
        raise _unset(webhook, "url_env", webhook.url_env)
    if urlsplit(address).scheme not in ("http", "https"):
        hint = f"Set {webhook.url_env} to one that begins with https://."
        raise DeliveryError(f"{webhook.url_env} holds no web address", where=f"notify.{webhook.name}", hint=hint)
    return address


def key_of(webhook: Webhook, environ: Mapping[str, str]) -> bytes:
    """Return the key by which a webhook's notices are signed, empty for no signature.

    Args and errors are those of `address_of`.
    """
    if not webhook.secret_env:
        return b""
    secret = environ.get(webhook.secret_env, "").strip()
    if not secret:
        raise _unset(webhook, "secret_env", webhook.secret_env)
    if not secret.startswith(_ENCODED):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(_ENCODED), validate=True)
    except binascii.Error:
        hint = f"Set {webhook.secret_env} to it as it was given to you."
        message = f"what {webhook.secret_env} holds after {_ENCODED} is not base64"
        raise DeliveryError(message, where=f"notify.{webhook.name}", hint=hint) from None


def body_of(webhook: Webhook, notice: Notice) -> bytes:
    """Return what a webhook gets of a notice, as JSON."""
    return json.dumps(_slack(notice) if webhook.format == "slack" else _fields(notice), ensure_ascii=False).encode()


def signature(key: bytes, notice_id: str, at: int, body: bytes) -> str:
    """Return the signature of a notice.

    Args:
        key: The secret.
        notice_id: Its id.
        at: When it is sent, Unix seconds.
        body: What is sent.
    """
    signed = hmac.digest(key, f"{notice_id}.{at}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def deliver(
    webhook: Webhook,
    notice: Notice,
    environ: Mapping[str, str],
    *,
    tries: int = TRIES,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send a notice to a webhook. It blocks the thread, some 15 s at most where the webhook answers slowly.

    Args:
        webhook: The webhook.
        notice: The notice.
        environ: The environment variables.
        tries: How often to try.
        sleep: Waits between two tries, for so many seconds.

    Raises:
        DeliveryError: The webhook did not take it.
    """
    import tenacity

    address, key, body = address_of(webhook, environ), key_of(webhook, environ), body_of(webhook, notice)
    tenacity.Retrying(
        stop=tenacity.stop_after_attempt(tries) | tenacity.stop_after_delay(RETRY_SECONDS),
        wait=tenacity.wait_exponential(multiplier=0.5, max=4) + tenacity.wait_random(0, 0.5),
        retry=tenacity.retry_if_exception_type(RetryableDeliveryError),
        sleep=sleep,
        reraise=True,
    )(_send, webhook, address, _headers(notice, key, body), body)


def _send(webhook: Webhook, address: str, headers: Mapping[str, str], body: bytes) -> None:
    # What httpx says of an error may hold the address, which may be a secret.
    import httpx

    where = f"notify.{webhook.name}"
    try:
        # Without following redirections: they could lead anywhere.
        with (
            httpx.Client(timeout=SEND_SECONDS, follow_redirects=False) as client,
            client.stream("POST", address, headers=dict(headers), content=body) as answer,
        ):
            status = answer.status_code
    except httpx.InvalidURL:
        raise DeliveryError("the address can't be used", where=where, hint="Write another one.") from None
    except httpx.HTTPError as error:
        hint = "It is tried again; victor autotune notify --test tries it now."
        raise RetryableDeliveryError(f"no answer: {type(error).__name__}", where=where, hint=hint) from None
    except (OSError, ValueError) as error:  # as where SSL_CERT_FILE or a proxy's variable holds something else
        hint = "Look at the variables of proxies and certificates where teams run."
        raise DeliveryError(f"no connection can be made: {type(error).__name__}", where=where, hint=hint) from None
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        hint = "Write the address that it leads to."
        raise DeliveryError(f"it answered {status}, a redirection", where=where, hint=hint)
    kind = RetryableDeliveryError if status >= 500 or status in _BUSY else DeliveryError
    raise kind(f"it answered {status}", where=where, hint="Look at its address, its secret and its own log.")


def _headers(notice: Notice, key: bytes, body: bytes) -> dict[str, str]:
    at = int(time.time())
    headers = {
        "content-type": "application/json",
        "user-agent": f"victor-autotune-plugin/{version('victor-autotune-plugin')}",
        "webhook-id": notice.id,
        "webhook-timestamp": str(at),
    }
    return {**headers, "webhook-signature": signature(key, notice.id, at, body)} if key else headers


def _fields(notice: Notice) -> dict[str, Any]:
    at = datetime.fromtimestamp(notice.at, UTC).isoformat(timespec="seconds")
    return {"version": 1, **to_plain(notice), "at": at}


def _slack(notice: Notice) -> dict[str, Any]:
    lines = [f"*{_escaped(notice.title)}*", _escaped(notice.text)]
    if notice.workflow:
        lines.append(f"Workflow {_escaped(notice.workflow)}, environment {_escaped(notice.environment)}")
    if notice.command:
        lines.append(f"`{_escaped(notice.command).replace('`', '')}`")
    return {"text": "\n".join(lines)}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _unset(webhook: Webhook, key: str, variable: str) -> DeliveryError:
    message = f"the environment variable {variable}, which {key} names, is not set"
    return DeliveryError(message, where=f"notify.{webhook.name}", hint="Set it where teams run.")
