"""Connections to PostgreSQL on which nothing waits longer than a deadline that the client itself keeps.

The server's timeouts, keepalives and `tcp_user_timeout` stay silent for a server that is stopped: its kernel goes on
acknowledging. So the wait on the socket ends by the client's own clock, and the connection is closed, since what the
statement did is not known. Only the look-up of a host's name is out of reach: it happens inside the C library.
"""

from __future__ import annotations

import math
import select
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, Final, TypeVar

from psycopg import Connection, Error, OperationalError, generators
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict, make_conninfo

_T = TypeVar("_T")

_READ: Final = 1
_WRITE: Final = 2
_POLLED: Final = {_READ: select.POLLIN, _WRITE: select.POLLOUT, _READ | _WRITE: select.POLLIN | select.POLLOUT}


_PREPARED_AFTER: Final = 5
"""How often a statement runs before the server keeps it prepared; the driver's own choice."""


class DeadlineError(OperationalError):
    """The server did not answer in time."""


class DeadlineConnection(Connection[Any]):
    """A connection whose every wait ends.

    Attributes:
        seconds: The longest wait for the answer to a statement.
        clock: What the wait is measured by, in seconds.
    """

    seconds: float = math.inf
    clock: Callable[[], float] = staticmethod(time.monotonic)

    def wait(self, gen: Any, interval: float = 0.0, timeout: float | None = None) -> Any:  # noqa: ARG002
        """Let a generator of the driver talk to the server; close the connection when it takes too long.

        Raises:
            DeadlineError: It took too long.
        """
        seconds = self.seconds if timeout is None else min(self.seconds, timeout)
        try:
            return _wait(_with(self.pgconn.socket, gen), self.clock() + seconds, seconds, self.clock)
        except Error as error:
            if isinstance(error, DeadlineError):
                self.close()
            raise
        except BaseException:  # Ctrl-C: half of an answer is still to come
            self.close()
            raise

    def server_process(self) -> int:
        """Return the id of the server's process. A pooler between tells the client another one, to cancel with."""
        row = self.execute("SELECT pg_backend_pid()").fetchone()
        return -1 if row is None else int(row[0])


def connect(
    parameters: Mapping[str, Any], seconds: float, clock: Callable[[], float] = time.monotonic
) -> DeadlineConnection:
    """Connect to the first server that answers, in autocommit mode.

    Statements that come again are prepared by the server itself where the connection leads to it directly. A pooler may
    give every transaction another server process, which has not prepared them.

    Args:
        parameters: Those of libpq, and the driver's own `context`. Of several hosts each gets an equal part of the
            time that is left.
        seconds: The longest wait in all.
        clock: What it is measured by, in seconds.

    Raises:
        OperationalError: No server answers in time, or it refuses.
    """
    answer_seconds = seconds
    parameters = dict(parameters)
    context = parameters.pop("context", None)
    limit = str(parameters.pop("connect_timeout", ""))  # libpq keeps it in blocking calls only
    seconds = min(seconds, float(limit)) if limit.isdecimal() and int(limit) else seconds
    ends = clock() + seconds
    attempts = _attempts(conninfo_to_dict(**parameters))
    failed: Error | None = None
    for number, attempt in enumerate(attempts):
        now = clock()
        share = (ends - now) / (len(attempts) - number)
        conninfo = make_conninfo("", **attempt)
        try:
            pgconn = _wait(generators.connect(conninfo), now + share, seconds, clock)
        except Error as error:
            failed = error
            continue
        connection = DeadlineConnection(pgconn)
        connection.seconds = answer_seconds
        connection.clock = clock
        connection.autocommit = True
        connection.prepare_threshold = None
        if context is not None:
            connection._adapters = AdaptersMap(context.adapters)  # as the driver itself connects
        if connection.server_process() == connection.info.backend_pid:
            connection.prepare_threshold = _PREPARED_AFTER
        return connection
    assert failed is not None
    raise failed.with_traceback(None)


def _attempts(parameters: dict[str, Any]) -> list[dict[str, Any]]:
    """Split several hosts, since libpq would wait for the first one for ever."""
    hosts, addresses, ports = (str(parameters.get(name) or "").split(",") for name in ("host", "hostaddr", "port"))
    count = max(len(hosts), len(addresses))
    if count == 1:
        return [parameters]
    found = []
    for index in range(count):
        one = dict(parameters)
        for name, values in (("host", hosts), ("hostaddr", addresses), ("port", ports)):
            if values != [""]:
                one[name] = values[index % len(values)]
        found.append(one)
    return found


def _with(descriptor: int, gen: Generator[int, int, _T]) -> Generator[tuple[int, int], int, _T]:
    """Yield the descriptor beside what a generator waits for, as the one that connects does."""
    ready: Any = None
    while True:
        try:
            wanted = gen.send(ready)
        except StopIteration as end:
            found: _T = end.value
            return found
        ready = yield descriptor, wanted


def _wait(gen: Generator[tuple[int, int], int, _T], ends: float, seconds: float, clock: Callable[[], float]) -> _T:
    """Run a generator that yields descriptors and what to wait for, and return what it returns."""
    try:
        descriptor, wanted = next(gen)
        while True:
            poll = select.poll()
            poll.register(descriptor, _POLLED[wanted])
            left = ends - clock()
            events = poll.poll(None if left == math.inf else max(0.0, left) * 1000) if left > 0 else poll.poll(0)
            if not events:
                if clock() < ends:
                    continue
                gen.close()
                raise DeadlineError(f"no answer within {seconds:g} s")
            event = events[0][1]
            ready = _READ if event & (select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLNVAL) else 0
            if event & select.POLLOUT:
                ready |= _WRITE
            descriptor, wanted = gen.send(ready & wanted or wanted)
    except StopIteration as end:
        found: _T = end.value
        return found
