"""`report`: what the page shows, that it needs nothing else, and that no name in it does harm."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.made_runs import HOSTILE_NAMES

from .conftest import Said

VOID = {"meta", "br"}
FETCHING = {"script", "link", "img", "iframe", "object", "embed", "base", "form", "image", "use"}


class Page(HTMLParser):
    """The elements and texts of a page; unbalanced tags fail the test."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.words += f" {data} "

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def made(folder: Path, name: str = "autotune-report.html") -> Page:
    return Page((folder / name).read_text(encoding="utf-8"))


def words(page: Page) -> str:
    return " ".join(page.words.split())


@pytest.mark.parametrize("state", ["testing", "proven", "failed", "inconclusive", "rolled_back"])
def test_it_shows_teams_experiments_and_history(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path, state: str
) -> None:
    project(state)
    said = call("report")
    assert (said.code, said.out) == (0, "autotune-report.html: 1 team.\n")
    page = made(tmp_path)
    with Store.open(default_url(tmp_path)) as store:
        changes, experiments = store.changes(), store.experiments()
    shown = words(page)
    for change in changes:
        assert " ".join(change.reason.split()) in shown
    for experiment in experiments:
        assert experiment.id[:7] in shown
        assert experiment.status.replace("_", " ") in shown
    assert len(page.of("svg")) == (1 if state == "testing" else 2)
    assert stat.S_IMODE((tmp_path / "autotune-report.html").stat().st_mode) == 0o600


def test_it_loads_nothing_and_runs_nothing(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("proven")
    call("report")
    text = (tmp_path / "autotune-report.html").read_text()
    page = Page(text)
    assert not {tag for tag, _ in page.tags} & FETCHING
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert not {"src", "srcset", "style"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in text
    assert "@import" not in text
    policy = next(one["content"] for one in page.of("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_light_and_dark_define_the_same_colours(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("testing")
    call("report")
    text = (tmp_path / "autotune-report.html").read_text()
    light, dark = (set(re.findall(r"(--\w+):", block)) for block in re.findall(r":root \{(.*?)\}", text, re.DOTALL))
    assert light == dark
    assert "prefers-color-scheme: dark" in text
    assert {name.strip("()") for name in re.findall(r"var(\(--\w+\))", text)} <= light


@pytest.mark.parametrize(
    "name", [*HOSTILE_NAMES, "</style><script>alert(1)</script>", '"><img src=x onerror=alert(1)>']
)
def test_hostile_names_stay_text(
    call: Callable[..., Said], simulate: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    simulate(name, f"flow {name}", mode="observe").run()
    assert call("report", "--output", "report.html").code == 0
    page = made(tmp_path, "report.html")
    assert not {tag for tag, _ in page.tags} & FETCHING
    assert not set(page.words) & {"\x1b", "\u202e", "\r", "\x07"}
    assert {path.name for path in tmp_path.iterdir()} == {".victor", "report.html"}
    if name.isprintable():
        assert name in page.words


def test_nothing_recorded_is_said(call: Callable[..., Said], tmp_path: Path) -> None:
    said = call("report", "--json")
    assert said.data == {"file": "autotune-report.html", "teams": 0, "experiments": 0}
    assert "Nothing was recorded yet." in words(made(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["autotune-report.html"]


def test_a_report_that_can_t_be_written_leaves_nothing(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("testing")
    (tmp_path / "taken").mkdir()
    said = call("report", "--output", "taken")
    assert said.code == 2
    assert "--output taken: is a folder" in said.err
    assert "--output .: is a folder" in call("report", "--output", ".").err
    assert {path.name for path in tmp_path.iterdir()} == {".victor", "taken"}
