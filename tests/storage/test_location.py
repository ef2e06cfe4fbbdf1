"""Where a project's store is."""

from __future__ import annotations

from pathlib import Path

import pytest

from victor_autotune_plugin.errors import StoreUnavailableError
from victor_autotune_plugin.storage import default_url


def test_it_is_a_file_in_victors_folder_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VICTOR_DIR_NAME", raising=False)
    assert default_url(Path("/home/me/project")) == "sqlite:////home/me/project/.victor/autotune.db"


def test_a_relative_project_is_where_it_is_now(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VICTOR_DIR_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    assert default_url(Path()) == f"sqlite:///{tmp_path.as_posix()}/.victor/autotune.db"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        (".other", ".other"),
        ("plain", "plain"),
        *((odd, ".victor") for odd in ("", "  ", "/etc", "../up", "a/b", "a\\b", "..")),
    ],
)
def test_victors_folder_has_the_name_that_victor_gives_it(
    monkeypatch: pytest.MonkeyPatch, name: str, folder: str
) -> None:
    monkeypatch.setenv("VICTOR_DIR_NAME", name)
    assert default_url(Path("/p")) == f"sqlite:////p/{folder}/autotune.db"


@pytest.mark.parametrize(
    "name", [".victor", ".victor/autotune.db", ".victor/autotune.db-wal", ".victor/autotune.db-shm"]
)
def test_no_link_of_the_project_leads_the_store_out_of_it(tmp_path: Path, name: str) -> None:
    project = tmp_path / "project"
    (project / name).parent.mkdir(parents=True)
    (project / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreUnavailableError, match="leads out of the project"):
        default_url(project)


def test_a_project_may_be_reached_by_a_link_and_hold_links_to_itself(tmp_path: Path) -> None:
    (tmp_path / "project" / "kept").mkdir(parents=True)
    (tmp_path / "project" / ".victor").symlink_to("kept")
    (tmp_path / "link").symlink_to(tmp_path / "project")
    assert default_url(tmp_path / "link").endswith("/link/.victor/autotune.db")
