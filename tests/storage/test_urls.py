"""URLs with passwords: what must be escaped is told, and no part of a password is ever shown."""

from __future__ import annotations

import traceback

import pytest

from victor_autotune_plugin.errors import StoreUnavailableError
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.location import target_of, without_secrets


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:aaa@bbb@host/db",
        "postgresql+psycopg://me:aaa@bbb/ccc@host/db",
        "postgresql+psycopg://me:aaa@bbb:ccc@host:5432/db",
        "postgresql+psycopg://me:aaa@bbb#ccc@host/db",
        "postgresql+psycopg://me:aaa@bbb?ccc@host/db",
        "postgresql://me:aaa@@host/db?sslmode=disable",
        "postgresql://me:@aaa@host/db?sslmode=disable",
        "mysql://me:aaa@bbb@host/db",
    ],
)
def test_an_unescaped_at_is_told_with_how_to_escape_it(url: str) -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(StoreUnavailableError, match="unescaped @") as caught:
        Store.open(url)
    assert caught.value.hint is not None
    assert "%40" in caught.value.hint
    told = "".join(traceback.format_exception(caught.value, chain=True)).replace(url, "")
    assert not any(part in told.partition("StoreUnavailableError")[2] for part in ("aaa", "bbb", "ccc"))


@pytest.mark.parametrize("password", ["a/b", "a#b", "a:b", "a//b", "%25", "%40b"])
def test_what_can_be_told_apart_arrives_as_it_was_meant(password: str) -> None:
    pytest.importorskip("psycopg")
    found = target_of(f"postgresql://me:{password}@host:5432/db")
    meant = password.replace("%40", "@").replace("%25", "%")
    assert (found.url.password, found.url.host, found.url.port, found.url.database) == (meant, "host", 5432, "db")
    assert found.shown == "postgresql://me:***@host:5432/db"


def test_an_at_elsewhere_is_none_of_a_password() -> None:
    pytest.importorskip("psycopg")
    assert target_of("postgresql://host/db?user=me@corp").url.query == {"user": "me@corp"}
    assert target_of("sqlite:////home/me@corp/a@b.db").file is not None


def test_a_port_that_is_none_shows_nothing_of_what_may_be_a_password() -> None:
    with pytest.raises(StoreUnavailableError, match="not a database URL") as caught:
        target_of("postgresql://me:secret:more/x@host:port/db")
    assert caught.value.__cause__ is None
    assert "secret" not in "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:a//b@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:a/b#c?d@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:x@host/db?password=a@b", "postgresql://me:***@host/db?password=***"),
        ("postgresql://host/db?password=a@b&user=c@d", "postgresql://host/db?password=***&user=c@d"),
        ("//me:secret@host", "//me:***@host"),
    ],
)
def test_no_part_of_a_password_is_shown(url: str, shown: str) -> None:
    assert without_secrets(url) == shown
