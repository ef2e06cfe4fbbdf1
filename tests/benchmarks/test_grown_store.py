"""The store of years is what the product reads: runs, live plans and scores, and few rows are read for a list of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from victor_autotune_plugin._cli.app import app
from victor_autotune_plugin._tuning.present_state import live_counts, verdicts
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_plugin.storage.session import Session

TEAMS, RUNS = 40, 20_000


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a store of years."""
    folder = tmp_path_factory.mktemp("grown")
    before, path = set(sys.modules), str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, path)
    try:
        import _grown_store

        _grown_store.grow(folder, TEAMS, RUNS)
        yield folder
    finally:
        sys.path.remove(path)
        for name in set(sys.modules) - before:
            if name == "_grown_store":
                del sys.modules[name]


@pytest.fixture
def store(grown: Path) -> Iterator[Store]:
    with Store.open(default_url(grown), environment="default") as store:
        yield store


@pytest.mark.slow
def test_it_has_teams_of_unequal_size_some_of_them_tuned(store: Store) -> None:
    sizes = sorted(store.run_count(*key) for key in store.last_seen())
    assert len(sizes) == TEAMS
    assert RUNS * 0.9 <= sum(sizes) <= RUNS * 1.2
    assert sizes[-1] > 10 * sizes[len(sizes) // 10]
    live = [state for state in store.teams() if state.live_id is not None]
    assert {one.status for state in live for one in store.experiments(*state.key)} == {"proven"}
    for state in live:
        watched = store.experiment(state.live_id or "")
        assert watched is not None
        _, watch = verdicts(store, watched)  # its runs replay, each in its place
        assert watch is not None
        assert watch["status"] in ("watching", "reverifying")
        assert watch["ignored"] == {"duplicate": 0, "late": 0}
        assert watch["runs"] == live_counts(store, watched)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "most"),
    [(("status",), 25_000), (("status", "--json"), 25_000), (("history",), 10_000)],
)
def test_a_list_of_teams_reads_few_rows(
    grown: Path, arguments: tuple[str, ...], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [0]
    for name in ("execute", "query"):
        known = getattr(Session, name)

        def counted(self: Session, *given: Any, _known: Any = known, **how: Any) -> list[Any]:
            found: list[Any] = _known(self, *given, **how)
            rows[0] += len(found)
            return found

        monkeypatch.setattr(Session, name, counted)
    monkeypatch.chdir(grown)
    result = CliRunner().invoke(app, arguments)
    assert (result.exit_code, result.exception) == (0, None)
    assert result.stdout
    assert 0 < rows[0] < most
