"""`doctor` warns of what others may write: they could say what the plugin believes."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from victor_autotune_plugin._cli import permissions

from .conftest import Said

Call = Callable[..., Said]
FILES = ["autotune.yaml", "autotune-snapshot.json", "autotune-journal/a.journal", "own.db", "own.db-wal"]


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path.with_name(f"{tmp_path.name}-home")
    monkeypatch.setenv("HOME", str(home))
    folder = tmp_path / ".victor"
    (folder / "autotune-journal").mkdir(parents=True, mode=0o700)
    folder.chmod(0o700)
    for name in FILES:
        (folder / name).touch(0o600)
    (folder / "own.db").unlink()
    (folder / "autotune.yaml").write_text(f"database_url: sqlite:///{folder}/own.db\n")


def warned(said: Said) -> dict[str, str]:
    return {
        check["name"]: check["hint"]
        for check in said.data["checks"]
        if check["name"].startswith("mode of") and check["status"] == "warn"
    }


def test_what_only_the_user_may_write_is_fine(call: Call) -> None:
    said = call("doctor", "--json")
    assert warned(said) == {}
    assert {"name": "permissions", "status": "ok"}.items() <= next(
        check.items() for check in said.data["checks"] if check["name"] == "permissions"
    )


@pytest.mark.parametrize("name", ["", *FILES, "autotune-journal"])
def test_what_everybody_may_write_is_told(call: Call, tmp_path: Path, name: str) -> None:
    path = tmp_path / ".victor" / name
    path.touch()
    path.chmod(0o777 if path.is_dir() else 0o666)
    said = call("doctor", "--json")
    assert warned(said) == {f"mode of {path.name}": f"chmod go-w {path}"}
    said = call("doctor")
    assert "may be written by everybody" in " ".join(said.out.split())


def test_what_another_group_may_write_is_told(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".victor" / "autotune.yaml"
    path.chmod(0o620)
    monkeypatch.setattr(permissions, "_is_own_group", lambda gid, uid: True)
    assert warned(call("doctor", "--json")) == {}
    monkeypatch.setattr(permissions, "_is_own_group", lambda gid, uid: False)
    assert warned(call("doctor", "--json")) == {"mode of autotune.yaml": f"chmod g-w {path}"}


def test_a_group_of_one_user_is_the_users_own(monkeypatch: pytest.MonkeyPatch) -> None:
    me = pwd.getpwuid(os.getuid())
    other = pwd.struct_passwd(("other", "x", me.pw_uid + 1, me.pw_gid, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwall", lambda: [me])
    assert permissions._is_own_group(me.pw_gid, me.pw_uid)
    monkeypatch.setattr(pwd, "getpwall", lambda: [me, other])
    assert not permissions._is_own_group(me.pw_gid, me.pw_uid)


def test_the_users_own_settings_count_too(call: Call, tmp_path: Path) -> None:
    users = tmp_path.with_name(f"{tmp_path.name}-home") / ".victor"
    users.mkdir(parents=True)
    (users / "autotune.yaml").touch()
    (users / "autotune.yaml").chmod(0o666)
    assert warned(call("doctor", "--json")) == {"mode of autotune.yaml": f"chmod go-w {users / 'autotune.yaml'}"}
