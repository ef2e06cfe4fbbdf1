"""The whole loop on real Victor: a guessed formation is tested, promoted because it was proven, and taken back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

from victor_autotune_plugin._host import interception, meters
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._page.ledger import savings_ledger
from victor_autotune_plugin._page.outcome import live_outcome
from victor_autotune_plugin.storage import Store
from victor_autotune_testing import providers
from victor_autotune_testing.realvictor import make_step, make_workflow, run_workflow
from victor_autotune_testing.scripted import Rule, Script, ScriptedModel, max_in_flight, scripts

from .conftest import Plugin


def script(wait_seconds: float) -> Script:
    """Return a script under which three calls are answered when they have met, and a lonely one after a while."""
    return Script([Rule("answer", latency=wait_seconds, together=3, answer=scripts.SATISFIED_ANSWER)])


class Clock:
    """Tells how long Victor's calls of the model take on an idle machine, however busy this one is.

    Attributes:
        beside: Seconds that a call adds that arrives while another one is in flight.
    """

    def __init__(self, model: ScriptedModel) -> None:
        self.beside = 0.05
        self._model = model
        self._random = Random(3)
        self._seen = 0
        self._seconds = 0.0

    def monotonic(self) -> float:
        new = self._model.calls[self._seen :]
        self._seen += len(new)
        self._seconds += sum(
            self._random.lognormvariate(0, 0.2) * (1.0 if call.in_flight == 1 else self.beside) for call in new
        )
        return self._seconds


@pytest.fixture
def clock(scripted: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock that runs and members are timed with."""
    made = Clock(scripted)
    for module in (interception, meters):
        monkeypatch.setattr(module, "time", SimpleNamespace(**{**vars(time), "monotonic": made.monotonic}))
    return made


@pytest.fixture
def events() -> Iterator[InMemoryLogRecordExporter]:
    """What the plugin sends to the application's logger provider."""
    made, provider = InMemoryLogRecordExporter(), LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(made))
    with providers.use(logger_provider=provider):
        yield made
    provider.shutdown()


def told_by_runs_of_the_same_time(store: Store) -> None:
    """Check what is said that a plan brought in the 25 runs since it was promoted."""
    since, ledger = live_outcome(store, store.teams()[0]), savings_ledger(store)
    assert since is not None
    assert (since.basis, sum(since.runs.values())) == ("since_promotion", 25)
    duration, tokens = since.figure("duration"), since.figure("tokens")
    assert duration is not None
    assert duration.was is not None
    assert duration.now is not None
    assert duration.now < duration.was
    assert tokens is not None
    assert tokens.was == tokens.now  # the model counts alike, however the calls lie
    saved = ledger.saved["seconds"]
    assert saved.runs >= 20  # and those on probation, which was live as well
    assert saved.low > 0
    assert ledger.saved["tokens"].value == 0


@pytest.mark.parametrize(
    "plugin_settings",
    [{"mode": "auto", "experiment.min_history": 3, "experiment.success_margin": 0.5, "watch.holdback": 0.2}],
    ids=["auto"],
)
async def test_a_team_is_tuned_what_it_brings_is_told_and_a_plan_that_turns_bad_is_taken_back(
    plugin: Plugin, orchestrator: Any, scripted: ScriptedModel, clock: Clock, events: InMemoryLogRecordExporter
) -> None:
    scripted.script = script(0.06)
    step = make_step("researcher", "planner", "reviewer", formation="sequential", name="step")
    workflow = make_workflow(step, name="flow")
    store = plugin.runtime.store()

    async def run() -> None:
        assert (await run_workflow(orchestrator, workflow)).success
        assert plugin.runtime.settle(30)

    async def run_until(action: str, most: int) -> Any:
        for _ in range(most):
            await run()
            change = store.changes("flow", "step")[-1:]
            if change and change[0].action == action:
                return change[0]
        raise AssertionError(f"no change {action!r} in {most} runs: {[c.action for c in store.changes()]}")

    started = await run_until("started", 40)
    assert "parallel" in started.reason
    promoted = await run_until("promoted", 80)
    assert promoted.plan_after == TeamPlan(formation="parallel")
    assert promoted.improvement_percent > 5
    before_the_watch = live_outcome(store, store.teams()[0])
    assert before_the_watch is not None
    assert before_the_watch.basis == "test"
    for _ in range(25):
        await run()
    told_by_runs_of_the_same_time(store)
    scripted.script = script(5.0)  # time enough to meet, on any machine
    before = len(scripted.calls)
    assert (await run_workflow(orchestrator, workflow)).success
    arm = plugin.runs[-1].arm
    assert max_in_flight(scripted.calls[before:]) == (3 if arm == "treatment" else 1)
    scripted.script = script(0.06)
    clock.beside = 6.0
    rolled_back = await run_until("rolled_back", 80)
    assert rolled_back.plan_after == EMPTY_PLAN
    assert plugin.runtime.settle(30)
    before = len(scripted.calls)
    await run_workflow(orchestrator, workflow)
    assert max_in_flight(scripted.calls[before:]) == 1
    assert plugin.runs[-1].plan_asked == EMPTY_PLAN
    assert plugin.stored_as_ended == plugin.runs

    plugin.runtime.hooks.flush(5.0)  # events are sent behind the run
    sent = [one.log_record for one in events.get_finished_logs()]
    changes = [one.attributes for one in sent if one.event_name == "victor.autotune.change"]
    told = [(one["victor.autotune.change.id"], one["victor.autotune.change.action"]) for one in changes]
    assert told == [(change.id, change.action) for change in store.changes("flow", "step")]
    arms = [one.attributes for one in sent if one.event_name == "feature_flag.evaluation"]
    assert {one["victor.autotune.run.id"]: one["feature_flag.result.variant"] for one in arms} == {
        run.run_id: run.arm for run in plugin.runs if run.experiment_id is not None
    }
