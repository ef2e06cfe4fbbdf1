"""On real Victor: a webhook is told that a person is asked, and of the team's work it gets nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from victor_autotune_testing.realvictor import GOAL, make_step, make_workflow, run_workflow
from victor_autotune_testing.scripted import ScriptedModel, scripts
from victor_autotune_testing.webhook_receiver import WebhookReceiver, webhook_receiver

from .conftest import Plugin


@pytest.fixture
def server() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as server:
        yield server


@pytest.fixture
def plugin_settings(server: WebhookReceiver) -> dict[str, object]:
    asked = {"mode": "approve", "experiment.min_history": 3, "dataflow": "independent", "tuner.risk": "off"}
    return {**asked, "notify": {"ops": {"url": server.url, "secret_env": "OPS_WEBHOOK_SECRET"}}}


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPS_WEBHOOK_SECRET", "hunter2")


async def test_who_is_asked_is_told_while_runs_go_on_and_the_webhook_hangs(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, server: WebhookReceiver
) -> None:
    server.hangs.set()
    workflow = make_workflow(make_step("researcher", "planner", formation="sequential", name="step"), name="flow")
    for _ in range(40):
        assert (await run_workflow(orchestrator, workflow)).success
        assert plugin.runtime.settle(30)
        if plugin.runtime.store().changes("flow", "step"):
            break
    server.await_requests(1)
    assert (await run_workflow(orchestrator, workflow)).success
    (got,) = server.received
    assert got.fields["event"] == "awaits_approval"
    assert got.fields["command"] == "victor autotune approve step --workflow flow"
    assert "webhook-signature" in got.headers
    for secret in (GOAL, scripts.SATISFIED_ANSWER, "hunter2"):
        assert secret.encode() not in got.body
