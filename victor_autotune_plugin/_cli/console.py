"""The terminal while a command runs: whose log lines appear, and text that its encoding can't show."""

from __future__ import annotations

import codecs
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ..failsafe import logger

_SCREENS: Final = ("stdout", "stderr", "__stdout__", "__stderr__")

_IN_ASCII: Final = "victor_autotune.in_ascii"
"""Name of the error handler that encodes what an encoding lacks."""

_ASCII: Final = {
    **dict.fromkeys("\u00a0\u2009\u202f", " "),
    **dict.fromkeys("−–—‐‑─━╸╺", "-"),
    **dict.fromkeys("│┃", "|"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰", "+"),
    **dict.fromkeys("“”„", '"'),
    **dict.fromkeys("‘’", "'"),
    **dict.fromkeys(map(chr, range(0x2800, 0x2900)), "*"),  # the spinner
    **dict.fromkeys("✗×", "x"),
    **dict.fromkeys("·░", "."),
    "•": "*",
    "…": "...",
    "█": "#",
    "≤": "<=",
    "≥": ">=",
    "→": "->",
    "↔": "<->",
    "←": "<-",
    "≠": "!=",
    "≈": "~",
    "±": "+-",
    "✓": "ok",
    "α": "alpha",
    "µ": "u",
}
"""What stands in ASCII for the characters that the screens have; others, as in names, are escaped."""


@contextmanager
def prepared(*, verbose: bool) -> Iterator[None]:
    """Keep a command's screen clean, and leave everything as it was afterwards.

    Victor and its libraries log many lines to the terminal, which would run into tables, progress bars and JSON.
    They are held back from the terminal only: log files get them as before. The plugin's own warnings appear, as
    notes on stderr. What can't be shown in the terminal's encoding is written in ASCII instead of ending the command.

    Args:
        verbose: Whether to let everything through, for searching an error.
    """
    with readable():
        if verbose:
            yield
        else:
            with _quiet():
                yield


@contextmanager
def owned() -> Iterator[None]:
    """Tell Victor that the plugin owns the screen, so that it does not print each refused and failed tool call."""
    from rich.console import Console

    victors = sys.modules.get("victor.runtime.live_console")
    if victors is None:
        yield
        return
    victors.register_live_console(Console(quiet=True))
    try:
        yield
    finally:
        victors.unregister_live_console()


class _Notes(logging.Handler):
    """Shows the plugin's own warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        from .rendering import note

        note(record.getMessage().removeprefix("autotune: "))


def _nothing(_: logging.LogRecord) -> bool:
    return False


@contextmanager
def _quiet() -> Iterator[None]:
    screens = {id(getattr(sys, name)) for name in _SCREENS}
    held = [handler for handler in _handlers() if id(getattr(handler, "stream", None)) in screens]
    notes = _Notes(logging.WARNING)
    # With a handler on the root, `logging.basicConfig`, which a module of Victor's calls, adds none that writes to
    # stderr, and neither does the handler of last resort.
    placeholder = logging.NullHandler()
    logging.root.addHandler(placeholder)
    for handler in held:
        handler.addFilter(_nothing)
    logger.addHandler(notes)
    try:
        yield
    finally:
        logging.root.removeHandler(placeholder)
        logger.removeHandler(notes)
        for handler in held:
            handler.removeFilter(_nothing)


def _handlers() -> list[logging.Handler]:
    """Return the handlers of all loggers."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    return [handler for one in loggers if isinstance(one, logging.Logger) for handler in one.handlers]


def is_terminal(stream: object) -> bool:
    """Return whether a stream leads to a terminal; one that is closed, or no file at all, does not."""
    try:
        return bool(stream.isatty())  # type: ignore[attr-defined]
    except (AttributeError, ValueError):
        return False


@contextmanager
def readable() -> Iterator[None]:
    """Let stdout and stderr take any text for the time of a block: what they can't show is written in ASCII."""
    with _readable(sys.stdout), _readable(sys.stderr):
        yield


@contextmanager
def _readable(stream: object) -> Iterator[None]:
    if not isinstance(stream, io.TextIOWrapper) or stream.errors == _IN_ASCII:
        yield
        return
    encoding, errors = stream.encoding, stream.errors
    stream.reconfigure(encoding="ascii" if _wants_ascii() else encoding, errors=_IN_ASCII)
    try:
        yield
    finally:
        stream.reconfigure(encoding=encoding, errors=errors)


def _wants_ascii() -> bool:
    """Return whether the user set the C locale, in which Python writes UTF-8 all the same.

    Python itself sets `LC_CTYPE` to a UTF-8 variant then (PEP 538), which is not what the user said.
    """
    if os.environ.get("PYTHONIOENCODING") or os.environ.get("PYTHONUTF8"):
        return False
    by_python = os.environ.get("LC_CTYPE", "") in ("C.UTF-8", "C.utf8", "UTF-8")
    names = ("LC_ALL", "LANG") if by_python else ("LC_ALL", "LC_CTYPE", "LANG")
    return next((value for name in names if (value := os.environ.get(name))), "") in ("C", "POSIX")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end]
    shown = "".join(_ASCII.get(char) or char.encode("ascii", "backslashreplace").decode() for char in text)
    return shown, error.end


codecs.register_error(_IN_ASCII, _in_ascii)
