"""How a run waits for another thread: on its event loop, never longer than it was told, and without blocking it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class Signal:
    """Something that happens once, on any thread, and that runs on any event loop may wait for.

    Attributes:
        is_set: Whether it has happened.
    """

    __slots__ = ("_waiters", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._waiters: list[Callable[[], None]] = []

    def set(self) -> None:
        """Let it have happened. Who waits is told after the mark is set, so that a waiter sees one of them."""
        self.is_set = True
        for tell in tuple(self._waiters):
            tell()

    async def wait(self, seconds: float) -> bool:
        """Wait until it happens, and return whether it has.

        Args:
            seconds: How long at most, on the loop's own clock.

        Raises:
            asyncio.CancelledError: If the task is cancelled meanwhile.
        """
        if self.is_set or seconds <= 0:
            return self.is_set
        from asyncio import get_running_loop  # at hand where a loop runs; a command has none

        loop = get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def end() -> None:
            if not future.done():
                future.set_result(None)

        def tell() -> None:
            with suppress(RuntimeError):  # the loop was closed meanwhile, so no run waits
                loop.call_soon_threadsafe(end)

        self._waiters.append(tell)
        try:
            if not self.is_set:
                timer = loop.call_later(seconds, end)
                try:
                    await future
                finally:
                    timer.cancel()
        finally:
            self._waiters.remove(tell)
        return self.is_set
