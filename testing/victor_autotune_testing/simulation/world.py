"""One simulated team: its members, the tasks it gets, and what a plan makes of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from attrs import field, frozen

from victor_autotune_plugin._model.data_flow import RunFlow
from victor_autotune_plugin._model.plan import (
    FORMATIONS,
    SUB_TEAMS,
    MemberSpec,
    TeamPlan,
    TeamSpec,
    feasible_formations,
)
from victor_autotune_plugin._model.run import MemberOutcome, TeamRun
from victor_autotune_plugin._tuner.space import Shape, plan_space, shape_of

from .draws import Draws, Floats

if TYPE_CHECKING:
    from .truth import Truth

OVERHEAD: Final = {
    "sequential": 0.58,
    "pipeline": 0.58,
    "parallel": 0.58,
    SUB_TEAMS: 0.58,
    "reflection": 2.63,
    "consensus": 2.63,
    "hierarchical": 2.85,
}
"""Additional turns over one agent of a team of three (arXiv 2512.08296: independent, decentralised, centralised)."""

AMPLIFICATION: Final = {
    "sequential": 8.0,
    "pipeline": 8.0,
    "reflection": 8.0,
    "consensus": 8.0,
    "parallel": 17.0,
    SUB_TEAMS: 17.0,
    "hierarchical": 4.0,
}
"""Amplification of errors (arXiv 2512.08296, early versions)."""

DECOMPOSABLE_GAIN: Final = 0.81
"""What working side by side adds to the odds of success on a fully decomposable task (arXiv 2512.08296)."""

SEQUENTIAL_LOSS: Final = (0.39, 0.70)
"""Range of what it takes from them on a task of steps that need each other (arXiv 2512.08296)."""

FAULTY_KEEPS: Final = {"hierarchical": 0.76, "other": 0.52}
"""Share of its odds that a team keeps in a run in which a member is faulty (arXiv 2408.00989)."""

CHECKING: Final = {"hierarchical": 0.24, "consensus": 0.24, "reflection": 0.24}
"""Share of failures avoided where members check each other: those of verification (MAST, 1,642 traces)."""

LONE_FAULT: Final = 4.0
"""Log odds lost when the only member is faulty: nobody makes up for it (assumption)."""

WITHIN_SD: Final = 0.22
"""Standard deviation of the log duration within one configuration and task (public runs)."""

TOTAL_SD: Final = (0.3, 0.9)
"""Range of the standard deviation across tasks; 0.3 to 1.0 in public runs. 0.9 keeps the P95 at 4.4 medians."""

SIDE_BY_SIDE: Final = {"parallel": 1.0, "hierarchical": 1.0, "consensus": 1.0, SUB_TEAMS: 0.7}
"""How much members work side by side, from none to wholly."""

_ROLES: Final = ("planner", "executor", "reviewer", "tester", "researcher")


Flow = Literal["independent", "unknown"]
"""What is known of who uses whose work: nobody does, or it can't be told."""

SAME_WORK: Final = frozenset({"sequential", "pipeline", "parallel", "hierarchical", SUB_TEAMS})
"""Layouts in which members that use nobody's work do the same (the others repeat it, or leave members out)."""


def turns(size: float) -> float:
    """Return turns of a team, relative to those over one agent's that a team of three has (arXiv 2512.08296)."""
    return float(((size + 0.5) ** 1.72 - 1.5**1.72) / (3.5**1.72 - 1.5**1.72))


@frozen
class World:
    """A team and the truth about it. Make one with `World.make`.

    From published findings: the constants of this module; success falls with difficulty (.56 → .19 over the range of
    tool calls in tau-bench airline) because hard tasks take longer and more calls. Assumptions, drawn for each world:
    who contributes how much (gamma weights, so that some members are nearly idle; who contributes more tends to work
    and call tools more), how far contributions saturate, how decomposable the work is (U-shaped, so that
    working side by side helps about as often as it hurts; members of one role are more likely where it is), how many
    checks a verifier makes, and interactions of formation and size, of pairs of members, and of single plans.

    Attributes:
        spec: The team as configured: the plan that a person chose.
        seconds: Each member's median seconds, shape (n,).
        calls: Each member's median wish for tool calls, shape (n,).
        weights: Each member's share of the contributions, shape (n,).
        faults: Probability that a member is faulty in a run, shape (n,).
        task_sd: Standard deviation of log difficulty over tasks.
        slow_share: Share of runs that take a multiple of their time.
        decomposable: 0 (steps that need each other) to 1.
        side_effect: Log odds of success from working wholly side by side.
        hardness: Log odds that a standard deviation of difficulty takes.
        value: Log odds between no contribution and all.
        saturation: How soon contributions saturate.
        amplification: Log odds lost for each log of error amplification in a team of four.
        overhead: Factor on the published overhead.
        tool_share: Share of the time that goes with tool calls.
        contention: Relative slowdown of the model for the second member that works at the same time (a rate limit).
        crowding: Power of the number of further members in that slowdown.
        overheads: Each member's share of its time that holds the event loop, and does not run side by side, shape (n,).
        early: Share of that work that comes before a member first waits; the rest comes after.
        flow: What is known of who uses whose work.
        harm: Points of success that another layout costs although nobody uses another's work; mostly 0.
        rounds: Rounds of a consensus and of a reflection.
        rework: Log duration that working side by side adds where the work is not decomposable.
        synergy: Log odds of each pair of members that takes part, shape (n, n), upper triangle.
        interactions: `(log duration, log odds)` by formation and size.
        quirk_sd: Standard deviation of the log duration that is a single plan's own.
        checks: Checks of a verifier, each of which passes with the run's chance of success. The score is the share of
            them that do, success itself being one; with one check the score is success and tells nothing besides.
        level: Log odds of success of all plans alike.
        seed: What all that follows from.
    """

    spec: TeamSpec
    seconds: Floats
    calls: Floats
    weights: Floats
    faults: Floats
    task_sd: float
    slow_share: float
    decomposable: float
    side_effect: float
    hardness: float
    value: float
    saturation: float
    amplification: float
    overhead: float
    tool_share: float
    contention: float
    crowding: float
    overheads: Floats
    early: float
    flow: Flow
    harm: float
    rounds: float
    rework: float
    synergy: Floats
    interactions: dict[tuple[str, int], tuple[float, float]] = field(repr=False)
    quirk_sd: float
    checks: int
    level: float
    seed: int

    @classmethod
    def make(
        cls,
        seed: int,
        *,
        flow: Flow = "unknown",
        checks: int | None = None,
        success: float | None = None,
        log_sd: float | None = None,
    ) -> World:
        """Return the world with this seed.

        Args:
            seed: Its seed.
            flow: What is known of who uses whose work.
            checks: Checks of its verifier; None to draw their number.
            success: Success share of the plan as configured; None to draw it.
            log_sd: About the standard deviation of the log duration of runs that are not slow, and no less than
                `WITHIN_SD`; None to draw it.
        """
        from .make import make_world

        return make_world(seed, flow, checks, success, log_sd)

    def truth(self, plans: Sequence[TeamPlan] | None = None, runs: int = 400) -> Truth:
        """Return what each plan is worth, by Monte Carlo with the same tasks and chances for all plans.

        Args:
            plans: Plans, the one as configured first; None for the team's whole plan space.
            runs: Simulated runs of each.
        """
        from .truth import measure

        return measure(self, plan_space(self.spec).plans if plans is None else plans, runs)

    def run(
        self, plan: TeamPlan, rng: np.random.Generator, *, run_id: str = "", task_key: str | None = None
    ) -> TeamRun:
        """Return one run of a plan on a task of random difficulty.

        Args:
            plan: The plan; it must be one that can run.
            rng: Source of chance; a run takes the same number of draws under every plan.
            run_id: Its id.
            task_key: A key to record. It does not determine the task.
        """
        draws = Draws.make(rng, 1, len(self.spec.members))
        shape = shape_of(self.spec, plan)
        played = self.play(shape, self.quirk(plan), draws)
        order = self.indices(shape)
        members = [
            MemberOutcome(
                id=member,
                role=self.spec.members[index].role,
                success=bool(played["member_success"][0, place]),
                finished=bool(played["finished"][0, place]),
                duration_seconds=float(played["member_seconds"][0, place]),
                tool_calls=int(played["member_calls"][0, place]),
                tool_calls_refused=int(played["refused"][0, place]),
                model_seconds=float(played["model_seconds"][0, place]),
                tool_seconds=float(played["tool_seconds"][0, place]),
                in_flight=float(self._in_flight(shape)),
            )
            for place, (member, index) in enumerate(zip(shape.members, order, strict=True))
        ]
        return TeamRun(
            run_id=run_id,
            spec=self.spec,
            started_at=0.0,
            duration_seconds=float(played["seconds"][0]),
            success=bool(played["success"][0]),
            member_success_share=float(played["success"][0]),
            score=float(played["score"][0]),
            task_key=task_key,
            mode="auto",
            plan_asked=plan,
            plan_used=plan,
            timed_out=bool(played["timed_out"][0]),
            cost_usd=float(played["cost"][0]),
            members=members,
            flow=self._flow(shape),
        )

    def _flow(self, shape: Shape) -> RunFlow:
        """Return what a look at a run's data flow tells."""
        is_whole = len(shape.members) == len(self.spec.members)
        repeats = shape.formation in ("consensus", "reflection")
        rounds = math.ceil(self.rounds) if repeats else 1
        if self.flow == "independent":
            return RunFlow(is_whole=is_whole, rounds=rounds)
        return RunFlow(open=dict.fromkeys(shape.members, ("custom",)), is_whole=is_whole, rounds=rounds)

    def _in_flight(self, shape: Shape) -> int:
        """Return how many members wait for their model at the same time."""
        if shape.formation == SUB_TEAMS:
            return len(shape.groups)
        size = len(shape.members)
        return {"parallel": size, "consensus": size, "hierarchical": max(size - 1, 1)}.get(shape.formation, 1)

    def indices(self, shape: Shape) -> list[int]:
        """Return the places in the spec of the members that take part, in their order."""
        place = {member.id: index for index, member in enumerate(self.spec.members)}
        return [place[member] for member in shape.members]

    def quirk(self, plan: TeamPlan) -> float:
        """Return the log duration that is this plan's own."""
        if plan.is_empty:
            return 0.0
        own = np.random.default_rng([self.seed, int(plan.id, 16)])
        return self.quirk_sd * float(own.standard_normal())

    def play(self, shape: Shape, quirk: float, draws: Draws) -> dict[str, Any]:
        """Play runs of one plan; arrays of shape (runs,) or (runs, members that take part).

        Args:
            shape: The plan's knobs.
            quirk: Log duration of its own.
            draws: The runs' chances.
        """
        who = self.indices(shape)
        size = len(who)
        wanted = np.ceil(self.calls[who] * np.exp(0.6 * self.task_sd * draws.task[:, None] + 0.3 * draws.calls[:, who]))
        allowed = self._allowed(shape, wanted)
        multiple = 1 + self.overhead * OVERHEAD[shape.formation] * turns(size) / size
        work = np.exp(self.task_sd * draws.task[:, None] + math.sqrt(size) * WITHIN_SD * 0.8 * draws.pace[:, who])
        used = 1 - self.tool_share + self.tool_share * allowed / wanted
        alone = self.seconds[who] * work * used * multiple
        held = alone * self.overheads[who]
        crowd = 1 + self.contention * (self._in_flight(shape) - 1) ** self.crowding
        tools = (alone - held) * (self.tool_share * allowed / wanted) / used
        model = (alone - held - tools) * crowd
        member_seconds = held + tools + model
        slow_time = self.interactions[shape.formation, size][0]
        spent = self._assembled(shape, tools + model, held)
        side = SIDE_BY_SIDE.get(shape.formation, 0.0) if size > 1 else 0.0
        stretch = np.exp(slow_time + quirk + side * self.rework * (1 - self.decomposable))
        stretch = stretch * np.where(draws.slow < self.slow_share, 2 + 6 * draws.slow_size, 1.0)
        seconds = spent * stretch
        limit = math.inf if shape.timeout_seconds is None else shape.timeout_seconds
        late = seconds > limit
        latent = self._latent(self._worked(shape), who, draws, allowed / wanted)
        if self.flow == "independent" and self.harm and shape.formation != self.spec.formation:
            harmed = np.clip(1 / (1 + np.exp(-latent)) - self.harm, 0.01, 0.99)
            latent = np.log(harmed / (1 - harmed))
        chance = np.where(late, 0.0, 1 / (1 + np.exp(-latent)))
        good = (latent + np.log(draws.outcome / (1 - draws.outcome)) > 0) & ~late
        passed = good + (draws.checks[:, : self.checks - 1] < chance[:, None]).sum(axis=1)
        finished = ~late[:, None] & np.ones_like(wanted, dtype=bool)
        member_good = (draws.fault[:, who] >= self.faults[who]) & finished
        whole = member_seconds * stretch[:, None]
        cut = stretch[:, None] * np.minimum(1.0, limit / whole)
        return {
            "seconds": np.minimum(seconds, limit),
            "success": good,
            "chance": chance,
            "score": passed / self.checks,
            "timed_out": late,
            "cost": 0.002 * alone.sum(axis=1) + 0.004 * allowed.sum(axis=1),
            "tool_calls": allowed.sum(axis=1),
            "member_seconds": np.minimum(whole, limit),
            "model_seconds": model * cut,
            "tool_seconds": tools * cut,
            "member_calls": allowed,
            "refused": wanted - allowed,
            "member_success": member_good,
            "finished": finished,
        }

    def _allowed(self, shape: Shape, wanted: Floats) -> Floats:
        """Return the calls that budgets let through; a team's budget is shared in proportion to the wish."""
        budgets = dict(shape.member_budgets)
        most = np.array([float(budgets.get(member, math.inf)) for member in shape.members])
        allowed = np.minimum(wanted, most)
        if shape.tool_budget is not None:
            total = allowed.sum(axis=1, keepdims=True)
            allowed = np.floor(allowed * np.minimum(1.0, shape.tool_budget / total))
        kept: Floats = np.maximum(allowed, 0.0)
        return kept

    def _worked(self, shape: Shape) -> str:
        """Return the formation whose success a run has: the configured one's where another layout keeps the work."""
        own = self.spec.formation
        keeps = self.flow == "independent" and {own, shape.formation} <= SAME_WORK
        return own if keeps else shape.formation

    def _assembled(self, shape: Shape, waits: Floats, held: Floats) -> Floats:
        """Return the wall-clock seconds of members that wait for each other as the formation says.

        Args:
            shape: The plan's knobs.
            waits: Seconds of each member that run side by side.
            held: Seconds of each member that do not.
        """
        seconds = waits + held
        size = seconds.shape[1]
        if shape.formation in ("parallel", "consensus"):
            return self._side_by_side(waits, held) * (self.rounds if shape.formation == "consensus" else 1.0)
        if shape.formation == "reflection":
            pair: Floats = seconds[:, :2].sum(axis=1)
            return pair * self.rounds
        if shape.formation == "hierarchical":
            leads = {member.id for member in self.spec.members if member.is_supervisor}
            lead = next(place for place, member in enumerate(shape.members) if member in leads)
            rest = self._side_by_side(np.delete(waits, lead, axis=1), np.delete(held, lead, axis=1))
            return seconds[:, lead] * (1 + 0.1 * size) + rest
        total: Floats = seconds.sum(axis=1)
        if shape.formation == SUB_TEAMS:
            place = {member: index for index, member in enumerate(shape.members)}
            groups = [[place[member] for member in group] for group in shape.groups]
            summed = [np.stack([part[:, g].sum(axis=1) for g in groups], axis=1) for part in (waits, held)]
            return self._side_by_side(summed[0], summed[1]) + 0.2 * total / size
        return total

    def _side_by_side(self, waits: Floats, held: Floats) -> Floats:
        """Return the seconds until all are done, who hold the event loop one after the other, first come first served.

        Each holds it before it waits, in the order of their start, and after, in the order in which they are back.
        """
        back = np.cumsum(self.early * held, axis=1) + waits
        order = np.argsort(back, axis=1)
        back, late = (np.take_along_axis(part, order, axis=1) for part in (back, (1 - self.early) * held))
        still = np.cumsum(late[:, ::-1], axis=1)[:, ::-1]
        done: Floats = (back + still).max(axis=1)
        return done

    def _latent(self, formation: str, who: Sequence[int], draws: Draws, share: Floats) -> Floats:
        """Return the log odds of success before chance."""
        active = who[:2] if formation == "reflection" else who
        contributed = (self.weights[who] * np.sqrt(share))[:, : len(active)].sum(axis=1)
        gained = -np.expm1(-self.saturation * contributed) / -math.expm1(-self.saturation)
        pairs = float(self.synergy[np.ix_(active, active)].sum())
        size = len(active)
        errors = self.amplification * math.log(AMPLIFICATION[formation]) * math.log(size) / math.log(4)
        faulty = (draws.fault[:, active] < self.faults[active]).any(axis=1)
        kept = FAULTY_KEEPS["hierarchical" if formation == "hierarchical" else "other"]
        lost = -math.log(kept) if size > 1 else LONE_FAULT
        checked = -math.log1p(-CHECKING.get(formation, 0.0)) if size > 1 else 0.0
        latent: Floats = self.value * gained - lost * faulty - self.hardness * draws.task
        side = SIDE_BY_SIDE.get(formation, 0.0) if len(who) > 1 else 0.0
        odds = self.interactions[formation, len(who)][1] + side * self.side_effect
        return latent + (self.level + pairs + checked - errors + odds)


def usual_formations(members: Sequence[MemberSpec]) -> tuple[str, ...]:
    """Return the formations that the members can form, reflection only for two or three."""
    possible = feasible_formations(members)
    return tuple(f for f in FORMATIONS if f in possible and (f != "reflection" or len(members) <= 3))
