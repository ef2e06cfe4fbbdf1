"""The programs of the how-to pages and of the page on notebooks do what the pages say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._tuning.hookmanager import HookManager
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.docs_pages import blocks
from victor_autotune_testing.stored import experiment, finished, planned, start


def program(page: str, file: str | None, number: int = 0) -> str:
    found = [one.text for one in blocks(page) if one.language == "python" and one.file == file]
    return found[number]


def hooks(file: str) -> SimpleNamespace:
    names: dict[str, Any] = {}
    exec(compile(program("howto/approve.md", file), file, "exec"), names)
    return SimpleNamespace(**names)


def test_a_rule_starts_tests_of_the_formation_alone() -> None:
    approve = hooks("by_rule.py").approve_change
    formation, more = TeamPlan(formation="parallel"), TeamPlan(formation="parallel", tool_budget=3)
    assert approve(experiment(treatment=formation), "start") is True
    assert approve(experiment(treatment=formation), "promote") is None
    assert approve(experiment(treatment=more), "start") is None


def test_the_rule_is_taken_by_the_plugin() -> None:
    HookManager().register(hooks("by_rule.py"), name="by_rule")


@pytest.mark.parametrize(("tests", "share"), [("def test_a(): pass\ndef test_b(): assert 0\n", 0.5), ("", 0.0)])
def test_the_share_of_tests_that_pass_is_the_last_line(tmp_path: Path, tests: str, share: float) -> None:
    (tmp_path / "share_of_tests.py").write_text(program("howto/score-by-tests.md", "share_of_tests.py"))
    (tmp_path / "test_it.py").write_text(tests)
    done = subprocess.run(
        [sys.executable, "share_of_tests.py"], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120
    )
    assert float(done.stdout.splitlines()[-1]) == share


def test_the_frame_of_the_page_compares_plans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with Store.open(default_url(tmp_path)) as store, store.transaction() as transaction:
        for number in range(3):
            transaction.start_run(start(f"r{number}"), planned())
            transaction.finish_run(evolve(finished(f"r{number}"), duration_seconds=float(number)))
    exec(compile(program("notebooks.md", None), "notebooks.md", "exec"), {})
    said = capsys.readouterr().out
    assert finished().plan_asked.describe()[:20] in said
    assert said.split()[-2:] == ["3", "1.0"]


def test_the_verdict_of_the_page_shows_itself() -> None:
    *lines, last = program("notebooks.md", None, 1).strip().splitlines()
    names: dict[str, Any] = {}
    exec(compile("\n".join(lines), "notebooks.md", "exec"), names)
    assert "<table>" in eval(last, names)._repr_html_()
