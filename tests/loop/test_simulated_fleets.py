"""Whatever becomes of hosts, network and clocks, what must hold holds; where it does not, the simulation finds it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin._model.assignment import assign
from victor_autotune_plugin._tuning import file_work, judge_work, snapshot, store_work, streams, writer
from victor_autotune_plugin._tuning.transitions import Steps, Why
from victor_autotune_plugin.errors import StoreError
from victor_autotune_plugin.storage import run_batch
from victor_autotune_plugin.storage.journal import Journal
from victor_autotune_plugin.storage.judging import Lease
from victor_autotune_plugin.storage.rows import team_flow
from victor_autotune_plugin.storage.transaction import Transaction
from victor_autotune_testing.fleet_simulation import network, simulate
from victor_autotune_testing.fleet_simulation.__main__ import AGAIN

SEEDS, CHUNKS = 500, 4

NEEDED = (
    *("kill", "kill in a step", "end", "stall", "partition", "sleep", "clock set back", "clock set forward"),
    *("lost call", "lost commit", "lost acknowledgement", "broken transaction", "slow call", "repeated"),
    *("run control", "run treatment", "run live", "run configured"),
    *("person pause", "person resume", "person pause all", "person resume all"),
    *("person approve", "person reject", "person roll back", "person who could not", "person who may not"),
)
"""What has to happen in every chunk, or its seeds show little."""


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_fleet_keeps_what_it_promises(chunk: int) -> None:
    counts: Counter[str] = Counter()
    for seed in range(chunk, SEEDS, CHUNKS):
        outcome = simulate(seed)
        assert outcome.violation is None, f"{outcome.violation}; again: {AGAIN.format(seed)}"
        counts += outcome.counts
    assert {name for name in NEEDED if not counts[name]} == set()
    for change in ("probation", "promoted", "reverifying", "rolled_back", "started"):
        assert counts[f"change {change} by auto"] > 0  # a person's would show nothing of the judges


def test_a_seed_gives_the_same_events_in_every_process() -> None:
    def marks(hash_seed: str) -> str:
        # In seed 10 runs of two teams end at once, and the order of a set once decided which is judged first.
        command = [sys.executable, "-m", "victor_autotune_testing.fleet_simulation", "--seed", "6", "--seeds", "5"]
        return subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True, text=True, check=True
        ).stdout

    first = marks("1")
    assert first.count("all holds") == 5
    assert marks("2") == first
    known = [f"trace {simulate(seed, keep_trace=True).mark:08x}" for seed in range(6, 11)]
    assert all(mark in first for mark in known)


# --- what is broken is found


def writes_ends_twice(patch: pytest.MonkeyPatch) -> None:
    known = Transaction.add_change

    def twice(self: Transaction, change: Any) -> int:
        known(self, change)
        return known(self, change)

    patch.setattr(Transaction, "add_change", twice)


def repeats_as_another_run(patch: pytest.MonkeyPatch) -> None:
    known = network.Link.repeat

    def renamed(self: network.Link, writes: Any) -> None:
        others = [(one, {**values, "run_id": f"{values.get('run_id')}-again"}) for one, values in writes]
        known(self, others)

    patch.setattr(network.Link, "repeat", renamed)


def takes_a_failure_for_a_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writer.WriterCore, "not_committed", writer.WriterCore.committed)


def forgets_its_journal(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Journal, "append", lambda self, records: self.last_line)


def gives_one_arm_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshot, "assign", lambda *given, **more: assign(*given, **more) and "treatment")


def reserves_no_place(patch: pytest.MonkeyPatch) -> None:
    known = Transaction.take_stream
    patch.setattr(Transaction, "reserve_stream", lambda *_: True)
    patch.setattr(Transaction, "take_stream", lambda *given, reserved, **more: known(*given, **more))


def makes_a_test_live(patch: pytest.MonkeyPatch) -> None:
    def start(self: Steps, test: Any, why: Why) -> Any:
        started = evolve(test, status="canary", control_id=self.state.live_id)
        return self._take("started", started, evolve(self.state, experiment_id=test.id, plan=test.treatment), why)

    patch.setattr(Steps, "start", start)


def takes_a_late_answer_for_news(patch: pytest.MonkeyPatch) -> None:
    def confirm(self: Any, _asked_at: float) -> None:
        self._confirmed_at = self._clock()

    def replace(self: Any, new: snapshot.Snapshot, _age: float = 0.0) -> None:
        self.snapshot, self._confirmed_at = new, self._clock()

    patch.setattr(snapshot.Memory, "confirm", confirm)
    patch.setattr(snapshot.Memory, "replace", replace)


def takes_a_file_for_news(patch: pytest.MonkeyPatch) -> None:
    known = file_work.FileWork.load_snapshot

    def load(self: Any) -> None:
        known(self)
        self._memory.confirm(self._memory.now())

    patch.setattr(file_work.FileWork, "load_snapshot", load)


def keeps_a_plan_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshot, "PLAN_SECONDS", float("inf"))


def stores_another_verdict(patch: pytest.MonkeyPatch) -> None:
    known = Transaction.save_experiment

    def save(self: Transaction, experiment: Any) -> None:
        if experiment.verdict is not None:
            experiment = evolve(experiment, verdict={**experiment.verdict, "statistic": 1.5})
        known(self, experiment)

    patch.setattr(Transaction, "save_experiment", save)


def leaves_journals_of_the_dead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(store_work, "orphans", lambda *_: iter(()))


def gives_the_same_places(patch: pytest.MonkeyPatch) -> None:
    known = streams.Streams.take

    def take(self: Any, key: Any, task: str | None) -> tuple[str, int]:
        name, index = known(self, key, task)
        return name, index // 2

    patch.setattr(streams.Streams, "take", take)


def judges_what_is_paused(patch: pytest.MonkeyPatch) -> None:
    known = judge_work.keep_gates

    def keep(*given: Any) -> Any:
        state, lost = known(*given)
        return evolve(state, paused=False), lost

    patch.setattr(judge_work, "keep_gates", keep)


def runs_what_is_paused_in_tests(patch: pytest.MonkeyPatch) -> None:
    known = snapshot.Snapshot.updated

    def updated(self: Any, store_id: str, revision: int, teams: Any, experiments: Any, **more: Any) -> Any:
        return known(self, store_id, revision, [evolve(one, paused=False) for one in teams], experiments, **more)

    patch.setattr(snapshot.Snapshot, "updated", updated)


def notices_no_pause_of_all(patch: pytest.MonkeyPatch) -> None:
    known = snapshot.Snapshot.updated
    patch.setattr(snapshot.Snapshot, "updated", lambda *given, **more: known(*given, **{**more, "paused": False}))


def decides_in_a_persons_name(patch: pytest.MonkeyPatch) -> None:
    known: Any = Steps._take

    def take(self: Steps, action: Any, experiment: Any, after: Any, why: Why, *more: Any) -> Any:
        return known(self, action, experiment, after, evolve(why, actor="person"), *more)

    patch.setattr(Steps, "_take", take)


def marks_nothing_as_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transaction, "mark_lost", lambda *_: ())


def keeps_a_plan_that_went(patch: pytest.MonkeyPatch) -> None:
    known = snapshot.Snapshot.updated

    def updated(self: Any, store_id: str, revision: int, teams: Any, experiments: Any, **more: Any) -> Any:
        plans = {key: state.plan for key, state in self.teams.items() if state.plan.to_dict()}
        kept = [evolve(one, plan=plans.get(one.key, one.plan)) for one in teams]
        return known(self, store_id, revision, kept, experiments, **more)

    patch.setattr(snapshot.Snapshot, "updated", updated)


def stores_another_arm(patch: pytest.MonkeyPatch) -> None:
    known, other = run_batch.run_values, {"control": "treatment", "treatment": "control", None: None}
    patch.setattr(run_batch, "run_values", lambda run, *more: known(evolve(run, arm=other[run.arm]), *more))


def starts_as_another_arm(patch: pytest.MonkeyPatch) -> None:
    known, other = run_batch.start_values, {"control": "treatment", "treatment": "control", None: None}

    def start(*given: Any) -> Any:
        values = known(*given)
        return {**values, "arm": other[values["arm"]]}

    patch.setattr(run_batch, "start_values", start)


def stores_another_duration(patch: pytest.MonkeyPatch) -> None:
    known = run_batch.run_values
    patch.setattr(run_batch, "run_values", lambda run, *more: known(evolve(run, duration_seconds=1.0), *more))


def gives_everybody_the_lease(patch: pytest.MonkeyPatch) -> None:
    def take(self: Transaction, workflow: str, team_id: str, holder: str, seconds: float) -> Lease:
        row = {**self._named(workflow, team_id), "holder": holder, "fence": 1, "judged": 0, "seconds": seconds}
        self._write(self._sql.take_lease, row)
        held = self._lease(workflow, team_id)
        return Lease(held.fence, held.judged, team_flow(held.flow))

    patch.setattr(Transaction, "take_lease", take)


def takes_the_lease_of_another(patch: pytest.MonkeyPatch) -> None:
    known = Transaction.take_lease

    def take(self: Transaction, workflow: str, team_id: str, holder: str, seconds: float) -> Lease | None:
        held = self._lease(workflow, team_id)
        if held is not None and held.holder != holder:
            self.give_back_lease(workflow, team_id, held.holder, held.fence)
        return known(self, workflow, team_id, holder, seconds)

    patch.setattr(Transaction, "take_lease", take)


def judges_by_a_lease_of_before(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Transaction, "check_lease", lambda *_: None)


def takes_a_moment_of_silence_for_death(patch: pytest.MonkeyPatch) -> None:
    known = Transaction.mark_lost
    patch.setattr(Transaction, "mark_lost", lambda self, _: known(self, 0.5))


def loses_what_takes_half_a_second(patch: pytest.MonkeyPatch) -> None:
    known = store_work.StoreWork._write

    def write(self: Any, store: Any, batch: list[Any]) -> list[Any]:
        began = self._memory.now()
        try:
            return known(self, store, batch)
        except StoreError:
            if self._memory.now() - began > 0.5:
                batch.clear()
            raise

    patch.setattr(store_work.StoreWork, "_write", write)


def takes_what_waits_half_a_second_for_written(patch: pytest.MonkeyPatch) -> None:
    known = writer.WriterCore.take

    def take(self: writer.WriterCore, now: float, most: int = writer.MOST_ROWS) -> list[writer.Item]:
        batch = known(self, now, most)
        late = [item for item in batch if now - item.at > 0.5]
        self.committed(late)
        return [item for item in batch if item not in late]

    patch.setattr(writer.WriterCore, "take", take)


@pytest.mark.parametrize(
    ("break_it", "found", "first"),
    [
        (writes_ends_twice, "has ended 2 times", 5),
        (repeats_as_another_run, "is counted twice", 5),
        (takes_a_failure_for_a_commit, "neither in the store nor a journal", 0),
        (forgets_its_journal, "neither in the store nor a journal", 0),
        (gives_one_arm_only, "a block of stream", 4),
        (reserves_no_place, "two runs have place", 89),
        (gives_the_same_places, "two runs have place", 0),
        (makes_a_test_live, "is live by started", 32),
        (takes_a_late_answer_for_news, "an arm by a snapshot of", 30),
        (takes_a_file_for_news, "an arm by a snapshot of", 30),
        (keeps_a_plan_for_ever, "a run has a plan of", 65),
        (stores_another_verdict, "replays otherwise", 4),
        (leaves_journals_of_the_dead, "are not drained", 13),
        (judges_what_is_paused, "of the paused team", 149),
        (runs_what_is_paused_in_tests, "knows of the pause", 12),
        (notices_no_pause_of_all, "knows of the pause", 17),
        (decides_in_a_persons_name, "and none did", 4),
        (marks_nothing_as_lost, "neither end nor get lost", 1),
        (keeps_a_plan_that_went, "knows that it is live no more", 9),
        (stores_another_arm, "in the store", 0),
        (starts_as_another_arm, "and ran otherwise", 9),
        (stores_another_duration, "in the store", 0),
        (gives_everybody_the_lease, "does not hold the lease", 0),
        (takes_the_lease_of_another, "before it ended", 0),
        (judges_by_a_lease_of_before, "does not hold the lease", 25),
        (takes_a_moment_of_silence_for_death, "gave a sign of life", 3),
        (loses_what_takes_half_a_second, "are not drained", 83),
        (takes_what_waits_half_a_second_for_written, "neither in the store nor a journal", 1),
    ],
)
def test_what_is_broken_is_found(
    monkeypatch: pytest.MonkeyPatch, break_it: Callable[[pytest.MonkeyPatch], None], found: str, first: int
) -> None:
    simulate(0)  # the scenes are made before anything is broken
    break_it(monkeypatch)
    # The first seed is one that found it when this was written, which saves the others.
    seen = (simulate(seed % SEEDS).violation or "" for seed in range(first, first + SEEDS))
    assert any(found in one for one in seen)
