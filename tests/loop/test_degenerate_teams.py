"""Teams without members, of one and of many, and of a formation that is not known here, are learnt from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin import PerformanceAnalyzer, PerformanceAutotuner, failsafe
from victor_autotune_plugin._model.plan import FORMATIONS, MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._tuner import plan_space
from victor_autotune_plugin._tuner.space import MOST_LAYOUTS
from victor_autotune_plugin._tuning import runtime
from victor_autotune_testing.made_runs import run
from victor_autotune_testing.simulated import Simulation

SIZES = (0, 1, 2, 12)


def team(size: int, formation: str = "sequential") -> TeamSpec:
    members = [MemberSpec(f"m{n}", "researcher", is_supervisor=n == 0) for n in range(size)]
    return TeamSpec("flow", "team", formation, members)


@pytest.mark.parametrize("risk", ["off", "low", "high"])
@pytest.mark.parametrize("formation", ["sequential", "parallel", "debate"])
@pytest.mark.parametrize("size", SIZES)
def test_the_loop_learns_from_every_team_without_a_fault(tmp_path: Path, size: int, formation: str, risk: str) -> None:
    simulation = Simulation(tmp_path, in_memory=True, **{"tuner.risk": risk, "experiment.min_history": 3})
    simulation.spec = team(size, formation)
    simulation.truth = lambda plan, members: max(sum(members), 0.1)
    for _ in range(12):
        simulation.run()
    assert failsafe.seen() == ()
    proposed = [one.treatment for one in simulation.experiments()]
    assert not any((plan.formation or "sequential") not in FORMATIONS for plan in proposed)
    if formation == "debate":
        assert not any(plan.formation or plan.members or plan.sub_teams for plan in proposed)
        assert {one.spec.formation for one in simulation.store.runs()} == {"debate"}
    simulation.close()


def test_a_formation_that_a_person_planned_is_kept(tmp_path: Path) -> None:
    settings = {"tuner.risk": "low", "experiment.min_history": 3, "plan.formation": "debate"}
    simulation = Simulation(tmp_path, in_memory=True, **settings)
    simulation.spec = team(3)
    runs = [simulation.run() for _ in range(8)]
    assert {one.plan_asked.formation for one in runs} == {"debate"}
    assert failsafe.seen() == ()
    simulation.close()


@pytest.mark.parametrize("size", [12, 40])
def test_what_a_large_team_may_run_is_looked_at_in_part(size: int) -> None:
    space = plan_space(team(size))
    assert 1 < len(space.plans) <= MOST_LAYOUTS
    assert space.left_out["size"] == 1


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("formation", [*FORMATIONS, "debate", "group chat"])
@pytest.mark.parametrize("size", SIZES)
def test_the_api_analyses_and_suggests_for_every_team(
    size: int, formation: str, named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runtime, "project_folder", Path.cwd)
    analyzer = PerformanceAnalyzer()
    analyzer.add_runs([row(number, size, formation, named) for number in range(20)])
    analyzer.analyze_team_workflow("team")
    assert analyzer.summary("team") is not None
    members = [{"id": f"m{n}", "role": "researcher"} for n in range(size)]
    budgets = {"tool_budget": 60, "timeout_seconds": 600}
    for config in ({"formation": formation, "members": members, **budgets}, {"formation": formation, "members": []}):
        with PerformanceAutotuner(analyzer) as autotuner:
            suggested = autotuner.suggest_optimizations("team", config)
        changed = {key for one in suggested for key in one.suggested_config}
        if formation not in FORMATIONS:
            assert not changed & {"formation", "members", "sub_teams", "member_count"}
    assert failsafe.seen() == ()


def row(number: int, size: int, formation: str, named: bool) -> dict[str, Any]:
    seconds = [10.0 + (number * 7 + n * 3) % 5 for n in range(size)]
    members = [{"id": f"m{n}", "success": True, "duration_seconds": one} for n, one in enumerate(seconds)]
    return run(
        number,
        formation=formation,
        member_count=size,
        duration_seconds=sum(seconds) + 1,
        success=number % 5 > 0,
        tool_calls=number % 40,
        **({"members": members} if named else {}),
    )


def test_a_plan_without_members_is_no_plan() -> None:
    assert plan_space(team(0)).plans == (TeamPlan(),)
