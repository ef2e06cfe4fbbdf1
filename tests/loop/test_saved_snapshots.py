"""A snapshot that changes all the time is left in its file once a second, and the last one when the process ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from victor_autotune_plugin._tuning.file_work import SAVE_SECONDS
from victor_autotune_plugin.storage.snapshot_file import SnapshotFile
from victor_autotune_testing.simulated import Simulation


def test_a_snapshot_is_saved_once_a_second_and_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    team = Simulation(tmp_path)
    loop = team.runtime.loop
    loop.run_until_idle()
    saved: list[int] = []
    monkeypatch.setattr(SnapshotFile, "save", lambda _file, _id, revision, *_rest, **_also: saved.append(revision))

    def changed(revision: int) -> None:
        known = loop.memory.snapshot
        loop.files.save_snapshot(known.updated(known.store_id, revision, (), (), paused=False))

    begun = loop.files._next_save + 10.0
    changed(1001)
    loop.files.step(begun)
    assert saved == [1001]
    for revision in range(1002, 1006):
        changed(revision)
    assert loop.files.step(begun + 0.25 * SAVE_SECONDS) == pytest.approx(0.75 * SAVE_SECONDS)
    assert saved == [1001]
    loop.files.step(begun + SAVE_SECONDS)
    assert saved == [1001, 1005]
    changed(1006)
    team.close()
    assert saved == [1001, 1005, 1006]
