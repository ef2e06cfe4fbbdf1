"""No writer follows a link of the project that leads out of it; one that stays inside is followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from victor_autotune_plugin._values import files, links
from victor_autotune_plugin._values.links import LinkOutError, followed
from victor_autotune_plugin.configfiles import read_team_config, restore
from victor_autotune_plugin.errors import AutotuneError
from victor_autotune_plugin.hookspecs import TeamPlan
from victor_autotune_testing.realvictor import workflow_yaml

from .conftest import Said
from .test_advice import EXAMPLE, EXAMPLES

Call = Callable[..., Said]
FLOW = workflow_yaml("researcher", "planner", formation="sequential")
REFUSED = "leads out of the project"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the project, in which nothing may change."""
    outside = tmp_path.with_name(f"{tmp_path.name}-outside")
    outside.mkdir()
    (outside / "precious").write_text("mine")
    return outside


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


# --- where a path leads


def test_a_link_within_the_project_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "to_b").symlink_to("a/b")
    (tmp_path / "up").symlink_to("a/../to_b")
    for name in ("to_b", "up", "a/b", "up/../b", "to_b/../../a/b"):
        assert followed(tmp_path / name / "new", tmp_path) == tmp_path / "a" / "b" / "new"


def test_a_link_out_of_the_project_is_refused_wherever_it_is_on_the_way(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "link").symlink_to(outside)
    (tmp_path / "absolute").symlink_to(outside / "precious")
    (tmp_path / "twice").symlink_to("link")
    (tmp_path / "dangling").symlink_to(outside / "new")
    for name in ("link", "link/new", "absolute", "twice/precious", "dangling", "link/../x"):
        with pytest.raises(LinkOutError, match="leads out of the project"):
            followed(tmp_path / name, tmp_path)


def test_a_path_that_is_no_link_may_lead_anywhere(tmp_path: Path, outside: Path) -> None:
    assert followed(outside / "new", tmp_path) == outside / "new"
    assert followed(tmp_path / ".." / outside.name / "new", tmp_path) == outside / "new"
    (outside / "theirs").symlink_to(tmp_path)
    assert followed(outside / "theirs" / "x", tmp_path) == tmp_path / "x"


def test_a_link_that_leads_to_itself_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="symbolic links"):
        followed(tmp_path / "loop", tmp_path)


def test_a_folder_whose_name_only_begins_alike_is_outside(tmp_path: Path) -> None:
    other = tmp_path.with_name(f"{tmp_path.name}2")
    (tmp_path / "link").symlink_to(other)
    with pytest.raises(LinkOutError):
        followed(tmp_path / "link", tmp_path)


def test_links_of_the_users_home_are_the_users_own(
    tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(outside)
    assert followed(tmp_path / "link" / "x", tmp_path) == outside / "x"


# --- each writer


@pytest.mark.parametrize("force", [(), ("--force",)])
@pytest.mark.parametrize("name", [".victor", ".victor/autotune.yaml", ".victor/autotune.schema.json"])
@pytest.mark.parametrize("target", ["precious", "new", ""])
def test_init(call: Call, tmp_path: Path, outside: Path, name: str, target: str, force: tuple[str, ...]) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(outside / target)
    said = call("init", *force)
    assert said.code == 2
    assert REFUSED in said.err
    assert contents(outside) == {"precious": "mine"}
    assert path.is_symlink()
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_init_follows_a_link_within_the_project(call: Call, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / ".victor").symlink_to("config")
    assert call("init").code == 0
    assert (tmp_path / "config" / "autotune.yaml").is_file()


WRITERS = [
    ("schema", "--output"),
    ("report", "--output"),
    ("export", "--output"),
    ("analyze", "--metrics", "runs.json", "--output"),
    ("suggest", "review", "--metrics", "runs.json", "--output"),
]


@pytest.fixture
def metrics(tmp_path: Path) -> None:
    row = (
        '{"team_id": "review", "formation": "sequential", "member_count": 2, "success": true, "duration_seconds": %d,'
        ' "total_tool_calls": 3, "timestamp": 1760000000}'
    )
    (tmp_path / "runs.json").write_text("[" + ", ".join(row % (10 + number) for number in range(20)) + "]")


@pytest.mark.parametrize("command", WRITERS, ids=[writer[0] for writer in WRITERS])
@pytest.mark.parametrize("name", ["out", "folder/new"])
def test_output(call: Call, metrics: None, tmp_path: Path, outside: Path, command: tuple[str, ...], name: str) -> None:
    (tmp_path / "out").symlink_to(outside / "precious")
    (tmp_path / "folder").symlink_to(outside)
    said = call(*command, name)
    assert said.code == 2, said.out
    assert REFUSED in said.err
    assert "Traceback" not in said.err
    assert contents(outside) == {"precious": "mine"}


@pytest.mark.parametrize("command", WRITERS, ids=[writer[0] for writer in WRITERS])
def test_output_that_a_person_names_may_be_elsewhere(
    call: Call, metrics: None, outside: Path, command: tuple[str, ...]
) -> None:
    said = call(*command, str(outside / "new"))
    assert said.code == 0, said.err
    assert (outside / "new").is_file()


@pytest.mark.parametrize("command", WRITERS, ids=[writer[0] for writer in WRITERS])
def test_output_through_a_link_within_the_project(
    call: Call, metrics: None, tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "results").symlink_to("real")
    assert call(*command, "results/new").code == 0
    assert (tmp_path / "real" / "new").is_file()


def test_the_report_has_a_name_that_a_link_may_bear(call: Call, tmp_path: Path, outside: Path) -> None:
    (tmp_path / "autotune-report.html").symlink_to(outside / "precious")
    assert REFUSED in call("report").err
    assert contents(outside) == {"precious": "mine"}


def test_the_folder_of_the_project_counts_when_another_is_the_current_one(
    call: Call, tmp_path: Path, outside: Path
) -> None:
    project = tmp_path.with_name(f"{tmp_path.name}-project")
    project.mkdir()
    (project / "out").symlink_to(outside / "precious")
    assert REFUSED in call("report", "--project", str(project), "--output", str(project / "out")).err
    assert contents(outside) == {"precious": "mine"}


def test_a_device_is_not_replaced_by_results(call: Call) -> None:
    said = call("report", "--output", "/dev/null")
    assert said.code == 2
    assert "not a regular file" in said.err
    assert Path("/dev/null").is_char_device()


# --- the editor of config files


def test_a_config_is_not_written_through_a_link(tmp_path: Path, outside: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (outside / "flow.yaml").write_text(FLOW)
    (tmp_path / "flow.yaml").symlink_to(outside / "flow.yaml")
    file = read_team_config(tmp_path / "flow.yaml")
    with pytest.raises(AutotuneError, match=REFUSED):
        file.write(TeamPlan(formation="parallel"), project=tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AutotuneError, match=REFUSED):
        file.write(TeamPlan(formation="parallel"))
    assert contents(outside) == {"precious": "mine", "flow.yaml": FLOW}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flow.yaml"]


def test_a_backup_is_not_restored_through_a_link(tmp_path: Path, outside: Path) -> None:
    (tmp_path / "flow.yaml.bak").write_text("evil")
    (tmp_path / "flow.yaml").symlink_to(outside / "precious")
    with pytest.raises(AutotuneError, match=REFUSED):
        restore(tmp_path / "flow.yaml.bak", project=tmp_path)
    assert contents(outside) == {"precious": "mine"}


def test_a_backup_is_not_made_through_a_link(tmp_path: Path, outside: Path) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(FLOW)
    (tmp_path / "flow.yaml.bak").symlink_to(outside / "new")
    backup = read_team_config(path).write(TeamPlan(formation="parallel"), project=tmp_path)
    assert backup == tmp_path / "flow.yaml.bak-2"
    assert contents(outside) == {"precious": "mine"}


def test_apply_and_rollback(call: Call, tmp_path: Path, outside: Path) -> None:
    path = tmp_path / "team.yaml"
    text = (EXAMPLES / "code_review_team.yaml").read_text()
    (outside / "team.yaml").write_text(text)
    path.symlink_to(outside / "team.yaml")
    apply = ("apply", *EXAMPLE, "--config", "team.yaml", "--auto", "--strategies", "tool_budget")
    said = call(*apply)
    assert said.code == 1
    assert REFUSED in said.out
    assert (outside / "team.yaml").read_text() == text
    path.unlink()
    path.write_text(text)
    assert call(*apply).code == 0
    changed = path.read_text()
    assert changed != text
    (outside / "team.yaml").write_text(changed)
    path.unlink()
    path.symlink_to(outside / "team.yaml")
    said = call("rollback", "code_review_team")
    assert said.code in (1, 2)
    assert REFUSED in said.err
    assert (outside / "team.yaml").read_text() == changed


def test_there_is_one_writer_of_files() -> None:
    package = Path(files.__file__).parents[1]
    makers = ("mkstemp(", "write_text(", "write_bytes(", "NamedTemporaryFile(", ".symlink_to(", "shutil.copy(")
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if any(f".{maker.lstrip('.')}" in line for maker in makers)
    }
    assert found == {"_values/files.py"}
    assert links.__doc__
