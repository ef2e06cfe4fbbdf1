"""A team runs in the clone of a hostile project: nothing is executed, connected, or written outside of `.victor`."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import seams
from victor_autotune_plugin._tuning import runtime
from victor_autotune_plugin._tuning.runtime import Runtime
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.realvictor import make_step, make_workflow, run_workflow

PLUGIN: Final = str(Path(failsafe.__file__).parent)
STARTS: Final = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn")
CHANGES: Final = {
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.rename": (0, 1),
    "os.link": (0, 1),
    "os.symlink": (1,),
    "os.chmod": (0,),
    "os.truncate": (0,),
    "sqlite3.connect": (0,),
}
"""What changes files, and which of its arguments are paths."""

WRITES: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


class Watch:
    """What the plugin does to the machine while it is on.

    Attributes:
        allowed: The folder in which it may write; None while nothing is watched.
        deeds: What it did besides.
    """

    def __init__(self) -> None:
        self.allowed: Path | None = None
        self.deeds: list[tuple[str, object]] = []
        self._looking = threading.local()

    def allow(self, folder: Path) -> None:
        """Watch from now on what is done outside of a folder."""
        self.deeds.clear()
        self.allowed = Path(os.path.realpath(folder))

    def __call__(self, event: str, args: tuple[Any, ...]) -> None:
        if self.allowed is None or getattr(self._looking, "on", False):
            return
        self._looking.on = True
        try:
            deed = self._deed(event, args)
            if deed is not None and _is_the_plugins():
                self.deeds.append(deed)
        finally:
            self._looking.on = False

    def _deed(self, event: str, args: tuple[Any, ...]) -> tuple[str, object] | None:
        if event in STARTS or event in ("socket.connect", "socket.getaddrinfo"):
            return event, args
        if event == "open":
            paths = [args[0]] if isinstance(args[2], int) and args[2] & WRITES else []
        else:
            paths = [args[place] for place in CHANGES.get(event, ())]
        # To rename or remove a link does nothing to what it leads to; to open it does.
        follows = event not in ("os.rename", "os.remove")
        outside = [path for path in paths if not self._is_allowed(path, follows)]
        return (event, outside) if outside else None

    def _is_allowed(self, path: object, follows: bool) -> bool:
        assert self.allowed is not None
        if not isinstance(path, str | bytes | os.PathLike):
            return True  # a descriptor, which an earlier event told
        place = os.fsdecode(path)
        if place.startswith("file:"):  # as SQLite's URIs have it
            place = unquote(place.removeprefix("file:").partition("?")[0])
        real = (
            Path(os.path.realpath(place)) if follows else Path(os.path.realpath(Path(place).parent)) / Path(place).name
        )
        # The runtime of the sandbox that the whole process runs in writes now and then, too, and is another project.
        return real.is_relative_to(self.allowed) or "/victor-sandbox-" in place


def _is_the_plugins() -> bool:
    """Whether the plugin, and not Victor, does what is done now."""
    frame = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(PLUGIN) or "victor_autotune_hooks" in file:
            return True
        if "/victor/" in file:
            return False
        frame = frame.f_back  # type: ignore[assignment]
    return False


WATCH: Final = Watch()
sys.addaudithook(WATCH)


@pytest.fixture(autouse=True)
def nothing_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failsafe, "_logged", set())


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A server to which nothing may connect."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    clone = tmp_path / "clone"
    (clone / ".victor").mkdir(parents=True)
    (tmp_path / "home").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("mine")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(clone)
    return clone


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(errors="replace") if path.is_file() else ""
        for path in sorted(folder.rglob("*"))
    }


async def run_team(orchestrator: Any, clone: Path, metadata: dict[str, Any]) -> Any:
    """Run a team once in the clone, watched."""
    seams.install()
    made = Runtime(clone, with_entry_points=False)
    before = runtime.use(made)
    WATCH.allow(clone / ".victor")
    try:
        step = make_step("researcher", "planner", formation="sequential")
        result = await run_workflow(orchestrator, make_workflow(step, metadata=metadata))
        assert made.settle() or made.settle(30)  # the first waits for no store that is away
        return result
    finally:
        made.close()
        WATCH.allowed = None
        runtime.use(before)


async def test_what_it_asks_for_is_not_done(
    orchestrator: Any, clone: Path, tmp_path: Path, server: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    host, port = server.getsockname()
    touch = f"touch {tmp_path}/outside/executed"
    (clone / ".victor" / "autotune.yaml").write_text(
        f"mode: auto\n"
        f"database_url: postgresql+psycopg://me@{host}:{port}/db\n"
        f"quality: {{scorers: {{a: {{command: '{touch}'}}, b: {{python: 'os:abort'}}}}}}\n"
        f"notify: {{evil: {{url: 'http://{host}:{port}/'}}}}\n"
    )
    metadata = {"autotune": {"quality": {"scorers": {"a": {"command": touch}}}}}
    before = contents(tmp_path / "outside")
    result = await run_team(orchestrator, clone, metadata)
    assert result.success
    assert WATCH.deeds == []
    assert contents(tmp_path / "outside") == before
    with pytest.raises(BlockingIOError):
        server.accept()
    assert [path for path in contents(tmp_path / "home") if "autotune" in path] == []
    with Store.open(default_url(clone)) as store:
        assert [run.mode for run in store.runs()] == ["auto"]
    told = [record.getMessage() for record in caplog.records if "until you trust" in record.getMessage()]
    assert len(told) == 2


@pytest.mark.parametrize("url", ["sqlite:////{outside}/runs.db", "sqlite:///../outside/runs.db", "sqlite:///link.db"])
async def test_a_store_in_a_file_elsewhere_is_not_made(
    orchestrator: Any, clone: Path, tmp_path: Path, url: str
) -> None:
    (clone / "link.db").symlink_to("../outside/runs.db")
    (clone / ".victor" / "autotune.yaml").write_text(f"database_url: {url.format(outside=tmp_path / 'outside')}\n")
    before = contents(tmp_path / "outside")
    assert (await run_team(orchestrator, clone, {})).success
    assert WATCH.deeds == []
    assert contents(tmp_path / "outside") == before
    with Store.open(default_url(clone)) as store:
        assert len(list(store.runs())) == 1


@pytest.mark.parametrize(
    "name",
    [
        "autotune.db",
        "autotune.db-wal",
        "autotune.db-shm",
        "autotune.db-journal",
        "autotune-snapshot.json",
        "autotune-streams.json",
        "autotune-journal",
    ],
)
@pytest.mark.parametrize("target", ["precious", "missing", "."])
async def test_its_links_are_not_followed(
    orchestrator: Any, clone: Path, tmp_path: Path, name: str, target: str
) -> None:
    (clone / ".victor" / "autotune.yaml").write_text("mode: auto\n")
    (clone / ".victor" / name).symlink_to(Path("../../outside", target))
    before = contents(tmp_path / "outside")
    assert (await run_team(orchestrator, clone, {})).success
    assert WATCH.deeds == []
    assert contents(tmp_path / "outside") == before


async def test_the_watch_sees_what_the_plugin_does(orchestrator: Any, clone: Path, tmp_path: Path) -> None:
    (tmp_path / "home" / ".victor").mkdir()
    url = f"sqlite:///{tmp_path}/outside/runs.db"
    (tmp_path / "home" / ".victor" / "autotune.yaml").write_text(f"database_url: {url}\n")
    assert (await run_team(orchestrator, clone, {})).success
    assert "sqlite3.connect" in {event for event, _ in WATCH.deeds}
