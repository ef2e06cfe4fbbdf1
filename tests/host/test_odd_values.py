"""Odd values of Victor's, odd exceptions of span processors, and what must pass through unchanged."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host.enforcement import ToolBudget
from victor_autotune_plugin._host.member_execution import member_execution
from victor_autotune_plugin._host.meters import RunMeter, chat, current_member, current_run, stream, tool_calls
from victor_autotune_plugin._model.plan import MemberSpec
from victor_autotune_plugin._telemetry import spans


class BrokenError(Exception):
    """What is injected."""


class Odd:
    """Whatever is asked of it raises."""

    def __getattr__(self, name: str) -> Any:
        raise BrokenError(name)

    def __bool__(self) -> bool:
        raise BrokenError("bool")

    def __eq__(self, other: object) -> bool:
        raise BrokenError("eq")

    __hash__ = None  # type: ignore[assignment]

    def __str__(self) -> str:
        raise BrokenError("str")


class Used:
    """A response with some usage."""

    def __init__(self, usage: Any) -> None:
        self.usage = usage


class Participant:
    """A member of a team."""

    id: Any = "m"


class Processor(SpanProcessor):
    """Raises what it is given."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise self.error

    def on_end(self, span: Any) -> None:
        raise self.error


@pytest.fixture
def meter() -> Any:
    made = RunMeter("run", (MemberSpec("m"),), {}, ToolBudget(5, {}))
    token = current_run.set(made)
    yield made
    current_run.reset(token)
    assert current_member.get() is None


async def execute(work: Any, participant: Any = None) -> Any:
    return await member_execution(work, participant or Participant(), (), {})


def reported() -> bool:
    return bool(failsafe.seen())


ODD_OUTPUTS: dict[str, Any] = {"odd": Odd(), "odd success": {"success": Odd()}, "odd error": {"error": Odd()}}


@pytest.mark.parametrize("name", ODD_OUTPUTS)
async def test_an_odd_result_of_a_member_is_returned(meter: RunMeter, name: str) -> None:
    output = ODD_OUTPUTS[name]

    async def work() -> Any:
        return output

    assert await execute(work) is output


async def test_an_odd_id_of_a_member_costs_only_its_metering(meter: RunMeter) -> None:
    class Unnamed(Participant):
        id = Odd()

    async def work() -> str:
        return "done"

    assert await execute(work, Unnamed()) == "done"
    assert reported()


ODD_RESPONSES: dict[str, Any] = {
    "odd": Odd(),
    "odd usage": Used(Odd()),
    "infinite": Used({"prompt_tokens": float("inf")}),
}


@pytest.mark.parametrize("name", ODD_RESPONSES)
async def test_an_odd_response_of_a_model_is_returned(meter: RunMeter, name: str) -> None:
    response = ODD_RESPONSES[name]

    async def answer(**_: Any) -> Any:
        return response

    async def chunks(**_: Any) -> Any:
        yield response

    async def work() -> Any:
        streamed = [chunk async for chunk in stream(chunks, None, (), {"model": "x"})]
        assert streamed[0] is response
        return await chat(answer, None, (), {"model": "x"})

    assert await execute(work) is response
    assert reported()


async def test_an_odd_pipeline_runs_its_calls_without_a_limit_which_the_fault_says(meter: RunMeter) -> None:
    async def run(**_: Any) -> str:
        return "ran"

    async def work() -> Any:
        return await tool_calls(run, Odd(), (), {"tool_calls": [1]})

    assert await execute(work) == "ran"
    assert any("dropped for this run" in fault.where for fault in failsafe.seen())
    assert meter.budget is not None
    assert meter.budget.reserve("m", 50) is None


@pytest.mark.parametrize("error", [SystemExit(3), asyncio.CancelledError(), KeyboardInterrupt(), BrokenError("own")])
async def test_what_victors_part_raises_passes_unchanged(meter: RunMeter, error: BaseException) -> None:
    async def work() -> Any:
        raise error

    with pytest.raises(type(error)) as caught:
        await execute(work)
    assert caught.value is error
    assert not reported()


@pytest.mark.parametrize(
    "error", [BrokenError("own"), SystemExit(3), asyncio.CancelledError(), GeneratorExit(), RecursionError()]
)
async def test_a_span_processor_may_raise_anything(
    meter: RunMeter, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(Processor(error))
    monkeypatch.setattr(spans, "tracer_provider", lambda: provider)

    async def work() -> str:
        return "done"

    assert await execute(work) == "done"
    assert reported()


class Unshown(Exception):  # noqa: N818 - a test's own
    """An error whose text can't be made."""

    def __init__(self, fault: BaseException) -> None:
        super().__init__()
        self.fault = fault

    def __str__(self) -> str:
        raise self.fault


@pytest.mark.parametrize("fault", [BrokenError("own"), SystemExit(3), RecursionError(), asyncio.CancelledError()])
def test_a_report_never_raises_whatever_the_error_and_the_log_do(fault: BaseException) -> None:
    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise BrokenError("log")

    handler = Handler()
    failsafe.logger.addHandler(handler)
    try:
        with failsafe.guard("here"):
            raise Unshown(fault)
    finally:
        failsafe.logger.removeHandler(handler)
    assert [one.where for one in failsafe.seen()] == ["here"]
