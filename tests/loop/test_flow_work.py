"""A run's data flow is found behind it, and a judge waits for it as for a grade."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._dataflow import edges
from victor_autotune_plugin._dataflow.trace import RunTrace
from victor_autotune_plugin._model.data_flow import Edge, RunFlow
from victor_autotune_plugin._tuning import flow_work
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart, TeamRun, hookimpl
from victor_autotune_plugin.storage.journal import EndEntry, FlowEntry, PriceEntry
from victor_autotune_testing.simulated import SPEC, Simulation

FLOW = RunFlow([Edge("a", "b", "text")])


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Simulation]:
    made = Simulation(tmp_path, in_memory=True, mode="observe")
    made.flow = None
    yield made
    made.close()


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[RunTrace]:
    """The traces that were analysed."""
    seen: list[RunTrace] = []

    def flow_of(trace: RunTrace, pause: Callable[[], None]) -> RunFlow:
        pause()
        seen.append(trace)
        return FLOW

    monkeypatch.setattr(edges, "flow_of", flow_of)
    return seen


def traced(team: Simulation, characters: int = 0) -> TeamRun:
    """Make a run of which a trace is handed over."""
    event, planned = team.start()
    team.runtime.loop.traced(event.run_id, RunTrace(SPEC.member_ids, characters=characters))
    return team.finish(event, planned)


def entries(team: Simulation) -> list[Any]:
    """Collect what is submitted from now on."""
    kept: list[Any] = []
    submit = team.runtime.loop.core.submit

    def keep(item: Any) -> None:
        kept.append(item.entry)
        submit(item)

    team.runtime.loop.core.submit = keep  # type: ignore[method-assign]
    return kept


def test_a_traced_run_has_its_data_flow_and_the_team_s_grows(team: Simulation, found: list[RunTrace]) -> None:
    run = traced(team)
    stored = team.store.run(run.run_id)
    assert stored is not None
    assert (stored.flow, stored.number) == (FLOW, 1)
    assert team.store.data_flow(*SPEC.key).edges[0].edge == FLOW.edges[0]
    assert len(found) == 1


def test_a_run_without_a_trace_waits_for_nothing(team: Simulation, found: list[RunTrace]) -> None:
    run = team.run()
    stored = team.store.run(run.run_id)
    assert stored is not None
    assert (stored.flow, stored.number, found) == (None, 1, [])


def test_the_end_is_handed_over_at_once_and_the_data_flow_behind_it(team: Simulation, found: list[RunTrace]) -> None:
    kept = entries(team)
    traced(team)
    ends = [one for one in kept if isinstance(one, EndEntry | FlowEntry)]
    assert [type(one) for one in ends] == [EndEntry, FlowEntry]
    assert ends[0].run.flow is None
    assert (ends[1].flow, ends[1].is_last) == (FLOW, True)


def test_no_judge_takes_a_run_before_its_data_flow_has_come(
    team: Simulation, found: list[RunTrace], monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = team.runtime.loop
    step, waiting = loop.flow_work.step, threading.Event()
    monkeypatch.setattr(loop.flow_work, "step", lambda now: step(now) if waiting.is_set() else None)
    monkeypatch.setattr(type(loop.flow_work), "is_idle", property(lambda self: True))
    run = traced(team, flow_work.SHORT_CHARACTERS + 1)
    stored = team.store.run(run.run_id)
    assert stored is not None
    assert stored.number is None
    waiting.set()
    loop.run_until_idle()
    stored = team.store.run(run.run_id)
    assert stored is not None
    assert stored.number == 1


def test_the_data_flow_of_a_short_trace_is_found_before_its_run_is_committed(
    team: Simulation, found: list[RunTrace], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(team.runtime.loop.flow_work, "step", lambda now: None)
    written: list[list[type]] = []
    write = team.store.write_entries

    def keep(given: Any) -> Any:
        written.append([type(one) for one in given])
        return write(given)

    monkeypatch.setattr(team.runtime.store(), "write_entries", keep)
    traced(team)
    of_run = (EndEntry, FlowEntry)
    assert [kind for kind in next(one for one in written if EndEntry in one) if kind in of_run] == list(of_run)


def test_the_data_flow_thread_finds_a_short_one_s_where_nothing_is_committed(found: list[RunTrace]) -> None:
    told: list[RunFlow | None] = []
    work = flow_work.FlowWork(lambda run, flow: told.append(flow))
    run = TeamRun("r", SPEC, 1.0, 1.0, True, 1.0)
    within = work.submit(flow_work.TracedRun(run, RunTrace(SPEC.member_ids), at=5.0))
    assert within == flow_work.SHORT_SECONDS
    assert work.step(5.1) == pytest.approx(within - 0.1)
    assert not told
    assert not work.is_idle
    assert work.step(5.0 + within) is None
    assert told == [FLOW]
    assert work.is_idle


def test_a_long_trace_is_left_to_the_data_flow_thread(found: list[RunTrace]) -> None:
    told: list[RunFlow | None] = []
    work = flow_work.FlowWork(lambda run, flow: told.append(flow))
    run = TeamRun("r", SPEC, 1.0, 1.0, True, 1.0)
    long = RunTrace(SPEC.member_ids, characters=flow_work.SHORT_CHARACTERS + 1)
    assert work.submit(flow_work.TracedRun(run, long, at=5.0)) == 0.0
    work.before_commit()
    assert not told
    work.step(5.0)
    assert told == [FLOW]


def test_an_analysis_that_fails_leaves_the_run_without_a_data_flow(
    team: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edges, "flow_of", lambda trace, pause: 1 / 0)
    run = traced(team)
    stored = team.store.run(run.run_id)
    assert stored is not None
    assert (stored.flow, stored.number) == (None, 1)
    assert [fault.where for fault in failsafe.seen()] == ["data flow of a run, which is not known"]


@pytest.mark.parametrize("bound", ["MOST_WAITING", "MOST_CHARACTERS"])
def test_traces_that_can_t_be_analysed_in_time_are_dropped(
    team: Simulation, found: list[RunTrace], monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(flow_work, bound, 0)
    run = traced(team)
    stored = team.store.run(run.run_id)
    assert stored is not None
    assert (stored.flow, stored.number, found) == (None, 1, [])


class Pricing:
    @hookimpl
    def price_team_run(self, run: TeamRun) -> float:
        return 0.25


def test_a_run_that_a_hook_prices_is_complete_when_both_have_come(team: Simulation, found: list[RunTrace]) -> None:
    team.runtime.hooks.register(Pricing(), "pricing")
    kept = entries(team)
    run = traced(team)
    parts = [one for one in kept if isinstance(one, PriceEntry | FlowEntry)]
    assert sorted(one.is_last for one in parts) == [False, True]
    assert parts[-1].is_last
    stored = team.store.run(run.run_id)
    assert stored is not None
    assert (stored.flow, stored.cost_usd, stored.number) == (FLOW, 0.25, 1)


def test_a_data_flow_that_could_not_be_committed_is_journaled(tmp_path: Path, found: list[RunTrace]) -> None:
    team = Simulation(tmp_path, mode="observe")
    team.flow = None
    team.run()
    loop = team.runtime.loop
    event, planned = team.start()
    loop.core.breaker.failed(loop._clock())  # the store is away for a moment
    loop.traced(event.run_id, RunTrace(SPEC.member_ids))
    team.finish(event, planned)
    team.recover()
    loop.run_until_idle()
    stored = team.store.run(event.run_id)
    assert stored is not None
    assert stored.flow == FLOW
    team.close()


@pytest.mark.parametrize("kind", [FlowEntry, PriceEntry])
def test_what_completes_a_run_waits_until_the_run_s_end_has_come_from_the_journal(tmp_path: Path, kind: Any) -> None:
    team = Simulation(tmp_path, mode="observe")
    team.flow = None
    team.run()
    loop = team.runtime.loop
    event, planned = team.start()
    loop.core.breaker.failed(loop._clock() + 60)  # the store is away when the run ends,
    team.finish(event, planned)
    loop.files.step(loop._clock())
    team.recover()  # and is back when the rest of it comes, before anything was drained
    run = TeamRun(event.run_id, SPEC, 0.0, 1.0, True, 1.0)
    entry = FlowEntry(run.run_id, FLOW, True) if kind is FlowEntry else PriceEntry(run.run_id, 0.5, True)
    item = loop._complete(run, entry)
    while not loop.store_work.is_idle:  # and no judge, since the end of a traced run says what is awaited
        loop.store_work.step(loop._clock())
    stored = team.store.run(event.run_id)
    assert stored is not None
    assert (stored.flow, stored.cost_usd) == ((FLOW, None) if kind is FlowEntry else (None, 0.5))
    assert item.settled.is_set
    team.close()


def test_what_completes_a_run_that_is_nowhere_does_not_wait(team: Simulation) -> None:
    loop = team.runtime.loop
    team.run()
    item = loop._complete(TeamRun("unknown", SPEC, 0.0, 1.0, True, 1.0), PriceEntry("unknown", 0.5, True))
    loop.run_until_idle()
    assert item.settled.is_set


def test_a_start_that_is_handed_over_without_an_end_leaves_nothing_behind(team: Simulation) -> None:
    event: RunStart
    planned: PlannedRun
    event, planned = team.start()
    team.finish(event, planned)
    assert (team.runtime.loop._traces, team.runtime.loop._awaited) == ({}, {})
