"""A fleet of hosts on one database, and what becomes of it under the faults that a seed draws."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final

from attrs import evolve, frozen

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.plan import TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._tuning.loop import GRADE_SECONDS
from victor_autotune_plugin._tuning.threads import alone
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart
from victor_autotune_plugin.storage import Store

from .agenda import Agenda
from .claims import Claims
from .database import Database
from .disasters import Disasters
from .host import TEAM, Host, Runs
from .invariants import Invariants, Violation
from .network import Link
from .people import FleetPeople
from .process import SILENT_SECONDS, Process
from .scenes import Scene, scenes

EXPECTED_FAULTS: Final = frozenset({"StoreUnavailableError", "StaleStateError", "LeaseLostError"})
"""What the product may report of its own while the network fails; any other fault is a finding."""

OTHER = evolve(TEAM, team_id="other")

_LONGEST_END_SECONDS: Final = GRADE_SECONDS + 30.0
# So long a healed fleet may take for what is left: a dead process's run waits for its cost, by a clock that jumps.


@frozen
class Outcome:
    """What became of a seed.

    Attributes:
        seed: The seed.
        violation: What did not hold, or None.
        counts: Events, faults and changes, by name.
        mark: Checksum of the trace.
        trace: The events, where they were asked for.
    """

    seed: int
    violation: str | None
    counts: Counter[str]
    mark: int
    trace: tuple[str, ...]


class Fleet:
    """Hosts on one database.

    Args:
        seed: What everything is drawn from.
        scene: How the store begins.
        hosts: How many there are.
        folders: On how many machines, so that several processes may share one's files.
        turns_after: After how many runs the challenger turns out worse; None for never.
        keep_trace: Whether the events are kept as text.

    Attributes:
        asks_person: Whether nothing is tested and nothing goes live before a person agrees.
    """

    def __init__(
        self, seed: int, scene: Scene, hosts: int, folders: int, *, turns_after: int | None = None, keep_trace: bool
    ) -> None:
        self.asks_person = False
        self.random = Random(seed)
        self.agenda = Agenda(scene.now + 6.0)  # when the lease of who ran before has ended
        self.counts: Counter[str] = Counter()
        self.database = _database()
        self.database_offset = 0.0
        self.database.set_to(scene.image, lambda: self.agenda.now + self.database_offset)
        self.trace: list[str] = []
        self.mark = 0
        self.violation: str | None = None
        self._keep_trace = keep_trace
        self._began = self.agenda.now
        self._turns_after = turns_after
        self.has_turned = scene.has_turned
        self._root = Path(tempfile.mkdtemp(prefix="fleet-", dir=_fast_folder()))
        places = [self._root / f"machine{number}" / ".victor" for number in range(folders)]
        self.file_read_at: dict[Path, float] = {}
        self._file_marks: dict[Path, int] = {}
        self.hosts = [Host(f"h{number}", places[number % folders]) for number in range(hosts)]
        self.invariants = Invariants(self.database, places, lambda: self.agenda.now)
        self.claims = Claims(self.database)
        self._processes = 0
        self.runs = Runs(self.agenda, self.random, self._truth, self._planned, self._ended, self.note)
        self.disasters = Disasters(self)
        self.people = FleetPeople(self, Random(f"people of {seed}"), (TEAM.key, TEAM.key, OTHER.key))

    @classmethod
    def without_faults(cls, seed: int, scene: Scene) -> Fleet:
        """Return a fleet of one host that nothing happens to."""
        fleet = cls(seed, scene, 1, 1, keep_trace=False)
        fleet.boot(fleet.hosts[0])
        return fleet

    # --- what happens

    def note(self, what: str, where: str = "") -> None:
        """Count an event, and add it to the trace."""
        self.counts[what] += 1
        self.tell(what, where)

    def tell(self, what: str, where: str = "") -> None:
        """Add a line to the trace."""
        line = f"{self.agenda.now - self._began:12.4f} {where:4} {what}"
        self.mark = zlib.crc32(line.encode(), self.mark)
        if self._keep_trace:
            self.trace.append(line)

    def boot(self, host: Host) -> None:
        """Start a process on a host."""
        if host.process is not None and not host.process.is_dead:
            return
        self._processes += 1
        name = f"{host.name}.{self._processes}"
        random = Random(self.random.getrandbits(64))
        link = self.link_of(name, random)
        link.is_cut = host.is_cut
        process = Process(
            self._processes,
            name,
            host.folder,
            link,
            self.agenda,
            random,
            lambda: self.agenda.now + host.wall_offset,
            self._stepped,
            "approve" if self.asks_person else "auto",
        )
        process.read_from_file_at = self.file_read_at.get(host.folder)
        process.slack = self.disasters.set_back_since(host.folder, process.read_from_file_at)
        host.process = process
        self.note("boot", name)
        process.start()

    def link_of(self, name: str, random: Random) -> Link:
        """Return a new way to the database, for whoever has this name in the trace."""
        link = Link(
            self.database,
            random,
            self.agenda.wait,
            lambda what: self.note(what, name),
            lambda job: self.agenda.after(0.01 + self.random.random() ** 2 * 20.0, job),
            lambda: self.agenda.now,
            lambda link, writes: self._guarded(lambda: self.claims.committed(link.process_id, writes), name),
        )
        link.weather = self.disasters.weather
        return link

    def kill(self, host: Host) -> None:
        """Kill the process on a host."""
        process, host.process = host.process, None
        if process is not None and not process.is_dead:
            self.note("kill in a step" if process.is_at_work else "kill", process.name)
            process.die()

    def stop(self, host: Host) -> None:
        """End the process on a host as it should."""
        process = host.process
        if process is None or process.is_dead or process.is_at_work:
            return
        host.process = None
        self.note("end", process.name)
        process.end()
        self._look_at_file(process)  # which it may have left just now

    def start_run(self, host: Host) -> None:
        """Start a run of a team on a host."""
        spec = OTHER if self.random.random() < self.disasters.other_team else TEAM
        task = f"task-{self.random.randrange(3)}" if self.random.random() < self.disasters.tasks else None
        self.runs.start(host, spec, task)

    def _truth(self, plan: TeamPlan, one: float) -> float:
        is_new = plan.formation not in (None, "sequential")
        if self._turns_after is not None and self.runs.started > self._turns_after:
            self.has_turned = True
        return one * ((6.0 if self.has_turned else 0.5) if is_new else 2.0)

    # --- what holds

    def _guarded(self, check: Callable[[], None], where: str) -> None:
        if self.violation is not None:
            return
        try:
            check()
        except Violation as found:
            self.violation = str(found)
            self.tell(f"VIOLATION: {found}", where)
            self.agenda.stopped = True

    def _stepped(self, process: Process, work: str) -> None:
        self.tell(f"step {work}", process.name)
        if work == "files":
            self._look_at_file(process)
        self._guarded(self.invariants.check, process.name)

    def _look_at_file(self, process: Process) -> None:
        try:
            mark = os.stat(f"{process.folder}/autotune-snapshot.json").st_ino  # noqa: PTH116  # a path is slow to make
        except FileNotFoundError:
            return
        if self._file_marks.get(process.folder) != mark and process.confirmed_at is not None:
            self._file_marks[process.folder] = mark
            self.file_read_at[process.folder] = process.confirmed_at

    def _planned(self, process: Process, event: RunStart, planned: PlannedRun) -> None:
        place = f"{planned.arm} {planned.stream} {planned.index}"
        self.tell(f"{event.run_id} {planned.source} {place}", process.name)
        self._guarded(lambda: self.invariants.planned(process, self.agenda.now, event, planned), process.name)

    def _ended(self, process: Process, run: TeamRun) -> None:
        loop: Any = process.loop
        self.invariants.ended(loop._items[run.run_id], process)

    def raise_if_violated(self) -> None:
        """Raise what was found.

        Raises:
            Violation: Something did not hold.
        """
        if self.violation is not None:
            raise Violation(self.violation)

    # --- the end

    def heal(self) -> None:
        """End all faults, and let the hosts do what is left."""
        self.note("heal")
        self.disasters.end()
        first = self.hosts[0]
        for number in range(2):
            for host in self.hosts:
                self.boot(host)
                if host.process is not None:
                    host.process.wake_up()
            if number == 1:  # a team is judged where it runs
                self.runs.start(first, TEAM)
                if self.disasters.other_team:
                    self.runs.start(first, OTHER)
            # Long enough that what died is known to be dead, in two jumps and a few steps.
            self.agenda.run_until(self.agenda.now + 0.6)
            self.agenda.now += SILENT_SECONDS
            if self.violation is not None:
                return
        last = self.agenda.now + _LONGEST_END_SECONDS
        while self.agenda.now < last and self.violation is None and (self.runs.open or self.invariants.undone()):
            self.agenda.run_until(self.agenda.now + 1.0)
        process = first.process
        assert process is not None
        store = Store(process.link, process.loop.process, "default")  # type: ignore[arg-type]
        self._guarded(lambda: self.invariants.check_end(store), "")
        self._guarded(self._check_faults, "")

    def _check_faults(self) -> None:
        for fault in failsafe.seen():
            if fault.error.partition(":")[0] not in EXPECTED_FAULTS:
                raise Violation(f"a fault of the product's own in {fault.where}: {fault.error}")

    def close(self) -> None:
        """Leave no file behind."""
        self.agenda.forget()
        for host in self.hosts:
            if host.process is not None and not host.process.is_dead:
                host.process.die()
        shutil.rmtree(self._root, ignore_errors=True)


def simulate(seed: int, *, keep_trace: bool = False) -> Outcome:
    """Let a fleet live through what a seed draws, and return what became of it.

    Args:
        seed: Any number.
        keep_trace: Whether to keep the events as text.
    """
    with _undisturbed():
        known = scenes()
        failsafe.forget()
        random = Random(seed)
        scene = random.choice(known)
        hosts = random.choice((2, 2, 2, 3, 3, 4, 5))
        turns = random.randrange(12) if scene.is_live and random.random() < 0.6 else None
        fleet = Fleet(
            random.getrandbits(64),
            scene,
            hosts,
            random.randint(1, hosts),
            turns_after=turns,
            keep_trace=keep_trace,
        )
        try:
            fleet.asks_person = random.random() < (0.6 if scene.decides_soon else 0.05)
            fleet.tell(f"{hosts} hosts: {scene.name}{', and people who are asked' if fleet.asks_person else ''}")
            fleet.disasters.draw()
            fleet.people.draw()
            for host in fleet.hosts:
                fleet.boot(host)
            while fleet.agenda.now < fleet.disasters.ends_at and fleet.violation is None:  # a sleep puts the end off
                fleet.agenda.run_until(fleet.disasters.ends_at)
            if fleet.violation is None:
                fleet.heal()
            fleet.counts.update({f"change {name}": number for name, number in fleet.invariants.changes.items()})
            return Outcome(seed, fleet.violation, fleet.counts, fleet.mark, tuple(fleet.trace))
        finally:
            fleet.close()


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Keep the many faults, which are the point here, out of the log, and let no other thread go first."""
    before = failsafe.logger.level
    failsafe.logger.setLevel(logging.CRITICAL)
    try:
        gc.freeze()  # what is there before a seed is not looked through for garbage of it
        with alone():
            yield
    finally:
        gc.unfreeze()
        failsafe.logger.setLevel(before)
        failsafe.forget()


@cache
def _database() -> Database:
    return Database()


def _fast_folder() -> str | None:
    shared = Path("/dev/shm")
    return str(shared) if shared.is_dir() else None
