"""`notify`: the webhooks, what waits for them, and a trial."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from victor_autotune_plugin._model.notice import EVENTS, Notice, Webhook
from victor_autotune_plugin._tuning.notice_work import send_within
from victor_autotune_plugin._tuning.webhook import DeliveryError, deliver
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.simulated import Simulation
from victor_autotune_testing.webhook_receiver import WebhookReceiver, webhook_receiver

from .conftest import Said

Call = Callable[..., Said]
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "notices.md").read_text(encoding="utf-8")


@pytest.fixture
def server() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as server:
        yield server


@pytest.fixture
def set_webhooks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def set_them(**webhooks: object) -> None:
        monkeypatch.setenv("VICTOR_AUTOTUNE_NOTIFY", json.dumps(webhooks))

    return set_them


def test_without_webhooks_it_says_how_to_name_one(call: Call) -> None:
    said = call("notify")
    assert said.code == 0
    assert "notify in .victor/autotune.yaml" in said.out
    said = call("notify", "--test")
    assert said.code == 2
    assert "no webhook is set" in said.err


def test_a_trial_arrives(call: Call, server: WebhookReceiver, set_webhooks: Callable[..., None]) -> None:
    set_webhooks(ops={"url": server.url}, chat={"url": server.url, "format": "slack"})
    said = call("notify", "--test")
    assert said.code == 0, said.err
    assert said.out.count("sent") == 2
    assert server.received[0].fields["event"] == "test"
    assert "This is a trial" in server.received[1].fields["text"]
    found = call("notify", "--test", "--name", "ops", "--json").data["webhooks"]
    assert [(one["name"], one["tried"], one["host"]) for one in found] == [("ops", True, "127.0.0.1")]


def test_a_trial_that_fails_says_why_without_an_address(
    call: Call, server: WebhookReceiver, set_webhooks: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_URL", f"{server.url}/hunter2")
    set_webhooks(chat={"url_env": "CHAT_URL"}, ops={"url": server.url, "secret_env": "NOT_SET_HERE"})
    server.answers = [404]
    said = call("notify", "--test")
    assert said.code == 1
    assert "it answered 404" in said.out
    assert "NOT_SET_HERE" in said.out
    assert "hunter2" not in said.out + said.err + call("notify", "--json").out


def test_a_wrong_name_is_told_with_the_near_one(call: Call, set_webhooks: Callable[..., None]) -> None:
    set_webhooks(ops={"url": "https://ops.example.com"})
    said = call("notify", "--name", "opps")
    assert said.code == 2
    assert "Did you mean `ops`?" in said.err


def test_what_waits_is_shown_and_sent_on_demand(
    call: Call, server: WebhookReceiver, set_webhooks: Callable[..., None], tmp_path: Path
) -> None:
    notice = Notice("n1", "proven", time.time() - 7200, "Faster", "A test proved it.", "flow", "team")
    with Store.open(default_url(tmp_path)) as store, store.transaction() as transaction:
        transaction.add_notice(notice, ["ops"])
    set_webhooks(ops={"url": server.url})
    said = call("notify")
    assert said.code == 0
    assert "notify --send" in said.out
    assert call("notify", "--json").data["webhooks"][0]["waiting"] == 1
    assert call("notify", "--send").code == 0
    assert server.events == ["proven"]
    assert call("notify", "--json").data["webhooks"][0]["waiting"] == 0


def test_what_can_not_be_sent_on_demand_still_waits(
    call: Call, server: WebhookReceiver, set_webhooks: Callable[..., None], tmp_path: Path
) -> None:
    with Store.open(default_url(tmp_path)) as store, store.transaction() as transaction:
        for number in range(3):
            transaction.add_notice(Notice(f"n{number}", "proven", time.time(), "", ""), ["ops"])
    server.answers = [404] * 3
    set_webhooks(ops={"url": server.url})
    assert call("notify", "--send").code == 1
    assert call("notify", "--json").data["webhooks"][0]["waiting"] == 3
    assert len(server.received) == 1


def test_what_a_command_does_is_told_at_its_end(
    call: Call, server: WebhookReceiver, set_webhooks: Callable[..., None], simulate: Callable[..., Simulation]
) -> None:
    set_webhooks(ops={"url": server.url})
    simulate(strategies=["formation_selection"]).run_until("promoted")
    call("notify", "--send")
    server.received.clear()
    assert call("pause").code == 0
    assert server.events == []  # nothing is told of that
    assert call("rollback").code == 0
    assert server.events == ["rolled_back"]
    assert call("notify", "--json").data["webhooks"][0]["waiting"] == 0


def test_what_a_command_can_not_tell_waits_for_a_later_process(
    call: Call, server: WebhookReceiver, set_webhooks: Callable[..., None], simulate: Callable[..., Simulation]
) -> None:
    set_webhooks(ops={"url": server.url})
    simulate(strategies=["formation_selection"]).run_until("promoted")
    call("notify", "--send")
    server.answers = [500]
    said = call("rollback")
    assert said.code == 0
    assert "rolled back" in said.out
    assert call("notify", "--json").data["webhooks"][0]["waiting"] == 1


def test_a_webhook_that_hangs_holds_a_command_up_for_a_moment_alone(server: WebhookReceiver, tmp_path: Path) -> None:
    server.hangs.set()
    with Store.open(default_url(tmp_path)) as store:
        with store.transaction() as transaction:
            transaction.add_notice(Notice("n1", "proven", time.time(), "", ""), ["ops"])
        send_within(store, (Webhook("ops", server.url),), 0.05)  # the server answers only once it is let go
        with store.reading() as transaction:
            assert len(transaction.waiting_notices()) == 1
        server.release()
        server.await_requests(1)


def test_the_page_tells_every_event_and_its_settings_are_read(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE.partition("| event |")[2].partition("##")[0], re.MULTILINE) == [
        *sorted(EVENTS, key=lambda name: PAGE.index(f"| `{name}` |"))
    ]
    assert {*re.findall(r"^\| `(\w+)` \|", PAGE.partition("| event |")[2], re.MULTILINE)} == {*EVENTS}
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.setenv("VICTOR_AUTOTUNE_NOTIFY", json.dumps(yaml.safe_load(block)["notify"]))
    said = call("notify")
    assert "team_chat" in said.out
    assert "SLACK_WEBHOOK_URL" in said.out


def test_the_page_shows_the_fields_that_are_sent(server: WebhookReceiver) -> None:
    (block,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    deliver(Webhook("ops", url=server.url), Notice("n1", "proven", 1.0, "", ""), {})
    assert [*json.loads(block)] == [*server.received[0].fields]


def test_the_receiver_of_the_docs_believes_signed_notices_alone() -> None:
    environ = {**os.environ, "OPS_WEBHOOK_SECRET": "hunter2"}
    script = [sys.executable, str(ROOT / "examples" / "webhook_receiver.py"), "0"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True, env=environ) as receiver:
        try:
            assert receiver.stdout is not None
            hook = Webhook("ops", url=receiver.stdout.readline().strip(), secret_env="S")
            for number in (1, 1, 2):
                deliver(hook, Notice(f"n{number}", "proven", 1.0, f"Team {number}", "Faster."), {"S": "hunter2"})
            with pytest.raises(DeliveryError, match="answered 401"):
                deliver(hook, Notice("n3", "proven", 1.0, "Team 3", "Faster."), {"S": "wrong"})
            shown = [receiver.stdout.readline(), receiver.stdout.readline()]
        finally:
            receiver.terminate()
    assert shown == ["proven: Team 1. Faster.\n", "proven: Team 2. Faster.\n"]
