"""`init` and `schema`: a settings file to start from."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from victor_autotune_plugin._model.plan import MemberSpec, TeamSpec
from victor_autotune_plugin._settings import FILE_NAME, Settings, SettingsResolver
from victor_autotune_plugin._settings.keys import SCHEMA_FILE, shipped
from victor_autotune_plugin.configfiles.discovery import FoundTeam, find_teams, starting_text
from victor_autotune_testing.realvictor import workflow_yaml

from .conftest import Said

Call = Callable[..., Said]
HOSTILE = [
    "../../etc",
    "[red]boss[/red]",
    'say "hi": # no',
    "a\x1b[31mb",
    "x\ny: auto",
    "off",
    "1.0",
    "~",
    "{{a}}",
    "&w",
    "ü😀",
]


@pytest.fixture
def flows(tmp_path: Path) -> Path:
    (tmp_path / "flows").mkdir()
    (tmp_path / "flows" / "review.yaml").write_text(
        workflow_yaml("researcher", "planner", name="review", step="reviewers", total_tool_budget=50)
    )
    (tmp_path / "flows" / "write.yml").write_text(
        workflow_yaml("researcher", name="write", metadata={"autotune": {"mode": "auto"}})
    )
    (tmp_path / "other.yaml").write_text("type: service\n")
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "flow.yaml").write_text(workflow_yaml("researcher", name="not mine"))
    return tmp_path


def book(project: Path) -> SettingsResolver:
    return SettingsResolver.load(project, home=project / "nobody", environ={})


def test_a_file_for_every_workflow_and_team_is_written_and_changes_nothing(call: Call, flows: Path) -> None:
    said = call("init")
    assert (said.code, said.err) == (0, "")
    assert "for 2 teams" in said.out
    text = (flows / ".victor" / FILE_NAME).read_text()
    assert text.startswith(f"# yaml-language-server: $schema={SCHEMA_FILE}\n")
    assert all(name in text for name in ("review:", "reviewers:", "write:", "team:", "max_tool_budget: 50"))
    assert "not mine" not in text
    assert json.loads((flows / ".victor" / SCHEMA_FILE).read_text()) == shipped()
    for names in (("review", "reviewers"), ("write", "team"), ("else", "team")):
        assert book(flows).for_team(*names) == Settings()
    assert call("status").code == 0


def test_what_is_commented_out_may_be_commented_in(call: Call, flows: Path) -> None:
    text = call("init", "--dry-run").out
    keys = re.sub(r"(?m)^( *)# ( *[\w-]+:( .*)?)$", r"\1\2", text.partition("\nmode: observe\n")[2])
    keys = keys.replace("    mode: observe\n", "").replace("max_members: 2", "max_members: 7", 1)
    (flows / ".victor").mkdir()
    (flows / ".victor" / FILE_NAME).write_text(keys)
    settings = book(flows).for_team("review", "reviewers")
    assert (settings.mode, settings.limits.max_tool_budget, settings.limits.protected_members) == ("auto", 50, ("m0",))
    assert settings.experiment == Settings().experiment
    assert settings.watch == Settings().watch
    assert evolve(book(flows).for_team("else", "team"), prices={}) == Settings()


def test_a_file_that_is_there_is_not_overwritten(call: Call, flows: Path) -> None:
    (flows / ".victor").mkdir()
    mine = flows / ".victor" / FILE_NAME
    mine.write_text("mode: auto\n")
    said = call("init")
    assert said.code == 2
    assert "is there already" in said.err
    assert "--force" in said.err
    assert [path.name for path in (flows / ".victor").iterdir()] == [FILE_NAME]
    assert mine.read_text() == "mode: auto\n"


def test_force_keeps_the_old_file_as_a_backup_and_mode_and_link_stay(call: Call, flows: Path) -> None:
    (flows / ".victor").mkdir()
    (flows / "shared.yaml").write_text("mode: auto\n")
    (flows / "shared.yaml").chmod(0o640)
    mine = flows / ".victor" / FILE_NAME
    mine.symlink_to(flows / "shared.yaml")
    said = call("init", "--force", "--json")
    assert said.code == 0
    assert Path(said.data["backup"]).read_text() == "mode: auto\n"
    assert mine.is_symlink()
    assert "reviewers" in (flows / "shared.yaml").read_text()
    assert stat.S_IMODE((flows / "shared.yaml").stat().st_mode) == 0o640
    assert call("init", "--force").code == 0
    backups = sorted(path.name for path in (flows / ".victor").glob("*.bak*"))
    assert backups == [f"{FILE_NAME}.bak", f"{FILE_NAME}.bak-2"]


def test_a_dry_run_writes_nothing_and_prints_what_would_be_written(call: Call, flows: Path) -> None:
    before = set(flows.rglob("*"))
    said = call("init", "--dry-run")
    assert said.code == 0
    data = call("init", "--dry-run", "--json").data
    assert set(flows.rglob("*")) == before
    assert (data["text"], data["written"], data["backup"]) == (said.out, False, None)
    assert [(team["workflow"], team["team_id"], team["file"], team["line"]) for team in data["teams"]] == [
        ("review", "reviewers", "flows/review.yaml", 7),
        ("write", "team", "flows/write.yml", 11),
    ]
    call("init")
    assert (flows / ".victor" / FILE_NAME).read_text() == said.out


def test_files_are_its_owners_alone(call: Call, flows: Path) -> None:
    call("init")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (flows / ".victor").iterdir()}
    assert modes == {FILE_NAME: 0o600, SCHEMA_FILE: 0o600}


def test_a_project_without_workflows_gets_a_file_that_says_how(call: Call, tmp_path: Path) -> None:
    said = call("init")
    assert said.code == 0
    assert "for 0 teams" in said.out
    assert "No workflow with a team step was found" in (tmp_path / ".victor" / FILE_NAME).read_text()
    assert book(tmp_path).for_team("w", "t") == Settings()


def test_a_broken_workflow_is_left_out_and_told(call: Call, flows: Path) -> None:
    (flows / "broken.yaml").write_text("workflows:\n  w:\n    nodes:\n      - {id: a, type: team, formation: ring}\n")
    (flows / "worse.yaml").write_text("nodes: [\n  type: team\n")
    said = call("init")
    assert said.code == 0
    assert "left out: broken.yaml:4: team step 'a' has no members" in said.err
    assert "left out: worse.yaml:" in said.err
    assert "reviewers" in (flows / ".victor" / FILE_NAME).read_text()


def test_nothing_is_left_behind_when_the_disk_is_full(call: Call, flows: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (flows / ".victor").mkdir()
    (flows / ".victor" / FILE_NAME).write_text("mode: auto\n")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    said = call("init", "--force")
    assert said.code == 2
    assert "No space left on device" in said.err
    assert (flows / ".victor" / FILE_NAME).read_text() == "mode: auto\n"
    assert [path.name for path in (flows / ".victor").iterdir()] == [FILE_NAME]


def test_a_file_in_the_place_of_the_folder_is_told(call: Call, tmp_path: Path) -> None:
    (tmp_path / ".victor").write_text("")
    said = call("init")
    assert said.code == 2
    assert "is not a folder" in said.err


def spec(workflow: str, team: str, member: str = "a") -> FoundTeam:
    return FoundTeam(Path(f"{team}.yaml"), 1, TeamSpec(workflow, team, "parallel", [MemberSpec(member)]), None)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_quoted(call: Call, tmp_path: Path, name: str) -> None:
    workflow = json.loads(workflow_yaml("researcher", name=name, step=name))
    (tmp_path / "flow.yaml").write_text(json.dumps(workflow, ensure_ascii=False))
    assert call("init").code == 0
    text = (tmp_path / ".victor" / FILE_NAME).read_text()
    assert not any(ord(char) < 32 and char != "\n" for char in text)
    (tmp_path / ".victor" / FILE_NAME).write_text(text.replace("        # mode: auto", "        mode: auto"))
    assert book(tmp_path).for_team(name, name).mode == "auto"
    assert book(tmp_path).for_team("x", "y").mode == "observe"


@examples(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(names=st.lists(st.text(min_size=1).filter(str.strip), min_size=3, max_size=3))
def test_any_name_makes_a_file_that_can_be_read(tmp_path: Path, names: list[str]) -> None:
    workflow, team, member = names
    text = starting_text([spec(workflow, team, member)]).replace("        # mode: auto", "        mode: auto")
    (tmp_path / ".victor").mkdir(exist_ok=True)
    (tmp_path / ".victor" / FILE_NAME).write_bytes(text.encode())
    assert book(tmp_path).for_team(workflow, team).mode == "auto"
    assert book(tmp_path).for_team(f"{workflow}x", team).mode == "observe"


def test_the_search_looks_into_victors_folder_and_follows_no_links_to_folders(tmp_path: Path) -> None:
    (tmp_path / ".victor" / "workflows").mkdir(parents=True)
    (tmp_path / ".victor" / "workflows" / "a.yaml").write_text(workflow_yaml("researcher", name="a"))
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "b.yaml").write_text(workflow_yaml("researcher", name="b"))
    (tmp_path / "loop").symlink_to(tmp_path)
    found = find_teams(tmp_path, ".victor")
    assert [(team.spec.workflow, str(team.file)) for team in found.teams] == [("a", ".victor/workflows/a.yaml")]


def test_the_schema_is_printed_and_written(call: Call, tmp_path: Path) -> None:
    assert call("schema").data == shipped()
    said = call("schema", "--output", "here.json", "--json")
    assert said.data == {"written": "here.json"}
    assert json.loads((tmp_path / "here.json").read_text()) == shipped()
    assert call("schema", "--output", "no/where.json").code == 2


@pytest.mark.parametrize("command", ["init", "schema"])
def test_help_shows_an_example(call: Call, command: str) -> None:
    said = call(command, "--help")
    assert said.code == 0
    assert f"victor autotune {command}" in said.out.partition("Example")[2]


class TestTheDatabase:
    def test_its_tables_are_created_once_and_no_settings_file_is_written(self, call: Call, tmp_path: Path) -> None:
        first, second = (call("init", "--database", "--project", tmp_path) for _ in range(2))
        assert (first.code, second.code) == (0, 0)
        assert "Created the tables" in first.out
        assert "Nothing to do" in second.out
        assert [path.name for path in (tmp_path / ".victor").iterdir()] == ["autotune.db"]

    def test_what_was_done_is_said_as_json(self, call: Call, tmp_path: Path) -> None:
        said = json.loads(call("init", "--database", "--json", "--project", tmp_path).out)
        assert said["before"] is None
        assert said["after"].isdecimal()
        assert said["database"].endswith("autotune.db")

    def test_a_database_of_another_program_is_left_alone(
        self, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import sqlite3

        with sqlite3.connect(tmp_path / "orders.db") as other:
            other.execute("CREATE TABLE orders (id)")
        other.close()
        before = (tmp_path / "orders.db").read_bytes()
        monkeypatch.setenv("VICTOR_AUTOTUNE_DATABASE_URL", f"sqlite:///{tmp_path}/orders.db")
        said = call("init", "--database", "--project", tmp_path)
        assert said.code == 2
        assert "another program" in said.err
        assert (tmp_path / "orders.db").read_bytes() == before

    def test_it_goes_with_no_option_about_the_settings_file(self, call: Call, tmp_path: Path) -> None:
        assert call("init", "--database", "--force", "--project", tmp_path).code == 2
        assert list(tmp_path.iterdir()) == []
