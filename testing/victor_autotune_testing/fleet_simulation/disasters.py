"""The faults of a fleet: each seed draws which kinds there are, and how often and when each comes."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .network import CALM, Weather

if TYPE_CHECKING:
    from .fleet import Fleet
    from .host import Host

DAY_SECONDS: Final = 24 * 3600.0

KINDS: Final = ("kill", "stop", "stall", "partition", "clock", "sleep", "database clock")
"""What happens to a host, or to the database."""


class Disasters:
    """What happens to a fleet.

    Args:
        fleet: The fleet.

    Attributes:
        weather: What the network of every host is like.
        ends_at: True time at which the faults are over.
        other_team: Share of the runs that are of a second team.
        tasks: Share of the runs that have a task.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.weather = CALM
        self.ends_at = fleet.agenda.now
        self.other_team = 0.0
        self.tasks = 0.0
        self._set_back: dict[Path, list[tuple[float, float]]] = defaultdict(list)
        self._fleet = fleet
        self._random = fleet.random

    def draw(self) -> None:
        """Draw what happens, and when."""
        random, agenda = self._random, self._fleet.agenda
        seconds = random.uniform(5.0, 14.0)
        self.ends_at = agenda.now + seconds
        self.other_team = random.choice((0.0, 0.0, 0.3))
        self.tasks = random.choice((0.0, 0.0, 0.6))

        def share(most: float) -> float:
            return random.random() ** 2 * most if random.random() < 0.5 else 0.0

        self.weather = Weather(
            lost=share(0.2),
            unanswered=share(0.3),
            broken=share(0.03),
            slow=share(0.15),
            repeated=share(0.5),
            seconds=random.choice((0.05, 0.5, 4.0, 20.0)),
        )
        for _ in range(random.randint(9, 14)):
            host = random.choice(self._fleet.hosts)
            agenda.after(random.random() * seconds, partial(self._fleet.start_run, host))
        kinds = [kind for kind in KINDS if random.random() < 0.4]
        for _ in range(random.randint(1, 6) if kinds else 0):
            kind, host = random.choice(kinds), random.choice(self._fleet.hosts)
            agenda.after(random.random() * seconds, partial(self._happen, kind, host))

    def set_back_since(self, folder: Path, time: float | None) -> float:
        """Return by how many seconds the clocks of the hosts of a folder were set back since a true time.

        A snapshot is stamped when it is taken, and may be written after that.
        """
        return sum(seconds for at, seconds in self._set_back[folder] if time is not None and at >= time)

    def end(self) -> None:
        """Let all be well again."""
        self.weather = CALM
        for host in self._fleet.hosts:
            self._cut(host, False)
            if host.process is not None:
                host.process.link.weather, host.process.link.doom = CALM, None

    def _happen(self, kind: str, host: Host) -> None:
        fleet, random = self._fleet, self._random
        if kind in ("kill", "stop"):
            if kind == "kill" and host.process is not None and random.random() < 0.5:
                host.process.link.doom = partial(fleet.kill, host)
            else:
                fleet.kill(host) if kind == "kill" else fleet.stop(host)
            fleet.agenda.after(random.random() ** 2 * 8.0, lambda: fleet.boot(host))
        elif kind == "stall":
            self._stall(host, random.choice((0.2, 2.0, 8.0)) * random.random())
        elif kind == "partition":
            self._partition(host, random.choice((0.5, 5.0, 30.0)) * random.random())
        elif kind == "clock":
            self._set_clock(host, random.choice((-1.0, 1.0)) * random.choice((2.0, 60.0, 3600.0, 2 * DAY_SECONDS)))
        elif kind == "database clock":
            fleet.note("database clock")
            fleet.database_offset += random.choice((-30.0, 3.0, 30.0, 120.0))
        else:
            self._sleep(host)

    def _sleep(self, host: Host) -> None:
        """Let the whole fleet sleep, longer than what it knows is good for; a host may wake without the database."""
        hours = self._random.choice((0.02, 1.0, 23.0, 30.0))
        seconds = hours * 3600.0 * self._random.random()
        self._fleet.note("sleep")
        if self._random.random() < 0.7:
            self._partition(host, seconds + 5.0)
        if self._random.random() < 0.5:
            self._fleet.kill(host)
            self._fleet.agenda.after(seconds + 0.5, lambda: self._fleet.boot(host))
        self._fleet.agenda.now += seconds  # what was due meanwhile comes now, late
        self.ends_at += seconds
        self._fleet.agenda.after(1.0, lambda: self._fleet.start_run(host))

    def _stall(self, host: Host, seconds: float) -> None:
        if host.process is not None:
            self._fleet.note("stall", host.process.name)
            host.process.stalled_until = max(host.process.stalled_until, self._fleet.agenda.now + seconds)

    def _partition(self, host: Host, seconds: float) -> None:
        self._fleet.note("partition", host.name)
        self._cut(host, True)
        self._fleet.agenda.after(seconds, lambda: self._cut(host, False))

    def _cut(self, host: Host, is_cut: bool) -> None:
        host.is_cut = is_cut
        if host.process is not None:
            host.process.link.is_cut = is_cut

    def _set_clock(self, host: Host, seconds: float) -> None:
        self._fleet.note("clock set back" if seconds < 0 else "clock set forward", host.name)
        for one in self._fleet.hosts:  # those of one machine have one clock
            if one.folder == host.folder:
                one.wall_offset += seconds
        self._set_back[host.folder].append((self._fleet.agenda.now, max(0.0, -seconds)))
