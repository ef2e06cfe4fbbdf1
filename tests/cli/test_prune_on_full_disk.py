"""`prune` on a disk that is really nearly full: a small file system of its own, where a user may mount one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

RUNS = 1_600
KEPT = 1_000

SCRIPT = """
import os, sys
from victor_autotune_plugin._cli.app import app
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.stored import SPEC, finished
from pathlib import Path

free_kilobytes, folder = int(sys.argv[1]), Path(sys.argv[2])
with Store.open(default_url(folder)) as store:
    with store.transaction() as transaction:
        for number in range(RUNS):
            run = finished(f"r{number:05}", experiment_id=None, arm=None, started_at=1e9 + number)
            transaction.finish_run(run)
    with store.transaction() as transaction:
        transaction.number_runs(*SPEC.key, RUNS)
        lease = transaction.take_lease(*SPEC.key, "judge", 5.0)
        transaction.save_judged(*SPEC.key, RUNS, lease.flow)
disk = os.statvfs(folder)
filler = os.open(folder / "filler", os.O_CREAT | os.O_WRONLY)
os.posix_fallocate(filler, 0, disk.f_bavail * disk.f_frsize - free_kilobytes * 1024)
app(["prune", "--json", "--project", str(folder)])
"""


def pruned(folder: Path, free_kilobytes: int) -> tuple[int, dict[str, object]]:
    """Prune on a disk of 32 MB with so much free; return the exit code and what was said."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare here")
    enter = [unshare, "--user", "--map-root-user", "--mount", "sh", "-c"]
    mount = f"mount -t tmpfs -o size=32m tmpfs '{folder}'"
    if subprocess.run([*enter, mount], capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    script = SCRIPT.replace("RUNS", str(RUNS))
    said = subprocess.run(
        [*enter, f'{mount} && exec "$@"', "sh", sys.executable, "-c", script, str(free_kilobytes), str(folder)],
        capture_output=True,
        text=True,
    )
    assert said.stdout, said.stderr
    return said.returncode, json.loads(said.stdout)


def test_with_less_room_than_the_log_may_take_all_old_runs_go(tmp_path: Path) -> None:
    code, found = pruned(tmp_path, 500)
    (team,) = found["teams"]  # type: ignore[misc]
    assert team["removed"] == RUNS - KEPT
    assert code == 1
    assert found["room"] is None
    assert str(found["problem"]).startswith("No room was given back: that takes ")


def test_with_some_more_the_file_gets_smaller_too(tmp_path: Path) -> None:
    code, found = pruned(tmp_path, 6_000)
    assert code == 0
    assert found["room"]["after"] < found["room"]["before"]  # type: ignore[index]
