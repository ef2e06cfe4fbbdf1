"""`benchmark` and `validate` without Victor: who runs when, what is proven, and what is told."""

from __future__ import annotations

import asyncio
import json
import random
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from victor_autotune_plugin._cli import runner
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._tuning import runtime as process
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.fake_victor import InThisProcess, Victor, result
from victor_autotune_testing.realvictor import workflow_yaml
from victor_autotune_testing.simulated import SPEC

from .conftest import Said


class Clock:
    """Time that passes only as the stand-in says."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(runner, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, ...]:
    (tmp_path / "a.yaml").write_text(workflow_yaml("researcher", "planner", name="old"))
    (tmp_path / "b.yaml").write_text(workflow_yaml("researcher", "planner", name="new"))
    return ("--before", "a.yaml", "--after", "b.yaml")


def takes(victor: Victor, clock: Clock, seconds: Mapping[str, float], **options: Any) -> None:
    """Let each workflow take about so many seconds."""
    noise = random.Random(3)

    async def work(number: int, context: Mapping[str, Any]) -> Any:
        await asyncio.sleep(0)
        name = victor.definitions[-1].name
        clock.now += seconds[name] * noise.lognormvariate(0, 0.3)
        return result(success=name not in options.get("failing", ()))

    victor.work = work


def test_a_benchmark_ends_as_soon_as_it_is_decided(
    call: Callable[..., Said], victor: Victor, clock: Clock, files: tuple[str, ...], tmp_path: Path
) -> None:
    takes(victor, clock, {"old": 10, "new": 3})
    said = call("benchmark", *files, "--runs", "60")
    assert said.code == 0, said.err
    words = " ".join(said.out.split())
    assert "passed: The duration is" in words
    assert "Effect on the duration: −" in words
    for part in ("before", "after", "100 %", "95 % interval"):
        assert part in words
    names = [definition.name for definition in victor.definitions]
    assert 20 <= len(names) < 120
    pairs = [sorted(names[at : at + 2]) for at in range(0, len(names) - 1, 2)]
    assert all(pair == ["new", "old"] for pair in pairs)
    assert len({tuple(names[at : at + 2]) for at in range(0, len(names) - 1, 2)}) == 2
    assert said.err.count("run ") == len(names)
    assert not (tmp_path / ".victor").exists()
    assert max(len(line) for line in said.out.splitlines() if "─" in line) <= 80


def test_a_benchmark_that_finds_harm_ends_with_1(
    call: Callable[..., Said], victor: Victor, clock: Clock, files: tuple[str, ...]
) -> None:
    takes(victor, clock, {"old": 3, "new": 30})
    said = call("benchmark", *files, "--json", "--output", "result.json")
    assert said.code == 1
    data = said.data
    assert data["status"] == "failed"
    assert data["control"]["runs"] + data["treatment"]["runs"] == len(data["observations"])
    assert data["treatment"]["median_seconds"] > 3 * data["control"]["median_seconds"]
    assert next(one for one in data["fixed_sample"] if one["method"] == "mann-whitney")["estimate"] > 1
    assert json.loads(Path("result.json").read_text()) == data
    assert stat.S_IMODE(Path("result.json").stat().st_mode) == 0o600


def test_equal_files_are_inconclusive_and_say_what_could_have_been_seen(
    call: Callable[..., Said], victor: Victor, clock: Clock, files: tuple[str, ...]
) -> None:
    takes(victor, clock, {"old": 5, "new": 5})
    said = call("benchmark", *files, "--runs", "12")
    assert said.code == 0
    assert "inconclusive: " in said.out
    assert "A test of this length finds an improvement of" in said.out


def test_too_few_runs_prove_nothing(
    call: Callable[..., Said], victor: Victor, clock: Clock, files: tuple[str, ...]
) -> None:
    takes(victor, clock, {"old": 100, "new": 1})
    said = call("benchmark", *files, "--runs", "3", "--json")
    assert said.code == 0
    assert (said.data["status"], said.data["reason"]) == ("inconclusive", "Too few runs to judge: 3 + 3 runs.")
    assert len(victor.definitions) == 6


def test_a_file_that_never_succeeds_ends_with_1(
    call: Callable[..., Said], victor: Victor, clock: Clock, files: tuple[str, ...]
) -> None:
    takes(victor, clock, {"old": 5, "new": 5}, failing=("new",))
    said = call("benchmark", *files, "--runs", "5")
    assert said.code == 1
    assert "(after) failed: Victor gives no reason" in said.out


def test_ctrl_c_tells_what_was_done(
    call: Callable[..., Said], victor: Victor, clock: Clock, files: tuple[str, ...]
) -> None:
    async def work(number: int, context: Mapping[str, Any]) -> Any:
        await asyncio.sleep(0)
        clock.now += 1
        if number == 4:
            raise KeyboardInterrupt
        return result()

    victor.work = work
    said = call("benchmark", *files, "--json")
    assert said.code == 130
    assert (said.data["interrupted"], len(said.data["observations"])) == (True, 3)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--before", "a.yaml"], "--after"),
        (["--before", "a.yaml", "--after", "nope.yaml"], "No such file"),
        (["--before", "a.yaml", "--after", "b.yaml", "--metric", "speed"], "unknown metric 'speed'"),
        (["--before", "a.yaml", "--after", "b.yaml", "--workflow", "old"], "no workflow 'old'"),
        (["--before", "a.yaml", "--after", "b.yaml", "--runs", "0"], "x>=1"),
    ],
)
def test_wrong_use_of_benchmark(
    call: Callable[..., Said], victor: Victor, files: tuple[str, ...], options: list[str], told: str
) -> None:
    said = call("benchmark", *options)
    assert said.code == 2
    assert told in said.err
    assert victor.definitions == []


def flow(tmp_path: Path) -> None:
    (tmp_path / "flow.yaml").write_text(
        workflow_yaml("researcher", "planner", "reviewer", "tester", name=SPEC.workflow, step=SPEC.team_id)
    )


def runs_the_team(victor: Victor, clock: Clock, plans: list[TeamPlan]) -> None:
    made: list[InThisProcess] = []

    async def work(number: int, context: Mapping[str, Any]) -> Any:
        await asyncio.sleep(0)
        if not made:
            made.append(InThisProcess())
            made[0].spec = SPEC
        run = made[0].run()
        plans.append(run.plan_asked)
        clock.now += run.duration_seconds
        return result()

    victor.work = work


def test_validate_runs_the_live_plan_against_the_configured_one(
    call: Callable[..., Said], victor: Victor, clock: Clock, project: Callable[[str], None], tmp_path: Path
) -> None:
    process.use(None)  # one that an agent of another test had made, if any
    project("proven")
    flow(tmp_path)
    with Store.open(default_url(tmp_path)) as store:
        before, state = store.counts(), store.teams()[0]
    plans: list[TeamPlan] = []
    runs_the_team(victor, clock, plans)
    said = call("validate", "flow.yaml", "--runs", "40")
    assert said.code == 0, said.err
    assert "team (flow), live plan: formation parallel" in said.out
    assert "passed: The duration is" in said.out
    assert set(plans) == {EMPTY_PLAN, state.plan}
    with Store.open(default_url(tmp_path)) as store:
        after = store.counts()
        assert store.teams()[0] == state
    assert after["runs"] == before["runs"] + len(plans)
    assert after["changes"] == before["changes"]
    assert process.use(None) is None


def test_validate_takes_the_plan_under_test_or_the_suggestion(
    call: Callable[..., Said], victor: Victor, clock: Clock, project: Callable[[str], None], tmp_path: Path
) -> None:
    project("testing")
    flow(tmp_path)
    plans: list[TeamPlan] = []
    runs_the_team(victor, clock, plans)
    said = call("validate", "flow.yaml", "--runs", "2", "--json")
    assert said.code == 0, said.err
    assert said.data["versions"] == {"control": "as configured", "treatment": "plan under test"}
    assert said.data["plan"] == {"formation": "parallel"}
    said = call("validate", "flow.yaml", "--runs", "2", "--suggested", "--json")
    assert said.data["versions"]["treatment"] == "suggested plan"


def test_validate_takes_the_plan_that_the_file_fixes(
    call: Callable[..., Said], victor: Victor, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "flow.yaml").write_text(
        workflow_yaml(
            "researcher",
            "planner",
            name=SPEC.workflow,
            step=SPEC.team_id,
            metadata={"autotune": {"mode": "auto", "plan": {"formation": "pipeline"}}},
        )
    )
    plans: list[TeamPlan] = []
    runs_the_team(victor, clock, plans)
    said = call("validate", "flow.yaml", "--runs", "2", "--json")
    assert said.code == 0, said.err
    assert said.data["versions"]["treatment"] == "fixed plan"
    assert set(plans) == {EMPTY_PLAN, TeamPlan(formation="pipeline")}


def test_a_plan_that_does_not_fit_is_no_comparison(
    call: Callable[..., Said], victor: Victor, clock: Clock, project: Callable[[str], None], tmp_path: Path
) -> None:
    project("proven")
    flow(tmp_path)

    async def work(number: int, context: Mapping[str, Any]) -> Any:
        await asyncio.sleep(0)
        made = InThisProcess()
        made.spec = SPEC
        made.run(plan_asked=EMPTY_PLAN)
        return result()

    victor.work = work
    said = call("validate", "flow.yaml", "--runs", "5")
    assert said.code == 2
    assert "the plan does not fit the team: formation=parallel" in said.err


def test_nothing_to_validate(
    call: Callable[..., Said], victor: Victor, simulate: Callable[..., Any], tmp_path: Path
) -> None:
    simulate(mode="observe").run()
    flow(tmp_path)
    said = call("validate", "flow.yaml")
    assert said.code == 2
    assert "has no plan to validate" in said.err
    said = call("validate", "flow.yaml", "--team-id", "nobody")
    assert said.code == 2
    assert "Name one of: team." in said.err
    assert victor.definitions == []
