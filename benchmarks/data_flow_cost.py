"""What it costs to find out who uses whose work: time, memory, and the lag of the event loop beside it.

A team of four members writes and is given texts of 10,000 tokens each. The analysis runs on the product's own thread
while an event loop wakes up every millisecond; how much later it wakes up than without is its lag.

    python benchmarks/data_flow_cost.py
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
import tracemalloc
from typing import Any, Final

from _report import parser, percentile, show

from victor_autotune_plugin._dataflow.edges import flow_of
from victor_autotune_plugin._dataflow.trace import Given, RunTrace, Wrote
from victor_autotune_plugin._model.plan import MemberSpec, TeamSpec
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuning.flow_work import FlowWork, TracedRun
from victor_autotune_plugin._tuning.threads import Worker

MEMBERS: Final = "abcd"
CHARACTERS: Final = 40_000
"""About 10,000 tokens of English."""

PIECE: Final = 4_000
"""Characters of one message."""

WAKE_UP: Final = 0.001
SECONDS: Final = 4.0
RUNS_A_SECOND: Final = 10


def trace_of(seed: int) -> RunTrace:
    """Return the trace of a run in which each member is given and writes so much text, the later ones the earlier's."""
    rng = random.Random(seed)
    words = [f"word{number}" for number in range(20_000)]
    trace = RunTrace(tuple(MEMBERS), goal="Review the module.", known=["You are a researcher."])
    before = ""
    for member in MEMBERS:
        trace.executions[member] = 1
        for start in range(0, CHARACTERS, PIECE):
            text = before[start : start + PIECE] or " ".join(rng.choices(words, k=PIECE // 9))
            trace.note(Given(member, text, "message"))
        own = " ".join(rng.choices(words, k=CHARACTERS // 9))
        for start in range(0, CHARACTERS, PIECE):
            trace.note(Wrote(member, own[start : start + PIECE]))
        before = own
    return trace


def run_of(number: int) -> TeamRun:
    """Return a run to hand over with a trace."""
    spec = TeamSpec("flow", "team", "sequential", [MemberSpec(member) for member in MEMBERS])
    return TeamRun(f"run-{number}", spec, 1.0, 10.0, True, 1.0)


async def _late(seconds: float) -> list[float]:
    """Return by how many seconds an event loop woke up too late, each time."""
    late, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until:
        wanted = time.perf_counter() + WAKE_UP
        await asyncio.sleep(WAKE_UP)
        late.append(time.perf_counter() - wanted)
    return late


def lag(analyses: bool) -> dict[str, Any]:
    """Return the lag of an event loop, with the analysis of ten runs a second beside it or without."""
    work = FlowWork(lambda _run, _flow: None)
    worker = Worker("analysis", work.step)
    worker.start()
    traces = [trace_of(number) for number in range(round(SECONDS * RUNS_A_SECOND))] if analyses else []
    stop = threading.Event()

    def hand_over() -> None:
        for number, trace in enumerate(traces):
            work.submit(TracedRun(run_of(number), trace))
            worker.wake()
            stop.wait(1 / RUNS_A_SECOND)

    feeder = threading.Thread(target=hand_over, daemon=True)
    feeder.start()
    late = asyncio.run(_late(SECONDS))
    stop.set()
    feeder.join()
    worker.stop(5.0)
    return {
        "event loop": f"beside {RUNS_A_SECOND} analyses a second" if analyses else "alone",
        "median ms": round(1000 * percentile(late, 0.5), 2),
        "p99 ms": round(1000 * percentile(late, 0.99), 2),
        "p99.9 ms": round(1000 * percentile(late, 0.999), 2),
    }


def analysis() -> list[dict[str, Any]]:
    """Return time and memory of one analysis."""
    flow_of(trace_of(0), lambda: None)  # numpy is imported
    seconds = []
    for number in range(30):
        trace = trace_of(number)
        began = time.thread_time()
        flow_of(trace, lambda: None)
        seconds.append(time.thread_time() - began)
    trace = trace_of(99)
    tracemalloc.start()
    flow_of(trace, lambda: None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    median = percentile(seconds, 0.5)
    figures = (
        ("thread time, median ms", round(1000 * median, 1), "≈ 10"),
        ("memory at most, MB", round(peak / 1e6, 1), "≤ 4"),
        ("share of a run of 10 s, %", round(10 * median, 2), "≤ 1"),
    )
    return [{"one analysis": what, "value": value, "wanted": wanted} for what, value, wanted in figures]


def main() -> None:
    """Run the benchmark."""
    options = parser(__doc__ or "").parse_args()
    lag(analyses=True)  # what is loaded first is loaded
    show("Lag of an event loop beside the analysis", [lag(False), lag(True)], options.json, sums=analysis())


if __name__ == "__main__":
    main()
