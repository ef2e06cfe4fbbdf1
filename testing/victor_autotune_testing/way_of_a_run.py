"""Through how many files a run passes: runs of a team on real Victor, traced with `sys.setprofile`.

    python -m victor_autotune_testing.way_of_a_run

A file counts when one of its functions is called between Victor's call of its coordinator and the result that Victor
gets back, on its thread or one that it starts; the plugin's own threads, which run before it, work behind it. Earlier
runs have imported everything. Settings are the defaults.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from attrs import define, field, frozen

import victor_autotune_hooks
import victor_autotune_plugin
from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.optimization import OptimizationPriority, OptimizationSuggestion, OptimizationType
from victor_autotune_testing.sandbox import victor_sandbox
from victor_autotune_testing.scripted import ScriptedModel, scripts

BOUNDS: Final = {"observed": 28, "in a test": 34}
"""Files that each kind of run may pass through."""

_PACKAGES: Final = tuple(Path(str(one.__file__)).parent for one in (victor_autotune_plugin, victor_autotune_hooks))
_PREFIXES: Final = tuple(f"{package}/" for package in _PACKAGES)


@frozen
class Way:
    """Where a run passed.

    Attributes:
        files: The plugin's files, from their package on, in the order of their first call.
        changes: How often it changed from one of them to another.
    """

    files: Sequence[str]
    changes: int

    def __str__(self) -> str:
        return f"{len(self.files)} files, {self.changes} changes of file"


@define
class Tracer:
    """Notes the plugin's files as their functions are called."""

    _files: dict[str, None] = field(factory=dict)
    _last: dict[int, str] = field(factory=dict)
    _changes: int = 0

    @property
    def way(self) -> Way:
        """The way so far."""
        named = [
            str(Path(file).relative_to(package.parent))
            for file in self._files
            for package in _PACKAGES
            if package in Path(file).parents
        ]
        return Way(named, self._changes)

    @contextmanager
    def tracing(self) -> Iterator[None]:
        """Trace a block, and the threads that it starts."""
        before = sys.getprofile()
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(before)
            threading.setprofile(before)

    def _note(self, frame: FrameType, event: str, _argument: object) -> None:
        file = frame.f_code.co_filename
        if event != "call" or not file.startswith(_PREFIXES) or _is_import(frame.f_back):
            return
        thread = threading.get_ident()
        self._files.setdefault(file)
        self._changes += self._last.get(thread, file) != file
        self._last[thread] = file


def _is_import(caller: FrameType | None) -> bool:
    """Return whether Python's import system makes a call: of a module's body, or of a finder."""
    return caller is not None and caller.f_code.co_filename.startswith("<frozen importlib")


async def ways(orchestrator: Any, project: Path) -> dict[str, Way]:
    """Trace a run that is observed, and one that takes part in a test.

    The traced run in a test is one of those, four of five, after which the tuner is not asked.

    Args:
        orchestrator: Victor's orchestrator.
        project: An empty folder, for the settings and the store.
    """
    from victor_autotune_plugin._host import seams
    from victor_autotune_plugin._tuning import runtime
    from victor_autotune_plugin._tuning.manual import ManualChanges

    from .realvictor import make_team, run_team

    team = make_team("researcher", "planner", formation="sequential")

    async def run(tracer: Tracer) -> None:
        with tracer.tracing():
            result = await run_team(orchestrator, team)
        assert result.success, result.error
        assert await owner.settled(30)

    found = {}
    seams.install()
    for kind, mode in (("observed", "observe"), ("in a test", "auto")):
        owner = runtime.Runtime(project / mode, overrides={"mode": mode}, with_entry_points=False)
        before = runtime.use(owner)
        failsafe.forget()
        try:
            await run(Tracer())
            if mode == "auto":
                (key,) = [state.key for state in owner.store().teams()]
                suggestion = OptimizationSuggestion(
                    OptimizationType.FORMATION_SELECTION,
                    OptimizationPriority.HIGH,
                    "Run in parallel.",
                    {"formation": "sequential"},
                    {"formation": "parallel"},
                    20.0,
                    0.9,
                    0.1,
                )
                settings = owner.resolver.for_team(*key)
                ManualChanges(owner.store, owner.hooks).start_test(key, suggestion, settings, {})
                async with asyncio.timeout(30):
                    while owner.loop.memory.snapshot.open_experiment(key) is None:  # noqa: ASYNC110 - no event tells
                        await asyncio.sleep(0.05)
            for _ in range(3):  # both arms ran, so their plans are known as text
                await run(Tracer())
            await run(tracer := Tracer())
            found[kind] = tracer.way
            faults = failsafe.seen()
            assert not faults, faults
        finally:
            runtime.use(before)
            owner.close()
    return found


def main() -> int:
    """Print the ways in full, and return 1 if one is longer than it may be."""

    async def whole(project: Path) -> dict[str, Way]:
        from victor_autotune_plugin._host.workflows import make_orchestrator, settle

        found = await ways(await make_orchestrator("openai", "scripted", None), project)
        await settle()
        return found

    with (
        ScriptedModel(scripts.with_tools(1)) as model,
        victor_sandbox(model.base_url, quiet=True),
        tempfile.TemporaryDirectory() as folder,
    ):
        found = asyncio.run(whole(Path(folder)))
    for kind, way in found.items():
        sys.stdout.write(f"a run {kind}: {way} (at most {BOUNDS[kind]} files)\n")
        sys.stdout.writelines(f"    {file}\n" for file in sorted(way.files))
    return int(any(len(way.files) > BOUNDS[kind] for kind, way in found.items()))


if __name__ == "__main__":
    sys.exit(main())
