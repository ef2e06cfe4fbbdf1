"""The notices that wait to be sent: what a transaction says of them.

They are written with what they tell of, so that one is sent exactly if it happened. Who sends one takes it for a while
first, so that several processes do not all send it; one that dies meanwhile leaves it to the next.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any, Final

from attrs import frozen

from .._model.converter import PlainDataError, from_plain, to_plain
from .._model.notice import Notice
from .judging import Judging
from .rows import decode, encode

MOST_NOTICES: Final = 1_000
"""How many notices there are at most, those that were sent too; older ones go."""

KEPT_SECONDS: Final = 7 * 86_400.0
"""How long one waits at most, and how long one that was sent is known."""


@frozen
class WaitingNotice:
    """A notice that waits for a webhook.

    Attributes:
        target: Name of the webhook.
        notice: The notice.
        tries: How often it was taken.
    """

    target: str
    notice: Notice
    tries: int


class Outbox(Judging):
    """What a transaction says of notices, those of its environment; `Transaction` says the rest."""

    def add_notice(self, notice: Notice, targets: Iterable[str]) -> None:
        """Have a notice sent to webhooks, once each; beyond `MOST_NOTICES` the oldest of all go.

        Args:
            notice: The notice.
            targets: Names of the webhooks.
        """
        row = {
            "environment": self._environment,
            "id": notice.id,
            "at": notice.at,
            "notice": encode(to_plain(notice)),
            "tries": 0,
            "due_at": 0.0,
        }
        for target in targets:
            self._write(self._sql.outbox.add, {**row, "target": target})
        last = self._query(self._sql.outbox.last, {})[0].last
        if last is not None and last > MOST_NOTICES:
            self._write(self._sql.outbox.drop_up_to, {"up_to": last - MOST_NOTICES})

    def due_notices(self, target: str, most: int) -> list[WaitingNotice]:
        """Return the notices for a webhook that no process is sending, oldest first."""
        of = {"of_environment": self._environment, "of_target": target, "most": most}
        return _readable(self._query(self._sql.outbox.due, of))

    def take_notices(self, target: str, most: int, seconds: float) -> list[WaitingNotice]:
        """Take the notices for a webhook that no process is sending, so that no other one does for a while.

        What is too old is dropped.

        Args:
            target: Name of the webhook.
            most: At most so many, the oldest first.
            seconds: For how long.
        """
        self._write(self._sql.outbox.drop_old, {"of_environment": self._environment, "seconds": KEPT_SECONDS})
        found = self.due_notices(target, most)
        return [one for one in found if self._write(self._sql.outbox.take, {**self._notice(one), "seconds": seconds})]

    def put_off_notice(self, notice: WaitingNotice, seconds: float) -> None:
        """Let no process send a notice for a while: it failed."""
        self._write(self._sql.outbox.put_off, {**self._notice(notice), "seconds": seconds})

    def notice_sent(self, notice: WaitingNotice) -> None:
        """Note that a notice was sent."""
        self._write(self._sql.outbox.sent, self._notice(notice))

    def waiting_notices(self) -> list[WaitingNotice]:
        """Return all notices that wait, oldest first."""
        return _readable(self._query(self._sql.outbox.waiting, {"of_environment": self._environment}))

    def _notice(self, waiting: WaitingNotice) -> dict[str, str]:
        return {"of_environment": self._environment, "of_target": waiting.target, "of_id": waiting.notice.id}


def _readable(rows: Iterable[Any]) -> list[WaitingNotice]:
    """Return the notices of rows; those of a newer version, which this one can't read, are left to that."""
    found = []
    for row in rows:
        with suppress(PlainDataError):
            found.append(WaitingNotice(row.target, from_plain(Notice, decode(row.notice)), row.tries))
    return found
