"""Whatever runs and people do, in whatever order: states, plans and records keep together."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final

from attrs import evolve
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.experiment import STATES, Experiment, TeamState
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
from victor_autotune_testing.fleet_simulation.invariants import leads_to
from victor_autotune_testing.simulated import Simulation, by_formation

FORMATIONS: Final = ("parallel", "consensus")

DATA: Final = Path(__file__).parents[1] / "data" / "v0_1_0"

EARLIER_TEAMS: Final = ("watched", "settled", "testing", "trials")
"""Teams of the store that 0.1.0 wrote: with a live plan, with one that was settled, in a test, and changed by hand."""


@cache
def upgraded() -> bytes:
    """Return the store that 0.1.0 wrote, once this version has opened it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "earlier" / "autotune.db"
        file.parent.mkdir(mode=0o700)
        shutil.copy(DATA / "autotune.db", file)
        file.chmod(0o600)
        with Store.open(f"sqlite:///{file}") as store:
            driver = _driver(store)
            driver.execute("PRAGMA journal_mode=DELETE")  # one in memory has no other
            image: bytes = driver.serialize()
        return image


def _driver(store: Store) -> Any:
    return store._connections.session().connection.connection.dbapi_connection


def suggestion(formation: str) -> OptimizationSuggestion:
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


class PeopleBetweenRuns(RuleBasedStateMachine):
    """What runs and people do to a team."""

    def __init__(self) -> None:
        super().__init__()
        failsafe.forget()
        self.folder = tempfile.TemporaryDirectory()
        self.known: dict[str, Experiment] = {}
        self.late: list[Any] = []
        self.world = 1.0

    @initialize(
        scored=st.booleans(),
        mode=st.sampled_from(("auto", "approve")),
        earlier=st.sampled_from((None, None, *EARLIER_TEAMS)),
        seed=st.integers(0, 99),
    )
    def begins(self, scored: bool, mode: str, earlier: str | None, seed: int) -> None:
        self.team = Simulation(
            Path(self.folder.name),
            in_memory=True,
            seed=seed,
            scored=scored,
            mode=mode,
            **{"experiment.min_history": 10},
        )
        self.team.truth = self.truth
        if earlier is not None:
            _driver(self.team.store).deserialize(upgraded())
            state = self.team.store.team("flow", earlier)
            assert state is not None
            assert state.spec is not None
            self.team.spec = state.spec
        self.spec = self.team.spec
        self.key = self.spec.key
        for _ in range(12):
            self.team.run()

    def truth(self, plan: TeamPlan, members: list[float]) -> float:
        return by_formation(plan, members) * (self.world if plan.formation else 1.0)

    def state(self) -> TeamState | None:
        return self.team.store.team(*self.key)

    def experiments(self) -> list[Experiment]:
        return self.team.store.experiments(*self.key)

    def asks(self, action: Callable[..., object], *given: Any, **more: Any) -> None:
        """Ask for something, which may be impossible now and is then said."""
        try:
            action(*given, **more)
        except StoreError:
            raise
        except AutotuneError:
            return

    # --- what may happen

    @rule(number=st.integers(1, 25))
    def runs(self, number: int) -> None:
        for _ in range(number):
            self.team.run()
            self.keeps_together()

    @rule(number=st.integers(10, 30))
    def runs_long(self, number: int) -> None:
        self.runs(number)

    @rule(number=st.integers(1, 4))
    def fails(self, number: int) -> None:
        for _ in range(number):
            self.team.run(success=False, member_success_share=0.0)

    @rule()
    def is_cancelled(self) -> None:
        self.team.run(cancelled=True, success=False, member_success_share=0.0)

    @rule()
    def is_lost(self) -> None:
        event, planned = self.team.start()
        with self.team.store.transaction() as transaction:
            transaction.start_run(event, planned, "dead process")
            transaction.mark_lost(0.0)
        self.team.stepped.clock.now += 1.0

    @rule()
    def begins_and_ends_late(self) -> None:
        self.late.append(self.team.start())

    @precondition(lambda self: self.late)
    @rule()
    def ends_late(self) -> None:
        for event, planned in self.late:
            self.team.finish(event, planned)
        self.late.clear()

    @rule(world=st.sampled_from((0.5, 1.0, 3.0, 12.0)))
    def turns(self, world: float) -> None:
        self.world = world

    @rule()
    def approves(self) -> None:
        self.asks(self.team.runtime.manual.approve, *self.key, by="Ada")

    @rule()
    def rejects(self) -> None:
        self.asks(self.team.runtime.manual.reject, *self.key, by="Ada")

    @rule()
    def rolls_back(self) -> None:
        self.asks(self.team.runtime.manual.roll_back, *self.key)

    @rule(chosen=st.integers(0, 99))
    def rolls_back_an_earlier_change(self, chosen: int) -> None:
        state = self.state()
        if state is not None:
            ids = [change.id for change in in_effect(self.team.store.changes(*self.key), state.plan)]
            if ids:
                self.asks(self.team.runtime.manual.roll_back, *self.key, change_id=ids[chosen % len(ids)])

    @rule(formation=st.sampled_from(FORMATIONS), is_watched=st.booleans())
    def applies(self, formation: str, is_watched: bool) -> None:
        one = suggestion(formation)
        watched = (one, self.team.runtime.settings(self.team.spec)) if is_watched else None
        apply = self.team.runtime.manual.apply
        self.asks(apply, self.key, one.plan, "By hand.", evidence={}, watched=watched)

    @rule(formation=st.sampled_from(FORMATIONS))
    def tests(self, formation: str) -> None:
        own = self.team.runtime.settings(self.team.spec)
        self.asks(self.team.runtime.manual.start_test, self.key, suggestion(formation), own, {})

    @rule(number=st.integers(0, 3))
    def pauses_and_resumes(self, number: int) -> None:
        self.team.runtime.manual.set_paused(*self.key, True)
        for _ in range(number):
            assert self.team.run().experiment_id is None
            self.keeps_together()
        self.team.runtime.manual.set_paused(*self.key, False)

    @rule()
    def redefines(self) -> None:
        larger = evolve(self.spec, members=[*self.spec.members, MemberSpec("e", "researcher")])
        self.team.spec = larger if self.team.spec is self.spec else self.spec

    @rule(
        one=st.sampled_from(
            (
                *(("mode", value) for value in ("auto", "approve", "suggest")),
                *(("watch.enabled", value) for value in (True, False)),
                *(("promotion", value) for value in ("proof", "probation")),
            )
        )
    )
    def sets(self, one: tuple[str, object]) -> None:
        runtime = self.team.runtime
        runtime._overrides[one[0]] = one[1]
        runtime._resolver = runtime._load_settings()

    @rule(file=st.sampled_from(("export.jsonl", "export_version_1.jsonl")))
    def imports(self, file: str) -> None:
        """Import what 0.1.0 exported; its teams may be this one, and what is here stays."""
        before = self.state()
        with (DATA / file).open("rb") as lines:
            importing.write(self.team.store, archive.read(lines, file))
        if before is not None:
            assert self.state() == before

    # --- what holds

    @invariant()
    def keeps_together(self) -> None:
        assert failsafe.seen() == ()
        if not hasattr(self, "key"):
            return
        experiments, state = self.experiments(), self.state()
        if state is None:
            return
        for one in experiments:
            assert one.status in STATES
            before = self.known.get(one.id)
            if before is not None:
                assert leads_to(before.status, one.status), (before.status, one.status)
            self.known[one.id] = one
            if one.has_ended:
                assert one.asks_for is None
        by_id = {one.id: one for one in experiments}
        tested = [one for one in experiments if one.is_tested or one.status == "awaits_promotion"]
        verified = [one for one in experiments if one.is_verified]
        assert {one.id for one in tested} == {state.experiment_id} - {None}
        expected = {state.live_id} - {None}
        if tested and tested[0].status == "probation":
            assert state.live_id is None
            expected = {tested[0].control_id} - {None}
        assert {one.id for one in verified} == expected
        if tested:
            assert tested[0].fingerprint == state.fingerprint or not tested[0].fingerprint
            assert state.plan == (tested[0].treatment if tested[0].status == "probation" else tested[0].control)
            assert tested[0].control_id == (state.live_id or tested[0].control_id)
        if state.live_id is not None:
            assert by_id[state.live_id].treatment == state.plan

    @rule()
    def looks(self) -> None:
        """Look at every screen's values, and take the team to another store and back."""
        store, state = self.team.store, self.team.store.team(*self.key)
        if state is None:
            return
        runs = list(store.finished_runs(*self.key, limit=50))
        for one in standings(store, state, self.team.runtime.settings(self.team.spec), runs):
            assert one.line
            assert one.next
            if one.decision is not None:
                assert not one.experiment.has_ended
        records = [archive.ExperimentRecord.stored(store, one) for one in self.experiments()[::-1]]
        items = [*store.changes(*self.key), *store.finished_runs(*self.key), *records, state]
        lines = [archive.to_line(archive.header()), *(archive.to_line(item) for item in items)]
        other = Store.in_memory(self.team.stepped.clock)
        importing.write(other, archive.read([line.encode() for line in lines], "export"))
        there = other.team(*self.key)
        assert there is not None
        for name in ("plan", "experiment_id", "live_id", "paused", "fingerprint"):
            assert getattr(there, name) == getattr(state, name), name
        assert other.experiments(*self.key) == self.experiments()
        assert [one.differences for one in replay_all(other, other.experiments(*self.key))] == [{}] * len(records)
        other.close()

    @rule()
    def starts_another(self) -> None:
        state = self.state()
        assert state is not None
        open_ones = [one for one in self.experiments() if one.id in (state.experiment_id, state.live_id)]
        allowed = {state.plan, EMPTY_PLAN} | {plan for one in open_ones for plan in (one.control, one.treatment)}
        _, planned = self.team.start()
        assert planned.plan in allowed

    def teardown(self) -> None:
        if hasattr(self, "key"):
            self.replays()
            self.team.close()
        self.folder.cleanup()

    def replays(self) -> None:
        found = replay_all(self.team.store, self.experiments())
        assert [one.differences for one in found] == [{}] * len(found)


TestPeopleBetweenRuns = PeopleBetweenRuns.TestCase
TestPeopleBetweenRuns.settings = settings(
    max_examples=15,
    stateful_step_count=25,
    phases=[Phase.generate],
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
