"""`trust`: what a project asks for is shown whole, and counts only after a yes; `doctor` tells what does not count."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._cli.app import app
from victor_autotune_plugin._settings import SettingsResolver, merge, resolver
from victor_autotune_plugin._settings.keys import leaves
from victor_autotune_plugin._values.fields import Acting, Anything, Kind
from victor_autotune_testing.realvictor import workflow_yaml

from .conftest import Said

Call = Callable[..., Said]
URL = "postgresql://me:s3cret@evil.example/db"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path.with_name(f"{tmp_path.name}-home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(failsafe, "_logged", set())
    return home


@pytest.fixture
def hostile(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project that asks for a store elsewhere, and a workflow that asks for a command, as later versions know it."""

    def with_acting(*args: Any) -> dict[str, Kind]:
        return {**leaves(*args), "extras.command": Acting(Anything())}

    for module in (resolver, merge):
        monkeypatch.setattr(module, "leaves", with_acting)
    (tmp_path / ".victor").mkdir()
    (tmp_path / ".victor" / "autotune.yaml").write_text(f"mode: observe\ndatabase_url: {URL}\n")
    (tmp_path / "flow.yaml").write_text(
        workflow_yaml("researcher", name="flow", metadata={"autotune": {"extras": {"command": "rm \x1b[2K\u202e"}}})
    )
    return tmp_path


def checks(said: Said) -> dict[str, Mapping[str, Any]]:
    return {check["name"]: check for check in said.data["checks"]}


def asked(call: Call, *more: str) -> dict[str, bool]:
    return {source["name"]: source["trusted"] for source in call("trust", "--json", *more).data["sources"]}


def test_what_a_project_asks_for_is_shown_and_nothing_is_trusted_by_looking(
    call: Call, hostile: Path, home: Path
) -> None:
    said = call("trust", "--json")
    assert said.code == 0
    assert said.data == {
        "project": str(hostile),
        "file": str(home / ".victor" / "autotune-trust.json"),
        "sources": [
            {
                "name": ".victor/autotune.yaml",
                "trusted": False,
                "settings": [
                    {
                        "where": ".victor/autotune.yaml:2",
                        "key": "database_url",
                        "value": '"postgresql://me:***@evil.example/db"',
                    }
                ],
            },
            {
                "name": "workflow flow",
                "trusted": False,
                "settings": [
                    {
                        "where": "flow.yaml:8",
                        "key": "workflows.flow.extras.command",
                        "value": '"rm \\u001b[2K\u202e"',
                    }
                ],
            },
        ],
    }
    assert not home.exists()


def test_a_yes_on_the_terminal_trusts_and_a_no_does_not(call: Call, hostile: Path, home: Path) -> None:
    call("doctor")
    said = CliRunner().invoke(app, ["trust"], input="n\n")
    assert said.exit_code == 1
    assert not home.exists()
    assert 'database_url: "postgresql://me:***@evil.example/db"' in said.stdout
    assert "\x1b" not in said.stdout
    assert "\u202e" not in said.stdout
    said = CliRunner().invoke(app, ["trust"], input="y\n")
    assert said.exit_code == 0
    assert asked(call) == {".victor/autotune.yaml": True, "workflow flow": True}
    assert "You trust all" in call("trust").out
    assert SettingsResolver.load(hostile).database_url == URL


def test_nobody_to_ask_is_no_yes(call: Call, hostile: Path, home: Path) -> None:
    said = call("trust")
    assert said.code == 2
    assert "--yes" in said.err
    assert not home.exists()


def test_trusted_listed_changed_and_revoked(call: Call, hostile: Path) -> None:
    said = call("trust", "--yes")
    assert said.code == 0
    assert "from now on" in said.out
    assert [row["trusted"] for row in call("trust", "--list", "--json").data["projects"]] == [
        [".victor/autotune.yaml", "workflow flow"]
    ]
    assert str(hostile) in call("trust", "--list").out
    (hostile / ".victor" / "autotune.yaml").write_text(f"database_url: {URL}2\n")
    assert asked(call) == {".victor/autotune.yaml": False, "workflow flow": True}
    assert SettingsResolver.load(hostile).database_url is None
    assert asked(call, "--yes") == {".victor/autotune.yaml": True, "workflow flow": True}
    assert call("trust", "--revoke").code == 0
    assert not any(asked(call).values())
    assert "You trust no project's" in call("trust", "--list").out


def test_a_workflow_elsewhere_is_looked_into_when_named(call: Call, hostile: Path, home: Path) -> None:
    elsewhere = home.with_name(f"{home.name}-flows")
    elsewhere.mkdir()
    (hostile / "flow.yaml").rename(elsewhere / "flow.yaml")
    assert list(asked(call)) == [".victor/autotune.yaml"]
    assert list(asked(call, str(elsewhere / "flow.yaml"))) == [".victor/autotune.yaml", "workflow flow"]
    said = call("trust", str(elsewhere / "none.yaml"))
    assert said.code == 2
    assert "none.yaml" in said.err


def test_a_project_that_asks_for_nothing(call: Call, tmp_path: Path, home: Path) -> None:
    said = call("trust", "--yes")
    assert said.code == 0
    assert "needs your trust" in said.out
    assert not home.exists()


def test_doctor_tells_what_is_ignored(call: Call, hostile: Path) -> None:
    said = call("doctor", "--json")
    found = checks(said)
    assert found["trust in .victor/autotune.yaml"]["status"] == "warn"
    assert "database_url (.victor/autotune.yaml:2)" in found["trust in .victor/autotune.yaml"]["found"]
    assert found["trust in workflow flow"]["hint"] == "victor autotune trust"
    assert "autotune.db" in found["store"]["found"]
    assert "s3cret" not in said.out
    assert not (hostile / ".victor" / "autotune.db").exists()
    call("trust", "--yes")
    (hostile / ".victor" / "autotune.yaml").write_text("mode: auto\n")
    found = checks(call("doctor", "--json"))
    assert found["trust"]["status"] == "ok"
    assert "flow.yaml:8" in found["trust"]["found"]


def test_a_file_of_trust_that_does_not_count_is_told_and_not_replaced(call: Call, hostile: Path, home: Path) -> None:
    call("trust", "--yes")
    path = home / ".victor" / "autotune-trust.json"
    path.chmod(0o666)
    assert "others may write it" in checks(call("doctor", "--json"))["trust file"]["found"]
    before = path.read_text()
    said = call("trust", "--yes")
    assert said.code == 2
    assert "others may write it" in said.err
    assert path.read_text() == before


def test_a_command_tells_once_what_is_ignored(call: Call, hostile: Path) -> None:
    said = call("status")
    assert said.code == 0
    assert said.err.count("is ignored until you trust it: victor autotune trust") == 1
    assert json.loads(call("status", "--json").out) is not None


def test_status_says_what_is_ignored_until_the_project_is_trusted(
    call: Call, home: Path, simulate: Callable[..., Any], tmp_path: Path
) -> None:
    simulate(mode="observe").run()
    scorer = "mode: auto\nquality: {scorers: {tests: {command: [pytest, -q]}}}\n"
    (tmp_path / ".victor" / "autotune.yaml").write_text(scorer)
    said = call("status").out
    assert "Ignored until you trust the project: quality.scorers. victor autotune trust" in said
    assert said.index("Ignored until") < said.index("Team ")
    assert call("status", "--json").data["ignored_until_trusted"] == ["quality.scorers"]
    assert call("trust", "--yes").code == 0
    assert "Ignored until" not in call("status").out
    assert call("status", "--json").data["ignored_until_trusted"] == []
