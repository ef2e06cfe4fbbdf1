"""What 0.1 knew and this version does not act on is still read, and told once with file, line and key."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._settings import SettingsResolver
from victor_autotune_plugin._settings.layers import variable
from victor_autotune_plugin._settings.merge import own_settings
from victor_autotune_plugin._values.nodes import from_plain

from .conftest import Sources

DATA = Path(__file__).parents[1] / "data" / "v0_1_0"
EARLIER = ["balanced", "pocock", "obrien_fleming", "e_logs", "e_ranks"]
WHY = "a rule of 0.1, which can't be chosen any more, so signed_rank decides"


@pytest.fixture(autouse=True)
def nothing_was_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failsafe, "_logged", set())


def told(found: SettingsResolver, own: Any = ()) -> list[str]:
    return [f"{one.where}: {one.message}" for one in found.retired(own)]


@pytest.mark.parametrize("rule", EARLIER)
def test_a_rule_of_0_1_gives_the_default_and_is_told(sources: Sources, caplog: Any, rule: str) -> None:
    sources.project_file(f"mode: auto\nexperiment:\n  rule: {rule}\n")
    found = sources.load()
    assert found.for_team("w", "t").experiment.rule == "signed_rank"
    assert told(found) == [f".victor/autotune.yaml:3: experiment.rule: '{rule}' is {WHY}"]
    assert ("experiment.rule", "signed_rank", "default") in found.explain("w", "t")
    assert [record.getMessage() for record in caplog.records] == [
        f"autotune: .victor/autotune.yaml:3: experiment.rule: '{rule}' is {WHY}. Leave the key out."
    ]


def test_the_rule_of_today_may_be_named(sources: Sources, caplog: Any) -> None:
    sources.project_file("experiment: {rule: signed_rank}")
    found = sources.load()
    assert (told(found), caplog.records) == ([], [])
    assert ("experiment.rule", "signed_rank", ".victor/autotune.yaml:1") in found.explain("w", "t")


@pytest.mark.parametrize(("key", "value"), [("max_runs", 20), ("alpha", 0.01)])
def test_what_ended_a_watch_is_ignored_and_told(sources: Sources, key: str, value: float) -> None:
    sources.project_file(f"watch: {{holdback: 0.1, {key}: {value}}}")
    found = sources.load()
    assert found.for_team("w", "t").watch.holdback == 0.1
    why = "is ignored: since 0.2 a live plan is verified for as long as it lives"
    assert told(found) == [f".victor/autotune.yaml:1: watch.{key}: {value} {why}"]
    assert f"watch.{key}" not in [row[0] for row in found.explain("w", "t")]


def test_it_is_told_of_every_place_and_logged_once_a_process(sources: Sources, caplog: Any) -> None:
    sources.user_file("watch: {max_runs: 50}")
    sources.project_file(
        "workflows:\n  w:\n    experiment: {rule: e_logs}\n    teams:\n      t: {watch: {alpha: 0.1}}\n"
    )
    environ = {variable("experiment.rule"): "pocock"}
    for _ in range(3):
        found = sources.load(environ=environ, overrides={"watch.max_runs": 10})
        found.for_team("w", "t", {"experiment": {"rule": "e_ranks"}}, "review.yaml:9")
        found.reload()
    places = [
        "~/.victor/autotune.yaml:1: watch.max_runs",
        ".victor/autotune.yaml:3: workflows.w.experiment.rule",
        ".victor/autotune.yaml:5: workflows.w.teams.t.watch.alpha",
        "env VICTOR_AUTOTUNE_EXPERIMENT__RULE: experiment.rule",
        "option --watch-max-runs: watch.max_runs",
        "review.yaml:9: experiment.rule",
    ]
    own = [("w", {"experiment": {"rule": "e_ranks"}}, "review.yaml:9")]
    logged = [record.getMessage() for record in caplog.records]
    for texts in (told(found, own), logged):
        assert len(texts) == len(places)
        assert all(place in text for place, text in zip(places, texts, strict=True))


def test_a_caller_that_shows_it_itself_has_no_log(sources: Sources, caplog: Any) -> None:
    sources.project_file("experiment: {rule: pocock}")
    found = sources.load(log=False)
    found.for_team("w", "t", {"watch": {"max_runs": 10}})
    assert caplog.records == []
    assert len(told(found)) == 1


def test_a_workflow_that_is_read_to_be_changed_is_told_of(caplog: Any) -> None:
    caplog.set_level(logging.WARNING)
    metadata = from_plain({"experiment": {"rule": "pocock"}}, "review.yaml:4").plain()
    assert own_settings("w", "t", metadata, "review.yaml:4").experiment.rule == "signed_rank"
    assert "review.yaml:4: metadata.autotune.experiment.rule: 'pocock'" in caplog.text


def test_a_value_that_0_1_refused_stays_an_error(sources: Sources) -> None:
    sources.project_file("watch: {max_runs: 5}")
    assert "watch.max_runs: 5 is out of range" in sources.error()


def test_settings_that_0_1_read_are_read(sources: Sources) -> None:
    begun = DATA / "settings" / "begun" / ".victor" / "autotune.yaml"
    sources.user_file(begun.read_text(encoding="utf-8"))
    sources.project_file((DATA / "autotune.yaml").read_text(encoding="utf-8"))
    found = sources.load()
    lines = [one.where.rpartition(":")[2] for one in found.retired() if one.where.startswith(".victor")]
    assert lines == ["5", "18", "19", "20", "21"]
    assert found.for_team("flow", "rejected") == found.for_team("flow", "rolled_back")
