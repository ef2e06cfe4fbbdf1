"""A copy of a store that this user may only read: every command that looks works, and the others say why not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from victor_autotune_plugin.storage import Store, default_url

COMMAND = [sys.executable, "-c", "from victor_autotune_plugin._cli.app import app; app()"]

LOOKS = ("status", "history", "replay")


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Takes the right to write to a project away."""
    locked: list[Path] = []

    def lock(project: Path) -> None:
        for path in (*(project / ".victor").iterdir(), project / ".victor", project):
            locked.append(path)
            path.chmod(path.stat().st_mode & 0o555)

    yield lock
    for path in reversed(locked):
        path.chmod(0o755)


def told(project: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Call a command as a user whom rights concern: root has them all, but not where its id is unknown."""
    alone: list[str] = []
    if os.geteuid() == 0:
        unshare = shutil.which("unshare")
        if unshare is None or subprocess.run([unshare, "--user", "true"], capture_output=True).returncode:
            pytest.skip("root can't be without its rights here")
        alone = [unshare, "--user"]
    return subprocess.run([*alone, *COMMAND, *command], cwd=project, capture_output=True, text=True)


@pytest.fixture
def copy(project: Callable[[str], None], tmp_path: Path) -> Path:
    """A copy of the file of a closed store, in a project of its own."""
    project("proven")
    copy = tmp_path / "copy"
    (copy / ".victor").mkdir(parents=True)
    shutil.copy(tmp_path / ".victor" / "autotune.db", copy / ".victor")
    return copy


def test_every_command_that_looks_works(copy: Path, tmp_path: Path, lock: Callable[[Path], None]) -> None:
    lock(copy)
    for command in LOOKS:
        said = told(copy, command, "--json")
        assert said.returncode == 0, said.stderr
        assert json.loads(said.stdout)
    for command, file in (("report", tmp_path / "report.html"), ("export", tmp_path / "runs.jsonl")):
        said = told(copy, command, "--output", str(file))
        assert said.returncode == 0, said.stderr
        assert file.stat().st_size > 1_000
    said = told(copy, "pause")
    assert said.returncode == 2
    assert "the store is read-only" in said.stderr
    assert [path.name for path in (copy / ".victor").iterdir()] == ["autotune.db"]


def test_a_log_beside_it_is_never_left_out(copy: Path, lock: Callable[[Path], None]) -> None:
    with Store.open(default_url(copy)) as store:
        with store.transaction() as transaction:
            transaction.record_fault("here", "ValueError: x", 1.0)
        files = [copy / ".victor" / name for name in ("autotune.db", "autotune.db-wal")]
        kept = [file.read_bytes() for file in files]
    for file, data in zip(files, kept, strict=True):
        file.write_bytes(data)
    lock(copy)
    said = told(copy, "status")
    assert said.returncode == 2
    assert "autotune.db-wal" in said.stderr
    assert "Copy both to a folder that you may write to" in said.stderr
