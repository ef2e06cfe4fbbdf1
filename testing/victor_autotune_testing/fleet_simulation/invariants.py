"""What must hold after every step of a fleet, whatever happened before."""

from __future__ import annotations

import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from victor_autotune_plugin._model.assignment import PAIR, exact_shares
from victor_autotune_plugin._model.experiment import ENDED, STATES
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin._tuning.snapshot import PLAN_SECONDS, shares_of
from victor_autotune_plugin.storage import Store
from victor_autotune_plugin.storage.journal import FOLDER_NAME, EndEntry, read

from .database import Database
from .people import DOES
from .process import TTL_SECONDS, Process

if TYPE_CHECKING:
    from victor_autotune_plugin._tuning.writer import Item
    from victor_autotune_plugin.hookspecs import PlannedRun, RunStart

TERMINAL: Final = ("promoted", "failed", "inconclusive", "aborted")
"""How the history says that a test has ended."""

FORWARD: Final = ("promoted", "probation")
"""What makes a plan live that was not live before, whether a judge decides or a person."""

_STREAM = tuple[str, str, str]


class Violation(Exception):  # noqa: N818 - what was found is no error of the simulation
    """Something that must hold does not."""


@define
class _Acknowledged:
    """The end of a run that its host took for safe.

    Attributes:
        folder: Where the journals of its host are.
        figures: What is known of the run, as `_FIGURES` has it.
        is_stored: Whether it was seen in the store.
    """

    folder: Path
    figures: tuple[Any, ...]
    is_stored: bool = False


@define
class _Team:
    """What is known of a team's live plans.

    Attributes:
        live: The plan that is live.
        allowed: Every plan that was.
        changed: Revision of the store by which another plan was live.
    """

    live: Any = field(factory=dict)
    allowed: list[Any] = field(factory=lambda: [{}])
    changed: int = 0


@define
class _Counted:
    """The runs of a team that were counted.

    Attributes:
        runs: What was counted of each.
        last: The last number.
        sums: How many runs there are, the sums of their numbers, orders and places, and how many have an arm.
        orders: The orders within the experiments that are taken.
        places: The places of their streams that are taken.
    """

    runs: dict[str, tuple[Any, ...]] = field(factory=dict)
    last: int = 0
    sums: list[float] = field(factory=lambda: [0, 0, 0, 0, 0])
    orders: set[tuple[str, int]] = field(factory=set)
    places: set[tuple[Any, ...]] = field(factory=set)


_COUNTED: Final = (
    "SELECT run_id, number, experiment_id, observed, arm, phase, stream, position FROM autotune_run"
    " WHERE workflow = ? AND team_id = ? AND number IS NOT NULL"
)

_FIGURES: Final = ("arm", "started_at", "duration_seconds", "success", "cancelled")
"""What must come to the store as the host told it."""

_SUMS: Final = "count(*), total(number), total(observed), total(position), count(arm)"

_STATE: Final = (
    "SELECT store.revision, store.paused, (SELECT max(id) FROM autotune_change), sums.* FROM autotune_store store,"
    f" (SELECT {_SUMS} FROM autotune_run WHERE number IS NOT NULL) sums"
)

_CHANGES: Final = (
    "SELECT id, workflow, team_id, action, actor, experiment_id, plan_after FROM autotune_change"
    " WHERE id > ? ORDER BY id"
)


class Invariants:
    """Looks at a fleet after every step; what was looked at before is not looked at again.

    Args:
        database: The fleet's database.
        folders: Victor's folders of the hosts.
        now: True time, Unix seconds.
    """

    def __init__(self, database: Database, folders: Iterable[Path], now: Callable[[], float]) -> None:
        self._now = now
        self._asked: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._revision = 0
        self._paused: dict[tuple[str, str] | None, tuple[float, int]] = {}
        self._database = database
        self._folders = tuple(folders)
        self._written = -1
        self._last_change = 0
        self._plans: dict[str, Any] = {}
        self._ends: Counter[str] = Counter()
        self._statuses: dict[str, str] = {}
        self._decided: dict[str, tuple[Any, ...]] = {}
        self._total: list[Any] = []
        self._counted: dict[tuple[str, str], _Counted] = defaultdict(_Counted)
        self._teams: dict[tuple[str, str], _Team] = defaultdict(_Team)
        self._streams: dict[_STREAM, dict[int, str]] = defaultdict(dict)
        self._waiting: list[tuple[Item, Process]] = []
        self._acknowledged: dict[str, _Acknowledged] = {}
        self._in_journals: dict[str, _Acknowledged] = {}
        self._journals: dict[str, tuple[tuple[int, int], frozenset[str]]] = {}
        self.changes: Counter[str] = Counter()
        for experiment_id, phase, stream, position, arm in database.rows(
            "SELECT experiment_id, phase, stream, position, arm FROM autotune_run WHERE arm IS NOT NULL"
        ):
            self._streams[experiment_id, phase, stream][position] = arm
        self.check()
        self.changes.clear()
        self._before = frozenset(self._decided.items())

    # --- what a person and a host do

    def asked(self, verb: str, key: tuple[str, str]) -> None:
        """Note that a person asks for something; what becomes of it may be told to nobody."""
        self._asked[key][verb] += 1

    def refused(self, verb: str, key: tuple[str, str]) -> None:
        """Note that what a person asked for last was impossible, so that nothing may come of it."""
        self._asked[key][verb] -= 1

    def planned(self, process: Process, now: float, event: RunStart, planned: PlannedRun) -> None:
        """Check the plan that a run has got.

        Raises:
            Violation: It should not have got that.
        """
        self.check()  # a person may have changed something since the last step
        confirmed = process.confirmed_at
        age = float("inf") if confirmed is None else now - confirmed - process.slack
        plan, team = planned.plan.to_dict(), self._teams[event.spec.key]
        if planned.assignment is None:
            if planned.source not in ("configured", "experiment") and plan not in team.allowed:
                raise Violation(f"the plan {plan} was never live, and a run has it")
            revision = process.loop.memory.snapshot.revision
            if planned.source == "live" and plan != team.live and revision >= team.changed:
                raise Violation(f"a run has the plan {plan}, and its host knows that it is live no more")
            if planned.source in ("live", "experiment") and age > PLAN_SECONDS:
                raise Violation(f"a run has a plan of {age:.1f} s ago")
            return
        self._check_not_paused(process, now, event.spec.key)
        if age > TTL_SECONDS:
            raise Violation(f"a run has an arm by a snapshot of {age:.3f} s ago")
        one = planned.assignment
        experiment = process.loop.memory.snapshot.experiments[one.experiment_id]
        of_arm = {"control": experiment.control, "treatment": experiment.treatment}
        if planned.plan != of_arm[one.arm]:
            raise Violation(f"a run of arm {one.arm} has the plan {plan}")
        shares = shares_of(experiment, one.stream)
        self._assigned((one.experiment_id, one.phase, one.stream), one.index, one.arm, shares)

    def _check_not_paused(self, process: Process, now: float, key: tuple[str, str]) -> None:
        for paused in (self._paused.get(None), self._paused.get(key)):
            if paused is None:
                continue
            since, revision = paused
            if process.loop.memory.snapshot.revision >= revision:
                raise Violation(f"a run of {key} has an arm, and its host knows of the pause")
            if now - since - process.slack > TTL_SECONDS:
                raise Violation(f"a run of {key} has an arm {now - since:.1f} s after the pause")

    def _assigned(self, stream: _STREAM, index: int, arm: str, shares: Mapping[str, float] | None) -> None:
        places = self._streams[stream]
        if index in places:
            raise Violation(f"two runs have place {index} of stream {'/'.join(stream)}")
        places[index] = arm
        exact = dict(PAIR if shares is None else exact_shares(shares))
        length = max(share.denominator for share in exact.values())
        first = index // length * length
        block = [places.get(place) for place in range(first, first + length)]
        if None not in block:
            counts = Counter(block)
            if any(counts[name] != share * length for name, share in exact.items()):
                raise Violation(f"a block of stream {'/'.join(stream)} holds {dict(counts)}")

    def ended(self, item: Item, process: Process) -> None:
        """Note that a run has ended, and what its host waits for."""
        self._waiting.append((item, process))

    # --- what the store says

    def check(self) -> None:
        """Check what holds now.

        Raises:
            Violation: Something does not.
        """
        is_written = self._database.written != self._written
        if is_written:
            self._written = self._database.written
            self._revision, is_paused, last_change, *total = self._database.rows(_STATE)[0]
            self._check_pause(is_paused)
            self._check_history(last_change)
            self._check_experiments()
            self._check_observations(total)
        if self._waiting or self._in_journals:
            self._check_acknowledged(is_written)

    def _check_pause(self, is_paused: int) -> None:
        if not is_paused:
            self._paused.pop(None, None)
        elif None not in self._paused:
            self._paused[None] = self._now(), self._revision

    def _check_who(self, key: tuple[str, str], action: str, actor: str) -> None:
        """Check that a person did what the history says a person did, and that what is paused is left alone."""
        if actor != "person":
            if key in self._paused:
                raise Violation(f"{action} in the history of the paused team {key}")
            return
        asked = self._asked[key]
        verb = next((verb for verb, actions in DOES.items() if action in actions and asked[verb]), None)
        if verb is None:
            raise Violation(f"a person is said to have {action} {key}, and none did")
        asked[verb] -= 1
        if action == "paused":
            self._paused[key] = self._now(), self._revision
        elif action == "resumed":
            self._paused.pop(key, None)

    def _check_history(self, last_change: int | None) -> None:
        plans: dict[tuple[str, str], list[tuple[str, Any]]] = defaultdict(list)
        new = [] if last_change == self._last_change else self._database.rows(_CHANGES, self._last_change)
        for number, workflow, team, action, actor, one, after in new:
            self._last_change = number
            self.changes[action] += 1
            self.changes[f"{action} by {actor}"] += 1
            self._check_who((workflow, team), action, actor)
            plans[workflow, team].append((action, json.loads(after)))
            if action in TERMINAL:
                self._ends[one] += 1
                if self._ends[one] > 1:
                    raise Violation(f"test {one} has ended {self._ends[one]} times")
        for workflow, team, text in self._database.rows("SELECT workflow, team_id, plan FROM autotune_team"):
            plan = self._plans.get(text)
            if plan is None:
                plan = self._plans[text] = json.loads(text)
            self._check_plan((workflow, team), plan, plans[workflow, team])

    def _check_plan(self, key: tuple[str, str], plan: Any, lines: list[tuple[str, Any]]) -> None:
        known = self._teams[key]
        for action, after in lines:
            if after == known.live:
                continue
            if action not in FORWARD and after not in known.allowed:
                raise Violation(f"the plan {after} of {key} is live by {action}")
            known.live, known.changed = after, self._revision
            if after not in known.allowed:
                known.allowed.append(after)
        if plan != known.live:
            raise Violation(f"the plan {plan} of {key} is live, and the history does not say why")

    def _check_experiments(self) -> None:
        for one, status, *decided in self._database.rows(
            "SELECT id, status, verdict, watch_verdict, decided_order FROM autotune_experiment"
        ):
            before = self._statuses.get(one)
            if before is not None and before != status and (before in ENDED or not leads_to(before, status)):
                raise Violation(f"experiment {one} was {before} and is {status}")
            self._statuses[one] = status
            if self._decided.get(one) != tuple(decided):
                self._decided[one] = tuple(decided)
                if decided[0] is not None:
                    self._check_counts(one, json.loads(decided[0]))

    def _check_counts(self, experiment: str, verdict: Mapping[str, Any]) -> None:
        (seen,) = self._database.rows(
            "SELECT count(*) FROM autotune_run WHERE experiment_id = ? AND observed IS NOT NULL", experiment
        )[0]
        counted = sum(
            sum(verdict[part].values()) for part in ("runs", "missing")
        )  # which may hold those that are `ignored`
        if counted > seen:
            raise Violation(f"test {experiment} counts {counted} runs, and {seen} were observed")

    def _check_observations(self, total: list[Any]) -> None:
        """Check what was counted; read are what is new, and sums that tell whether what is known is as it was."""
        if total == self._total:
            return
        self._total = total
        for workflow, team, *sums in self._database.rows(
            f"SELECT workflow, team_id, {_SUMS} FROM autotune_run WHERE number IS NOT NULL GROUP BY workflow, team_id"
        ):
            known = self._counted[workflow, team]
            if sums == known.sums:
                continue
            for values in self._database.rows(f"{_COUNTED} AND number > ? ORDER BY number", workflow, team, known.last):
                self._count(known, *values)
            if sums != known.sums:
                raise Violation(f"run {self._miscounted(workflow, team, known)} was counted, and is counted otherwise")

    def _count(self, known: _Counted, run_id: str, number: int, one: str, order: int | None, *place: Any) -> None:
        if number == known.last or run_id in known.runs:
            raise Violation(f"two runs have the number {number}, or run {run_id} has two")
        arm, phase, stream, position = place
        if arm is not None and self._streams[one, phase, stream].get(position) != arm:
            raise Violation(f"run {run_id} is counted as {arm}, and ran otherwise")
        known.runs[run_id], known.last = (run_id, number, one, order, *place), number
        new = (1, number, order or 0, place[3] or 0, place[0] is not None)
        known.sums = [before + more for before, more in zip(known.sums, new, strict=True)]
        if order is None:
            return
        if (one, order) in known.orders:
            raise Violation(f"two runs have the order {order} in {one}")
        known.orders.add((one, order))
        if (one, *place) in known.places:
            raise Violation(f"place {place} in {one} is counted twice")
        known.places.add((one, *place))

    def _miscounted(self, workflow: str, team: str, known: _Counted) -> str:
        found = {values[0]: values for values in self._database.rows(_COUNTED, workflow, team)}
        return next((one for one, values in known.runs.items() if found.get(one) != values), "with a late number")

    # --- what was acknowledged

    def _check_acknowledged(self, is_written: bool) -> None:
        """Check that what was acknowledged is somewhere.

        Args:
            is_written: Whether the store may have more than at the last look.
        """
        new = False
        if any(item.settled.is_set for item, _ in self._waiting):
            for item, process in self._waiting:
                if item.settled.is_set:
                    if item.given_up:
                        raise Violation("the end of a run was given up")
                    run: Any = item.entry.run  # type: ignore[union-attr]
                    new = True
                    figures = tuple(getattr(run, name) for name in _FIGURES)
                    one = _Acknowledged(process.folder, figures)
                    self._acknowledged[run.run_id] = self._in_journals[run.run_id] = one
            self._waiting = [one for one in self._waiting if not one[0].settled.is_set]
        if is_written or new:
            for run_id, figures in self._stored(self._in_journals).items():
                one = self._in_journals.pop(run_id)
                one.is_stored = True
                if figures != one.figures:
                    raise Violation(f"run {run_id} was {one.figures}, and is {figures} in the store")
        journaled = {folder: self._journaled(folder) for folder in {one.folder for one in self._in_journals.values()}}
        for run_id, one in self._in_journals.items():
            if run_id not in journaled[one.folder]:
                raise Violation(f"the end of run {run_id} was acknowledged, and is neither in the store nor a journal")

    def _stored(self, run_ids: Iterable[str]) -> dict[str, tuple[Any, ...]]:
        """Return those of some runs whose ends are in the store, and their figures there."""
        found = self._database.rows(
            f"SELECT run_id, {', '.join(_FIGURES)} FROM json_each(?) JOIN autotune_run ON run_id = value"
            " WHERE status IN ('finished', 'late')",
            json.dumps(list(run_ids)),
        )
        return {run_id: tuple(figures) for run_id, *figures in found}

    def _journaled(self, folder: Path) -> set[str]:
        """Return the runs whose ends are in the journals of a folder, each read again only when it has changed."""
        found: set[str] = set()
        for file in _journals_in(folder):
            status = file.stat()
            mark = status.st_ino, status.st_size
            known = self._journals.get(file.path)
            if known is None or known[0] != mark:
                ends = frozenset(entry.run.run_id for _, entry in read(Path(file.path)) if isinstance(entry, EndEntry))
                known = self._journals[file.path] = mark, ends
            found |= known[1]
        return found

    # --- at the end

    def undone(self) -> str | None:
        """Return what a healed fleet has left to do, or None once it has done everything."""
        if any(not process.is_dead for _, process in self._waiting):
            return f"{len(self._waiting)} ends of runs are neither acknowledged nor given up"
        stored = self._stored(self._acknowledged)
        for run_id, one in self._acknowledged.items():
            if not one.is_stored or run_id not in stored:
                return f"the end of run {run_id} was acknowledged, and is not in the store"
        left = [file.name for folder in self._folders for file in _journals_in(folder)]
        if left:
            return f"the journals {left} are not drained"
        for workflow, team, last, judged in self._database.rows(
            "SELECT run.workflow, run.team_id, max(number), judged FROM autotune_run run JOIN autotune_lease lease"
            " USING (workflow, team_id) GROUP BY run.workflow, run.team_id"
        ):
            if last is not None and judged < last:
                return f"runs of {workflow}/{team} up to {last} are numbered, and up to {judged} judged"
        (untaken,) = self._database.rows(
            "SELECT count(*) FROM autotune_run WHERE number IS NULL AND status = 'finished'"
        )[0]
        if untaken:
            return f"{untaken} runs that have finished were never judged"
        (running,) = self._database.rows("SELECT count(*) FROM autotune_run WHERE status = 'running'")[0]
        return f"{running} runs go on by the store, and neither end nor get lost" if running else None

    def check_end(self, store: Store) -> None:
        """Check what holds once everything is healed and drained.

        Raises:
            Violation: Something does not.
        """
        self.check()
        undone = self.undone()
        if undone is not None:
            raise Violation(undone)
        decided = {one for one, values in self._decided.items() if (one, values) not in self._before}
        if not decided:
            return
        experiments = [one for one in store.experiments() if one.id in decided]
        for replayed in replay_all(store, experiments):
            if not replayed.same:
                raise Violation(f"test {replayed.experiment.id} replays otherwise: {dict(replayed.differences)}")


def _journals_in(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(f"{folder}/{FOLDER_NAME}") as files:  # a path is slow to make
            return [file for file in files if file.name.endswith(".journal")]
    except FileNotFoundError:
        return []


def leads_to(status: str, following: str) -> bool:
    """Whether a state is another one, or leads to it in allowed steps; between two looks there may be several."""
    seen, left = {status}, [status]
    while left:
        for one in STATES[left.pop()].next:
            if one not in seen:
                seen.add(one)
                left.append(one)
    return following in seen
