"""Where a project's store is."""

from __future__ import annotations

from pathlib import Path

import pytest

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
