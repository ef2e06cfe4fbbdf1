"""The network between a host and the database: it loses calls and answers, delays them, and repeats writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, Final

from attrs import frozen

from victor_autotune_plugin.errors import StoreError, StoreUnavailableError
from victor_autotune_plugin.storage.session import Session, Statement

from .database import Database

CLAIMS: Final = ("take_lease", "number_run", "save_judged", "give_back_lease", "mark_lost")
"""The store's statements by which a process says that it judges a team, or that others are dead."""


class KilledError(BaseException):
    """The process was killed in the middle of a call; no code of it goes on."""


@frozen
class Weather:
    """What the network does, as shares of the calls.

    Attributes:
        lost: Calls that never reach the database.
        unanswered: Transactions that are committed, and whose host is told that they may not be.
        broken: Statements in a transaction after which the connection is gone.
        slow: Calls that take long.
        repeated: Transactions whose writes of runs come to the database once more, later.
        seconds: What a slow call takes at most.
    """

    lost: float = 0.0
    unanswered: float = 0.0
    broken: float = 0.0
    slow: float = 0.0
    repeated: float = 0.0
    seconds: float = 0.0


CALM = Weather()
"""A network without a fault."""


class Link:
    """What one process has in place of its connections to the database; `Connections` says what each method does.

    Args:
        database: The database.
        random: What the faults are drawn from.
        wait: Lets time pass, and others go on, in the middle of a call.
        note: Counts a fault.
        later: Has something done later.
        now: True time, Unix seconds.
        on_claim: Told of the process's claims that were committed: the statement's name and values of each.

    Attributes:
        weather: What the network does now.
        is_cut: Whether the database is out of reach.
        is_dead: Whether the process was killed.
        doom: Kills the process in the middle of one of its next calls; None for not.
        read_at: True time at which the database last told its revision; None for never.
        process_id: Id of the process whose it is; empty for a person's.
    """

    look_only = False
    may_create = False

    def __init__(
        self,
        database: Database,
        random: Random,
        wait: Callable[[float], None],
        note: Callable[[str], None],
        later: Callable[[Callable[[], None]], None],
        now: Callable[[], float],
        on_claim: Callable[[Link, list[tuple[str, Mapping[str, Any]]]], None],
    ) -> None:
        self.target = database.connections.target
        self.statements = database.connections.statements
        self.weather = CALM
        self.is_cut = False
        self.is_dead = False
        self.doom: Callable[[], None] | None = None
        self.read_at: float | None = None
        self.process_id = ""
        self._database = database
        self._random = random
        self._wait = wait
        self._note = note
        self._later = later
        self._now = now
        self.on_claim = on_claim
        sql = self.statements
        self.claims: Mapping[int, str] = {id(getattr(sql, name)): name for name in CLAIMS}
        self._repeatable = frozenset(id(one) for one in (sql.start_run, sql.finish_run, sql.price_run, sql.set_drained))

    def happens(self, share: float) -> bool:
        """Return whether a fault of such a share happens now."""
        return share > 0 and self._random.random() < share

    def session(self) -> Session:
        """Return the session itself, for what is done before a host is there."""
        return self._database.connections.session()

    def execute(self, statement: Any) -> list[Any]:
        """Return the rows that a statement finds."""
        return self._asked(lambda: self._database.connections.execute(statement))

    def query(self, statement: Statement, values: Mapping[str, Any]) -> list[Any]:
        """Return the rows that a compiled query finds."""
        return self._asked(lambda: self._database.connections.query(statement, values))

    def _asked(self, read: Callable[[], list[Any]]) -> list[Any]:
        self._reach()
        found = read()
        self.read_at = self._now()
        self._answered()
        return found

    def begin(self, patience: float | None = None, deadline: float | None = None, *, reads: bool = False) -> Any:
        """Open a transaction."""
        self._reach()
        session = self._database.connections.begin(patience, deadline, reads=reads)
        return LinkSession(self, session, reads)

    def rollback(self, session: Any) -> None:
        """End a transaction without a trace."""
        session.roll_back(self._database)

    def close(self) -> None:
        """Leave the database to the others."""

    def repeats(self, statement: Statement) -> bool:
        """Return whether a write may come twice: those of a host that gave up and tried again, and was late besides."""
        return id(statement) in self._repeatable

    def lose(self, what: str) -> StoreUnavailableError:
        """Count a fault, and return what the host is told of it."""
        self._note(what)
        return StoreUnavailableError(f"the simulated network: {what}", where=self.target.shown, hint="Try again.")

    def repeat(self, writes: list[tuple[Statement, Mapping[str, Any]]]) -> None:
        """Have writes come to the database once more."""

        def again() -> None:
            self._note("repeated")
            session = self._database.connections.begin()
            for statement, values in writes:
                session.write(statement, values)
            session.commit()

        self._later(again)

    def check_alive(self) -> None:
        """Let no code of a dead process go on.

        Raises:
            KilledError: It was killed.
        """
        if self.doom is not None and self._random.random() < 0.2:
            self.doom()
            self.doom = None
        if self.is_dead:
            raise KilledError

    def _reach(self) -> None:
        self.check_alive()
        if self.happens(self.weather.slow):
            self.delay()
        if self.is_cut:
            raise self.lose("cut off")
        if self.happens(self.weather.lost):
            raise self.lose("lost call")

    def _answered(self) -> None:
        if self.happens(self.weather.slow):
            self.delay()
        if self.is_cut:
            raise self.lose("cut off")

    def delay(self) -> None:
        """Let a call take long."""
        self._note("slow call")
        self._wait(self._random.random() ** 3 * self.weather.seconds)
        self.check_alive()


class LinkSession:
    """A transaction of a host on the shared session."""

    def __init__(self, link: Link, session: Session, reads: bool) -> None:
        self._link = link
        self._session = session
        self._reads = reads
        self._is_open = True
        self._is_broken = False
        self._writes: list[tuple[Statement, Mapping[str, Any]]] = []
        self._claims: list[tuple[str, Mapping[str, Any]]] = []

    def query(self, statement: Statement, values: Mapping[str, Any], *, plain: bool = False) -> list[Any]:
        """Return the rows that a query finds, as `Session.query` does."""
        self._pass()
        return self._session.query(statement, values, plain=plain)

    def write(self, statement: Statement, values: Mapping[str, Any]) -> int:
        """Run a statement that writes, and return how many rows it wrote."""
        self._pass()
        if self._link.repeats(statement):
            self._writes.append((statement, dict(values)))
        elif (claim := self._link.claims.get(id(statement))) is not None:
            self._claims.append((claim, values))
        return self._session.write(statement, values)

    def commit(self) -> None:
        """End the transaction; whatever the host is told, it may be durable."""
        link = self._link
        self._pass()
        if link.happens(link.weather.lost):
            self._is_broken = True
            raise link.lose("lost commit")
        self._session.commit()
        self._is_open = False
        if self._claims:
            link.on_claim(link, self._claims)
        link.check_alive()
        if self._reads:
            return
        if self._writes and link.happens(link.weather.repeated):
            link.repeat(self._writes)
        if link.happens(link.weather.slow):
            link.delay()
        if link.is_cut or link.happens(link.weather.unanswered):
            raise link.lose("lost acknowledgement")

    def roll_back(self, database: Database) -> None:
        """End the transaction without a trace, unless it is committed."""
        if self._is_open:
            self._is_open = False
            database.connections.rollback(self._session)

    def _pass(self) -> None:
        self._link.check_alive()
        if self._is_broken:
            raise StoreError("the transaction failed before and is not kept", where="the simulated network")
        if self._link.happens(self._link.weather.broken):
            self._is_broken = True
            raise self._link.lose("broken transaction")
