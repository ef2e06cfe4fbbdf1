"""A host of the fleet: its clock, its link, the process that runs there now, and the runs of that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from attrs import define, evolve

from victor_autotune_plugin._model.data_flow import RunFlow
from victor_autotune_plugin._model.merged_definition import in_terms_of
from victor_autotune_plugin._model.plan import TeamPlan, TeamSpec
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin.hookspecs import PlannedRun, RunStart

from ..simulated import SPEC
from ..stepped import assigned, at_once
from .agenda import Agenda
from .process import Process

TEAM: Final = evolve(SPEC, members=SPEC.members[:2])
"""What runs everywhere: a small team, which is soon written, read and judged."""

Truth = Callable[[TeamPlan, float], float]
"""What a run takes: from its plan, and what one member takes."""


@define(eq=False)
class Host:
    """A host.

    Attributes:
        name: Its name in the trace.
        folder: Victor's folder of the project there.
        wall_offset: Seconds by which its clock is fast.
        is_cut: Whether the database is out of its reach.
        process: The process that runs there; None between two.
    """

    name: str
    folder: Path
    wall_offset: float = 0.0
    is_cut: bool = False
    process: Process | None = None


class Runs:
    """Has team runs started and ended, as the seam into Victor does.

    Args:
        agenda: What happens when.
        random: What durations are drawn from.
        truth: What a run takes.
        on_planned: Told of the plan that a run has got.
        on_end: Told of a run whose end was handed over.
        note: Counts an event.

    Attributes:
        started: How many were started.
        open: How many of them are neither ended nor known to be dead.
    """

    def __init__(
        self,
        agenda: Agenda,
        random: Random,
        truth: Truth,
        on_planned: Callable[[Process, RunStart, PlannedRun], None],
        on_end: Callable[[Process, TeamRun], None],
        note: Callable[[str], None],
    ) -> None:
        self.started = self.open = 0
        self._prefix = f"{random.getrandbits(32):08x}-"  # the runs of a scene have other ids
        self.spec = TEAM
        self._agenda = agenda
        self._random = random
        self._truth = truth
        self._on_planned = on_planned
        self._on_end = on_end
        self._note = note

    def start(self, host: Host, spec: TeamSpec, task: str | None = None) -> None:
        """Start a run on a host, if a process is there and has the processor."""
        process = host.process
        if process is None or process.is_dead:
            self._note("run that found no process")
            return
        if self._agenda.now < process.stalled_until:
            self._agenda.at(process.stalled_until, lambda: self.start(host, spec, task))
            return
        loop = process.loop
        loop.want_store()
        self.started += 1
        self.open += 1
        known = loop.known_spec(spec, process.settings)
        at = self._agenda.now + host.wall_offset
        event = RunStart(f"{self._prefix}{self.started:04}", known, at, task_key=task, settings=process.settings)
        request = loop.missing_stream(event)
        if request is None:
            self._assign(process, event, spec)
            return
        loop.store_work.slot_requests.append(request) if loop.core.store_answers else loop.files.slot_requests.append(
            request
        )
        process.wake("store" if loop.core.store_answers else "files")
        self._agenda.after(0.03, lambda: self._assign(process, event, spec))

    def _assign(self, process: Process, event: RunStart, spec: TeamSpec) -> None:
        if process.is_dead:
            self.open -= 1
            return
        if self._agenda.now < process.stalled_until:
            self._agenda.at(process.stalled_until, lambda: self._assign(process, event, spec))
            return
        planned = at_once(process.hooks.plan(event))
        assert planned is not None
        if planned.source == "configured":
            event = evolve(event, spec=spec)
        process.hooks.tell_built_in("team_run_started", event=event, planned=planned)
        self._note(f"run {planned.arm or planned.source}")
        self._on_planned(process, event, planned)
        one = self._random.lognormvariate(0.0, 0.15)
        seconds = self._truth(in_terms_of(spec, event.spec, planned.plan), one)
        self._agenda.after(seconds, lambda: self._end(process, event, planned, seconds, one))

    def _end(self, process: Process, event: RunStart, planned: PlannedRun, seconds: float, one: float) -> None:
        if process.is_dead:
            self.open -= 1
            self._note("run that died")
            return
        if self._agenda.now < process.stalled_until:
            self._agenda.at(process.stalled_until, lambda: self._end(process, event, planned, seconds, one))
            return
        good, cancelled = self._random.random() > 0.01, self._random.random() < 0.03
        run = TeamRun(
            run_id=event.run_id,
            spec=event.spec,
            started_at=event.started_at,
            duration_seconds=seconds,
            success=good and not cancelled,
            member_success_share=1.0 if good else 0.0,
            cancelled=cancelled,
            plan_used=TeamPlan(
                formation=planned.plan.formation or event.spec.formation,
                members=planned.plan.members or event.spec.member_ids,
            ),
            members=[MemberOutcome(m.id, m.role, good, True, one, 1, 0, 2, 900, 200) for m in event.spec.members],
            flow=RunFlow(),
        )
        run = assigned(run, event, planned)
        process.hooks.tell_built_in("after_team_run", run=run)
        self._on_end(process, run)
        self.open -= 1
