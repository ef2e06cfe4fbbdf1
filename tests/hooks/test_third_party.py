"""Hook packages of third parties: found by their entry point, used, and kept from hurting anything."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pluggy
import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.plan import MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuning.hookmanager import HookManager
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart, hookimpl

SPEC = TeamSpec("flow", "team", "sequential", [MemberSpec("a"), MemberSpec("b")])
EVENT = RunStart("r1", SPEC, 1.0)
RUN = TeamRun("r1", SPEC, 1.0, 2.0, True, 0.5)

PACKAGE = """
from victor_autotune_plugin.hookspecs import hookimpl

@hookimpl
def score_team_run(run):
    return 0.25
"""


def patient_hooks() -> HookManager:
    """Return a manager that waits for hooks as long as a busy machine takes to call them."""
    return HookManager(hook_seconds=60.0)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of installed packages."""
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path
    for name in ("their_hooks", "their_broken_hooks"):
        sys.modules.pop(name, None)


def install(site: Path, module: str, code: str, entry: str) -> None:
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[victor_autotune]\n{entry} = {module}\n")


def test_an_installed_hook_package_is_found_and_used(site: Path) -> None:
    install(site, "their_hooks", PACKAGE, "theirs")
    hooks = patient_hooks()
    hooks.load_entry_points()
    answer = hooks.ask("score_team_run", 5.0, run=RUN)
    assert answer is not None
    assert (answer.value, answer.by) == (0.25, "theirs")
    assert "theirs" in hooks.names()


def test_a_package_cannot_pass_itself_off_as_built_in(site: Path) -> None:
    install(site, "their_hooks", PACKAGE, "autotune.theirs")
    hooks = patient_hooks()
    hooks.load_entry_points()
    assert hooks.names() == ()
    assert ["are the plugin's own" in fault.error for fault in failsafe.seen()] == [True]


def test_a_package_that_cannot_be_imported_is_named_in_the_log_and_left_out(
    site: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(site, "their_broken_hooks", "import a_module_that_is_missing\n", "broken")
    install(site, "their_hooks", PACKAGE, "theirs")
    hooks = patient_hooks()
    with caplog.at_level(logging.WARNING):
        hooks.load_entry_points()
    assert hooks.names() == ("theirs",)
    assert "'broken'" in caplog.text
    assert "ModuleNotFoundError" in caplog.text


class Raising:
    @hookimpl
    def score_team_run(self) -> float:
        raise RuntimeError("their bug")

    @hookimpl
    def after_team_run(self) -> None:
        raise RuntimeError("their bug")


class Listening:
    def __init__(self) -> None:
        self.heard: list[str] = []

    @hookimpl
    def score_team_run(self) -> float:
        return 0.75

    @hookimpl
    def after_team_run(self, run: TeamRun) -> None:
        self.heard.append(run.run_id)


@pytest.mark.parametrize("raising_first", [True, False])
def test_a_hook_that_raises_is_skipped_and_named_once_and_the_others_run(
    raising_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    hooks, listening = patient_hooks(), Listening()
    both = [(Raising(), "their_hooks"), (listening, "ours")]
    for plugin, name in both if not raising_first else reversed(both):
        hooks.register(plugin, name)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            answer = hooks.ask("score_team_run", 5.0, run=RUN)
            hooks.tell("after_team_run", run=RUN)
            hooks.flush(5.0)
            assert answer is not None
            assert answer.value == 0.75
    assert listening.heard == ["r1"] * 3
    assert sum("hook after_team_run of 'their_hooks'" in message for message in caplog.messages) == 1
    assert [fault.count for fault in failsafe.seen() if "after_team_run" in fault.where] == [3]


class Planning:
    def __init__(self, answer: object) -> None:
        self.answer = answer

    @hookimpl
    def plan_team_run(self) -> object:
        return self.answer


class Changing:
    def __init__(self, plan: object) -> None:
        self.plan = plan

    @hookimpl
    def before_team_run(self, planned: PlannedRun) -> object:
        return self.plan


def test_a_changed_plan_is_handed_on_and_the_run_stays_in_its_arm() -> None:
    from victor_autotune_plugin._model.experiment import Assignment

    hooks = patient_hooks()
    assigned = Assignment("e1", "test", "treatment", "s1", 0)
    hooks.register(Planning(PlannedRun(TeamPlan(formation="parallel"), "auto", assigned)), "planning")
    assert asyncio.run(hooks.plan(EVENT)) == PlannedRun(TeamPlan(formation="parallel"), "auto", assigned)
    hooks.register(Changing(TeamPlan(formation="consensus")), "changing")
    changed = asyncio.run(hooks.plan(EVENT))
    owners = {"formation": "hook of changing"}
    assert changed == PlannedRun(TeamPlan(formation="consensus"), "auto", assigned, "changing", owners)


@pytest.mark.parametrize("nonsense", ["parallel", {"formation": "parallel"}, 3])
def test_an_answer_that_is_no_plan_is_reported_and_ignored(nonsense: object) -> None:
    hooks = patient_hooks()
    hooks.register(Planning(PlannedRun(mode="auto")), "planning")
    hooks.register(Changing(nonsense), "changing")
    assert asyncio.run(hooks.plan(EVENT)) == PlannedRun(mode="auto")
    hooks.register(Planning(nonsense), "nonsense")
    assert asyncio.run(hooks.plan(EVENT)) == PlannedRun(mode="auto")
    assert {"'changing'" in fault.where or "'nonsense'" in fault.where for fault in failsafe.seen()} == {True}


def test_without_a_planner_a_run_is_none_of_the_plugins_business() -> None:
    assert asyncio.run(patient_hooks().plan(EVENT)) is None


class Misspelt:
    @hookimpl
    def before_taem_run(self) -> None:
        """Never called."""


class WrongArgument:
    @hookimpl
    def after_team_run(self, outcome: object) -> None:
        """Never called."""


class Wrapping:
    @hookimpl(wrapper=True)
    def after_team_run(self, run: TeamRun):  # type: ignore[no-untyped-def]
        return (yield)


@pytest.mark.parametrize("plugin", [Misspelt(), WrongArgument(), Wrapping()])
def test_what_can_never_be_called_is_refused_when_it_is_registered(plugin: object) -> None:
    hooks = patient_hooks()
    with pytest.raises(pluggy.PluginValidationError):
        hooks.register(plugin, "theirs")
    assert hooks.names() == ()
    hooks.register(Listening(), "ours")
