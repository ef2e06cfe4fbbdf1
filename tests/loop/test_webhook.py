"""What a webhook gets of a notice, and what follows from its answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
from collections.abc import Iterator

import pytest
from attrs import evolve

from victor_autotune_plugin._model.notice import Notice, Webhook
from victor_autotune_plugin._tuning.webhook import TRIES, DeliveryError, RetryableDeliveryError, deliver, key_of
from victor_autotune_testing.webhook_receiver import WebhookReceiver, webhook_receiver

NOTICE = Notice(
    "n1", "proven", 1.8e9, "Team <reviewers>", "12 % faster & sure.", "flow", "reviewers", "default", "e1", 12.5,
    "victor autotune explain reviewers",
)  # fmt: skip


@pytest.fixture
def server() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as server:
        yield server


def no_sleep(seconds: float) -> None:
    assert 0 < seconds <= 5


def test_a_signed_notice_is_one_that_the_receiver_can_check(server: WebhookReceiver) -> None:
    deliver(Webhook("ops", url=server.url, secret_env="S"), NOTICE, {"S": "hunter2"})
    (got,) = server.received
    assert got.fields == {
        "version": 1,
        "id": "n1",
        "event": "proven",
        "at": "2027-01-15T08:00:00+00:00",
        "title": "Team <reviewers>",
        "text": "12 % faster & sure.",
        "workflow": "flow",
        "team_id": "reviewers",
        "environment": "default",
        "experiment_id": "e1",
        "improvement_percent": 12.5,
        "command": "victor autotune explain reviewers",
    }
    assert got.headers["webhook-id"] == "n1"
    signed = b"n1." + got.headers["webhook-timestamp"].encode() + b"." + got.body
    expected = base64.b64encode(hmac.digest(b"hunter2", signed, hashlib.sha256)).decode()
    assert got.headers["webhook-signature"] == f"v1,{expected}"
    assert b"hunter2" not in got.body
    assert "hunter2" not in str(got.headers)


def test_a_secret_in_base64_is_decoded_as_receivers_do() -> None:
    hook = Webhook("ops", url="http://a.example", secret_env="S")
    assert key_of(hook, {"S": f"whsec_{base64.b64encode(b'bytes').decode()}"}) == b"bytes"
    with pytest.raises(DeliveryError, match="not base64") as caught:
        key_of(hook, {"S": "whsec_hunter2!"})
    assert "hunter2" not in str(caught.value)


def test_without_a_secret_there_is_no_signature(server: WebhookReceiver) -> None:
    deliver(Webhook("ops", url=server.url), NOTICE, {})
    assert "webhook-signature" not in server.received[0].headers


def test_slack_gets_a_message_in_which_nothing_is_markup(server: WebhookReceiver) -> None:
    deliver(Webhook("chat", url_env="URL", format="slack"), NOTICE, {"URL": server.url})
    assert server.received[0].fields == {
        "text": "*Team &lt;reviewers&gt;*\n12 % faster &amp; sure.\nWorkflow flow, environment default\n"
        "`victor autotune explain reviewers`"
    }


@pytest.mark.parametrize("status", [500, 503, 429])
def test_what_may_work_in_a_moment_is_tried_again_with_the_same_id(server: WebhookReceiver, status: int) -> None:
    server.answers = [status, status]
    deliver(Webhook("ops", url=server.url), NOTICE, {}, sleep=no_sleep)
    assert [one.headers["webhook-id"] for one in server.received] == ["n1"] * 3


def test_after_some_tries_it_is_given_up(server: WebhookReceiver) -> None:
    server.answers = [500] * 10
    with pytest.raises(RetryableDeliveryError, match="it answered 500"):
        deliver(Webhook("ops", url=server.url), NOTICE, {}, sleep=no_sleep)
    assert len(server.received) == TRIES


@pytest.mark.parametrize(("status", "said"), [(404, "answered 404"), (302, "a redirection")])
def test_a_refusal_is_not_tried_again_and_no_redirection_is_followed(
    server: WebhookReceiver, status: int, said: str
) -> None:
    server.answers = [status]
    with pytest.raises(DeliveryError, match=said) as caught:
        deliver(Webhook("ops", url=server.url), NOTICE, {})
    assert len(server.received) == 1
    assert caught.value.where == "notify.ops"


def test_an_error_never_shows_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    hook = Webhook("chat", url_env="URL")
    with pytest.raises(RetryableDeliveryError, match="no answer: ConnectError") as caught:
        deliver(hook, NOTICE, {"URL": f"http://127.0.0.1:{port}/hunter2"}, tries=1)
    assert "hunter2" not in f"{caught.value!r} {caught.value}"
    assert caught.value.__suppress_context__
    for wrong in ("", "hunter2"):
        with pytest.raises(DeliveryError) as caught:
            deliver(hook, NOTICE, {"URL": wrong})
        assert "hunter2" not in str(caught.value)


def test_text_of_any_kind_can_be_sent(server: WebhookReceiver) -> None:
    deliver(Webhook("ops", url=server.url), evolve(NOTICE, text="äöü \U0001f600 \N{RIGHT-TO-LEFT OVERRIDE}"), {})
    assert server.received[0].fields["text"].startswith("äöü")


@pytest.mark.parametrize(
    ("variable", "value"), [("SSL_CERT_FILE", "/nowhere/hunter2"), ("HTTP_PROXY", "hunter2://hunter2")]
)
def test_variables_that_are_wrong_are_told(
    server: WebhookReceiver, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(DeliveryError, match="no connection can be made") as caught:
        deliver(Webhook("ops", url=server.url), NOTICE, {})
    assert "hunter2" not in str(caught.value)
