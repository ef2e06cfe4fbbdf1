from __future__ import annotations

import os
import subprocess
import sys
import timeit

import pytest

from victor_autotune_plugin._settings import resolver as book_module
from victor_autotune_plugin._settings import victor_dir_name
from victor_autotune_plugin.errors import SettingsError

METADATA = {"mode": "auto", "limits": {"max_members": 5}, "teams": {"t": {"watch": {"holdback": 0.2}}}}


@pytest.mark.parametrize("metadata", [None, METADATA], ids=["without metadata", "with metadata"])
def test_asking_again_costs_at_most_five_microseconds(sources, metadata: object) -> None:
    sources.project_file("workflows: {w: {mode: auto}}")
    book = sources.load()
    book.for_team("w", "t", metadata)
    seconds = min(timeit.repeat(lambda: book.for_team("w", "t", metadata), number=1_000, repeat=20)) / 1_000
    assert seconds <= 5e-6


def test_asking_again_gives_the_same_object_also_for_equal_metadata(sources) -> None:
    book = sources.load()
    assert book.for_team("w", "t") is book.for_team("w", "t")
    assert book.for_team("w", "u", {"mode": "auto"}) is book.for_team("w", "u", {"mode": "auto"})


def test_metadata_that_changes_is_noticed_even_in_place(sources) -> None:
    book = sources.load()
    metadata: dict[str, object] = {"mode": "auto", "limits": {"max_members": 5}}
    assert book.for_team("w", "t", metadata).limits.max_members == 5
    metadata["limits"]["max_members"] = 6  # type: ignore[index]
    assert book.for_team("w", "t", metadata).limits.max_members == 6
    assert book.for_team("w", "t").mode == "observe"


def test_many_teams_do_not_fill_the_memory(sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(book_module, "_MOST_CACHED", 10)
    sources.project_file("workflows: {w: {mode: auto}}")
    book = sources.load()
    for number in range(100):
        book.for_team("w", str(number))
    assert 0 < len(book._cache) <= 10


def test_teams_that_no_source_names_share_their_settings(sources) -> None:
    sources.project_file("mode: suggest\nworkflows: {w: {teams: {t: {mode: auto}}}}")
    book = sources.load()
    assert book.for_team("a", "t") is book.for_team("b", "u")
    assert (book.for_team("a", "t").mode, book.for_team("w", "t").mode) == ("suggest", "auto")
    assert [book.source_of("mode", flow, "t").rpartition(":")[2] for flow in ("a", "w")] == ["1", "2"]
    assert book.for_team("a", "t", {"mode": "off"}).mode == "off"
    assert book.source_of("mode", "a", "t", {"mode": "off"}) != book.source_of("mode", "a", "t")
    assert book.for_team("a", "t").mode == "suggest"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the book reads; a test moves it."""
    now = [0.0]
    monkeypatch.setattr(book_module, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize("whose", ["user_file", "project_file"])
@pytest.mark.parametrize("before", [None, "mode: auto"], ids=["file comes", "file changes"])
def test_a_changed_file_is_noticed_after_a_second_at_most(sources, clock, whose: str, before: str | None) -> None:
    if before:
        getattr(sources, whose)(before)
    book = sources.load()
    clock[0] = 5.0
    assert not book.changed()
    getattr(sources, whose)("mode: suggest")
    assert not book.changed()  # it looked less than a second ago
    clock[0] = 6.0
    assert book.changed()
    assert book.changed()
    again = book.reload()
    assert again.for_team("w", "t").mode == "suggest"
    clock[0] = 9.0
    assert not again.changed()


def test_a_file_that_is_replaced_by_one_of_the_same_size_and_time_is_noticed(sources, clock) -> None:
    path = sources.project_file("mode: auto")
    book = sources.load()
    stat = path.stat()
    new = path.with_suffix(".new")
    new.write_text("mode: off ")
    os.utime(new, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    new.replace(path)
    clock[0] = 2.0
    assert book.changed()


def test_a_file_that_goes_is_noticed(sources, clock) -> None:
    path = sources.project_file("mode: auto")
    book = sources.load()
    path.unlink()
    clock[0] = 2.0
    assert book.changed()
    assert book.reload().for_team("w", "t").mode == "observe"


def test_looking_for_changes_is_cheap_between_looks(sources, monkeypatch: pytest.MonkeyPatch, clock) -> None:
    book = sources.load()
    monkeypatch.setattr(book_module, "_look", lambda path: pytest.fail("looked at the files"))
    for _ in range(10):
        assert not book.changed()


def test_reloading_keeps_options_environment_and_third_partys_strategies(sources) -> None:
    book = sources.load(
        environ={"VICTOR_AUTOTUNE_WATCH__HOLDBACK": "0.2"}, overrides={"mode": "auto"}, extra_strategies=["mine"]
    )
    assert book.reload().explain("w", "t") == book.explain("w", "t")


def test_reloading_a_file_that_broke_raises_and_leaves_the_book_usable(sources) -> None:
    sources.project_file("mode: auto")
    book = sources.load()
    sources.project_file("mode: autoo")
    with pytest.raises(SettingsError):
        book.reload()
    assert book.for_team("w", "t").mode == "auto"


def test_the_process_environment_and_home_are_the_default(sources, monkeypatch: pytest.MonkeyPatch) -> None:
    sources.user_file("task_key: ticket")
    for name in os.environ:
        if name.startswith("VICTOR_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(sources.home))
    monkeypatch.setenv("VICTOR_AUTOTUNE_MODE", "auto")
    settings = book_module.SettingsResolver.load(sources.project).for_team("w", "t")
    assert (settings.mode, settings.task_key) == ("auto", "ticket")


def test_a_process_without_a_home_reads_the_project_only(sources, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(book_module.Path, "home", homeless)
    sources.project_file("mode: auto")
    assert sources.load(home=None).for_team("w", "t").mode == "auto"


def test_a_folder_name_is_read_as_victor_reads_it() -> None:
    from victor.config.secure_paths import validate_victor_dir_name

    for name in (".victor", "plain", "../up", "/abs", "a/b", "a\\b", "..", " ", ".x"):
        assert victor_dir_name({"VICTOR_DIR_NAME": name}) == validate_victor_dir_name(name)[0]


@pytest.mark.parametrize(("text", "loaded"), [(None, "set()"), ("mode: auto", "{'yaml'}")])
def test_yaml_is_loaded_only_for_a_file_and_nothing_else_heavy_ever(sources, text: str | None, loaded: str) -> None:
    if text:
        sources.project_file(text)
    code = (
        "import sys; from pathlib import Path; from victor_autotune_plugin._settings import SettingsResolver\n"
        "book = SettingsResolver.load(Path(sys.argv[1]), home=Path(sys.argv[2]), environ={})\n"
        "book.for_team('w', 't'); book.price_of('m'); book.changed()\n"
        "heavy = {'yaml', 'numpy', 'scipy', 'sqlalchemy', 'victor', 'opentelemetry', 'difflib'}\n"
        "print({name.partition('.')[0] for name in sys.modules} & heavy)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(sources.project), str(sources.home)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == loaded
