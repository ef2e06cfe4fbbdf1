from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest

from victor_autotune_plugin._model.assignment import assign_earlier as assign
from victor_autotune_plugin.experiment import Observation


@pytest.fixture
def make_runs() -> Callable[..., list[Observation]]:
    """Log-normal runs in permuted pairs; `change(i, arm, fields)` may alter the fields of a run."""

    def make(
        n: int,
        *,
        seed: int = 0,
        ratio: float = 1.0,
        sigma: float = 0.7,
        success: float = 1.0,
        drop: float = 0.0,
        change: Callable[[random.Random, str, dict[str, Any]], None] | None = None,
        weights: dict[str, float] | None = None,
        start: int = 0,
    ) -> list[Observation]:
        rng = random.Random(seed)
        runs = []
        for i in range(n):
            arm = assign(str(seed), i, weights)
            treated = arm == "treatment"
            ok = rng.random() < success - (drop if treated else 0.0)
            fields: dict[str, Any] = {
                "duration_seconds": 20 * (ratio if treated else 1.0) * math.exp(rng.gauss(0, sigma)),
                "success": ok,
                "score": float(ok),
                "cost_usd": 0.01,
                "tool_calls": 5,
            }
            if change is not None:
                change(rng, arm, fields)
            runs.append(Observation(index=start + i, arm=arm, **fields))
        return runs

    return make
