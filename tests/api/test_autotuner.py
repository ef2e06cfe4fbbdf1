"""`PerformanceAutotuner`: suggesting, applying, testing, taking back, and a history that stays."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin import (
    FormationSelectionStrategy,
    OptimizationPriority,
    OptimizationStrategy,
    OptimizationSuggestion,
    OptimizationType,
    PerformanceAnalyzer,
    PerformanceAutotuner,
    TeamSizingStrategy,
)
from victor_autotune_plugin._apply.trial import Trial, TrialResult, observed
from victor_autotune_plugin._model.data_flow import Edge, RunFlow
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.policy import Policy
from victor_autotune_plugin.configfiles import read_team_config
from victor_autotune_plugin.errors import AutotuneError, PlanError, SettingsError
from victor_autotune_plugin.hookspecs import hookimpl
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.realvictor import workflow_yaml
from victor_autotune_testing.simulated import SPEC, Simulation


def change(name: str = "formation_selection", **knobs: Any) -> OptimizationSuggestion:
    return OptimizationSuggestion(
        type=name,
        priority=OptimizationPriority.HIGH,
        description=f"Set {knobs}.",
        current_config={},
        suggested_config=knobs,
        expected_improvement=30.0,
        confidence=0.8,
        risk_level=0.4,
    )


def contents(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def recorded(here: Path) -> Callable[..., Simulation]:
    """Let a team of mode `auto`, that starts no test by itself, run so many times."""

    def recorded(runs: int = 6, **settings: Any) -> Simulation:
        simulation = Simulation(here, **{"experiment.min_history": 1000, **settings})
        (here / ".victor").mkdir(exist_ok=True)
        (here / ".victor" / "autotune.yaml").write_text("mode: auto\n")
        for _ in range(runs):
            simulation.run()
        return simulation

    return recorded


def timed(faster: float, *, noise: float = 0.2, seed: int = 1) -> Callable[[Mapping[str, Any]], Any]:
    """Return a runner under which a parallel team takes `faster` times a sequential one's ten seconds."""
    random_ = random.Random(seed)

    async def run(config: Mapping[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        seconds = 10.0 * random_.lognormvariate(0, noise)
        parallel = (config.get("formation") or config.get("team_formation")) == "parallel"
        return {"success": True, "duration_seconds": seconds * (faster if parallel else 1.0), "total_tool_calls": 5}

    return run


# --- suggesting


def test_suggestions_are_sorted_and_confident(metrics: list[dict[str, Any]], config: dict[str, Any]) -> None:
    autotuner = PerformanceAutotuner(analyzer=PerformanceAnalyzer(metrics))
    found = autotuner.suggest_optimizations(team_id="review", current_config=config)
    assert found
    assert all(one.confidence >= 0.6 for one in found)
    order = list(OptimizationPriority)
    ranks = [(order.index(one.priority), -one.expected_improvement * one.confidence) for one in found]
    assert ranks == sorted(ranks)
    assert {one.type for one in found} <= {kind.value for kind in OptimizationType}
    keys = (
        "type priority description current_config suggested_config expected_improvement confidence risk_level metadata"
    )
    assert set(found[0].to_dict()) == set(keys.split())
    json.dumps([one.to_dict() for one in found])


def test_a_short_config_is_enough(metrics: list[dict[str, Any]]) -> None:
    autotuner = PerformanceAutotuner(analyzer=PerformanceAnalyzer(metrics))
    found = autotuner.suggest_optimizations("research", {"formation": "consensus", "member_count": 8})
    assert "team_sizing" in {one.type for one in found}
    assert autotuner.suggest_optimizations("research", {}) is not None
    with pytest.raises(PlanError, match="formation: 'paralel' is not a known formation"):
        autotuner.suggest_optimizations("research", {"formation": "paralel"})


def test_strategies_and_risk_narrow_the_suggestions(metrics: list[dict[str, Any]], config: dict[str, Any]) -> None:
    analyzer = PerformanceAnalyzer(metrics)
    every = PerformanceAutotuner(analyzer).suggest_optimizations("review", config)
    assert len({one.type for one in every}) > 1
    chosen = PerformanceAutotuner(analyzer, strategies=[TeamSizingStrategy(), FormationSelectionStrategy()])
    kinds = {one.type for one in chosen.suggest_optimizations("review", config)}
    assert kinds <= {"team_sizing", "formation_selection"}
    named = PerformanceAutotuner(analyzer, strategies=["tool_budget"]).suggest_optimizations("review", config)
    assert {one.type for one in named} == {"tool_budget"}
    assert every[0].type not in {
        one.type
        for one in PerformanceAutotuner(analyzer, max_risk=every[0].risk_level - 0.01).suggest_optimizations(
            "review", config
        )
    }
    with pytest.raises(AutotuneError, match="unknown strategy 'tool_budgets'"):
        PerformanceAutotuner(analyzer, strategies=["tool_budgets"]).suggest_optimizations("review", config)


def test_without_an_analyzer_the_recorded_runs_speak(recorded: Callable[..., Simulation], here: Path) -> None:
    recorded().close()
    found = PerformanceAutotuner().suggest_optimizations("team")
    assert [one.suggested_config for one in found if one.type == "formation_selection"] == [{"formation": "parallel"}]
    assert PerformanceAutotuner(project=here / "elsewhere").suggest_optimizations("team") == []


def test_looking_creates_no_store(here: Path) -> None:
    autotuner = PerformanceAutotuner()
    assert autotuner.suggest_optimizations("team") == []
    assert autotuner.get_optimization_history("team") == []
    assert autotuner.rollback_optimization_sync("team") is False
    assert contents(here) == []


def test_limits_of_the_settings_hold(recorded: Callable[..., Simulation], here: Path) -> None:
    recorded().close()
    (here / ".victor" / "autotune.yaml").write_text("mode: auto\nlimits: {formations: [sequential, pipeline]}\n")
    autotuner = PerformanceAutotuner()
    assert "formation_selection" not in {one.type for one in autotuner.suggest_optimizations("team")}
    result = autotuner.apply_optimizations_sync("team", [change(formation="parallel")], enable_ab_testing=False)
    assert not result.success
    assert "formation is parallel, which is not one of formations" in str(result.error)
    assert autotuner.get_optimization_history("team") == []


class Slower(OptimizationStrategy):
    """A strategy of a user's own, with knobs of its own."""

    name = "slower"

    def suggest(self, insights: Any, current_config: Mapping[str, Any]) -> list[OptimizationSuggestion]:
        return [change(self.name, my_knob="new")] if insights else []

    def apply(self, config: Mapping[str, Any], suggestion: OptimizationSuggestion) -> dict[str, Any]:
        return {**config, "applied_by": self.name, **suggestion.suggested_config}


def test_a_strategy_of_one_s_own(metrics: list[dict[str, Any]], config: dict[str, Any]) -> None:
    autotuner = PerformanceAutotuner(PerformanceAnalyzer(metrics), strategies=[Slower()])
    found = autotuner.suggest_optimizations("review", config)
    assert [one.type for one in found] == ["slower"]
    result = autotuner.apply_optimizations_sync("review", found, config, enable_ab_testing=False)
    assert result.success, result.error
    assert (result.applied_config["applied_by"], result.applied_config["my_knob"]) == ("slower", "new")
    assert "applied_by" not in config
    assert autotuner.rollback_optimization_sync("review")


# --- applying


async def test_a_dry_run_changes_nothing(metrics: list[dict[str, Any]], config: dict[str, Any], here: Path) -> None:
    autotuner = PerformanceAutotuner(analyzer=PerformanceAnalyzer(metrics))
    found = autotuner.suggest_optimizations("review", config)
    result = await autotuner.apply_optimizations(
        team_id="review", optimizations=found, workflow_config=config, enable_ab_testing=False, dry_run=True
    )
    assert (result.success, result.validation_status, result.team_id) == (True, "dry_run", "review")
    assert result.applied_config != config
    assert result.rollback_config == config
    assert autotuner.get_optimization_history("review") == []
    assert contents(here) == []


async def test_applied_without_a_test_it_is_the_live_plan(recorded: Callable[..., Simulation], here: Path) -> None:
    simulation = recorded()
    autotuner = PerformanceAutotuner()
    found = autotuner.suggest_optimizations("team", strategies=["formation_selection"])
    result = await autotuner.apply_optimizations("team", found, enable_ab_testing=False)
    assert (result.success, result.validation_status, result.error) == (True, "skipped", None)
    assert result.applied_config["formation"] == "parallel"
    assert (result.improvement_percentage, result.before_metrics, result.after_metrics) == (0.0, {}, {})
    assert simulation.run().plan_asked == TeamPlan(formation="parallel")
    assert await autotuner.rollback_optimization(team_id="team", rollback_index=-1)
    assert simulation.run().plan_asked == EMPTY_PLAN
    assert await autotuner.rollback_optimization("team") is False
    simulation.close()


async def test_applied_with_a_test_the_next_runs_decide(recorded: Callable[..., Simulation], here: Path) -> None:
    simulation = recorded()
    autotuner = PerformanceAutotuner()
    found = autotuner.suggest_optimizations("team", strategies=["formation_selection"])
    result = await autotuner.apply_optimizations("team", found, enable_ab_testing=True)
    assert (result.success, result.validation_status) == (True, "inconclusive")
    assert "has started" in result.message
    (entry,) = autotuner.get_optimization_history("team")
    assert (entry["validation_status"], entry["success"], entry["in_effect"]) == ("running", False, False)
    again = await autotuner.apply_optimizations("team", [change(formation="pipeline")])
    assert (again.success, again.validation_status, again.error) == (True, "inconclusive", None)
    assert entry["experiment_id"] in again.message
    assert "is open" in again.message
    assert len(simulation.experiments()) == 1
    assert await autotuner.rollback_optimization("team") is False  # a test that runs is nothing to take back
    simulation.run_until("promoted")
    (entry,) = autotuner.get_optimization_history("team")
    assert (entry["validation_status"], entry["success"], entry["in_effect"]) == ("passed", True, True)
    assert entry["improvement_percentage"] > 5
    assert entry["before_metrics"]["mean"] > entry["after_metrics"]["mean"]
    assert entry["optimization"]["description"] == found[0].description
    assert await autotuner.rollback_optimization("team")
    assert simulation.state().plan == EMPTY_PLAN
    (entry,) = autotuner.get_optimization_history("team")
    assert (entry["rolled_back"], entry["in_effect"]) == (True, False)
    simulation.close()


async def test_a_runner_decides_at_once(recorded: Callable[..., Simulation], config: dict[str, Any]) -> None:
    simulation = recorded()
    autotuner = PerformanceAutotuner()
    result = await autotuner.apply_optimizations("team", [change(formation="parallel")], config, runner=timed(0.5))
    assert (result.success, result.validation_status) == (True, "passed"), result
    assert 30 < result.improvement_percentage < 70
    assert result.before_metrics["runs"] >= 10
    assert result.after_metrics["median_seconds"] < result.before_metrics["median_seconds"]
    assert "proven after" in result.message
    assert simulation.run().plan_asked == TeamPlan(formation="parallel")
    (entry,) = autotuner.get_optimization_history("team")
    assert entry["improvement_percentage"] == result.improvement_percentage
    simulation.close()


@pytest.mark.parametrize(("faster", "status"), [(3.0, "failed"), (1.0, "inconclusive")])
async def test_what_is_not_proven_is_not_applied(
    recorded: Callable[..., Simulation], config: dict[str, Any], faster: float, status: str
) -> None:
    simulation = recorded()
    autotuner = PerformanceAutotuner()
    result = await autotuner.apply_optimizations(
        "team", [change(formation="parallel")], config, runner=timed(faster), runs_per_arm=20
    )
    assert (result.success, result.validation_status) == (False, status)
    assert simulation.run().plan_asked == EMPTY_PLAN
    (entry,) = autotuner.get_optimization_history("team")
    assert (entry["validation_status"], entry["success"]) == (status, False)
    assert await autotuner.rollback_optimization("team") is False
    simulation.close()


async def test_the_threshold_must_be_proven(recorded: Callable[..., Simulation], config: dict[str, Any]) -> None:
    recorded().close()
    strict = PerformanceAutotuner(ab_test_threshold=90.0)
    result = await strict.apply_optimizations(
        "team", [change(formation="parallel")], config, runner=timed(0.5), runs_per_arm=30
    )
    assert result.validation_status == "inconclusive"
    assert "90 %" in result.message
    with pytest.raises(SettingsError, match="minimum_improvement"):
        PerformanceAutotuner(ab_test_threshold=500.0)


async def test_a_runner_that_raises_fails_its_run(recorded: Callable[..., Simulation], config: dict[str, Any]) -> None:
    recorded().close()
    good = timed(0.5)

    async def run(config: dict[str, Any]) -> Any:
        if config["team_formation"] == "parallel":
            raise RuntimeError("no")
        config.clear()  # it is the runner's own copy
        return await good({"formation": "sequential"})

    result = await PerformanceAutotuner().apply_optimizations(
        "team", [change(formation="parallel")], config, runner=run
    )
    assert result.validation_status in ("failed", "inconclusive")
    assert result.after_metrics["success_rate"] == 0.0
    assert config["team_formation"] == "sequential"


@pytest.mark.parametrize("answer", [{"duration_seconds": "fast"}, {"score": 7}, {"tool_calls": -1, "success": True}])
async def test_a_runner_s_nonsense_is_named(
    recorded: Callable[..., Simulation], config: dict[str, Any], answer: dict[str, Any]
) -> None:
    recorded().close()
    autotuner = PerformanceAutotuner()
    result = await autotuner.apply_optimizations(
        "team", [change(formation="parallel")], config, runner=lambda _: answer
    )
    assert not result.success
    assert str(result.error).startswith("runner: the runner's result can't be used")


async def test_a_file_is_written_with_its_comments_and_restored_exactly(here: Path) -> None:
    text = "# ours\nformation: sequential  # why not\nmember_count: 5\ntool_budget: 50\n"
    (here / "team.yaml").write_text(text)
    autotuner = PerformanceAutotuner()
    result = await autotuner.apply_optimizations(
        "team", [change(formation="parallel")], here / "team.yaml", enable_ab_testing=False
    )
    assert result.success, result.error
    assert (here / "team.yaml").read_text() == text.replace("sequential", "parallel")
    assert "Written into" in result.message
    assert await autotuner.rollback_optimization("team")
    assert (here / "team.yaml").read_text() == text


async def test_a_file_that_was_changed_since_is_left_alone(here: Path) -> None:
    (here / "team.yaml").write_text("formation: sequential\nmember_count: 5\n")
    autotuner = PerformanceAutotuner()
    await autotuner.apply_optimizations("team", [change(formation="parallel")], "team.yaml", enable_ab_testing=False)
    (here / "team.yaml").write_text("formation: pipeline\nmember_count: 5\n")
    with pytest.raises(AutotuneError, match=r"was changed since .*\n.*team\.yaml\.bak"):
        await autotuner.rollback_optimization("team")
    assert (here / "team.yaml").read_text().startswith("formation: pipeline")
    assert autotuner.get_optimization_history("team")[0]["in_effect"]


async def test_a_workflow_file_is_written_too(here: Path) -> None:
    (here / "flow.yaml").write_text(workflow_yaml("researcher", "planner", formation="sequential"))
    result = await PerformanceAutotuner().apply_optimizations(
        "team", [change(formation="parallel")], "flow.yaml", enable_ab_testing=False
    )
    assert result.success, result.error
    assert read_team_config(here / "flow.yaml").config["formation"] == "parallel"


async def test_what_can_t_be_applied_is_an_error_and_no_exception(recorded: Callable[..., Simulation]) -> None:
    recorded().close()
    autotuner = PerformanceAutotuner()
    for optimizations, config, told in (
        ([], None, "nothing to apply"),
        ([change(formation="hierarchical")], None, "can't form 'hierarchical'"),
        ([change(members=["a", "nobody"])], None, "nobody"),
        ([change(formation="parallel")], "nope.yaml", "can't be read"),
    ):
        result = await autotuner.apply_optimizations("team", optimizations, config, enable_ab_testing=False)
        assert not result.success
        assert told in str(result.error)
        json.dumps(result.to_dict())
    assert autotuner.get_optimization_history("team") == []


async def test_a_plan_waits_for_the_first_run_of_its_team(here: Path) -> None:
    autotuner = PerformanceAutotuner(workflow=SPEC.workflow)
    result = await autotuner.apply_optimizations("team", [change(formation="parallel")], {}, enable_ab_testing=False)
    assert result.success
    assert "the settings say observe" in result.message
    simulation = Simulation(here)
    assert simulation.run().plan_asked == TeamPlan(formation="parallel")
    simulation.close()


# --- taking back, and the history


async def test_taking_back_an_early_one_takes_the_later_ones_too(recorded: Callable[..., Simulation]) -> None:
    simulation = recorded()
    autotuner = PerformanceAutotuner()
    for knobs in ({"formation": "parallel"}, {"tool_budget": 30}, {"timeout_seconds": 60.0}):
        result = await autotuner.apply_optimizations("team", [change(**knobs)], enable_ab_testing=False)
        assert result.success, result.error
    assert simulation.state().plan == TeamPlan(formation="parallel", tool_budget=30, timeout_seconds=60.0)
    assert await autotuner.rollback_optimization("team", -1)
    assert simulation.state().plan == TeamPlan(formation="parallel", tool_budget=30)
    assert await autotuner.rollback_optimization("team", 5) is False
    assert await autotuner.rollback_optimization("team", 0)
    assert simulation.state().plan == EMPTY_PLAN
    history = autotuner.get_optimization_history("team")
    assert [entry["rolled_back"] for entry in history] == [True, True, True]
    assert history[0]["optimization"]["suggested_config"] == {"formation": "parallel"}
    simulation.close()


def test_the_history_survives_a_restart(here: Path, metrics: list[dict[str, Any]], config: dict[str, Any]) -> None:
    with PerformanceAutotuner(PerformanceAnalyzer(metrics)) as autotuner:
        found = autotuner.suggest_optimizations("review", config)
        autotuner.apply_optimizations_sync("review", found, config, enable_ab_testing=False)
        before = autotuner.get_optimization_history("review")
    with PerformanceAutotuner(project=here) as later:
        assert later.get_optimization_history("review") == before
        assert later.get_optimization_history() == before
        (entry,) = before
        for key in ("timestamp", "optimization", "improvement_percentage", "validation_status", "rollback_config"):
            assert key in entry
        assert entry["rollback_config"] == config
        assert later.rollback_optimization_sync("review")
        assert later.get_optimization_history("review")[0]["rolled_back"]


def test_two_workflows_with_such_a_team_need_a_name(here: Path) -> None:
    from attrs import evolve

    for workflow in ("one", "two"):
        simulation = Simulation(here)
        simulation.spec = evolve(SPEC, workflow=workflow)
        simulation.run()
        simulation.close()
    with pytest.raises(AutotuneError, match="several workflows have a team 'team'"):
        PerformanceAutotuner().suggest_optimizations("team")
    assert PerformanceAutotuner(workflow="one").suggest_optimizations("team") == []


def test_a_rolled_back_promotion_is_told(recorded: Callable[..., Simulation], here: Path) -> None:
    simulation = Simulation(here, strategies=["formation_selection"])
    simulation.run_until("promoted")
    simulation.truth = lambda plan, members: sum(members) * (1 if plan.is_empty else 30)
    simulation.run_until("rolled_back")
    simulation.close()
    (entry,) = PerformanceAutotuner().get_optimization_history("team")
    assert (entry["validation_status"], entry["rolled_back"], entry["in_effect"]) == ("passed", True, False)
    assert entry["actor"] == "auto"


def test_auto_rollback_can_be_turned_off(recorded: Callable[..., Simulation]) -> None:
    simulation = recorded()
    autotuner = PerformanceAutotuner(enable_auto_rollback=False)
    autotuner.apply_optimizations_sync("team", [change(formation="parallel")])
    with Store.open(default_url(Path.cwd())) as store:
        assert store.experiments()[0].treatment == TeamPlan(formation="parallel")
    assert autotuner._runtime.settings(SPEC).watch.enabled is False
    simulation.close()


def test_a_strategy_of_a_hook_is_found_by_its_name(metrics: list[dict[str, Any]], config: dict[str, Any]) -> None:
    class Offers:
        @hookimpl
        def add_strategies(self) -> list[OptimizationStrategy]:
            return [Slower()]

    autotuner = PerformanceAutotuner(PerformanceAnalyzer(metrics), strategies=["slower", "tool_budget"])
    autotuner._runtime.hooks.register(Offers(), "offers")
    kinds = [one.type for one in autotuner.suggest_optimizations("review", config)]
    assert sorted(kinds) == ["slower", "tool_budget"]
    first = autotuner.suggest_optimizations("review", config, strategies=["slower"])
    result = autotuner.apply_optimizations_sync("review", first, config, False)
    assert result.applied_config["applied_by"] == "slower"


def test_it_tells_who_uses_whose_work(here: Path, recorded: Callable[..., Simulation]) -> None:
    simulation = recorded(runs=0)
    simulation.flow = RunFlow([Edge("a", "b", "context")], {"c": ("custom",)})
    for _ in range(12):
        simulation.run()
    with PerformanceAutotuner() as autotuner:
        found = autotuner.data_flow("team")
        assert autotuner.data_flow("team", workflow="flow") == found
    assert json.loads(json.dumps(found)) == found
    assert (found["workflow"], found["team_id"], found["verdict"]) == ("flow", "team", "dependent")
    assert found["graph"].startswith("a → b")
    assert found["open"] == {"c": {"custom": 12}}
    assert [(one["source"], one["target"], one["channel"], one["runs"]) for one in found["edges"]] == [
        ("a", "b", "context", 12)
    ]


def test_the_word_in_the_settings_counts_for_it(here: Path, recorded: Callable[..., Simulation]) -> None:
    recorded(runs=2)
    (here / ".victor" / "autotune.yaml").write_text("dataflow: independent\ndataflow_edges: [[a, b]]\n")
    with PerformanceAutotuner() as autotuner:
        found = autotuner.data_flow("team")
    assert (found["declared"], found["graph"], found["runs"]) == (
        "independent",
        "a → b; c, d independent",
        {"configured": 2},
    )


def test_of_a_team_that_never_ran_nothing_is_made_up(recorded: Callable[..., Simulation]) -> None:
    with PerformanceAutotuner() as autotuner:
        with pytest.raises(AutotuneError, match="no run of a team 'team' was recorded") as caught:
            autotuner.data_flow("team")
        assert caught.value.hint is not None
        recorded(runs=1)
        assert autotuner.data_flow("team")["verdict"] == "unknown"


def test_a_trial_tells_scores_where_its_runner_gives_them_and_a_failed_run_is_worth_nothing() -> None:
    def result_of(*answers: dict[str, Any]) -> TrialResult:
        trial = Trial(Policy(), seed="0" * 32, runs_per_arm=len(answers))
        for answer in answers:
            arm = trial.next_arm
            assert arm is not None
            trial.observe(asyncio.run(observed(lambda _, told=answer: told, {}, arm, trial.next_index)))
        return trial.result()

    scored = result_of({"score": 0.5}, {"success": False}, {"score": 1.0, "success": False})
    assert [run.score for run in scored.observations] == [0.5, 0.0, 1.0]
    assert {arm.mean_score is None for arm in (scored.control, scored.treatment) if arm.runs} == {False}
    plain = result_of({"success": True}, {"success": False})
    assert [run.score for run in plain.observations] == [None, None]
    assert [arm.mean_score for arm in (plain.control, plain.treatment)] == [None, None]
