"""People who act in a fleet by the code that the commands call, on a machine of a host or on one of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from random import Random
from typing import TYPE_CHECKING, Any, Final

from victor_autotune_plugin._model.process import ProcessId
from victor_autotune_plugin._tuning.hookmanager import HookManager
from victor_autotune_plugin._tuning.manual import ManualChanges
from victor_autotune_plugin.errors import AutotuneError, StoreError
from victor_autotune_plugin.storage import Store

if TYPE_CHECKING:
    from .fleet import Fleet

Key = tuple[str, str]

DOES: Final[Mapping[str, frozenset[str]]] = {
    "pause": frozenset({"paused"}),
    "resume": frozenset({"resumed"}),
    "approve": frozenset({"started", "probation", "promoted"}),
    "reject": frozenset({"rejected"}),
    "roll back": frozenset({"rolled_back", "aborted"}),
}
"""What a person may do to a team, and the lines of its history that may come of it."""


class FleetPeople:
    """People who look at a fleet's teams now and then, and act.

    Args:
        fleet: The fleet.
        random: What their whims are drawn from.
        keys: The teams, `(workflow, team_id)`.
    """

    def __init__(self, fleet: Fleet, random: Random, keys: tuple[Key, ...]) -> None:
        self._fleet = fleet
        self._random = random
        self._keys = keys

    def draw(self) -> None:
        """Draw who does what, and when; in fleets that ask a person somebody looks every few seconds."""
        random, agenda = self._random, self._fleet.agenda
        seconds = self._fleet.disasters.ends_at - agenda.now
        if self._fleet.asks_person:
            for _ in range(random.randint(5, 10)):
                agenda.after(random.random() * seconds, self._look)
        if random.random() < 0.6:
            return
        for _ in range(random.randint(1, 3)):
            verb = random.choice(("pause", "pause", "resume", "roll back", "roll back", "approve", "pause all"))
            agenda.after(random.random() * seconds, partial(self._act, verb, self._team()))

    def _team(self) -> Key:
        return self._random.choice(self._keys)

    def _look(self) -> None:
        """Look at what awaits a person, and answer it in a moment, when it may be another thing that awaits."""
        key = self._team()
        try:
            asked = self._store().experiments_that_await(*key)
        except StoreError:
            return
        if asked:
            verb = self._random.choice(("approve", "reject"))
            later = self._random.random() ** 2 * 3.0
            self._fleet.agenda.after(later, partial(self._act, verb, key, self._random.choice(asked).id))

    def _act(self, verb: str, key: Key, experiment_id: str | None = None) -> None:
        """Do something, which may be impossible and is then said; try again where the store was out of reach."""
        fleet, random = self._fleet, self._random
        try:
            store = self._store()
            manual = ManualChanges(lambda: store, _nobody(), lambda: fleet.agenda.now, self._changed)
            fleet.tell(f"person: {verb}")
            fleet.invariants.asked(verb, key)
            self._command(manual, verb, key, experiment_id)()
            fleet.note(f"person {verb}")
        except StoreError:
            fleet.note("person who could not")
            if random.random() < 0.7:
                fleet.agenda.after(0.5 + random.random() * 3.0, partial(self._act, verb, key, experiment_id))
            return
        except AutotuneError:
            fleet.invariants.refused(verb, key)
            fleet.note("person who may not")
            return
        if verb in ("pause", "pause all") and random.random() < 0.7:
            fleet.agenda.after(random.random() ** 2 * 8.0, partial(self._act, verb.replace("pause", "resume"), key))

    @staticmethod
    def _command(manual: ManualChanges, verb: str, key: Key, experiment_id: str | None) -> Callable[[], Any]:
        commands: dict[str, Callable[[], Any]] = {
            "pause": lambda: manual.set_paused(*key, True),
            "resume": lambda: manual.set_paused(*key, False),
            "pause all": lambda: manual.pause_all(True),
            "resume all": lambda: manual.pause_all(False),
            "approve": lambda: manual.approve(*key, experiment_id=experiment_id, by="Ada"),
            "reject": lambda: manual.reject(*key, experiment_id=experiment_id, by="Ada"),
            "roll back": lambda: manual.roll_back(*key),
        }
        return commands[verb]

    def _store(self) -> Store:
        """Return the store as a command opens it, on a host's machine, whose network it has, or on another."""
        host = self._random.choice((*self._fleet.hosts, None))
        link = self._fleet.link_of("", self._random)
        link.is_cut = host is not None and host.is_cut
        process = ProcessId.new(self._random, self._fleet.agenda.now)
        return Store(link, process, "default")  # type: ignore[arg-type]  # a link is what connections are

    def _changed(self) -> None:
        """Have a host notice at once, as the one does whose program acted; the others notice when they look."""
        host = self._random.choice((*self._fleet.hosts, None))
        if host is not None and host.process is not None and not host.process.is_dead:
            host.process.loop.want_store()
            host.process.wake("store")


@cache
def _nobody() -> HookManager:
    """Return hooks that tell nobody."""
    return HookManager()
