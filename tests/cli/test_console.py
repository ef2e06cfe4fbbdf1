"""Whose log lines reach the screen, and what stays as it was."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._cli import console

noisy = logging.getLogger("victor.some.module")


@pytest.fixture
def bare_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """A root logger without the handlers of pytest."""
    monkeypatch.setattr(logging.root, "handlers", [])


def _settings() -> tuple[object, ...]:
    return (
        list(logging.root.handlers),
        logging.root.level,
        list(failsafe.logger.handlers),
        failsafe.logger.level,
        logging.lastResort,
        logging.root.manager.disable,
    )


@pytest.mark.usefixtures("bare_root")
def test_victors_warnings_stay_off_the_screen_and_the_plugins_own_appear(capsys: pytest.CaptureFixture[str]) -> None:
    before = _settings()
    with console.prepared(verbose=False):
        noisy.warning("falling back to something")
        logging.basicConfig(level=logging.INFO)  # a module of Victor's does so in the middle of a run
        noisy.warning("falling back again")
        failsafe.report("store.start_run", OSError("disk full"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "falling back" not in err
    assert "note: store.start_run failed" in err.replace("\n", " ")
    assert _settings() == before


@pytest.mark.usefixtures("bare_root")
def test_verbose_lets_everything_through(capsys: pytest.CaptureFixture[str]) -> None:
    logging.root.addHandler(logging.StreamHandler(sys.stderr))
    with console.prepared(verbose=True):
        noisy.warning("falling back to something")
    assert "falling back to something" in capsys.readouterr().err


@pytest.mark.usefixtures("bare_root")
def test_log_files_get_what_the_screen_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, screen = logging.FileHandler(tmp_path / "log"), logging.StreamHandler(sys.stderr)
    logging.root.handlers += [file, screen]
    with console.prepared(verbose=False):
        noisy.warning("for the file")
    noisy.warning("for both")
    file.close()
    assert (tmp_path / "log").read_text() == "for the file\nfor both\n"
    assert capsys.readouterr().err == "for both\n"


def test_text_that_the_terminal_cannot_show_is_written_in_ascii(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    with console.prepared(verbose=False):
        print("a → b … −55 % █░ Zoë", flush=True)  # noqa: T201
    assert raw.getvalue() == b"a -> b ... -55 % #. Zo\\xeb\n"
    assert stream.errors == "strict"


def test_a_command_leaves_no_garbage_to_be_looked_for_at_its_end() -> None:
    code = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 0, len(gc.get_objects()) < 1_000))\n"
        "from victor_autotune_plugin._cli.app import main\n"
        "sys.argv[1:] = ['--version']\n"
        "main()"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "True True"
