"""A project with a team that was tested and promoted, one that is only observed, and a board over them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from victor_autotune_plugin._model.data_flow import Edge, RunFlow
from victor_autotune_plugin._page.board import Board
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_testing.page_scenes import ETL, REVIEW, TRIAGE, PageScene


@pytest.fixture(scope="session")
def _filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    proven = PageScene(folder, REVIEW, seed=3, strategies=["formation_selection"])
    assert proven.until("promoted")
    proven.times(12)
    proven.run(cancelled=True, success=False)
    proven.close()
    asks = PageScene(folder, TRIAGE, seed=7, mode="approve", strategies=["formation_selection"])
    assert asks.until("awaits_approval", most=60)
    asks.close()
    used = RunFlow((Edge("extract", "clean", "context"), Edge("clean", "report", "context")))
    seen = PageScene(folder, ETL, seed=9, mode="observe", flow=used)
    seen.times(12)
    seen.close()
    return folder


@pytest.fixture
def scene(_filled: Path, tmp_path: Path) -> Path:
    """A copy of the project; it may be changed."""
    folder = tmp_path / "project"
    shutil.copytree(_filled, folder)
    return folder


@pytest.fixture
def runtime(scene: Path) -> Iterator[Runtime]:
    runtime = Runtime(scene)
    yield runtime
    runtime.close()


@pytest.fixture
def board(runtime: Runtime) -> Iterator[Board]:
    """A board whose rows are whole."""
    store = runtime.open_existing_store()
    assert store is not None
    with store:
        board = Board(runtime, store)
        board.refresh(60.0)
        assert board.is_whole
        yield board
