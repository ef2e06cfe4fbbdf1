"""What screens look like where they are read: in pipes and files, in narrow terminals, and without Unicode."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from victor_autotune_testing.fake_victor import Victor
from victor_autotune_testing.made_runs import metric_rows

from .conftest import Said

COMMANDS: Final = (
    "status",
    "status team",
    "explain team",
    "explain team --details",
    "explain team --settings",
    "history",
    "history --runs",
    "rollback --list team",
    "replay",
    "doctor",
    "analyze",
    "suggest team",
    "analyze --metrics metrics.json",
    "suggest review --metrics metrics.json",
    "apply review --metrics metrics.json --dry-run",
    "init --dry-run",
    "trust --list",
)
"""All that print a table or sentences and need no Victor at work."""

IN_ASCII: Final = ("status", "explain team", "history", "analyze --metrics metrics.json", "init --dry-run")

ALL_OF_THEM: Final = """
import json, sys
from victor_autotune_plugin._cli.app import app
from victor_autotune_plugin._cli.console import readable
with readable():
    for command in json.loads(sys.argv[1]):
        print("###", command, flush=True)
        app(command.split(), prog_name="victor-autotune", standalone_mode=False)
        sys.stdout.flush()
"""
ESCAPE: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def scene(project: Callable[[str], None], tmp_path: Path) -> Path:
    """A project with a team under watch, a long name, and a metrics file with what can be suggested."""
    project("proven")
    rows = metric_rows("review", [75.0, 80.0, 70.0, 120.0] * 5, failed=2)
    (tmp_path / "metrics.json").write_text(json.dumps(rows))
    return tmp_path


def environment(**changed: str) -> dict[str, str]:
    left_out = ("LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PYTHONIOENCODING")
    return {key: value for key, value in os.environ.items() if key not in left_out} | {"TERM": "xterm"} | changed


def arguments(*commands: str) -> list[str]:
    return [sys.executable, "-c", ALL_OF_THEM, json.dumps(commands)]


def piped(scene: Path, *commands: str, **changed: str) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        arguments(*commands), cwd=scene, env=environment(**changed), capture_output=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert b"Traceback" not in done.stdout + done.stderr
    return done


def on_terminal(scene: Path, columns: int, *commands: str, **changed: str) -> str:
    """Return what a terminal of so many columns gets, without its escapes."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        arguments(*commands), cwd=scene, env=environment(**changed), stdin=secondary, stdout=secondary, stderr=secondary
    )
    os.close(secondary)
    got = b"".join(_all_of(primary))
    os.close(primary)
    text = ESCAPE.sub("", got.decode().replace("\r\n", "\n"))
    assert process.wait(timeout=300) == 0, text
    assert "Traceback" not in text
    return text


def _all_of(handle: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(handle, 65536)
        except OSError:  # how Linux says that the other side has ended
            return
        if not data:
            return
        yield data


def texts(data: Any) -> Iterator[str]:
    """Give all texts of JSON data."""
    if isinstance(data, str):
        yield data
    elif isinstance(data, dict | list):
        for value in data.values() if isinstance(data, dict) else data:
            yield from texts(value)


def parts(out: str) -> dict[str, str]:
    """Return what each command printed."""
    _, *found = re.split(r"^### (.*)\n", out, flags=re.MULTILINE)
    return dict(zip(found[::2], found[1::2], strict=True))


JSON: Final = ("explain team", "doctor", "history", "analyze", "analyze --metrics metrics.json",
               "suggest review --metrics metrics.json")  # fmt: skip


def test_in_a_pipe_no_sentence_is_broken_and_nothing_is_escaped(scene: Path) -> None:
    done = piped(scene, *COMMANDS, *(f"{command} --json" for command in JSON), FORCE_COLOR="")
    shown = parts(done.stdout.decode())
    assert b"\x1b" not in done.stdout + done.stderr
    assert not any(line.endswith(" ") for line in done.stdout.decode().splitlines())
    whole = 0
    for command in JSON:
        screen = shown[command]
        in_one_line = " ".join(screen.split())
        for text in texts(json.loads(shown[f"{command} --json"])):
            for sentence in text.splitlines():
                if sentence.count(" ") >= 5 and " ".join(sentence.split()) in in_one_line:
                    assert sentence in screen, command
                    whole += len(sentence) > 80
    assert whole >= 5


def test_a_narrow_terminal_shows_all_and_breaks_no_name_of_a_setting(scene: Path) -> None:
    shown = parts(on_terminal(scene, 60, *COMMANDS))
    assert set(shown) == set(COMMANDS)
    for command, screen in shown.items():
        if command != "init --dry-run":  # a file, as it would be written
            assert max(map(len, screen.splitlines()), default=0) <= 60, command
    settings = json.loads(parts(piped(scene, "explain team --json").stdout.decode())["explain team --json"])["settings"]
    names = {one["key"] if isinstance(one, dict) else one for one in settings}
    assert "experiment.max_runs_per_arm" in names
    for name in names:
        assert re.search(rf"^ *{re.escape(name)}( |$)", shown["explain team --settings"], re.MULTILINE), name


@pytest.mark.parametrize(
    "changed",
    [
        {"LC_ALL": "C"},
        {"LANG": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
        {"LANG": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
    ],
    ids=str,
)
def test_without_unicode_screens_are_in_ascii(scene: Path, changed: dict[str, str]) -> None:
    done = piped(scene, *IN_ASCII, **changed)
    assert (done.stdout + done.stderr).isascii()
    out = done.stdout.decode()
    assert "\\u" not in out
    assert re.search(r"-\d+ %", out)
    assert "[#" in out
    assert "->" in out


def test_with_unicode_screens_are_not(scene: Path) -> None:
    for changed in (
        {"LANG": "C.UTF-8"},
        {"LANG": "C", "LC_ALL": "C.UTF-8"},
        {"PYTHONIOENCODING": "utf-8", "LANG": "C"},
    ):
        out = piped(scene, "explain team --details", **changed).stdout.decode()
        assert "−" in out


def test_force_color_animates_nothing_where_there_is_no_terminal(
    call: Callable[..., Said], victor: Victor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert victor
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.setenv(name, "1")
    said = call("run", "flow.yaml", "--runs", "6", "--mode", "observe")
    assert said.code == 0
    assert [line.partition(":")[0] for line in said.err.splitlines()] == [f"run {n} of 6" for n in range(1, 7)]
    assert "\x1b" not in said.err


def test_colours_that_are_forced_leave_lines_whole(
    call: Callable[..., Said], scene: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.delenv("COLUMNS")
    coloured = call("analyze", "--metrics", str(scene / "metrics.json")).out
    monkeypatch.delenv("FORCE_COLOR")
    plain = call("analyze", "--metrics", str(scene / "metrics.json")).out
    assert "\x1b[31m" in coloured
    assert ESCAPE.sub("", coloured) == plain
    assert max(map(len, plain.splitlines())) > 100
