"""Seams are put on and taken off cleanly, and a Victor that is not as it was is told and left alone."""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
from importlib import import_module
from typing import Any

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import seam_table, seams
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin.plugin import plugin as victor_plugin
from victor_autotune_testing.realvictor import make_team, outcomes, run_team

from .conftest import Plugin


def originals() -> dict[str, Any]:
    """Return what is in the place of each seam."""
    found = {}
    for seam in seams.SEAMS:
        owner: Any = import_module(seam.module)
        *path, name = seam.path.split(".")
        for part in path:
            owner = getattr(owner, part)
        found[seam.name] = vars(owner)[name]
    return found


def test_everything_is_healthy_on_the_installed_victor(plugin: Plugin, orchestrator: Any) -> None:
    health = victor_plugin.health_check()
    assert health["healthy"] is True
    assert health["broken"] == {}
    assert len(health["seams"]) == len(seams.SEAMS)


def test_installing_twice_wraps_once_and_taking_out_leaves_nothing(plugin: Plugin, orchestrator: Any) -> None:
    seams.uninstall()
    before = originals()
    seams.install()
    once = originals()
    seams.install()
    assert originals() == once
    assert all(inspect.unwrap(once[name]) is before[name] for name in before)
    seams.uninstall()
    assert originals() == before
    provider = type(orchestrator.provider)
    assert not any(
        hasattr(vars(cls).get(name), "__wrapped__") for cls in provider.__mro__ for name in ("chat", "stream")
    )
    assert victor_plugin.health_check()["healthy"] is False
    seams.install()
    assert victor_plugin.health_check()["healthy"] is True


async def test_a_wrapper_that_somebody_wrapped_in_turn_does_nothing_once_taken_out(
    plugin: Plugin, orchestrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from victor.teams import UnifiedTeamCoordinator

    ours = vars(UnifiedTeamCoordinator)["execute_team_config"]

    async def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        return await ours.__get__(self)(*args, **kwargs)

    monkeypatch.setattr(UnifiedTeamCoordinator, "execute_team_config", theirs)
    seams.uninstall()
    assert (await run_team(orchestrator, make_team("researcher"))).success
    assert plugin.runs == []
    monkeypatch.undo()
    UnifiedTeamCoordinator.execute_team_config = inspect.unwrap(ours)
    seams.install()
    await run_team(orchestrator, make_team("researcher"))
    assert len(plugin.runs) == 1


async def test_what_was_taken_out_stays_out_although_victor_registers_for_every_sub_agent(
    plugin: Plugin, orchestrator: Any
) -> None:
    seams.uninstall()
    before = originals()
    assert (await run_team(orchestrator, make_team("researcher", "planner"))).success
    assert originals() == before
    assert not seams.is_active()
    assert plugin.runs == []


class Context:
    """What Victor gives to `register`."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def register_command(self, name: str, app: Any) -> None:
        self.commands.append(name)


def test_registering_again_and_again_changes_nothing(plugin: Plugin, orchestrator: Any) -> None:
    before = originals()
    context = Context()
    for _ in range(3):
        victor_plugin.register(context)
    assert originals() == before
    assert set(context.commands) == {"autotune"}


def test_the_plugin_keeps_victors_protocol(orchestrator: Any) -> None:
    from victor.core.plugins.protocol import VictorPlugin

    assert isinstance(victor_plugin, VictorPlugin)
    assert victor_plugin.name == "autotune"
    assert victor_plugin.get_cli_app() is None
    victor_plugin.on_activate()
    asyncio.run(victor_plugin.on_activate_async())


def test_victors_list_of_plugins_shows_the_version(orchestrator: Any) -> None:
    from victor.core.plugins.registry import PluginRegistry

    listed = {one["name"]: one["version"] for one in PluginRegistry.get_instance().list_all_with_type()}
    assert listed["autotune"] == importlib.metadata.version("victor-autotune-plugin")


SEAM_NAMES = [seam.name for seam in seams.SEAMS]


def test_what_budgets_need_are_seams() -> None:
    assert {seam_table.PARTICIPANT, seam_table.TOOL_CALLS} <= set(seams.SEAMS)


@pytest.mark.parametrize("name", SEAM_NAMES)
@pytest.mark.parametrize("change", ["missing", "other signature", "no longer the same kind"])
async def test_a_seam_that_is_not_as_it_was_is_told_and_runs_go_on(
    plugin: Plugin, orchestrator: Any, monkeypatch: pytest.MonkeyPatch, name: str, change: str
) -> None:
    seam = next(one for one in seams.SEAMS if one.name == name)
    if change == "other signature" and not seam.parameters:
        pytest.skip("the wrapper relies on no parameter")
    seams.uninstall()
    module = import_module(seam.module)
    *path, attribute = seam.path.split(".")
    owner: Any = module
    for part in path:
        owner = getattr(owner, part)
    original = vars(owner)[attribute]
    monkeypatch.setattr(seams, "SEAMS", (*[one for one in seams.SEAMS if one is not seam], renamed(seam, change)))
    if change == "other signature":
        monkeypatch.setattr(owner, attribute, with_other_signature(original))
    elif change == "no longer the same kind":
        monkeypatch.setattr(owner, attribute, of_another_kind(original))
    seams.install()
    health = victor_plugin.health_check()
    assert health["healthy"] is False
    assert len(health["broken"]) == 1
    if change != "no longer the same kind":
        assert (await run_team(orchestrator, make_team("researcher"))).success
    monkeypatch.undo()
    seams.uninstall()
    failsafe.forget()


def renamed(seam: Any, change: str) -> Any:
    from attrs import evolve

    return evolve(seam, path=seam.path + "_that_is_gone") if change == "missing" else seam


def with_other_signature(original: Any) -> Any:
    """Return the same function behind a signature that has none of the names."""
    import wrapt

    def stand_in(*things: Any, **more: Any) -> None: ...

    async def async_stand_in(*things: Any, **more: Any) -> None: ...

    async def generator_stand_in(*things: Any, **more: Any) -> Any:
        yield

    kind = (
        generator_stand_in
        if inspect.isasyncgenfunction(original)
        else async_stand_in
        if inspect.iscoroutinefunction(original)
        else stand_in
    )
    return wrapt.decorator(lambda wrapped, instance, args, kwargs: wrapped(*args, **kwargs), adapter=kind)(original)


def of_another_kind(original: Any) -> Any:
    """Return a function with the same signature that is no longer async, or now is.

    It then is a generator, which, unlike a coroutine, may be thrown away without a warning.
    """

    def plain(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    async def generator(*args: Any, **kwargs: Any) -> Any:
        yield original(*args, **kwargs)

    is_async = inspect.iscoroutinefunction(original) or inspect.isasyncgenfunction(original)
    made = plain if is_async else generator
    made.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    return made


async def test_a_budget_that_cannot_be_enforced_is_not_applied(
    plugin: Plugin, orchestrator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(seams._status, seam_table.TOOL_CALLS.name, "gone")
    plugin.plan = TeamPlan(tool_budget=3)
    assert outcomes(await run_team(orchestrator, make_team("researcher"))) == [("m0", True, 0)]
    assert plugin.run.plan_asked.is_empty
    assert "can't enforce tool budgets" in failsafe.seen()[0].error
    failsafe.forget()
