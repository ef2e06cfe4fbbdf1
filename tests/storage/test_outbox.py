"""Notices wait in the store, each for each webhook, until somebody has sent them."""

# ruff: noqa: PT012 - a transaction that fails needs several statements
from __future__ import annotations

import pytest
from alembic import command
from alembic.config import Config
from attrs import evolve
from sqlalchemy import inspect

from victor_autotune_plugin._model.notice import Notice
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.migrate import MIGRATIONS
from victor_autotune_plugin.storage.outbox import KEPT_SECONDS, MOST_NOTICES
from victor_autotune_testing.stored import change

NOTICE = Notice("n1", "proven", 2e9, "Team reviewers is faster", "A test proved it.", "flow", "reviewers")


def add(store: Store, *targets: str, notice: Notice = NOTICE) -> None:
    with store.transaction() as transaction:
        transaction.add_notice(notice, targets)


def waiting(store: Store) -> list[tuple[str, str]]:
    with store.reading() as transaction:
        return [(one.target, one.notice.id) for one in transaction.waiting_notices()]


def _fail() -> None:
    raise KeyError("late")


def test_a_notice_waits_once_for_each_webhook(store: Store) -> None:
    add(store, "ops", "chat")
    add(store, "ops")
    assert waiting(store) == [("ops", "n1"), ("chat", "n1")]
    with store.reading() as transaction:
        (found,) = transaction.due_notices("chat", 10)
    assert found.notice == NOTICE
    assert found.tries == 0


def test_what_fails_with_its_transaction_is_never_told(store: Store) -> None:
    with pytest.raises(KeyError, match="late"), store.transaction() as transaction:
        transaction.add_change(change())
        transaction.add_notice(NOTICE, ["ops"])
        _fail()
    assert waiting(store) == []


def test_one_process_takes_a_notice_and_the_other_gets_none(store: Store, url: str) -> None:
    add(store, "ops")
    with Store.open(url) as other:
        with store.transaction() as transaction:
            assert [one.notice for one in transaction.take_notices("ops", 10, 60.0)] == [NOTICE]
        with other.transaction() as transaction:
            assert transaction.take_notices("ops", 10, 60.0) == []
            assert transaction.due_notices("ops", 10) == []


def test_who_takes_one_and_dies_leaves_it_to_the_next(store: Store) -> None:
    add(store, "ops")
    with store.transaction() as transaction:
        transaction.take_notices("ops", 10, 0.0)  # whose time is over at once
    with store.transaction() as transaction:
        (found,) = transaction.take_notices("ops", 10, 60.0)
    assert (found.notice, found.tries) == (NOTICE, 1)


def test_one_that_failed_waits_and_one_that_was_sent_does_not(store: Store) -> None:
    add(store, "ops", "chat")
    with store.transaction() as transaction:
        (ops,) = transaction.take_notices("ops", 10, 0.0)
        (chat,) = transaction.take_notices("chat", 10, 0.0)
        transaction.put_off_notice(ops, 60.0)
        transaction.notice_sent(chat)
    assert waiting(store) == [("ops", "n1")]
    with store.reading() as transaction:
        assert transaction.due_notices("ops", 10) == []


def test_one_that_was_sent_is_not_written_again(store: Store) -> None:
    add(store, "ops")
    with store.transaction() as transaction:
        (one,) = transaction.take_notices("ops", 10, 0.0)
        transaction.notice_sent(one)
    add(store, "ops")
    assert waiting(store) == []
    with store.transaction() as transaction:
        assert transaction.take_notices("ops", 10, 0.0) == []


def test_a_lease_of_a_clock_that_was_set_back_ends(store: Store) -> None:
    add(store, "ops")
    with store.transaction() as transaction:
        transaction.take_notices("ops", 10, 90 * 86_400.0)
    with store.reading() as transaction:
        assert len(transaction.due_notices("ops", 10)) == 1


def test_what_waited_too_long_is_dropped(store: Store) -> None:
    add(store, "ops", notice=evolve(NOTICE, at=0.0))
    with store.transaction() as transaction:
        assert transaction.take_notices("ops", 10, 60.0) == []
    assert waiting(store) == []
    assert KEPT_SECONDS > 86_400


def test_the_outbox_stays_bounded_and_keeps_the_newest(store: Store) -> None:
    with store.transaction() as transaction:
        for number in range(MOST_NOTICES + 5):
            transaction.add_notice(evolve(NOTICE, id=f"n{number}"), ["ops"])
    found = waiting(store)
    assert len(found) == MOST_NOTICES
    assert found[-1] == ("ops", f"n{MOST_NOTICES + 4}")
    assert found[0] == ("ops", "n5")


def test_what_a_newer_version_wrote_is_left_to_it(store: Store) -> None:
    add(store, "ops", notice=evolve(NOTICE, id="new", event="unheard_of"))
    add(store, "ops")
    with store.transaction() as transaction:
        assert [one.notice.id for one in transaction.take_notices("ops", 10, 60.0)] == ["n1"]


def test_an_environment_sends_its_own_alone(store: Store) -> None:
    add(store, "ops")
    with store.of("staging").transaction() as transaction:
        assert transaction.take_notices("ops", 10, 60.0) == []


def test_a_store_of_0008_gets_an_outbox_and_gives_it_back(store: Store, url: str) -> None:
    add(store, "ops")
    connection = store._connections.session().connection
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.downgrade(config, "0008")
    assert "autotune_outbox" not in inspect(connection).get_table_names()
    with Store.open(url) as again:
        assert waiting(again) == []
        add(again, "ops")
        assert waiting(again) == [("ops", "n1")]
