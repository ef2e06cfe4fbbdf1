"""Changes of a team are told to webhooks: each once, in order, behind the runs, and also by the next process."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.experiment import Change
from victor_autotune_plugin._model.notice import EVENTS, Notice, Webhook
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._tuning.notice_work import FIRST_PAUSE, NoticeWork
from victor_autotune_plugin._tuning.notices import events_of, notices_of
from victor_autotune_plugin._tuning.webhook import RetryableDeliveryError
from victor_autotune_plugin._tuning.writer import CircuitBreaker
from victor_autotune_plugin.storage import Store
from victor_autotune_testing.simulated import Simulation
from victor_autotune_testing.stepped import Clock
from victor_autotune_testing.stored import change, experiment
from victor_autotune_testing.webhook_receiver import WebhookReceiver, webhook_receiver

ALL = {"ops": {"url": "https://ops.example.com"}}
PARALLEL = TeamPlan(formation="parallel")


class Sent:
    """Takes what would be sent."""

    def __init__(self, *failing: str) -> None:
        self.notices: list[tuple[str, Notice]] = []
        self.failing = {*failing}

    def __call__(self, webhook: Webhook, notice: Notice, _environ: Mapping[str, str]) -> None:
        if webhook.name in self.failing:
            raise RetryableDeliveryError("no answer")
        self.notices.append((webhook.name, notice))

    @property
    def events(self) -> list[str]:
        return [notice.event for _, notice in self.notices]


@pytest.fixture
def server() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as server:
        yield server


def simulated(folder: Path, sent: Sent, **settings: Any) -> Simulation:
    team = Simulation(folder, in_memory=True, **{"notify": ALL, **settings})
    team.runtime.loop.notice_work._send = sent
    return team


def waiting(store: Store) -> list[Notice]:
    with store.reading() as transaction:
        return [one.notice for one in transaction.waiting_notices()]


def test_a_team_that_is_tuned_and_rolled_back_is_told_in_order(tmp_path: Path) -> None:
    slower = 1.0

    def truth(plan: TeamPlan, members: list[float]) -> float:
        return sum(members) if plan.is_empty else max(members) * slower

    sent = Sent()
    team = simulated(tmp_path, sent, truth=truth)
    team.run_until("promoted")
    slower = 30.0
    team.run_until("rolled_back")
    told = [one for one in sent.events if one in ("proven", "reverifying", "rolled_back")]
    assert told == ["proven", "reverifying", "rolled_back"]
    assert len({notice.id for _, notice in sent.notices}) == len(sent.notices)
    proven = next(notice for _, notice in sent.notices if notice.event == "proven")
    promoted = next(one for one in team.store.changes() if one.action == "promoted")
    assert (proven.workflow, proven.team_id, proven.experiment_id) == ("flow", "team", promoted.experiment_id)
    assert proven.improvement_percent == promoted.improvement_percent
    assert proven.command == "victor autotune explain team --workflow flow"
    assert waiting(team.store) == []
    team.close()


def test_a_person_who_is_asked_is_told_how_to_answer(tmp_path: Path) -> None:
    sent = Sent()
    team = simulated(tmp_path, sent, mode="approve")
    team.run_until("awaits_approval")
    assert sent.events == ["awaits_approval"]
    notice = sent.notices[0][1]
    assert notice.command == "victor autotune approve team --workflow flow"
    assert team.experiments()[0].description in notice.text
    team.runtime.manual.approve("flow", "team", by="ada")
    team.run_until("awaits_promotion")
    assert sent.events.count("awaits_approval") >= 2
    team.close()


def test_a_limit_of_a_week_that_is_reached_is_told(tmp_path: Path) -> None:
    sent = Sent()
    team = simulated(
        tmp_path,
        sent,
        truth=lambda plan, members: sum(members) * (1 if plan.is_empty else 6),
        **{"limits.max_bad_runs_per_week": 1},
    )
    team.run_until("aborted")
    assert sent.events == ["budget_reached"]
    assert "limits.max_bad_runs_per_week" in sent.notices[0][1].text
    team.close()


@pytest.mark.parametrize(
    ("line", "events"),
    [
        ({"action": "probation"}, ["probation"]),
        ({"action": "started"}, []),
        ({"action": "judge_distrusted"}, ["judge_lost_trust"]),
        ({"action": "judge_trusted"}, []),
        ({"action": "failed", "plan_after": PARALLEL}, []),
        ({"action": "failed", "plan_after": EMPTY_PLAN}, ["rolled_back"]),
        ({"action": "rolled_back", "evidence": {"cost_usd": 3.0}}, ["rolled_back", "budget_reached"]),
        ({"action": "promoted", "actor": "person"}, []),
        ({"action": "paused", "actor": "person"}, []),
    ],
)
def test_which_lines_of_the_history_are_told(line: dict[str, Any], events: list[str]) -> None:
    told = Change(1, 2.0, "flow", "team", actor=line.pop("actor", "auto"), reason="", plan_before=PARALLEL, **line)
    assert [*events_of(told, None)] == events


def test_a_webhook_gets_only_the_events_that_it_wants_and_all_are_told(tmp_path: Path) -> None:
    sent = Sent()
    hooks = {"a": {"url": "https://a.example", "events": ["proven"]}, "b": {"url": "https://b.example"}}
    team = simulated(tmp_path, sent, mode="auto", notify=hooks)
    team.run_until("promoted")
    assert [notice.event for name, notice in sent.notices if name == "a"] == ["proven"]
    assert [notice.event for name, notice in sent.notices if name == "b"].count("proven") == 1
    assert set(sent.events) <= {*EVENTS}
    team.close()


def test_without_webhooks_nothing_is_kept(tmp_path: Path) -> None:
    team = Simulation(tmp_path, in_memory=True)
    team.run_until("promoted")
    assert waiting(team.store) == []
    team.close()


def work_of(store: Store, sent: Any, clock: Clock, environ: Mapping[str, str] | None = None) -> NoticeWork:
    hooks = (Webhook("ops", url="https://ops.example.com"), Webhook("chat", url_env="CHAT_URL"))
    return NoticeWork(lambda: store, lambda: hooks, CircuitBreaker(lambda: 0.0), sent, environ or {})


def add(store: Store, *targets: str, number: int = 1) -> None:
    told = change(id=number, action="probation", at=2e9)
    (notice,) = notices_of(told, experiment())
    with store.transaction() as transaction:
        transaction.add_notice(notice, targets)


def test_what_fails_waits_and_is_sent_later_and_the_other_webhook_is_not_held_up() -> None:
    clock, sent = Clock(2e9), Sent("ops")
    store = Store.in_memory(clock)
    work = work_of(store, sent, clock, {"CHAT_URL": "https://chat.example.com"})
    add(store, "ops", "chat")
    work.step(0.0)
    work.step(1.0)
    assert [name for name, _ in sent.notices] == ["chat"]
    assert len(waiting(store)) == 1
    sent.failing.clear()
    work.step(2.0)  # it is put off
    assert len(sent.notices) == 1
    with store.reading() as transaction:
        (one,) = transaction.waiting_notices()
    assert (one.target, one.tries) == ("ops", 1)
    assert FIRST_PAUSE >= 15


def test_a_process_without_the_secret_leaves_the_notice_to_another(tmp_path: Path) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/.victor/autotune.db")
    without, has = Sent(), Sent()
    add(store, "chat")
    work_of(store, without, Clock(0.0)).step(0.0)
    assert without.notices == []
    assert [fault.where for fault in failsafe.seen()] == ["notices to 'chat'"]
    work_of(store, has, Clock(0.0), {"CHAT_URL": "https://chat.example.com"}).step(0.0)
    assert [name for name, _ in has.notices] == ["chat"]
    store.close()


def test_two_processes_send_a_notice_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/.victor/autotune.db"
    with Store.open(url) as one, Store.open(url) as other:
        sent = Sent()
        add(one, "ops")
        second = work_of(other, sent, Clock(0.0))

        def send(*arguments: Any) -> None:
            second.step(0.0)  # while the first is still at it
            sent(*arguments)

        first = work_of(one, send, Clock(0.0))
        first.step(0.0)
        first.step(1.0)
        second.step(1.0)
        assert len(sent.notices) == 1
        assert waiting(one) == []


def test_what_a_process_did_not_send_is_sent_by_the_next(tmp_path: Path, server: WebhookReceiver) -> None:
    hooks = {"ops": {"url": server.url}}
    team = Simulation(tmp_path, notify=hooks)
    team.runtime.loop.notice_work._send = Sent("ops")
    team.run_until("promoted")
    left = waiting(team.store)
    with team.store.transaction() as transaction:  # the time passes until it is due again
        for one in transaction.waiting_notices():
            transaction.put_off_notice(one, -1.0)
    team.close()
    assert left
    again = Simulation(tmp_path, notify=hooks)
    again.runtime.start(10)
    server.await_requests(len(left))
    again.close()
    assert [one.headers["webhook-id"] for one in server.received][: len(left)] == [one.id for one in left]


def test_a_webhook_that_hangs_delays_no_run_and_not_the_end(tmp_path: Path, server: WebhookReceiver) -> None:
    server.hangs.set()
    team = Simulation(tmp_path, notify={"ops": {"url": server.url}})
    team.runtime.start(10)
    team.run_until("promoted")
    server.await_requests(1)
    assert team.runtime.settle(30)
    for _ in range(5):
        assert team.run().success
    assert waiting(team.store)
    team.close()
    assert not team.runtime.has_threads


def test_one_line_of_the_log_says_that_a_plan_changed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="victor_autotune_plugin")
    team = Simulation(tmp_path, in_memory=True)
    team.run_until("promoted")
    team.run()
    said = [record.getMessage() for record in caplog.records if "is now" in record.getMessage()]
    assert said == [
        "autotune: the plan of team team of workflow flow is now: formation parallel; before: as configured. "
        "Why: victor autotune history"
    ]
    team.close()


def test_what_scorers_may_spend_in_a_day_is_told_once_by_all_processes(tmp_path: Path) -> None:
    sent = Sent()
    team = simulated(tmp_path, sent)
    team.run()
    for _ in range(2):
        team.runtime.loop._cap_reached(86_400.0, 2.0)
        team.run()
    assert sent.events == ["budget_reached"]
    assert "quality.max_cost_usd_per_day" in sent.notices[0][1].text
    team.close()
