"""A store that may not be written to is read as it is, and no file appears beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import text

from victor_autotune_plugin.errors import StoreUnavailableError, StoreVersionError
from victor_autotune_plugin.storage import Store, default_url, location
from victor_autotune_plugin.storage.tables import VERSION_TABLE


def note(store: Store, where: str) -> None:
    with store.transaction() as transaction:
        transaction.record_fault(where, "ValueError: x", 1.0)


def noted(store: Store) -> list[str]:
    return sorted(fault.where for fault in store.faults())


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A closed store that seems to be one that this user may only read."""
    folder = tmp_path / "50 % of # a?"
    with Store.open(default_url(folder)) as store:
        note(store, "before")
    monkeypatch.setattr(location.os, "access", lambda _path, how: how != os.W_OK)
    return folder / ".victor" / "autotune.db"


def test_a_closed_store_is_read_without_a_trace(file: Path) -> None:
    with Store.open(default_url(file.parents[1]), look_only=True) as store:
        assert noted(store) == ["before"]
        with store.reading() as transaction:
            assert transaction.prune_bounds("flow", "team", 1, None) == ()
        assert list(file.parent.iterdir()) == [file]
        with pytest.raises(StoreUnavailableError, match="the store is read-only"):
            note(store, "never")
        assert noted(store) == ["before"]


def test_what_another_writes_is_seen(file: Path) -> None:
    with Store.open(default_url(file.parents[1]), look_only=True) as store:
        assert noted(store) == ["before"]
        with Store.open(default_url(file.parents[1])) as other:
            note(other, "while the other is at work")
            assert noted(store) == ["before", "while the other is at work"]
            note(other, "later")
            assert noted(store) == ["before", "later", "while the other is at work"]
        assert noted(store) == ["before", "later", "while the other is at work"]


def test_an_older_schema_names_the_file_and_says_to_copy_it(file: Path) -> None:
    with Store.open(default_url(file.parents[1])) as store:
        store._connections.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0001'"))
    with pytest.raises(StoreVersionError, match="schema 0001") as caught:
        Store.open(default_url(file.parents[1]), look_only=True)
    assert caught.value.where == default_url(file.parents[1])
    assert caught.value.hint == (
        "Copy it to a folder that you may write to, and migrate the copy: victor autotune init --database"
    )
