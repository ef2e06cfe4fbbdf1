"""What a line tells of the watch over a live plan is what the whole watch tells."""

from __future__ import annotations

import math
import random
from typing import Any

from attrs import evolve
from hypothesis import example, given, settings
from hypothesis import strategies as some

from victor_autotune_plugin._tuning.judges import feed, new_watch, open_tail
from victor_autotune_plugin.experiment import Observation
from victor_autotune_testing.stored import experiment


def run(rng: random.Random, index: int, arm: str, stream: str, slower: float, lost: float) -> Observation:
    seconds = 20 * math.exp(rng.gauss(0, 0.3)) * (slower if arm == "treatment" else 1.0)
    missing = "lost" if rng.random() < lost else ""
    values: dict[str, Any] = {"index": index, "arm": arm, "duration_seconds": seconds, "missing": missing}
    return Observation(success=True, timed_out=rng.random() < 0.02, stream=stream, order=index + 1, **values)


@settings(deadline=None, max_examples=25)
@given(
    seed=some.integers(0, 1 << 32),
    tested=some.integers(0, 200),
    live=some.integers(0, 500),
    slower=some.sampled_from((0.5, 0.8, 1.2, 2.0)),
    lost=some.sampled_from((0.0, 0.1)),
    again=some.floats(0, 0.2),
    proven=some.booleans(),
)
@example(seed=1, tested=60, live=120, slower=0.95, lost=0.1, again=0.1, proven=True)
@example(seed=0, tested=21, live=51, slower=0.5, lost=0.0, again=0.0, proven=True)  # a P95 next to a timeout
@example(seed=1, tested=60, live=500, slower=1.4, lost=0.0, again=0.0, proven=True)
def test_the_open_p95_of_a_line_is_that_of_the_whole_watch(
    seed: int, tested: int, live: int, slower: float, lost: float, again: float, proven: bool
) -> None:
    rng = random.Random(seed)
    test = [run(rng, k, rng.choice(("control", "treatment")), "a", slower, lost) for k in range(tested)]
    watched = [run(rng, k, rng.choice(("control", *["treatment"] * 4)), "b", slower, lost) for k in range(live)]
    watched = [one for run in watched for one in ((run, run) if rng.random() < again else (run,))]
    known = evolve(experiment(), verdict={"status": "passed"} if proven else None, decided_order=tested)
    watch = new_watch(known, test)
    feed(watch, watched)
    said, told = watch.verdict(), open_tail(known, test, lambda: watched)
    if said.status != "rolled_back" or said.harm == "p95":
        assert told == (said.runs if said.p95 == "open" else None)


def test_the_p95_of_a_plan_without_a_test_is_not_open() -> None:
    assert open_tail(evolve(experiment(), verdict=None, decided_order=0), [], list) is None
