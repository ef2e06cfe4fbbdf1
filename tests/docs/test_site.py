"""Every page has its place on the site, and what every page shows can be used as it stands there."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from victor_autotune_plugin._cli.app import app
from victor_autotune_testing.docs_pages import DOCS, PageBlock, blocks, pages

ROOT = DOCS.parent
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
ALL = [block for page in pages() for block in blocks(page)]


def names(entries: Any) -> Iterator[str]:
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for value in entry.values():
                yield from [value] if isinstance(value, str) else names(value)


def test_every_page_is_in_the_navigation() -> None:
    """`make docs` finds links that lead nowhere; this is told without it."""
    generated = {"changelog.md", "contributing.md", "examples.md"}
    assert {*names(SITE["nav"])} - generated == {*pages()}


def test_the_site_loads_nothing_from_elsewhere_and_forgives_no_warning() -> None:
    assert SITE["strict"] is True
    assert SITE["theme"]["font"] is False
    assert not {"extra_javascript", "extra_css", "repo_url"} & {*SITE}


def test_the_addresses_are_those_of_the_package() -> None:
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    assert (SITE["site_url"], SITE["extra"]["source"]) == (urls["Documentation"], urls["Source"])


def test_the_readme_leads_to_every_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [page for page in pages() if page != "index.md" and f"](docs/{page}" not in readme] == []


COMMANDS = sorted(
    {line for block in ALL for line in block.commands() if line.startswith(("victor autotune ", "victor-autotune "))}
)


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_that_a_page_shows_is_one(line: str) -> None:
    line = line.partition(" | ")[0].partition(" > ")[0].partition("  #")[0]
    words = shlex.split(line)
    words = words[2:] if words[0] == "victor" else words[1:]
    group = typer.main.get_command(app)
    assert isinstance(group, click.Group)
    if words and words[0].startswith("-"):
        group.make_context("victor-autotune", words, resilient_parsing=True)
        return
    command = group.get_command(click.Context(group), words[0])
    assert command is not None, line
    command.make_context(words[0], words[1:], resilient_parsing=True)


def test_pages_show_commands_at_all() -> None:
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("block", [one for one in ALL if one.language == "python"], ids=lambda one: one.page)
def test_every_program_compiles(block: PageBlock) -> None:
    compile(block.text, block.page, "exec")


@pytest.mark.parametrize(
    "block",
    [one for one in ALL if one.language == "yaml" and one.file == ".victor/autotune.yaml"],
    ids=lambda one: one.page,
)
def test_every_settings_file_is_accepted(block: PageBlock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from victor_autotune_plugin._settings import SettingsResolver

    home = tmp_path / "home"
    (home / ".victor").mkdir(parents=True)
    (home / ".victor" / "autotune.yaml").write_text(block.text)  # a user's own file needs no trust
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setattr(Path, "home", lambda: home)
    settings = SettingsResolver.load(tmp_path, log=False)
    for workflow, given in (yaml.safe_load(block.text).get("workflows") or {}).items():
        if "mode" in given:
            assert settings.for_team(workflow, "any").mode == given["mode"]
