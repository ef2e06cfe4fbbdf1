"""A command as scorer: it gets the output on its standard input, and its exit code or a number is the score."""

from __future__ import annotations

import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, Final

from attrs import frozen

from .scorer import RunOutput, Scored
from .scoring_call import NOT_A_SCORE, TIMEOUT

SKIPPED: Final = 77
"""Exit code for no opinion, as test harnesses have it for a test that was skipped."""

MOST_BYTES: Final = 64_000
"""The end of what a command prints that is looked at; the rest is read and dropped."""

_at_work: Final[dict[subprocess.Popen[bytes], int]] = {}
"""The commands at work, each with the id of the process that started it."""

_LOOK_SECONDS: Final = 0.05
# How often to look whether it has ended where its pipes do not tell.


@frozen
class CommandScorer:
    """Runs a command in the project's folder, without a shell.

    A number from 0 to 1 alone in the last line that it prints is the score; without a number, exit code 0 is 1 and any
    other is 0. Exit code 77 is no opinion.

    Attributes:
        name: Its name.
        command: The words of the command.
        weight: Its weight in the run's score.
        gates: Whether it decides.
        timeout: Most seconds that it may take; then it is killed with what it started.
    """

    name: str
    command: tuple[str, ...]
    weight: float = 1.0
    gates: bool = True
    timeout: float = 60.0
    source: str = "command"
    judge: str = ""

    def score(self, output: RunOutput) -> Scored:
        """Return the command's verdict of a run.

        Raises:
            OSError: The command can't be started.
        """
        environment = {**os.environ, **_about(output)}
        program = shutil.which(self.command[0], path=environment.get("PATH")) or self.command[0]
        with subprocess.Popen(
            [program, *self.command[1:]],
            cwd=output.project,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may quote the output, and nobody reads it
            start_new_session=os.name == "posix",
        ) as process:
            _at_work[process] = os.getpid()
            try:
                printed = _talk(process, output.text.encode("utf-8", "replace"), self.timeout)
            finally:
                _kill(process)
                del _at_work[process]
        return Scored(None, TIMEOUT) if printed is None else _verdict(process.returncode, printed)


def end_commands() -> None:
    """End the commands that this process has at work: it ends, and a session of their own would let them go on."""
    for process, owner in tuple(_at_work.items()):
        if owner == os.getpid():  # a forked child has its parent's, too
            _kill(process)


def _about(output: RunOutput) -> Mapping[str, str]:
    run = output.run
    return {
        "VICTOR_AUTOTUNE_RUN_ID": run.run_id,
        "VICTOR_AUTOTUNE_WORKFLOW": run.spec.workflow,
        "VICTOR_AUTOTUNE_TEAM_ID": run.spec.team_id,
        "VICTOR_AUTOTUNE_TASK_KEY": run.task_key or "",
    }


def _talk(process: subprocess.Popen[bytes], data: bytes, seconds: float) -> bytes | None:
    """Give a command the output and read what it prints until it ends.

    Neither waits for the other: it may read nothing, print much, or leave a child behind that keeps its pipes open.

    Returns:
        The end of what it printed; None where it takes longer than so many seconds.
    """
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None or os.name != "posix":  # only POSIX can wait for pipes
        try:
            return process.communicate(data, seconds)[0][-MOST_BYTES:]
        except subprocess.TimeoutExpired:
            return None
    left, printed, deadline = memoryview(data), b"", time.monotonic() + seconds
    with selectors.DefaultSelector() as pipes:
        for pipe, event in ((stdin, selectors.EVENT_WRITE), (stdout, selectors.EVENT_READ)):
            os.set_blocking(pipe.fileno(), False)
            pipes.register(pipe, event)
        prints = True
        while prints:
            if time.monotonic() >= deadline:
                return None
            has_ended = process.poll() is not None
            ready = pipes.select(0 if has_ended else _LOOK_SECONDS)
            prints = not has_ended or any(key.fileobj is stdout for key, _ in ready)
            for key, _ in ready:
                if key.fileobj is stdin:
                    left = left[_written(stdin, left) :]
                    if not left:
                        pipes.unregister(stdin)
                        with suppress(OSError):
                            stdin.close()
                elif piece := os.read(key.fd, 65_536):
                    printed = (printed + piece)[-MOST_BYTES:]
                else:
                    prints = False
    try:
        process.wait(max(deadline - time.monotonic(), 0.0))
    except subprocess.TimeoutExpired:
        return None
    return printed


def _written(stream: IO[bytes], data: memoryview) -> int:
    """Return how much of the data a command took, or all of it where it reads no more."""
    try:
        return os.write(stream.fileno(), data[:65_536])
    except BlockingIOError:
        return 0
    except OSError:
        return len(data)


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a command and what it started."""
    with suppress(OSError):
        if os.name == "posix":
            os.killpg(process.pid, signal.SIGKILL)
        elif process.poll() is None:
            process.kill()


def _verdict(code: int, printed: bytes) -> Scored:
    if code == SKIPPED:
        return Scored(None)
    if code != 0:
        return Scored(0.0)
    lines = [line for line in printed.decode("utf-8", "replace").splitlines() if line.strip()]
    try:
        value = float(lines[-1] if lines else "")
    except ValueError:
        return Scored(1.0)
    return Scored(value) if 0 <= value <= 1 else Scored(None, NOT_A_SCORE)
