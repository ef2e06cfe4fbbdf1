"""Victor's own verifiers as scorers: what passed of what was checked, and no opinion where nothing can be told."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import scorers
from victor_autotune_plugin._host.scorers import VictorVerifier, missing
from victor_autotune_plugin._model.plan import TeamSpec
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin.quality import RunOutput, Scored
from victor_autotune_testing.realvictor import until

TESTS = ScorerSettings("tests", "victor_verifier", "tests", timeout=120.0)
LINT = evolve(TESTS, name="lint", value="lint")
RUN = TeamRun("run-1", TeamSpec("flow", "team", "parallel", []), 0.0, 1.0, True, 1.0)

pytestmark = pytest.mark.usefixtures("sandbox")


def score(settings: ScorerSettings, project: Path) -> Scored:
    return VictorVerifier(settings).score(RunOutput(RUN, "work", project=project))


@pytest.fixture
def a_ruff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a linter of one's own in the place of Victor's."""

    def make(script: str) -> None:
        command = tmp_path / "bin" / "ruff"
        command.parent.mkdir()
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{command.parent}:/bin:/usr/bin")

    return make


def test_the_share_of_a_projects_tests_that_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/bin:/usr/bin")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # it only takes time
    (tmp_path / "test_it.py").write_text("def test_a(): pass\ndef test_b(): pass\ndef test_c(): assert False\n")
    assert score(TESTS, tmp_path).value == pytest.approx(2 / 3)


def test_lint_is_all_or_nothing(tmp_path: Path, a_ruff: Callable[[str], None]) -> None:
    a_ruff('test -e dirty && echo "a.py:1:1: F401 unused" && exit 1; echo "All checks passed!"')
    assert score(LINT, tmp_path).value == 1.0
    (tmp_path / "dirty").touch()
    assert score(LINT, tmp_path).value == 0.0


@pytest.mark.parametrize("script", ["exit 3", "kill -9 $$"], ids=["says nothing and fails", "killed"])
def test_a_command_that_fails_without_a_word_is_no_praise(
    tmp_path: Path, a_ruff: Callable[[str], None], script: str
) -> None:
    a_ruff(script)
    assert (score(LINT, tmp_path).value, score(LINT, tmp_path).why) == (None, "failed to run")


def test_without_tests_there_is_no_opinion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:/bin:/usr/bin")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    assert (score(TESTS, tmp_path).value, score(TESTS, tmp_path).why) == (None, "nothing ran")


def test_a_command_that_is_not_there_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError):
        score(LINT, tmp_path)


@pytest.mark.parametrize("is_starting", [False, True])
def test_after_its_time_it_is_ended_with_what_it_started(
    tmp_path: Path, a_ruff: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, is_starting: bool
) -> None:
    a_ruff("sleep 600 & echo $! > child.new; mv child.new child; wait")
    child = tmp_path / "child"
    start = asyncio.SelectorEventLoop.subprocess_exec

    async def start_slowly(*args: Any, **options: Any) -> Any:
        started = await start(*args, **options)
        await until(child.exists)
        await asyncio.sleep(0.1)
        return started

    if is_starting:
        monkeypatch.setattr(asyncio.SelectorEventLoop, "subprocess_exec", start_slowly)

    async def wait_for(work: Any, seconds: float) -> None:
        assert seconds == LINT.timeout
        task = asyncio.ensure_future(work)
        await until(child.exists)
        task.cancel()
        await asyncio.wait([task])
        raise TimeoutError

    monkeypatch.setattr(scorers, "asyncio", SimpleNamespace(**{**vars(asyncio), "wait_for": wait_for}))
    with pytest.raises(TimeoutError):
        score(LINT, tmp_path)
    stat = Path("/proc", child.read_text().strip(), "stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_victor_without_verifiers_gives_no_opinion_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing("tests") is None
    monkeypatch.setattr(scorers, "_MODULE", "victor.framework.no_such_module")
    assert score(TESTS, tmp_path).why == "not in this Victor"
    assert missing("lint") == "victor.framework.no_such_module.LintVerifier"
    assert failsafe.seen() == ()
