"""Plans as arrays, so that a thousand of them are weighed at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .._model.plan import FORMATIONS, SUB_TEAMS, TeamPlan, TeamSpec
from .regression import Floats, Ints
from .space import Shape, shape_of

KINDS: Final = (*FORMATIONS, SUB_TEAMS)
"""What the first knob can be."""

SIDE_BY_SIDE: Final = frozenset(("parallel", "hierarchical", "consensus", SUB_TEAMS))
"""Kinds in which members work at the same time."""

CHECKING: Final = frozenset(("hierarchical", "consensus", "reflection"))
"""Kinds in which members see each other's results."""


class PlanTable:
    """Arrays over plans, and over their layouts (kind, members and groups without budgets and timeouts).

    Attributes:
        plans: The plans, in order.
        layouts: The layouts, in order.
        number_of: Number of each layout.
        layout: Number of each plan's layout, shape (p,).
        work_of: Number of each choice of members and limits.
        work: Number of each plan's choice, shape (p,).
        kind: Index into `KINDS` of each layout, shape (l,).
        takes_part: Whether a member does, shape (l, n).
        works: The same, less those whom a reflection leaves idle, shape (l, n).
        size: Members that take part, shape (l,).
        crews: Whether a member works, by each choice of who works that is there, shape (n, c).
        crew: Number of each layout's choice, shape (l,).
        course: Number of how each layout's members follow each other: what `seconds` tells of it, shape (l,).
        budget: Tool budget or infinity, shape (p,).
        timeout: Timeout in seconds or infinity, shape (p,).
        is_budgeted: Whether any plan has a tool budget.
        is_timed: Whether any plan has a timeout.
        row_of: Row of each plan; of one that is there twice, the last.
        row: The same by row, shape (p,).
        features: What `span_replay` keeps of the layouts, None until it is asked.
    """

    def __init__(self, spec: TeamSpec, plans: Sequence[TeamPlan]) -> None:
        self.spec = spec
        self.plans = tuple(plans)
        self.shapes = [shape_of(spec, plan) for plan in self.plans]
        self.number_of: dict[Shape, int] = {}
        numbers = [self.number_of.setdefault(shape.layout, len(self.number_of)) for shape in self.shapes]
        self.layout: Ints = np.array(numbers, dtype=np.int64)
        self.work_of: dict[Shape, int] = {}
        self.work: Ints = np.array([self.work_of.setdefault(s.work, len(self.work_of)) for s in self.shapes])
        self.layouts = first = list(self.number_of)
        self.kind: Ints = np.array([KINDS.index(shape.formation) for shape in first], dtype=np.int64)
        place = {member.id: index for index, member in enumerate(spec.members)}
        members = len(spec.members)
        self.takes_part = np.zeros((len(first), members))
        self.works = np.zeros((len(first), members))
        self._group = np.full((len(first), members), -1, dtype=np.int64)
        self._first = np.zeros((len(first), members))
        for row, shape in enumerate(first):
            who = [place[member] for member in shape.members]
            self.takes_part[row, who] = 1.0
            self.works[row, _reflecting(spec, who) if shape.formation == "reflection" else who] = 1.0
            for number, group in enumerate(shape.groups):
                self._group[row, [place[member] for member in group]] = number
                self._first[row, place[group[0]]] = 1.0
        self.size = self.takes_part.sum(axis=1)
        self.crews, self.crew = _distinct(self.works)
        self._lead = np.array([member.is_supervisor for member in spec.members], dtype=bool)
        # A table is replayed after every run: what that takes of layouts that don't just add up is laid out once.
        self._aside, self._led, self._grouped = (
            np.flatnonzero([shape.formation in kinds for shape in first])
            for kinds in (("parallel", "consensus"), ("hierarchical",), (SUB_TEAMS,))
        )
        self._side_crews, self._side_crew = _distinct(self.works[self._aside])
        led, grouped = self.works[self._led], self.works[self._grouped]
        self._leading, self._following = _by_member(led * self._lead), _by_member(led * ~self._lead)
        team, opens = self._group[self._grouped], self._first[self._grouped]
        self._opening = _by_member(opens)
        self._teams = [
            (_by_member(grouped * (team == number)), _by_member(opens * (team == number)))
            for number in range(int(team.max(initial=-1)) + 1)
        ]
        self.course, courses = self.crew.copy(), self.crews.shape[1]
        for which, ranks in (
            (self._aside, self._side_crew),
            (self._led, np.arange(len(self._led))),
            (self._grouped, np.arange(len(self._grouped))),
        ):
            self.course[which] = courses + ranks
            courses += int(ranks.max(initial=-1)) + 1
        self.budget: Floats = np.array([_limit(shape.tool_budget) for shape in self.shapes])
        self.timeout: Floats = np.array([_limit(shape.timeout_seconds) for shape in self.shapes])
        self.is_budgeted = bool(np.isfinite(self.budget).any())
        self.is_timed = bool(np.isfinite(self.timeout).any())
        self._member_budgets = [shape.member_budgets for shape in self.shapes]
        self.row_of = {plan: row for row, plan in enumerate(self.plans)}
        self.row: Ints = np.array([self.row_of[plan] for plan in self.plans], dtype=np.int64)
        self._distances: dict[int, Ints] = {}
        self.features: tuple[Floats, Floats] | None = None

    def seconds(self, own: Floats, setup: Floats) -> Floats:
        """Replay what each course takes from what each member takes.

        VICTOR.md: members get the goal and not what others wrote, so their own time does not depend on the formation.
        Members that follow each other add up. Of those side by side all are set up on the event loop before the first
        call of any is made; from then on they overlap.

        Args:
            own: Seconds of each member in some runs once it is set up, shape (r, n).
            setup: Seconds in which setting it up keeps the event loop busy, shape (r, n).

        Returns:
            Seconds, shape (r, courses).
        """
        total = own + setup
        parts = [total @ self.crews]
        if len(self._aside):
            parts.append(_side_by_side(self._side_crews, own, setup))
        if len(self._led):
            parts.append(total @ self._leading + _side_by_side(self._following, own, setup))
        if len(self._grouped):
            together = setup @ self._opening
            longest = np.zeros_like(together)
            for works, opens in self._teams:
                longest = np.maximum(longest, total @ works - setup @ opens)
            parts.append(together + longest)
        return np.maximum(np.hstack(parts), 1e-6)

    def side_by_side(self, row: int) -> int:
        """Return how many members of a plan work at the same time, 1 where they follow each other."""
        layout = int(self.layout[row])
        kind = KINDS[int(self.kind[layout])]
        if kind == SUB_TEAMS:
            return int(self._group[layout].max()) + 1
        leading = 1 if kind == "hierarchical" else 0
        return max(int(self.size[layout]) - leading, 1) if kind in SIDE_BY_SIDE else 1

    def distance(self, live: int) -> Ints:
        """Return how many knobs each plan differs in from plan `live`, shape (p,), as `space.distance` counts."""
        if live not in self._distances:  # asked several times for each decision, mostly of the same plan
            self._distances[live] = self._distance(live)
        return self._distances[live]

    def _distance(self, live: int) -> Ints:
        layout = self.layout
        here = layout[live]
        left = (self.takes_part != self.takes_part[here]).sum(axis=1)
        groups = self._group.max(axis=1)
        regrouped = np.where(left == 0, (self._group != self._group[here]).any(axis=1), groups != groups[here])
        knobs = left + ((self.kind != self.kind[here]) | regrouped)
        budgets = np.array([own != self._member_budgets[live] for own in self._member_budgets])
        found: Ints = (
            knobs[layout] + (self.budget != self.budget[live]) + (self.timeout != self.timeout[live]) + budgets
        ).astype(np.int64)
        return found

    def has_same_members(self, live: int) -> NDArray[np.bool_]:
        """Return which plans have the members and the tool budget of plan `live`, shape (p,)."""
        same = (self.takes_part == self.takes_part[self.layout[live]]).all(axis=1)
        return np.asarray(same[self.layout] & (self.budget == self.budget[live]))

    def looser(self, live: int) -> NDArray[np.bool_]:
        """Return which plans have a looser budget or timeout than plan `live`, shape (p,)."""
        return np.asarray((self.budget > self.budget[live]) | (self.timeout > self.timeout[live]))


def _side_by_side(works: Floats, own: Floats, setup: Floats) -> Floats:
    """Return what members take side by side, shape (r, l), by who of them works, shape (n, l)."""
    # Plane by plane: a maximum along the members, who are few, takes ten times as long.
    return np.asarray(setup @ works + (works[:, None, :] * own.T[:, :, None]).max(axis=0))


def _by_member(works: Floats) -> Floats:
    """Return an array by layout and member as one by member and layout, each member's values next to each other."""
    return np.ascontiguousarray(works.T)


def _distinct(works: Floats) -> tuple[Floats, Ints]:
    """Return the choices of members that differ, shape (n, c), and the number of each layout's."""
    number_of: dict[bytes, int] = {}
    numbers = [number_of.setdefault(line.tobytes(), len(number_of)) for line in works]
    first = [numbers.index(number) for number in range(len(number_of))]
    return _by_member(works[first]), np.array(numbers, dtype=np.int64)


def _reflecting(spec: TeamSpec, who: Sequence[int]) -> list[int]:
    """Return generator and critic, bound by `formation_role` and otherwise by position."""
    roles = {spec.members[index].formation_role: index for index in who}
    rest = [index for index in who if spec.members[index].formation_role not in ("generator", "critic")]
    bound = [roles[role] for role in ("generator", "critic") if role in roles]
    return [*bound, *rest][:2]


def _limit(value: float | None) -> float:
    return math.inf if value is None else float(value)
