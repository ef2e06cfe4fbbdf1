"""Writing results to files: whole or not at all, and readable by their owner alone."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ..errors import AutotuneError


@contextlib.contextmanager
def written(path: Path, option: str) -> Iterator[TextIO]:
    """Open a file for the time of a block; it takes its place when the block ends without an error.

    Args:
        path: The file; one that exists is replaced.
        option: The option that named it, for the error.

    Yields:
        The open file, mode 0600, UTF-8.

    Raises:
        AutotuneError: If it can't be written. Then nothing has changed.
    """
    if path.is_dir():
        raise AutotuneError("is a folder", where=f"{option} {path}", hint="Name a file in it.")
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - it is open already
                yield file
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise AutotuneError(
            f"can't be written: {error.strerror}", where=f"{option} {path}", hint="Name another file."
        ) from error


def write_text(path: Path, text: str, option: str = "--output") -> None:
    """Write a file whole; the arguments and the error are those of `written`."""
    with written(path, option) as file:
        file.write(text)
