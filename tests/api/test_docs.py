"""The programs in the docs run as they are written."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def programs(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(2))
def test_the_programs_of_the_api_page_run(number: int, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "examples").mkdir()
    shutil.copy(ROOT / "examples" / "code_review_metrics.json", here / "examples")
    names: dict[str, Any] = {}
    exec(compile(programs("api.md")[number], "api.md", "exec"), names)
    out = capsys.readouterr().out
    if number == 0:
        assert "slow_execution" in out
        assert names["result"].error is None
        assert out.splitlines()[-1].startswith("inconclusive 0.0 ")
    names["autotuner"].close()


def test_every_documented_field_is_one() -> None:
    import victor_autotune_plugin as public

    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in ("PerformanceInsight", "OptimizationSuggestion", "OptimizationResult"):
        row = next(line for line in text.splitlines() if line.startswith(f"| `{name}`"))
        documented = re.findall(r"`(\w+)`", row.split("|")[2])
        assert documented == [one.name for one in getattr(public, name).__attrs_attrs__]


@pytest.mark.parametrize("command", ["analyze", "suggest"])
def test_the_command_line_page_shows_what_is_really_printed(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from victor_autotune_plugin._cli.app import app

    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    block = next(
        one for one in re.findall(r"```console\n(.*?)```", text, re.DOTALL) if f"autotune {command} --metrics" in one
    )
    called, *documented = [line for line in block.splitlines() if line.strip() not in ("", "…")]
    printed = CliRunner().invoke(app, called.split()[3:]).stdout.splitlines()
    assert len(documented) > 8
    assert [line for line in documented if line not in printed] == []
