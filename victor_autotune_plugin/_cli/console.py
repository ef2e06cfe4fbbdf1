"""The terminal while a command runs: whose log lines appear, and text that its encoding can't show."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ..failsafe import logger

_SCREENS: Final = ("stdout", "stderr", "__stdout__", "__stderr__")


@contextmanager
def prepared(*, verbose: bool) -> Iterator[None]:
    """Keep a command's screen clean, and leave everything as it was afterwards.

    Victor and its libraries log many lines to the terminal, which would run into tables, progress bars and JSON.
    They are held back from the terminal only: log files get them as before. The plugin's own warnings appear, as
    notes on stderr. What can't be shown in the terminal's encoding is escaped instead of ending the command.

    Args:
        verbose: Whether to let everything through, for searching an error.
    """
    with _lenient(sys.stdout), _lenient(sys.stderr):
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


@contextmanager
def _lenient(stream: object) -> Iterator[None]:
    if not isinstance(stream, io.TextIOWrapper) or stream.errors != "strict":
        yield
        return
    stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        stream.reconfigure(errors="strict")
