"""The statements about the notices that wait to be sent."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Dialect, Double, Integer, and_, bindparam, delete, func, or_, select, update

from .session import Statement
from .statement_parts import given, names_of
from .tables import outbox

_LATEST_SECONDS: Final = 86_400.0
# One that is due later than anybody would ask for was taken before the clock was set back.


class OutboxStatements:
    """The statements about the outbox, which `Outbox` runs.

    Args:
        dialect: The database's dialect.
        insert: Its `insert`.
        now: Its clock.
    """

    def __init__(self, dialect: Dialect, insert: Any, now: Any) -> None:
        new = insert(outbox).inline().on_conflict_do_nothing()
        self.add = Statement(new, dialect, [name for name in names_of(outbox) if name not in ("number", "sent_at")])
        self.last = Statement(select(func.max(outbox.c.number).label("last")), dialect)
        of_target, of_notice = given(outbox, "environment", "target"), given(outbox, "environment", "target", "id")
        is_unsent = outbox.c.sent_at.is_(None)
        is_due = and_(is_unsent, or_(outbox.c.due_at <= now, outbox.c.due_at > now + _LATEST_SECONDS))
        self.drop_up_to = Statement(delete(outbox).where(outbox.c.number <= bindparam("up_to", type_=Integer)), dialect)
        self.drop_old = Statement(
            delete(outbox).where(given(outbox, "environment"), outbox.c.at < now - bindparam("seconds", type_=Double)),
            dialect,
        )
        self.due = Statement(
            select(outbox).where(of_target, is_due).order_by(outbox.c.number).limit(bindparam("most")), dialect
        )
        later = now + bindparam("seconds", type_=Double)
        self.take = Statement(
            update(outbox).where(of_notice, is_due).values(due_at=later, tries=outbox.c.tries + 1),
            dialect,
        )
        self.put_off = Statement(update(outbox).where(of_notice).values(due_at=later), dialect)
        self.sent = Statement(update(outbox).where(of_notice, is_unsent).values(sent_at=now), dialect)
        self.waiting = Statement(
            select(outbox).where(given(outbox, "environment"), is_unsent).order_by(outbox.c.number), dialect
        )
