"""Teams and runs that the tests of the tuner share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from victor_autotune_plugin._model.plan import EMPTY_PLAN, MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun

MakeRuns = Callable[..., list[TeamRun]]


@pytest.fixture
def spec() -> TeamSpec:
    """Four researchers, one of them a supervisor, one after the other."""
    members = [MemberSpec(f"m{i}", role="researcher", is_supervisor=i == 0) for i in range(4)]
    return TeamSpec("wf", "team", "sequential", members, tool_budget=40, timeout_seconds=200.0)


@pytest.fixture
def make_runs(spec: TeamSpec) -> MakeRuns:
    """Makes runs whose members each take about ten seconds and are added up as the formation says."""

    def make(
        count: int,
        plan: TeamPlan = EMPTY_PLAN,
        *,
        seed: int = 0,
        slower: float = 1.0,
        score: float = 0.9,
        cost: float | None = 0.1,
        model: str = "some model",
        sd: float = 0.3,
    ) -> list[TeamRun]:
        rng = np.random.default_rng(seed)
        runs = []
        for _ in range(count):
            names = plan.members or spec.member_ids
            taken = 10 * np.exp(rng.normal(0, sd) + rng.normal(0, 0.1, len(names)))
            total = taken.max() if (plan.formation or spec.formation) == "parallel" else taken.sum()
            graded = float(np.clip(rng.normal(score, 0.1), 0, 1))
            runs.append(
                TeamRun(
                    run_id="",
                    spec=spec,
                    started_at=0.0,
                    duration_seconds=float(total) * slower,
                    success=graded > 0.5,
                    member_success_share=graded,
                    plan_asked=plan,
                    cost_usd=cost,
                    members=[
                        MemberOutcome(name, finished=True, duration_seconds=float(t), tool_calls=3, models=(model,))
                        for name, t in zip(names, taken, strict=True)
                    ],
                )
            )
        return runs

    return make
