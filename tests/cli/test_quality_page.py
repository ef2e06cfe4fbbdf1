"""The tutorial on quality: its settings, files and commands are ones that work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from victor_autotune_plugin._cli.commands import COMMANDS
from victor_autotune_plugin._metricfiles.score_file import Scale, read_scores
from victor_autotune_plugin._model.scorer_settings import SCORER_KINDS
from victor_autotune_plugin._settings import SettingsResolver

PAGE = (Path(__file__).parents[2] / "docs" / "quality.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("settings", blocks("yaml"))
def test_its_settings_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: str) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    for folder in (home, project):
        (folder / ".victor").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(Path, "home", lambda: home)
    (home / ".victor" / "autotune.yaml").write_text(settings)  # a user's own file needs no trust
    quality = SettingsResolver.load(project, log=False).for_team("flow", "team").quality
    assert [one.name for one in quality.scorers] == re.findall(r"^    (\w+):", settings, re.MULTILINE)


def test_it_shows_every_kind_of_scorer() -> None:
    assert {kind for kind in SCORER_KINDS if f"{kind}:" in "".join(blocks("yaml"))} == set(SCORER_KINDS)


def test_its_file_of_scores_is_read() -> None:
    (text,) = blocks("json")
    found = list(read_scores(text.encode().splitlines(), "page", Scale(1, 5)))
    assert [(one.value, one.source) for one in found] == [(0.75, "person"), (1.0, "import")]


def test_its_commands_are_there() -> None:
    called = re.findall(r"\$ victor autotune ([\w-]+)", "".join(blocks("console")))
    assert {"explain", "trust", "rate", "score", "judge-check"} <= set(called) <= set(COMMANDS)
