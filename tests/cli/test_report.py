"""`report`: what the page holds, that it needs nothing else, and that no name in it does harm."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import stat
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from victor_autotune_plugin._page.shell import SCRIPTS
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.made_runs import HOSTILE_NAMES

from .conftest import Said

FETCHING = {"link", "img", "iframe", "object", "embed", "base", "image", "use"}


class Page(HTMLParser):
    """The elements of a page, its styles and scripts, and the data in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {"style": [], "script": [], "data": []}
        self._in: str | None = None
        self.feed(text)
        self.close()
        (data,) = self.texts["data"]
        self.data: dict[str, Any] = json.loads(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag in ("style", "script"):
            self._in = "data" if attributes.get("type") == "application/json" else tag
            self.texts[self._in].append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = None

    def handle_data(self, data: str) -> None:
        if self._in is not None:
            self.texts[self._in][-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def team(self) -> dict[str, Any]:
        """All that is in it of its only team."""
        (team,) = self.data["teams"].values()
        return dict(team)


def made(folder: Path, name: str = "autotune-report.html") -> Page:
    return Page((folder / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("state", ["testing", "proven", "failed", "inconclusive", "rolled_back"])
def test_it_holds_teams_experiments_history_and_runs(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path, state: str
) -> None:
    project(state)
    said = call("report")
    assert (said.code, said.out) == (0, "autotune-report.html: 1 team.\n")
    page = made(tmp_path)
    with Store.open(default_url(tmp_path)) as store:
        changes, experiments, runs = store.changes(), store.experiments(), list(store.finished_runs())
    assert [one["reason"] for one in page.team["changes"]] == [one.reason for one in reversed(changes)]
    assert {one["id"]: one["status"] for one in page.team["experiments"]} == {one.id: one.status for one in experiments}
    assert set(page.team["runs"]["points"]["id"]) == {run.run_id for run in runs}
    shown = page.data["runs"][runs[0].run_id]
    assert [one["id"] for one in shown["members"]] == [one.id for one in runs[0].members]
    assert set(page.data["evidence"]) == {one.id for one in experiments}
    assert stat.S_IMODE((tmp_path / "autotune-report.html").stat().st_mode) == 0o600


def test_it_loads_nothing_and_runs_its_own_script_alone(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("proven")
    call("report")
    page = made(tmp_path)
    assert not {tag for tag, _ in page.tags} & FETCHING
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert not {"src", "srcset", "style"} & set(attributes)
        assert (attributes.get("href") or "#").startswith("#")
    styles = "".join(page.texts["style"])
    assert "url(" not in styles
    assert "@import" not in styles
    policy = next(one["content"] for one in page.of("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    rules = {name: sources for name, *sources in (part.split() for part in policy.split(";"))}
    assert rules["default-src"] == ["'none'"]
    for kind in ("style", "script"):
        digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in page.texts[kind]]
        assert rules[f"{kind}-src"] == [f"'sha256-{digest}'" for digest in digests]


def test_light_and_dark_define_the_same_colours(
    call: Callable[..., Said], project: Callable[[str], None], tmp_path: Path
) -> None:
    project("testing")
    call("report")
    style = made(tmp_path).texts["style"][1]
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", style)
    light, chosen, dark = (dict(re.findall(r"(--[\w-]+): ([^;]+)", block)) for block in blocks)
    assert set(light) == set(dark)
    assert chosen == dark
    assert set(re.findall(r"var\((--[\w-]+)\)", style)) <= set(light)


@pytest.mark.parametrize(
    "name", [*HOSTILE_NAMES, "</script><script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{data}"]
)
def test_hostile_names_stay_text(
    call: Callable[..., Said], simulate: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    simulate(name, f"flow {name}", mode="observe").run()
    assert call("report", "--output", "report.html").code == 0
    page = made(tmp_path, "report.html")
    assert not {tag for tag, _ in page.tags} & FETCHING
    assert len(page.of("script")) == 1 + len(SCRIPTS)
    shown = page.team["row"]["team"]
    assert not set(shown) & {"\x1b", "\u202e", "\r", "\x07", "\n"}
    assert {path.name for path in tmp_path.iterdir()} == {".victor", "report.html"}
    if name.isprintable():
        assert shown == name


def test_nothing_recorded_is_said(call: Callable[..., Said], tmp_path: Path) -> None:
    said = call("report", "--json")
    assert said.data == {"file": "autotune-report.html", "teams": 0, "experiments": 0, "runs_in_totals": 0}
    assert made(tmp_path).data["overview"]["teams"] == []
    assert [path.name for path in tmp_path.iterdir()] == ["autotune-report.html"]


def test_only_the_team_that_was_named_is_in_it(
    call: Callable[..., Said], simulate: Callable[..., Any], tmp_path: Path
) -> None:
    for name in ("one", "other"):
        simulate(name, mode="observe").run()
    assert call("report", "one").code == 0
    page = made(tmp_path)
    assert [row["team"] for row in page.data["overview"]["teams"]] == ["one"]
    assert page.team["row"]["team"] == "one"
    assert {run["team"] for run in page.data["runs"].values()} == {"one"}


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
