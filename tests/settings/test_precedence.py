from __future__ import annotations

import pytest

from victor_autotune_plugin._host.workflows import read_workflows
from victor_autotune_plugin._model.plan import FORMATIONS, TeamPlan
from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin._settings import (
    METRICS,
    MODES,
    STRATEGIES,
    Price,
    Settings,
    SettingsResolver,
    TunerSettings,
)
from victor_autotune_plugin._settings.keys import IGNORED, leaves
from victor_autotune_plugin._settings.layers import variable
from victor_autotune_plugin._settings.team_settings import QualitySettings
from victor_autotune_plugin.errors import SettingsError

LEVELS = ["default", "user", "project", "metadata", "environment", "option"]


@pytest.mark.parametrize("highest", range(len(LEVELS)), ids=LEVELS)
def test_each_source_beats_all_below_it(sources, highest: int) -> None:
    given = LEVELS[: highest + 1]
    if "user" in given:
        sources.user_file("experiment: {min_history: 1}")
    if "project" in given:
        sources.project_file("experiment: {min_history: 2}")
    book = sources.load(
        environ={"VICTOR_AUTOTUNE_EXPERIMENT__MIN_HISTORY": "4"} if "environment" in given else {},
        overrides={"experiment.min_history": 6} if "option" in given else {},
    )
    metadata = {"experiment": {"min_history": 3}} if "metadata" in given else None
    expected = [5, 1, 2, 3, 4, 6][highest]
    assert book.for_team("w", "t", metadata).experiment.min_history == expected


@pytest.mark.parametrize(
    ("workflow", "team", "mode"),
    [("other", "t", "suggest"), ("w", "other", "approve"), ("w", "t", "auto"), ("other", "other", "suggest")],
)
def test_a_team_beats_its_workflow_and_that_beats_the_top(sources, workflow: str, team: str, mode: str) -> None:
    sources.project_file("mode: suggest\nworkflows: {w: {mode: approve, teams: {t: {mode: auto}}}}")
    assert sources.load().for_team(workflow, team).mode == mode


def test_the_project_beats_the_user_even_where_the_user_is_more_specific(sources) -> None:
    sources.user_file("workflows: {w: {teams: {t: {mode: off}}}}")
    sources.project_file("mode: auto")
    assert sources.load().for_team("w", "t").mode == "auto"


def test_a_workflows_metadata_may_set_its_teams(sources) -> None:
    metadata = {"mode": "suggest", "teams": {"t": {"mode": "auto"}}}
    book = sources.load()
    assert book.for_team("w", "t", metadata).mode == "auto"
    assert book.for_team("w", "u", metadata).mode == "suggest"


def test_without_any_source_everything_is_the_default(sources) -> None:
    book = sources.load()
    settings = book.for_team("w", "t")
    assert settings == Settings()
    assert (settings.mode, settings.plan, settings.strategies) == ("observe", None, STRATEGIES)
    assert (book.database_url, dict(book.prices)) == (None, {})


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "limits:\nworkflows:\nprices:\n", "workflows: {w: null, v: {teams: null}}", "---\n..."]
)
def test_an_empty_file_or_section_sets_nothing(sources, text: str) -> None:
    sources.project_file(text)
    assert sources.load().for_team("w", "t") == Settings()


def test_explain_names_the_source_of_every_value(sources) -> None:
    sources.user_file("# mine\ntask_key: ticket\n")
    sources.project_file("watch:\n  holdback: 0.2\nworkflows:\n  w:\n    limits:\n      max_members: 4\n")
    book = sources.load(environ={"VICTOR_AUTOTUNE_EXPERIMENT__ALPHA": "0.01"}, overrides={"mode": "auto"})
    metadata = {"strategies": ["team_sizing"]}
    rows = {key: (value, source) for key, value, source in book.explain("w", "t", metadata, "workflow review.yaml:7")}
    assert rows["mode"] == ("auto", "option --mode")
    assert rows["experiment.alpha"] == (0.01, "env VICTOR_AUTOTUNE_EXPERIMENT__ALPHA")
    assert rows["strategies"] == (("team_sizing",), "workflow review.yaml:7")
    assert rows["limits.max_members"] == (4, ".victor/autotune.yaml:6")
    assert rows["watch.holdback"] == (0.2, ".victor/autotune.yaml:2")
    assert rows["task_key"] == ("ticket", "~/.victor/autotune.yaml:2")
    assert rows["limits.formations"] == (FORMATIONS, "default")
    assert list(rows) == [*(key for key in leaves() if key not in IGNORED), "database_url"]


def test_metadata_without_a_named_source_is_explained_by_its_workflow(sources) -> None:
    rows = {key: source for key, _, source in sources.load().explain("w", "t", {"mode": "auto"})}
    assert rows["mode"] == "workflow w (metadata.autotune)"


def test_explain_hides_the_password_of_the_database(sources) -> None:
    sources.user_file("database_url: postgresql://me:s3cret@host/db")
    book = sources.load()
    assert book.database_url == "postgresql://me:s3cret@host/db"
    rows = {key: (value, source) for key, value, source in book.explain("w", "t")}
    assert "s3cret" not in str(rows)
    assert rows["database_url"][1] == "~/.victor/autotune.yaml:1"


def test_sub_teams_can_be_set_in_a_file_and_in_the_environment(sources) -> None:
    sources.project_file("plan: {sub_teams: [[a, b], [c]]}")
    assert sources.load().for_team("w", "t").plan == TeamPlan(sub_teams=[["a", "b"], ["c"]])
    environ = {variable("plan.sub_teams"): "a | b, c"}
    assert sources.load(environ=environ).for_team("w", "t").plan == TeamPlan(sub_teams=[["a"], ["b", "c"]])


@pytest.mark.parametrize(
    "text",
    ["dataflow: {}", "workflows: {{w: {{dataflow: {}}}}}", "workflows: {{w: {{teams: {{t: {{dataflow: {}}}}}}}}}"],
)
@pytest.mark.parametrize("word", ["auto", "independent", "dependent", "off"])
def test_a_person_may_say_the_data_flow_per_workflow_and_team(sources, text: str, word: str) -> None:
    sources.project_file(text.format(word))
    assert sources.load().for_team("w", "t").dataflow == word
    assert sources.load(environ={variable("dataflow"): word}).for_team("x", "t").dataflow == word


def test_a_workflow_in_which_off_is_false_to_victor_may_say_it_too(sources) -> None:
    own = {"dataflow": False, "teams": {"t": {"dataflow_edges": [["a", "b"]]}}}
    settings = sources.load().for_team("w", "t", own, "flow.yaml:3")
    assert (settings.dataflow, settings.dataflow_edges) == ("off", (("a", "b"),))


def test_the_edges_of_the_strongest_source_count_alone(sources) -> None:
    sources.user_file("dataflow_edges: [[a, b]]\nworkflows: {w: {teams: {u: {dataflow_edges: []}}}}")
    book = sources.load()
    assert book.for_team("w", "t").dataflow_edges == (("a", "b"),)
    assert book.for_team("w", "u").dataflow_edges == ()
    assert book.for_team("x", "u").dataflow_edges == (("a", "b"),)
    rows = {key: (value, source) for key, value, source in book.explain("w", "u")}
    assert rows["dataflow_edges"] == ((), "~/.victor/autotune.yaml:2")
    assert rows["dataflow"] == ("auto", "default")
    environ = {variable("dataflow_edges"): " b , c | c,a |"}
    assert sources.load(environ=environ).for_team("w", "t").dataflow_edges == (("b", "c"), ("c", "a"))
    nothing = sources.load(environ={variable("dataflow_edges"): ","})
    assert nothing.for_team("w", "t").dataflow_edges == ()


def test_every_key_can_be_set_in_the_environment(sources) -> None:
    knobs = {
        "formation": "parallel",
        "members": "lead,b",
        "tool_budget": "7",
        "member_budgets": "lead=3",
        "timeout_seconds": "30",
        "sub_teams": "null",
    }
    texts = {
        "mode": "approve",
        "strategies": "team_sizing, tool_budget",
        "limits.formations": "parallel,pipeline",
        "limits.protected_members": "lead",
        "experiment.metric": "cost",
        "experiment.rule": "e_logs",
        "experiment.sticky": "on",
        "promotion": "proof",
        "limits.max_bad_runs_per_week": "null",
        "limits.max_extra_cost_usd_per_week": "2.5",
        "watch.enabled": "no",
        "watch.holdback": "0.25",
        "quality.scorers": '{"tests": {"command": "pytest -q", "weight": 2}}',
        "quality.deadline": "2h",
        "quality.show": "less -R",
        "quality.concurrency": "3",
        "tuner.risk": "medium",
        "tuner.weights": "duration=2, cost=1",
        "tuner.max_p95_seconds": "45",
        "task_key": "ticket",
        "dataflow": "dependent",
        "dataflow_edges": "lead,b",
        **{f"{section}.{knob}": text for section in ("plan", "start_from") for knob, text in knobs.items()},
        "store.silent_after": "120",
        "retention.runs": "5000",
        "retention.days": "30",
        "journal.fsync": "yes",
        "journal.max_megabytes": "10",
        "hooks.plan_seconds": "0.5",
        "notify": '{"ops": {"url": "https://ops.example.com/hook"}}',
        "public_prices": "no",
        "limits.max_timeout_seconds": "3e1",
        "limits.min_members": "1",
        "limits.max_members": "null",
        "experiment.max_runs_per_arm": "10",
        "experiment.alpha": "1e-2",
    }
    environ = {variable(key): texts.get(key, "10" if "runs" in key or "history" in key else "0.1") for key in leaves()}
    for key in ("limits.min_tool_budget", "limits.max_tool_budget"):
        environ[variable(key)] = "7"
    settings = sources.load(environ=environ).for_team("w", "t")
    assert (settings.mode, settings.strategies, settings.task_key) == (
        "approve",
        ("team_sizing", "tool_budget"),
        "ticket",
    )
    assert settings.limits.formations == ("parallel", "pipeline")
    assert settings.quality == QualitySettings(
        (ScorerSettings("tests", "command", ("pytest", "-q"), 2.0),), 7200.0, 0.1, 0.1, ("less", "-R"), 3, 0.1
    )
    assert settings.tuner == TunerSettings("medium", {"duration": 2.0, "cost": 1.0}, 45.0)
    assert settings.limits.max_members is None
    assert settings.limits.min_tool_budget == 7
    assert (settings.limits.max_bad_runs_per_week, settings.limits.max_extra_cost_usd_per_week) == (None, 2.5)
    assert (settings.promotion, settings.experiment.rule, settings.experiment.sticky) == ("proof", "signed_rank", True)
    assert (settings.experiment.metric, settings.experiment.alpha, settings.experiment.min_history) == (
        "cost",
        0.01,
        10,
    )
    assert (settings.watch.enabled, settings.watch.holdback) == (False, 0.25)
    assert (settings.dataflow, settings.dataflow_edges) == ("dependent", (("lead", "b"),))
    assert settings.plan == TeamPlan("parallel", ("lead", "b"), 7, {"lead": 3}, 30.0)


def test_an_empty_variable_and_an_option_that_was_not_given_set_nothing(sources) -> None:
    sources.project_file("mode: auto")
    book = sources.load(environ={"VICTOR_AUTOTUNE_MODE": " "}, overrides={"mode": None, "watch.alpha": None})
    assert book.for_team("w", "t").mode == "auto"


def test_options_may_be_text_or_values(sources) -> None:
    overrides = {
        "watch.enabled": False,
        "watch.holdback": "0.3",
        "strategies": ["team_sizing"],
        "database_url": "sqlite://",
    }
    book = sources.load(overrides=overrides)
    settings = book.for_team("w", "t")
    assert (settings.watch.enabled, settings.watch.holdback) == (False, 0.3)
    assert settings.strategies == ("team_sizing",)
    assert book.database_url == "sqlite://"


@pytest.mark.parametrize("value", ["off", False], ids=["text", "what YAML 1.1 makes of it"])
def test_mode_off_is_understood_in_the_workflows_yaml(sources, value: object) -> None:
    assert sources.load().for_team("w", "t", {"mode": value}).mode == "off"


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_can_be_written_without_quotes(sources, mode: str) -> None:
    sources.project_file(f"mode: {mode}")
    assert sources.load().for_team("w", "t").mode == mode


@pytest.mark.parametrize("metric", METRICS)
def test_every_metric_is_known(sources, metric: str) -> None:
    overrides = {"experiment.metric": metric, "quality.scorers": {"review": {"external": True}}}
    assert sources.load(overrides=overrides).for_team("w", "t").experiment.metric == metric


def test_a_third_partys_strategy_is_known_and_used_by_default(sources) -> None:
    book = sources.load(extra_strategies=["prompt_caching"])
    assert book.for_team("w", "t").strategies == (*STRATEGIES, "prompt_caching")
    sources.project_file("strategies: [prompt_caching]")
    assert sources.load(extra_strategies=["prompt_caching"]).for_team("w", "t").strategies == ("prompt_caching",)


def test_a_plan_is_merged_by_knob_and_null_takes_it_away(sources) -> None:
    sources.project_file(
        """
plan: {formation: parallel, timeout_seconds: 9}
workflows:
  w: {plan: {timeout_seconds: 20, member_budgets: {b: 2, a: 1}}}
  free: {plan: null}
  half: {plan: {formation: null}}
"""
    )
    book = sources.load()
    assert book.for_team("w", "t").plan == TeamPlan("parallel", timeout_seconds=20.0, member_budgets={"a": 1, "b": 2})
    assert book.for_team("half", "t").plan == TeamPlan(timeout_seconds=9.0)
    assert book.for_team("free", "t").plan is None
    rows = {key: (value, source) for key, value, source in book.explain("free", "t")}
    assert rows["plan.formation"] == (None, ".victor/autotune.yaml:5")


def test_the_database_is_taken_from_the_strongest_source_and_null_means_the_projects_own(sources) -> None:
    sources.user_file("database_url: postgresql://user-file/db")
    assert sources.load().database_url == "postgresql://user-file/db"
    sources.project_file("database_url: null")
    assert sources.load().database_url is None
    environ = {"VICTOR_AUTOTUNE_DATABASE_URL": "postgresql://environment/db"}
    assert sources.load(environ=environ).database_url == "postgresql://environment/db"


def test_prices_are_merged_by_model(sources) -> None:
    sources.user_file(
        "prices:\n"
        "  a: {input_per_million_usd: 1, output_per_million_usd: 2}\n"
        "  '*': {input_per_million_usd: 9, output_per_million_usd: 9}\n"
    )
    sources.project_file("prices: {a: {input_per_million_usd: 3, output_per_million_usd: 4}}")
    book = sources.load()
    assert dict(book.prices) == {"a": Price(3.0, 4.0), "*": Price(9.0, 9.0)}
    assert book.explain("w", "t")[-1] == ("prices.a", Price(3.0, 4.0), ".victor/autotune.yaml:1")


@pytest.mark.parametrize("name", [".other", "plain"])
def test_victors_folder_may_have_another_name(sources, name: str) -> None:
    path = sources.project_file("mode: auto")
    path.parent.rename(path.parent.with_name(name))
    assert sources.load(environ={"VICTOR_DIR_NAME": name}).for_team("w", "t").mode == "auto"
    assert sources.load().for_team("w", "t").mode == "observe"


@pytest.mark.parametrize("name", ["../home/.victor", "a/b", "", "  ", "..", "a\\b"])
def test_a_folder_name_that_leads_elsewhere_is_ignored_as_victor_does(sources, name: str) -> None:
    sources.project_file("mode: auto")
    assert sources.load(environ={"VICTOR_DIR_NAME": name}).for_team("w", "t").mode == "auto"


def test_a_project_that_is_the_home_has_one_file(sources) -> None:
    sources.user_file("mode: auto")
    book = SettingsResolver.load(sources.home, home=sources.home, environ={})
    assert book.explain("w", "t")[0] == ("mode", "auto", ".victor/autotune.yaml:1")


def test_shared_pieces_of_yaml_keep_the_line_where_they_are_written(sources) -> None:
    sources.project_file(
        """workflows:
  a: &careful
    mode: approve
    watch: {holdback: 0.3}
  b:
    <<: *careful
    mode: auto
"""
    )
    book = sources.load()
    rows = {key: (value, source) for key, value, source in book.explain("b", "t")}
    assert rows["mode"] == ("auto", ".victor/autotune.yaml:7")
    assert rows["watch.holdback"] == (0.3, ".victor/autotune.yaml:4")


def test_explain_names_the_line_of_each_value_of_a_workflows_own_metadata(sources, tmp_path) -> None:
    path = tmp_path / "review.yaml"
    path.write_text(
        "workflows:\n  w:\n    metadata:\n      autotune:\n        mode: auto\n        limits:\n"
        "          max_members: 4\n        strategies:\n          - team_sizing\n"
        "        teams: {t: {task_key: ticket,\n                   watch: {holdback: 0.2}}}\n"
        "    nodes:\n      - {id: t, type: team, members: [{id: a}]}\n"
    )
    read = read_workflows(path)
    metadata = read.workflow(None).metadata["autotune"]
    rows = {key: source for key, _, source in sources.load().explain("w", "t", metadata, f"{path}:{read.lines['w']}")}
    lines = {key: int(source.removeprefix(f"{path}:")) for key, source in rows.items() if source != "default"}
    assert lines == {
        "mode": 5,
        "limits.max_members": 7,
        "strategies": 8,
        "task_key": 10,
        "watch.holdback": 11,
    }


def test_a_wrong_value_in_a_workflows_own_metadata_is_told_with_its_line(sources, tmp_path) -> None:
    path = tmp_path / "review.yaml"
    path.write_text(
        "workflows:\n  w:\n    nodes:\n      - {id: t, type: team, members: [{id: a}]}\n"
        "    metadata:\n      autotune:\n        mode: auto\n        watch:\n          holdback: 2\n"
    )
    metadata = read_workflows(path).workflow(None).metadata["autotune"]
    with pytest.raises(SettingsError, match=r"review\.yaml:9: watch\.holdback: 2 is out of range"):
        sources.load().for_team("w", "t", metadata)
