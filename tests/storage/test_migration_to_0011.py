"""A store of an earlier version is pruned on a person's word only; a new one may be from the start."""

from __future__ import annotations

from sqlalchemy import text

from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.migrate import upgrade
from victor_autotune_plugin.storage.tables import VERSION_TABLE, metadata


def _of_version(store: Store, revision: str) -> None:
    connection = store._connections.session().connection
    metadata.drop_all(connection)
    connection.exec_driver_sql(f"DROP TABLE {VERSION_TABLE}")
    upgrade(connection, revision)


def test_a_new_store_may_be_pruned(store: Store) -> None:
    assert store.identity().may_prune


def test_one_of_an_earlier_version_waits_for_a_persons_word(store: Store, url: str) -> None:
    _of_version(store, "0010")
    with Store.open(url) as migrated:
        assert not migrated.identity().may_prune
        with migrated.transaction() as transaction:
            transaction.allow_pruning()
        assert migrated.identity().may_prune


def test_it_is_the_same_after_the_first_version_ever(store: Store, url: str) -> None:
    _of_version(store, "0002")
    with Store.open(url) as migrated:
        assert not migrated.identity().may_prune
        assert migrated._connections.execute(text("SELECT count(*) FROM autotune_day"))[0][0] == 0
