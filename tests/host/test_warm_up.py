"""The plugin is loaded early, on a thread, once a team is near; never by an import or a registration."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._host import call_context, seams
from victor_autotune_plugin._tuning import runtime, threads
from victor_autotune_plugin.plugin import plugin as victor_plugin


class Context:
    """What Victor hands to a plugin."""

    def register_command(self, name: str, app: object) -> None:
        """Take a command."""


@pytest.fixture
def warmed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was loaded early; its thread does its job before it returns."""
    made: list[str] = []

    def at_once(name: str, job: Callable[[], None]) -> None:
        job()

    monkeypatch.setattr(runtime, "warm_up", lambda: made.append("runtime"))
    monkeypatch.setattr(threads, "start_once", at_once)
    monkeypatch.setattr(call_context, "_warmed", False)
    return made


def test_registration_loads_nothing(warmed: list[str]) -> None:
    victor_plugin.register(Context())
    victor_plugin.register(Context())
    assert warmed == []


def test_coordinators_and_agents_load_it_once(warmed: list[str]) -> None:
    from victor.config.settings import Settings
    from victor.framework.agent_factory import AgentFactory
    from victor.teams import UnifiedTeamCoordinator

    seams.install()
    AgentFactory(Settings())
    assert warmed == ["runtime"]
    UnifiedTeamCoordinator(lightweight_mode=True)
    assert warmed == ["runtime"]


def test_a_coordinator_loads_it_too(warmed: list[str]) -> None:
    from victor.teams import UnifiedTeamCoordinator

    seams.install()
    UnifiedTeamCoordinator(lightweight_mode=True)
    UnifiedTeamCoordinator(lightweight_mode=True)
    assert warmed == ["runtime"]


def test_a_fault_of_it_stops_nobody(warmed: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from victor.teams import UnifiedTeamCoordinator

    def broken(name: str, job: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start_once", broken)
    seams.install()
    assert UnifiedTeamCoordinator(lightweight_mode=True) is not None
    assert [fault.where for fault in failsafe.seen()] == ["early loading"]


async def test_the_end_of_the_plugin_holds_up_no_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may wait for scorers that are at work."""
    closed: list[int] = []

    class Closing:
        def close(self) -> None:
            closed.append(threading.get_ident())

    monkeypatch.setattr(runtime, "use", lambda _: Closing())
    await victor_plugin.on_deactivate_async()
    assert len(closed) == 1
    assert closed != [threading.get_ident()]
