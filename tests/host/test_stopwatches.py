"""What a member's time is made of."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from victor_autotune_plugin._host import meters
from victor_autotune_plugin._host.meters import MemberMeter, chat, current_member, stream, tool_calls
from victor_autotune_plugin._model.plan import MemberSpec

ANSWER = SimpleNamespace(content="", tool_calls=None, usage=None, model="m")


class Clock:
    """Seconds that pass when they are told to."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(meters, "time", made)
    monkeypatch.setattr(meters, "in_flight", meters.InFlight())
    return made


def member(name: str = "a", parent: MemberMeter | None = None) -> MemberMeter:
    return MemberMeter(MemberSpec(name), parent, None)


def call(clock: Clock, seconds: float, *, fails: bool = False) -> Any:
    async def wrapped(*_: Any, **__: Any) -> Any:
        clock.now += seconds
        if fails:
            raise RuntimeError
        return ANSWER

    return chat(wrapped, SimpleNamespace(name="p"), ((),), {})


def run_as(meter: MemberMeter, work: Any) -> None:
    token = current_member.set(meter)
    try:
        asyncio.run(work)
    finally:
        current_member.reset(token)


def test_the_time_of_models_is_told_apart_from_the_members_own(clock: Clock) -> None:
    meter = member()

    async def work() -> None:
        meter.start()
        clock.now += 1  # the member's own work
        await call(clock, 3)
        with pytest.raises(RuntimeError):
            await call(clock, 2, fails=True)
        meter.stop(success=True, error_class=None)

    run_as(meter, work())
    told = meter.outcome()
    assert (told.duration_seconds, told.model_seconds, told.tool_seconds, told.in_flight) == (6, 5, 0, 1)


def test_a_member_without_a_model_waited_for_none(clock: Clock) -> None:
    told = member().outcome()
    assert (told.model_seconds, told.tool_seconds, told.in_flight) == (0, 0, 1)


def test_calls_at_once_count_once_and_tell_how_many_they_were(clock: Clock) -> None:
    meter = member()
    steps = [asyncio.Event(), asyncio.Event()]

    async def one(place: int) -> None:
        async def wrapped(*_: Any, **__: Any) -> Any:
            await steps[place].wait()
            return ANSWER

        await chat(wrapped, SimpleNamespace(name="p"), ((),), {})

    async def work() -> None:
        both = [asyncio.ensure_future(one(place)) for place in (0, 1)]
        await asyncio.sleep(0)
        clock.now += 2
        steps[0].set()
        await both[0]
        clock.now += 4
        steps[1].set()
        await both[1]

    run_as(meter, work())
    told = meter.outcome()
    assert told.model_seconds == 6
    assert told.in_flight == pytest.approx((2 * 2 + 6 * (2 * 2 + 4 * 1) / 6) / 8)


def test_what_a_tool_asks_of_a_model_is_the_tools_time(clock: Clock) -> None:
    meter = member()
    pipeline = SimpleNamespace(calls_used=0, tools=None)

    async def batch(*_: Any, **__: Any) -> Any:
        clock.now += 1
        await call(clock, 3)
        return SimpleNamespace(results=())

    run_as(meter, tool_calls(batch, pipeline, (), {"tool_calls": ()}))
    told = meter.outcome()
    assert (told.model_seconds, told.tool_seconds) == (0, 4)


def test_the_time_of_members_inside_is_the_time_of_the_member_around_them(clock: Clock) -> None:
    outer = member()
    run_as(member("inner", outer), call(clock, 3))
    assert outer.outcome().model_seconds == 3


def test_a_stream_is_timed_from_its_first_chunk_on_and_one_that_nobody_reads_is_not(clock: Clock) -> None:
    meter = member()

    async def chunks() -> Any:
        clock.now += 2
        yield ANSWER

    async def work() -> None:
        unread = stream(lambda *_, **__: chunks(), SimpleNamespace(name="p"), ((),), {})
        async for _ in stream(lambda *_, **__: chunks(), SimpleNamespace(name="p"), ((),), {}):
            pass
        await unread.aclose()

    run_as(meter, work())
    assert meter.outcome().model_seconds == 2
    assert meter.outcome().in_flight == 1


def test_a_call_that_is_lost_on_its_way_is_not_counted_for_ever(clock: Clock) -> None:
    meters.in_flight.begin()  # whoever began it lost it by a fault
    meter = member()
    run_as(meter, call(clock, 3))
    assert meter.outcome().in_flight == 1
