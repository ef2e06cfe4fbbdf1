"""What the notice thread does: it sends what waits in the outbox, behind everything else.

A notice is written with what it tells of, so it waits in the store until a process has sent it, this or
a later one. Each webhook is served on a thread of its own, so that one that hangs holds up no other.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from .. import failsafe
from .._model.notice import Notice, Webhook
from ..errors import StoreError
from .notices import write_notices
from .threads import start_once
from .webhook import DeliveryError, address_of, deliver, key_of
from .writer import CircuitBreaker

if TYPE_CHECKING:
    from ..storage import Store
    from ..storage.outbox import WaitingNotice

POLL_SECONDS: Final = 15.0
"""How often the outbox is looked into: other processes, or those that ended, leave notices there."""

LEASE_SECONDS: Final = 300.0
"""How long a process that takes notices may need for them; then another sends them."""

PIECE: Final = 10
"""Notices that are taken for a webhook at a time."""

FIRST_PAUSE: Final = 30.0
"""Seconds before a notice is sent again that failed; they double with every failure ..."""

LONGEST_PAUSE: Final = 3_600.0
"""... up to this."""

SHORT_SECONDS: Final = 2.0
"""How long a command waits at its end for the notices of what it did."""

_MOST_UNWRITTEN: Final = 100
_MOST_ROUNDS: Final = 200


class NoticeWork:
    """The work of the notice thread.

    Args:
        store: Gives the store, or None while it is not reached.
        webhooks: Gives the webhooks that the settings name now.
        breaker: Of its own use of the store.
        send: Sends a notice to a webhook, and raises a `DeliveryError` where that fails.
        environ: The environment variables.

    Attributes:
        start: Has a job done under a name; on a thread of its own once there are threads.
        wake: Has the step called soon.
    """

    def __init__(
        self,
        store: Callable[[], Store | None],
        webhooks: Callable[[], tuple[Webhook, ...]],
        breaker: CircuitBreaker,
        send: Callable[[Webhook, Notice, Mapping[str, str]], None] = deliver,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.start: Callable[[str, Callable[[], None]], None] = _here
        self.wake: Callable[[], None] = _no_thread
        self._store = store
        self._webhooks = webhooks
        self._breaker = breaker
        self._send = send
        self._environ = environ
        self._unwritten: deque[Notice] = deque(maxlen=_MOST_UNWRITTEN)
        self._ended: SimpleQueue[tuple[WaitingNotice, bool]] = SimpleQueue()
        self._busy: set[str] = set()

    def submit(self, notice: Notice) -> None:
        """Have a notice written that belongs to no change of a team."""
        self._unwritten.append(notice)
        self.wake()

    def step(self, now: float) -> float:
        """Send what waits.

        Args:
            now: Monotonic seconds.

        Returns:
            Seconds after which to call again at the latest.
        """
        webhooks, store = self._webhooks(), self._store()
        if not webhooks:
            self._unwritten.clear()
            return POLL_SECONDS
        left = self._breaker.seconds_left(now)
        if store is None or left > 0:
            return max(left, 1.0)
        try:
            self._write(store, webhooks)
            self._settle(store)
            for webhook in webhooks:
                if webhook.name not in self._busy and self.is_usable(webhook):
                    self._take(store, webhook)
            self._breaker.succeeded()
        except StoreError as error:
            failsafe.report("notices", error)
            self._breaker.failed(now)
            return self._breaker.seconds_left(now)
        return POLL_SECONDS

    def _write(self, store: Store, webhooks: tuple[Webhook, ...]) -> None:
        while self._unwritten:
            with store.transaction() as transaction:
                write_notices(transaction, webhooks, [self._unwritten[0]])
            self._unwritten.popleft()

    def _settle(self, store: Store) -> None:
        """Note what was sent, and put off what failed. What can't be noted is sent again."""
        while True:
            try:
                waiting, was_sent = self._ended.get_nowait()
            except Empty:
                return
            with store.transaction() as transaction:
                if was_sent:
                    transaction.notice_sent(waiting)
                else:
                    transaction.put_off_notice(waiting, min(FIRST_PAUSE * 2**waiting.tries, LONGEST_PAUSE))

    def is_usable(self, webhook: Webhook) -> bool:
        """Return whether this process has what it takes to send to a webhook; else another one may."""
        try:
            address_of(webhook, self._environ)
            key_of(webhook, self._environ)
        except DeliveryError as error:
            failsafe.report(f"notices to {webhook.name!r}", error)
            return False
        return True

    def _take(self, store: Store, webhook: Webhook) -> None:
        with store.reading() as transaction:  # which locks nothing; mostly there is none
            if not transaction.due_notices(webhook.name, 1):
                return
        with store.transaction() as transaction:
            taken = transaction.take_notices(webhook.name, PIECE, LEASE_SECONDS)
        if not taken:
            return
        self._busy.add(webhook.name)

        def work() -> None:
            try:
                self._serve(webhook, taken)
            finally:
                self._busy.discard(webhook.name)
                self.wake()

        try:
            self.start(f"notices to {webhook.name!r}", work)
        except RuntimeError:  # no thread can be started any more: the process ends, and the next one sends them
            self._busy.discard(webhook.name)

    def _serve(self, webhook: Webhook, taken: list[WaitingNotice]) -> None:
        for number, waiting in enumerate(taken):
            try:
                self._send(webhook, waiting.notice, self._environ)
            except DeliveryError as error:
                failsafe.report(f"notices to {webhook.name!r}", error)
                for one in taken[number:]:  # in their order, once it takes any
                    self._ended.put((one, False))
                return
            self._ended.put((waiting, True))
            self.wake()


def send_waiting(
    store: Store,
    webhooks: tuple[Webhook, ...],
    send: Callable[[Webhook, Notice, Mapping[str, str]], None] = deliver,
) -> None:
    """Send what waits in the outbox, one after the other, until nothing is due.

    Args:
        store: The store.
        webhooks: Those that are told.
        send: Sends a notice to a webhook.
    """
    work = NoticeWork(lambda: store, lambda: webhooks, CircuitBreaker(lambda: 0.0), send)
    for _ in range(_MOST_ROUNDS):
        work.step(0.0)  # which notes what the step before has sent
        with store.reading() as transaction:
            if not any(transaction.due_notices(one.name, 1) for one in webhooks if work.is_usable(one)):
                break
    work.step(0.0)


def send_within(store: Store, webhooks: tuple[Webhook, ...], seconds: float = SHORT_SECONDS) -> None:
    """Send what waits in the outbox, each notice with one try. It raises nothing, and waits no longer than asked.

    What is not sent by then stays in the outbox for a later process.

    Args:
        store: The store.
        webhooks: Those that are told.
        seconds: The longest wait.
    """
    if not webhooks:
        return
    ended = threading.Event()

    def work() -> None:
        try:
            send_waiting(store, webhooks, partial(deliver, tries=1))
        finally:
            ended.set()

    start_once("notices", work)
    ended.wait(seconds)


def _here(_name: str, job: Callable[[], None]) -> None:
    """Do a job in the step: a simulator has no threads."""
    job()


def _no_thread() -> None:
    """Wake no thread."""
