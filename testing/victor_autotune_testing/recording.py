"""Records `watch` in a terminal while a simulated team is tuned, as an asciinema file (version 2).

`python -m victor_autotune_testing.recording FILE.cast` writes it; `asciinema play FILE.cast` plays it.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from .page_scenes import DOCS, REVIEW, TRIAGE, PageScene

COLUMNS, ROWS = 100, 30

_MOST_SECONDS = 120.0
"""After so long the recording is given up."""


def record(argv: Sequence[str], folder: Path, keys: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Run a command in a terminal and return what it wrote, each with its second since the first output.

    Args:
        argv: The command, a file first.
        folder: Where it runs.
        keys: What is typed, each at a second.

    Raises:
        RuntimeError: It failed, or did not end.
    """
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        plain = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLORTERM")}
        os.execve(argv[0], list(argv), {**plain, "TERM": "xterm-256color"})
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    written: list[tuple[float, bytes]] = []
    begin, todo = 0.0, list(keys)
    while not begin or time.monotonic() - begin < _MOST_SECONDS:
        if select.select([terminal], [], [], 0.05)[0]:
            try:
                text = os.read(terminal, 65_536)
            except OSError:  # which is how a terminal ends
                break
            begin = begin or time.monotonic()
            written.append((time.monotonic() - begin, text))
        if begin and todo and time.monotonic() - begin > todo[0][0]:
            os.write(terminal, todo.pop(0)[1].encode())
    else:
        os.kill(child, signal.SIGKILL)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0 or todo:
        raise RuntimeError(f"{' '.join(argv)} failed, or did not end")
    return [(at, text.decode("utf-8", "replace")) for at, text in written]


def main(file: Path) -> None:
    """Record a team whose plan goes on probation while it is watched."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        folder.mkdir()
        asks = PageScene(folder, TRIAGE, seed=7, member_seconds=4.0, mode="approve", strategies=["formation_selection"])
        asks.until("awaits_approval", most=60)
        asks.close()
        idle = PageScene(folder, DOCS, seed=11, member_seconds=6.0, mode="observe")
        idle.times(30)
        idle.close()
        live = PageScene(folder, REVIEW, seed=3, strategies=["formation_selection"])
        live.until("started")
        live.times(30)
        ended = threading.Event()

        def go_on() -> None:
            while not ended.wait(0.4):
                live.run()

        runs = threading.Thread(target=go_on, daemon=True)
        runs.start()
        program = Path(sys.executable).with_name("victor-autotune")
        keys = [(4.0, "\x1b[B"), (5.0, "\r"), (14.0, "\r"), (17.0, "\x1b"), (18.5, "\x1b"), (21.0, "q")]
        try:
            written = record([str(program), "watch"], folder, keys)
        finally:
            ended.set()
            runs.join()
            live.close()
    head = {"version": 2, "width": COLUMNS, "height": ROWS, "title": "victor autotune watch"}
    lines = [json.dumps(head), *(json.dumps([round(at, 3), "o", text]) for at, text in written)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
