"""The page in a real Chromium: it draws, follows the store, is used with keys, fits every width, and passes axe."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from victor_autotune_plugin._model.text import percent, seconds
from victor_autotune_plugin._page.board import Board
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing import browser as browsers
from victor_autotune_testing.page_scenes import ETL, REVIEW, TRIAGE, PageScene

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from playwright.sync_api import Page as Tab

AXE = Path(__file__).parent / "axe" / "axe.min.js"
WIDTHS = (360, 768, 1280, 1600)
CALL = (sys.executable, "-c", "from victor_autotune_plugin._cli.app import main; main()")
REVIEWERS = f"#/team/{REVIEW.workflow}/{REVIEW.team_id}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = browsers.find()
    if path is None:
        (pytest.fail if os.environ.get(browsers.REQUIRED) else pytest.skip)("no Chromium: make browser")
    with browsers.chromium(path) as browser:
        yield browser


@pytest.fixture
def tab(chromium: Browser) -> Iterator[Callable[..., Tab]]:
    """Open a tab; an error in its console, or a request to another host, fails the test."""
    wrong: list[str] = []
    contexts = []

    def tab(url: str, *, width: int = 1280, scheme: str = "light", seen: str = "h1") -> Tab:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: wrong.append(asked.url) if not _is_here(asked.url) else None)
        page.goto(url)
        page.wait_for_selector(seen)
        return page

    yield tab
    for context in contexts:
        context.close()
    assert wrong == []


def _is_here(url: str) -> bool:
    return re.match(r"(http://127\.0\.0\.1:\d+/|file:|data:|blob:)", url) is not None


@pytest.fixture(scope="module")
def shown(_filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project of the report."""
    folder = tmp_path_factory.mktemp("shown") / "project"
    shutil.copytree(_filled, folder)
    command(folder, "report")
    return folder


@pytest.fixture(scope="module")
def report(shown: Path) -> str:
    return (shown / "autotune-report.html").as_uri()


def command(folder: Path, *arguments: str) -> str:
    done = subprocess.run([*CALL, *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=120)
    return done.stdout


@pytest.fixture
def live(scene: Path) -> Iterator[str]:
    """The address of a dashboard on which a person may act."""
    called = [*CALL, "dashboard", "--allow-actions", "--json"]
    with subprocess.Popen(called, cwd=scene, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        text = ""
        while not text.rstrip().endswith("}"):
            line = process.stdout.readline()
            assert line, text
            text += line
        yield json.loads(text)["url"]
        process.terminate()
        assert process.wait(20) == 0


def test_the_overview_shows_every_team(tab: Callable[..., Tab], report: str) -> None:
    page = tab(report, seen=".teams tbody tr")
    rows = page.locator(".teams tbody tr").all_inner_texts()
    assert len(rows) == 3
    assert "triage" in rows[0]
    assert "awaits approval" in rows[0]
    (proven,) = [row for row in rows if "reviewers" in row]
    assert re.search(r"\d s → \d+\.\d s −\d\d %", " ".join(proven.split()))
    assert page.locator(".decision code").first.inner_text().startswith("victor autotune approve triage --id")
    assert page.locator(".tile .label").first.inner_text() == "Time saved"


def test_figures_are_written_as_on_every_other_screen(tab: Callable[..., Tab], report: str, shown: Path) -> None:
    page = tab(report, seen=".teams tbody tr")
    runtime = Runtime(shown)
    store = runtime.open_existing_store()
    assert store is not None
    with store:
        board = Board(runtime, store)
        board.refresh(60.0)
        for row in board.overview()["teams"]:
            cells = page.locator(".teams tbody tr", has_text=row["team"]).locator("td.num").all_inner_texts()
            told = [" ".join(cell.split()) for cell in cells[:3]]
            assert told == [f"{row['runs']:,}", percent(row["success"]), seconds(row["median"])]
    runtime.close()


def test_teams_are_found_by_typing(tab: Callable[..., Tab], report: str) -> None:
    page = tab(report, seen=".teams tbody tr")
    page.fill("#find-text", "clean")
    page.wait_for_function("document.querySelectorAll('.teams tbody tr').length === 1")
    page.press("#find-text", "Enter")
    page.wait_for_selector("#story canvas")
    assert page.locator("h1").inner_text() == ETL.team_id
    assert page.locator("svg.flow path.head").count() == 2


def test_from_a_team_down_to_a_run_and_back_from_its_trace(tab: Callable[..., Tab], report: str) -> None:
    page = tab(report, seen=".teams tbody tr")
    page.click("text=reviewers")
    page.wait_for_selector("#evidence canvas")
    assert "Promoted" in page.locator(".story").inner_text()
    page.click("summary")
    page.locator("#runs tbody a").first.click()
    page.wait_for_selector(".gantt .lane .bar")
    assert page.locator(".gantt .bar").count() == 4
    trace = page.locator(".command code").inner_text()
    address = page.url
    assert "#/run/" in address
    page.fill("#find-text", trace)
    page.press("#find-text", "Enter")
    page.wait_for_function("text => location.hash.endsWith(text)", arg=trace)
    page.wait_for_selector(".gantt .bar")
    assert page.locator(".command code").inner_text() == trace
    page.click(".crumb >> text=reviewers")
    page.wait_for_selector("#story canvas")


def test_the_chart_is_used_with_keys(tab: Callable[..., Tab], report: str) -> None:
    page = tab(report + REVIEWERS, seen="#story canvas")
    page.focus("#story")
    page.keyboard.press("ArrowLeft")
    last = page.locator("#picked").inner_text()
    assert last.startswith("Run ")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#picked").inner_text() != last
    page.keyboard.press("Enter")
    page.wait_for_selector(".gantt .bar")


def test_runs_are_filtered_by_plan_arm_and_time(tab: Callable[..., Tab], report: str) -> None:
    page = tab(report + REVIEWERS, seen="#story canvas")
    page.click("summary")

    def listed() -> list[str]:
        return page.locator("#runs tbody tr").all_inner_texts()

    page.select_option("#plan", "formation parallel")
    assert all("formation parallel" in row for row in listed())
    page.select_option("#plan", "")
    page.uncheck("label:has-text('live plan') input")
    page.uncheck("label:has-text('plan under test') input")
    assert listed()
    assert all("as configured" in row for row in listed())
    box = page.locator("#story .u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 40, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 60, steps=4)
    page.mouse.up()
    page.wait_for_selector("#unzoom:visible")
    page.click("#unzoom")
    assert not page.locator("#unzoom").is_visible()


def test_a_run_that_ends_appears_by_itself(live: str, tab: Callable[..., Tab], scene: Path) -> None:
    page = tab(live, seen=".teams tbody tr")
    page.wait_for_selector(".pulse.live")
    row = page.locator(".teams tbody tr", has_text=ETL.team_id)
    assert row.locator("td[data-head=Runs]").inner_text() == "12"
    team = PageScene(scene, ETL, seed=10, mode="observe")
    team.times(2)
    team.close()
    page.locator("td[data-head=Runs]", has_text=re.compile("^14$")).wait_for()


def test_a_person_approves_on_the_page(live: str, tab: Callable[..., Tab], scene: Path) -> None:
    page = tab(live, seen=".decision .button.main")
    page.click(".decision .button.main")
    page.click("dialog .button.main")
    page.wait_for_selector(".decision", state="detached")
    with Store.open(default_url(scene)) as store:
        assert store.changes(*TRIAGE.key)[-1].action == "started"


def test_a_person_rolls_back_on_the_page(live: str, tab: Callable[..., Tab], scene: Path) -> None:
    page = tab(live + REVIEWERS, seen=".button.danger")
    page.click(".button.danger")
    page.fill("#ask-reason", "answers got shorter")
    page.click("dialog .button.main")
    page.wait_for_selector(".story >> text=answers got shorter")
    with Store.open(default_url(scene)) as store:
        assert store.changes(*REVIEW.key)[-1].reason == "answers got shorter"


def test_an_address_that_leads_nowhere_says_so(tab: Callable[..., Tab], report: str) -> None:
    page = tab(report + "#/run/none")
    assert page.locator("h1").inner_text() == "Not here"
    page.click("text=All teams")
    page.wait_for_selector(".teams tbody tr")


PAGES = (
    "#/",
    REVIEWERS,
    f"#/team/{ETL.workflow}/{ETL.team_id}",
    f"#/team/{TRIAGE.workflow}/{TRIAGE.team_id}",
    "#/run/RUN",
)
BROKEN = """() => {
  const found = [];
  for (const node of document.querySelectorAll('main *, header *')) {
    const box = node.getBoundingClientRect();
    const isPlaced = getComputedStyle(node).position === 'absolute';
    if (box.width && box.right > innerWidth + 1 && !isPlaced) found.push(node.className || node.tagName);
  }
  const words = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (words.nextNode()) {
    for (const word of words.currentNode.data.matchAll(/[\\p{L}\\d.,−%-]+/gu)) {
      const parent = words.currentNode.parentElement;
      if (word[0].length > 20 || !parent.offsetParent || parent.closest('.quiet, .fold thead')) continue;
      range.setStart(words.currentNode, word.index); range.setEnd(words.currentNode, word.index + word[0].length);
      const boxes = [...range.getClientRects()].filter((box) => box.width > 1);
      const tops = new Set(boxes.map((box) => Math.round(box.top)));
      if (tops.size > 1 && !/[-/]/.test(word[0])) found.push('broken: ' + word[0]);
    }
  }
  return found;
}"""


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_fits_every_width_without_a_broken_word(
    tab: Callable[..., Tab], report: str, shown: Path, width: int
) -> None:
    with Store.open(default_url(shown)) as store:
        run_id = next(store.finished_runs(*REVIEW.key, limit=1)).run_id
    page = tab(report, width=width, seen=".teams tbody tr")
    for route in PAGES:
        page.goto(report + route.replace("RUN", run_id))
        page.wait_for_function("document.querySelector('main h1') && !document.querySelector('.loading')")
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, route
        assert page.evaluate(BROKEN) == [], route


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(tab: Callable[..., Tab], report: str, shown: Path, scheme: str) -> None:
    with Store.open(default_url(shown)) as store:
        run_id = next(store.finished_runs(*REVIEW.key, limit=1)).run_id
    page = tab(report, scheme=scheme, seen=".teams tbody tr")
    for route in PAGES:
        page.goto(report + route.replace("RUN", run_id))
        page.wait_for_function("document.querySelector('main h1') && !document.querySelector('.loading')")
        page.wait_for_timeout(300)
        for details in page.locator("details").all():
            details.evaluate("(node) => { node.open = true; }")
        page.evaluate(AXE.read_text(encoding="utf-8"))
        found: Any = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
        told = [
            (one["id"], one["impact"], [node["html"][:200] for node in one["nodes"][:3]])
            for one in found["violations"]
            if one["impact"] in ("serious", "critical", "moderate")
        ]
        assert told == [], route


def test_the_theme_can_be_changed(tab: Callable[..., Tab], report: str) -> None:
    page = tab(report, seen=".teams tbody tr")
    before = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.click("#theme")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != before
