"""Whatever runs and people do, in whatever order: states, plans and records keep together."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.experiment import STATES, Experiment
from victor_autotune_plugin._model.optimization import (
    OptimizationPriority,
    OptimizationSuggestion,
    OptimizationType,
)
from victor_autotune_plugin._model.plan import EMPTY_PLAN, MemberSpec, TeamPlan
from victor_autotune_plugin._tuning.manual import in_effect
from victor_autotune_plugin._tuning.present_state import standings
from victor_autotune_plugin._tuning.replay import replay_all
from victor_autotune_plugin.errors import AutotuneError, StoreError
from victor_autotune_plugin.storage import Store, archive, importing
from victor_autotune_testing.simulated import SPEC, Simulation, by_formation

LARGER = evolve(SPEC, members=[*SPEC.members, MemberSpec("e", "researcher")])
FORMATIONS = ("parallel", "consensus")


class Person:
    """Does to a team what runs and people do to it, at random.

    Args:
        team: The team.
        seed: Of what it does.
    """

    def __init__(self, team: Simulation, seed: int) -> None:
        self.team = team
        self.random = random.Random(seed)
        self.done: list[str] = []
        self.known: dict[str, Experiment] = {}
        self.late: list[Any] = []
        self.world = 1.0
        team.truth = self.truth

    def truth(self, plan: TeamPlan, members: list[float]) -> float:
        return by_formation(plan, members) * (self.world if plan.formation else 1.0)

    def suggestion(self) -> OptimizationSuggestion:
        formation = self.random.choice(FORMATIONS)
        return OptimizationSuggestion(
            type=OptimizationType.FORMATION_SELECTION,
            priority=OptimizationPriority.HIGH,
            description=f"Try {formation}.",
            current_config={"formation": "sequential"},
            suggested_config={"formation": formation},
            expected_improvement=20.0,
            confidence=0.9,
            risk_level=0.2,
        )

    # --- what may happen

    def runs(self) -> None:
        for _ in range(self.random.randint(1, 30)):
            self.team.run()
            self.check()

    def fails(self) -> None:
        for _ in range(self.random.randint(1, 4)):
            self.team.run(success=False, member_success_share=0.0)

    def is_cancelled(self) -> None:
        self.team.run(cancelled=True, success=False, member_success_share=0.0)

    def is_lost(self) -> None:
        event, planned = self.team.start()
        with self.team.store.transaction() as transaction:
            transaction.start_run(event, planned, "dead process")
            transaction.mark_lost(0.0)
        self.team.stepped.clock.now += 1.0

    def begins_and_ends_late(self) -> None:
        self.late.append(self.team.start())

    def ends_late(self) -> None:
        for event, planned in self.late:
            self.team.finish(event, planned)
        self.late.clear()

    def turns(self) -> None:
        self.world = self.random.choice([0.5, 1.0, 1.0, 3.0, 12.0])

    def approves(self) -> None:
        self.team.runtime.manual.approve(*SPEC.key, by="Ada")

    def rejects(self) -> None:
        self.team.runtime.manual.reject(*SPEC.key, by="Ada")

    def rolls_back(self) -> None:
        self.team.runtime.manual.roll_back(*SPEC.key)

    def rolls_back_an_earlier_change(self) -> None:
        ids = [change.id for change in in_effect(self.team.changes(), self.team.state().plan)]
        if ids:
            self.team.runtime.manual.roll_back(*SPEC.key, change_id=self.random.choice(ids))

    def applies(self) -> None:
        one = self.suggestion()
        watched = self.random.choice([(one, self.team.runtime.settings(self.team.spec)), None])
        self.team.runtime.manual.apply(SPEC.key, one.plan, "By hand.", evidence={}, watched=watched)

    def tests(self) -> None:
        settings = self.team.runtime.settings(self.team.spec)
        self.team.runtime.manual.start_test(SPEC.key, self.suggestion(), settings, {})

    def pauses(self) -> None:
        self.team.runtime.manual.set_paused(*SPEC.key, True)
        self.team.run()
        self.check()
        self.team.runtime.manual.set_paused(*SPEC.key, False)

    def redefines(self) -> None:
        self.team.spec = LARGER if self.team.spec is SPEC else SPEC

    def sets(self) -> None:
        name, values = self.random.choice(
            [
                ("mode", ("auto", "approve", "auto", "approve", "suggest")),
                ("watch.enabled", (True, False, True)),
                ("promotion", ("proof", "probation")),
            ]
        )
        value = self.random.choice(values)
        self.done[-1] += f" {name}={value}"
        runtime = self.team.runtime
        runtime._overrides[name] = value
        runtime._resolver = runtime._load_settings()

    # --- what holds

    def check(self) -> None:
        team, told = self.team, f"after {self.done[-16:]}"
        assert failsafe.seen() == (), told
        experiments, state = team.experiments(), None
        with suppress(AssertionError):
            state = team.state()
        if state is None:
            return
        for one in experiments:
            assert one.status in STATES
            before = self.known.get(one.id)
            if before is not None:
                assert _reaches(before.status, one.status), (before.status, one.status, told)
            self.known[one.id] = one
            if one.has_ended:
                assert one.asks_for is None, told
        by_id = {one.id: one for one in experiments}
        tested = [one for one in experiments if one.is_tested or one.status == "awaits_promotion"]
        verified = [one for one in experiments if one.is_verified]
        assert {one.id for one in tested} == {state.experiment_id} - {None}, told
        expected = {state.live_id} - {None}
        if tested and tested[0].status == "probation":
            assert state.live_id is None, told
            expected = {tested[0].control_id} - {None}
        assert {one.id for one in verified} == expected, told
        if tested:
            assert tested[0].fingerprint == state.fingerprint or not tested[0].fingerprint, told
            assert state.plan == (tested[0].treatment if tested[0].status == "probation" else tested[0].control), told
            assert tested[0].control_id == (state.live_id or tested[0].control_id), told
        if state.live_id is not None:
            assert by_id[state.live_id].treatment == state.plan, told

    def look(self) -> None:
        """Look at every screen's values, and take the team to another store and back."""
        store, state = self.team.store, self.team.store.team(*SPEC.key)
        if state is None:
            return
        runs = list(store.finished_runs(*SPEC.key, limit=50))
        for one in standings(store, state, self.team.runtime.settings(self.team.spec), runs):
            assert one.line
            assert one.next
            if one.decision is not None:
                assert not one.experiment.has_ended
        records = [archive.ExperimentRecord.stored(store, one) for one in self.team.experiments()[::-1]]
        items = [*store.changes(), *store.finished_runs(*SPEC.key), *records, state]
        lines = [archive.to_line(archive.header()), *(archive.to_line(item) for item in items)]
        other = Store.in_memory(self.team.stepped.clock)
        importing.write(other, archive.read([line.encode() for line in lines], "export"))
        there = other.team(*SPEC.key)
        assert there is not None
        for name in ("plan", "experiment_id", "live_id", "paused", "fingerprint"):
            assert getattr(there, name) == getattr(state, name), name
        assert other.experiments(*SPEC.key) == self.team.experiments()
        assert [one.differences for one in replay_all(other, other.experiments(*SPEC.key))] == [{}] * len(records)
        other.close()

    def check_plan(self) -> None:
        state = self.team.state()
        open_ones = [one for one in self.team.experiments() if one.id in (state.experiment_id, state.live_id)]
        allowed = {state.plan, EMPTY_PLAN} | {plan for one in open_ones for plan in (one.control, one.treatment)}
        _, planned = self.team.start()
        assert planned.plan in allowed, self.done[-16:]

    def check_replay(self) -> None:
        found = replay_all(self.team.store, self.team.experiments())
        assert [one.differences for one in found] == [{}] * len(found), self.done


def _reaches(status: str, following: str) -> bool:
    """Whether a state leads to another in allowed steps; between two looks there may be several."""
    seen, left = {status}, [status]
    while left:
        for one in STATES[left.pop()].next:
            if one not in seen:
                seen.add(one)
                left.append(one)
    return following in seen


ACTIONS: list[tuple[float, Callable[[Person], None]]] = [
    (12, Person.runs),
    (1, Person.fails),
    (1, Person.is_cancelled),
    (1, Person.is_lost),
    (1, Person.begins_and_ends_late),
    (1, Person.ends_late),
    (2, Person.turns),
    (4, Person.approves),
    (0.5, Person.rejects),
    (0.7, Person.rolls_back),
    (0.7, Person.rolls_back_an_earlier_change),
    (0.7, Person.applies),
    (1, Person.tests),
    (0.5, Person.pauses),
    (0.4, Person.redefines),
    (1, Person.sets),
    (0.7, Person.look),
    (1, Person.check_plan),
]


@pytest.mark.parametrize("seed", range(3))
def test_states_plans_and_records_keep_together(tmp_path: Path, seed: int) -> None:
    team = Simulation(
        tmp_path,
        in_memory=True,
        seed=seed,
        scored=bool(seed % 2),
        mode="approve" if seed % 4 > 1 else "auto",
        **{"experiment.min_history": 10},
    )
    person = Person(team, seed)
    weights = [weight for weight, _ in ACTIONS]
    for _ in range(12):
        team.run()
    for _ in range(50):
        action = person.random.choices([one for _, one in ACTIONS], weights)[0]
        person.done.append(action.__name__)
        try:
            action(person)
        except StoreError:
            raise
        except AutotuneError as error:  # what a person asked for is not possible now, which is said
            person.done[-1] += f" ({error})"
        person.check()
    person.check_replay()
    team.close()
