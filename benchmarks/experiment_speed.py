"""How fast the experiment engine is: a decision at 200 runs per arm, 1,000 experiments at once, a simulator.

python benchmarks/experiment_speed.py [--experiments 1000] [--json FILE]
"""

from __future__ import annotations

import math
import random
import sys
import time
import tracemalloc
from pathlib import Path

from _report import parser, percentile, show

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from victor_autotune_plugin._model.assignment import shares_of_stream
from victor_autotune_plugin.experiment import Judge, Observation, Policy, Watch, WatchPolicy, assign

NO_END = {"futility": False, "minimum_improvement": 1.0}
"""Policy that keeps a test open, so that its last runs are measured."""


def simulated(n: int, seed: int, *, stream: str = "", tasks: int = 0, sticky: bool = False) -> list[Observation]:
    """Return `n` runs of two nearly equal plans, in one stream, or in one for each of `tasks`."""
    rng, found, places = random.Random(seed), [], dict[str, int]()
    for _ in range(n):
        task = rng.randrange(tasks) if tasks else None
        name = stream if task is None else f"{'cluster' if sticky else 'task'}:{task}"
        index = places.get(name, 0)
        places[name] = index + 1
        arm = assign(str(seed), 0 if sticky else index, shares_of_stream(name), stream=name)
        seconds = 20 * math.exp(rng.gauss(0, 0.7)) * (0.95 if arm == "treatment" else 1.0)
        good, key = rng.random() < 0.9, None if task is None else str(task)
        found.append(
            Observation(
                index=index,
                arm=arm,
                duration_seconds=seconds,
                success=good,
                score=float(good),
                cost_usd=0.01,
                stream=name,
                task_key=key,
            )
        )
    return found


def decision(what: str, engine: Judge | Watch, runs: list[Observation]) -> dict[str, object]:
    """Measure observing a run and asking for the whole verdict, over the last 50 runs: time of the processor."""
    spent, observed = [], []
    for run in runs:
        begun = time.thread_time()
        engine.observe(run)
        seen = time.thread_time()
        engine.verdict()
        spent.append(1000 * (time.thread_time() - begun))
        observed.append(1000 * (seen - begun))
    return {
        "what": what,
        "observe and decide, median ms": round(percentile(observed[-50:], 0.5), 3),
        "and the whole verdict, median ms": round(percentile(spent[-50:], 0.5), 3),
        "p99 ms of both": f"{percentile(observed[-50:], 0.99):.3f}, {percentile(spent[-50:], 0.99):.3f}",
    }


def main() -> None:
    """Run the benchmark."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--experiments", type=int, default=1000)
    options = arguments.parse_args()
    runs = simulated(400, 1)
    scenes = {
        "pairs": (Policy(**NO_END), runs),
        "pairs, score": (Policy(metric="score", **NO_END), runs),
        "40 tasks that come again": (Policy(**NO_END), simulated(400, 1, tasks=40)),
        "probation": (Policy(**NO_END), simulated(400, 1, stream="probation:a")),
        "40 sticky tasks": (Policy(sticky=True, **NO_END), simulated(400, 1, tasks=40, sticky=True)),
    }
    decision("tables that are made once in a process", Judge(Policy()), simulated(400, 3))
    rows = [decision(f"test, {name}", Judge(policy), of_scene) for name, (policy, of_scene) in scenes.items()]
    rows.append(decision("watch", Watch(WatchPolicy(max_runs=400), reference=runs), simulated(400, 2)))
    show("At 200 runs per arm", rows, None, "to reach: observe and decide ≤ 2 ms")
    tracemalloc.start()
    judges = [Judge(Policy(**NO_END)) for _ in range(options.experiments)]
    begun = time.perf_counter()
    for run in runs:
        for judge in judges:
            judge.observe(run)
    seconds = time.perf_counter() - begun
    memory = tracemalloc.get_traced_memory()[0] / 2**20
    tracemalloc.stop()
    begun = time.perf_counter()
    count = 0
    for seed in range(100):
        judge = Judge(Policy())
        for run in simulated(400, seed):
            count += 1
            judge.observe(run)
            if judge.is_final:
                break
    rate = count / (time.perf_counter() - begun)
    total = len(judges) * len(runs)
    many = {
        "experiments at once": len(judges),
        "runs": total,
        "decisions a second (memory traced)": round(total / seconds),
        "MiB": round(memory),
        "runs a second of a simulator": round(rate),
    }
    show("Many at once", [many], options.json, "to reach: a simulator ≥ 2,000 runs a second")


if __name__ == "__main__":
    main()
