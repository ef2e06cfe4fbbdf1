"""Outputs that are kept to be rated: private files that go when they expire, and nothing planted is followed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from victor_autotune_plugin.storage.kept_outputs import FOLDER_NAME, KeptOutputs

NOW = 1_800_000_000.0


@pytest.fixture
def kept(tmp_path: Path) -> KeptOutputs:
    return KeptOutputs.of(tmp_path)


def test_an_output_is_a_file_for_its_owner_alone(kept: KeptOutputs, tmp_path: Path) -> None:
    kept.keep("r1", "Grüße\r\n\ud800", NOW + 10)
    path = tmp_path / ".victor" / FOLDER_NAME / "r1.txt"
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    assert kept.read("r1", NOW) == "Grüße\r\n?"
    assert [one.name for one in kept.folder.iterdir()] == ["r1.txt"]


def test_it_goes_when_it_was_rated_or_expired_whoever_wrote_it(kept: KeptOutputs, tmp_path: Path) -> None:
    assert (kept.remove("r1"), kept.remove_expired(NOW), kept.count(), kept.read("r1", NOW)) == (False, 0, 0, None)
    for number in range(3):
        kept.keep(f"r{number}", "text", NOW + number)
    other = KeptOutputs.of(tmp_path)
    assert other.remove("r2")
    assert other.read("r0", NOW) is None  # also before anybody removed it
    assert other.remove_expired(NOW) == 1
    assert (other.count(), kept.read("r1", NOW)) == (1, "text")
    assert kept.remove_expired(NOW + 1) == 1


def test_what_a_killed_process_left_half_written_goes_too(kept: KeptOutputs) -> None:
    kept.keep("r1", "text", NOW * 2)
    half = kept.folder / "r2-0123.new"
    half.write_text("te")
    since = half.lstat().st_ctime
    assert kept.remove_expired(since + 1) == 0
    assert kept.remove_expired(since + 61) == 1
    assert kept.count() == 1


@pytest.mark.parametrize("run_id", ["../r1", "", "a/b", ".", "r1\n", "r" * 65, "r\0"])
def test_an_id_never_leads_out_of_the_folder(kept: KeptOutputs, run_id: str, tmp_path: Path) -> None:
    kept.keep("r1", "text", NOW + 1)
    (tmp_path / ".victor" / "r1.txt").write_text("other")
    with pytest.raises(OSError, match="id of the run"):
        kept.keep(run_id, "text", NOW + 1)
    assert (kept.read(run_id, NOW), kept.remove(run_id)) == (None, False)
    assert (kept.count(), (tmp_path / ".victor" / "r1.txt").read_text()) == (1, "other")


def test_a_planted_folder_is_neither_written_nor_emptied(kept: KeptOutputs, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    (elsewhere / "r1.txt").write_text("precious")
    os.utime(elsewhere / "r1.txt", (1, 1))
    kept.folder.parent.mkdir(mode=0o700)
    kept.folder.symlink_to(elsewhere, target_is_directory=True)
    for act in (lambda: kept.keep("r2", "text", NOW), lambda: kept.remove("r1"), lambda: kept.remove_expired(NOW)):
        with pytest.raises(OSError, match="symbolic link"):
            act()
    assert [one.name for one in elsewhere.iterdir()] == ["r1.txt"]


def test_a_folder_that_others_may_use_is_refused(kept: KeptOutputs) -> None:
    kept.folder.mkdir(parents=True)
    kept.folder.chmod(0o755)
    with pytest.raises(OSError, match="others may use"):
        kept.keep("r1", "text", NOW)
    assert list(kept.folder.iterdir()) == []


def test_a_planted_file_is_replaced_and_not_followed(kept: KeptOutputs, tmp_path: Path) -> None:
    kept.keep("r0", "text", NOW + 1)
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (kept.folder / "r1.txt").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic link"):
        kept.read("r1", NOW)
    kept.keep("r1", "text", NOW + 1)
    assert (kept.read("r1", NOW), precious.read_text()) == ("text", "precious")
