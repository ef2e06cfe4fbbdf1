"""How members work together: in a faster formation, or in sub-teams side by side that keep what belongs in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from statistics import fmean
from typing import Final

from .._analysis.insight_evidence import Estimate, FormationEvidence, SerialEvidence, evidence_in
from .._analysis.predictions import Seconds, gain, in_formation, in_groups, rows_of
from .._model.optimization import Bottleneck, OptimizationSuggestion, OptimizationType, PerformanceInsight
from .._model.plan import MemberSpec
from .base import BuiltInStrategy, Prior
from .config import TeamConfig

_SIDE_BY_SIDE: Final = ("parallel", "consensus")
_TRUST: Final = {"own runs": 0.95, "members' times": 0.9, "other teams": 0.8}


class FormationSelectionStrategy(BuiltInStrategy):
    """Suggests the formation that the analysis expects to be faster; medium risk.

    Members that need each other's work (`depends_on`) are not put side by side; where they are and the team fails, the
    sequential formation is suggested.
    """

    name = OptimizationType.FORMATION_SELECTION.value
    risk_level = 0.4
    prior = Prior(20, 50, model_error=8)

    def answers(
        self, insight: PerformanceInsight, config: TeamConfig, insights: Sequence[PerformanceInsight], /
    ) -> Iterator[OptimizationSuggestion]:
        """Give the best formation that members can form and limits allow, or one in order where they fail."""
        used = insight.bottleneck.removeprefix(Bottleneck.SUBOPTIMAL_FORMATION)
        if config.sub_teams is not None:
            return
        if insight.bottleneck == Bottleneck.LOW_SUCCESS_RATE:
            yield from self._in_order(insight, config)
        elif used != insight.bottleneck and config.formation in (None, used):
            fails = any(one.bottleneck == Bottleneck.LOW_SUCCESS_RATE for one in insights)
            yield from islice(self._faster(insight, used, config, fails), 1)

    def _faster(
        self, insight: PerformanceInsight, used: str, config: TeamConfig, fails: bool
    ) -> Iterator[OptimizationSuggestion]:
        for candidate in evidence_in(insight, FormationEvidence).candidates:
            formation, source = candidate.formation, candidate.source
            if formation == used or not self._can_run(formation, config):
                continue
            if formation in _SIDE_BY_SIDE and config.depends_on:
                continue
            if used == "consensus" and fails and source != "own runs":
                continue  # the consensus may be what keeps a failing team from failing more often
            yield self.suggestion(
                insight,
                config,
                {"formation": formation},
                f"Run the team in formation {formation} instead of {used}.",
                metric="duration",
                data=candidate if candidate.runs else None,
                most=_TRUST.get(source, 0.8),
                source=source,
                runs=candidate.runs,
            )

    def _in_order(self, insight: PerformanceInsight, config: TeamConfig) -> Iterator[OptimizationSuggestion]:
        if config.formation in _SIDE_BY_SIDE and config.depends_on and self._can_run("sequential", config):
            yield self.suggestion(
                insight,
                config,
                {"formation": "sequential"},
                f"Run the team in formation sequential instead of {config.formation}: members need each other's work.",
                metric=config.quality,
                data=None,
                source="prior",
                runs=0,
            )

    @staticmethod
    def _can_run(formation: str, config: TeamConfig) -> bool:
        return formation in config.limits.formations and formation in config.feasible()


_NEARLY: Final = 2.0
"""Percentage points that a further group must gain to be worth it."""

_STAGES: Final = (
    frozenset({"plan", "planner", "architect", "designer", "manager", "lead", "coordinator"}),
    frozenset({"research", "researcher", "analyst", "explorer", "scout"}),
    frozenset({"code", "coder", "executor", "implementer", "developer", "engineer", "writer", "author", "generator"}),
    frozenset({"review", "reviewer", "critic", "editor", "auditor"}),
    frozenset({"test", "tester", "qa", "verifier", "validator"}),
)
"""Words for what usually needs what: each stage the ones before it."""

DECLARED, ASSUMED = "declared", "assumed from roles"
"""Where dependencies are from: `depends_on`, or roles and names."""


class ParallelizationStrategy(BuiltInStrategy):
    """Suggests sub-teams that run side by side, their members one after another; high risk.

    Members that need each other's work stay together in order. Where all are independent and the whole team may run in
    parallel, that is simpler, and formation selection suggests it.
    """

    name = OptimizationType.PARALLELIZATION.value
    risk_level = 0.7
    prior = Prior(30, 50, model_error=8)

    def answers(
        self, insight: PerformanceInsight, config: TeamConfig, _: Sequence[PerformanceInsight], /
    ) -> Iterator[OptimizationSuggestion | None]:
        """Give a division for an insight about work that waits without need."""
        in_order = config.formation in (None, "sequential", "pipeline") and config.sub_teams is None
        allowed = "parallel" in config.limits.formations and config.limits.allows_members(config.ids)
        if (
            insight.bottleneck == Bottleneck.SERIAL_INDEPENDENT_WORK
            and len(config.members) > 2
            and in_order
            and allowed
        ):
            yield self._divided(insight, config)

    def _divided(self, insight: PerformanceInsight, config: TeamConfig) -> OptimizationSuggestion | None:
        evidence = evidence_in(insight, SerialEvidence)
        units, source = chains(config)
        independent = all(len(unit) == 1 for unit in units)
        if len(units) < 2 or independent:
            return None
        rows = [row for row in rows_of(evidence.member_durations) if set(row) >= set(config.ids)]
        if len(rows) < 2:
            return None
        groups, data = _best(units, rows, config.formation or evidence.formation)
        if data is None:
            return None
        return self.suggestion(
            insight,
            config,
            {"sub_teams": [list(group) for group in groups]},
            f"Let {len(groups)} sub-teams work side by side: {' | '.join(', '.join(group) for group in groups)}.",
            metric="duration",
            data=data,
            most=0.9 if source == DECLARED else 0.8,
            dependencies=source,
            chains=[list(unit) for unit in units if len(unit) > 1],
            runs=evidence.runs,
        )


def _best(
    units: Sequence[tuple[str, ...]], rows: Sequence[Seconds], formation: str
) -> tuple[tuple[tuple[str, ...], ...], Estimate | None]:
    """Return the division that takes least, with as few groups as come near it, and its predicted gain."""
    names = [name for unit in units for name in unit]
    mean = {name: fmean(row[name] for row in rows) for name in names}
    own = [{name: row[name] for name in names} for row in rows]
    divisions = [packed(units, mean, count) for count in range(2, len(units) + 1)]
    gains = [gain(own, in_formation(formation), in_groups(groups)) for groups in divisions]
    known = [one.value for one in gains if one is not None]
    if not known:
        return (), None
    near = next(k for k, one in enumerate(gains) if one is not None and one.value >= max(known) - _NEARLY)
    return divisions[near], gains[near]


def chains(config: TeamConfig) -> tuple[list[tuple[str, ...]], str]:
    """Return the sets of members that must stay in order, each in the order of the team, and where that is from.

    Without `depends_on`, members of different stages (plan, research, make, review, test) are taken to need each other,
    unless both have names that say they work on different things, such as `frontend_coder` and `backend_reviewer`.
    Members of one stage, and of none, are taken to be independent.
    """
    declared = bool(config.depends_on)
    group = {name: name for name in config.ids}

    def root(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for place, first in enumerate(config.members):
        for second in config.members[place + 1 :]:
            if declared:
                needs, needed = config.depends_on.get(first.id, ()), config.depends_on.get(second.id, ())
                linked = second.id in needs or first.id in needed
            else:
                linked = _need_each_other(first, second)
            if linked:
                group[root(second.id)] = root(first.id)
    together: dict[str, list[str]] = {}
    for name in config.ids:
        together.setdefault(root(name), []).append(name)
    found = [tuple(members) for members in together.values()]
    return [_in_order(members, config.depends_on) for members in found], DECLARED if declared else ASSUMED


def packed(units: Sequence[tuple[str, ...]], seconds: Mapping[str, float], groups: int) -> tuple[tuple[str, ...], ...]:
    """Divide units among groups so that the groups take about the same time: the longest first, each to the emptiest.

    At most 4/3 of the best possible (Graham 1969, Bounds on multiprocessing timing anomalies).
    """
    bins: list[tuple[float, list[tuple[str, ...]]]] = [(0.0, []) for _ in range(groups)]
    for unit in sorted(units, key=lambda one: -sum(seconds[name] for name in one)):
        # An empty group first, so that none stays empty when members take no time.
        place = min(range(groups), key=lambda k: (bins[k][0], len(bins[k][1])))
        load, members = bins[place]
        bins[place] = load + sum(seconds[name] for name in unit), [*members, unit]
    order = {unit: place for place, unit in enumerate(units)}
    return tuple(tuple(name for unit in sorted(kept, key=order.__getitem__) for name in unit) for _, kept in bins)


def _need_each_other(first: MemberSpec, second: MemberSpec) -> bool:
    one, other = _stage(first), _stage(second)
    if one is None or other is None or one == other:
        return False
    subjects = _subject(first), _subject(second)
    return not all(subjects) or subjects[0] == subjects[1]


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())


def _stage(member: MemberSpec) -> int | None:
    words = {*_words(member.id), *_words(member.role)}
    return next((place for place, names in enumerate(_STAGES) if words & names), None)


def _subject(member: MemberSpec) -> tuple[str, ...]:
    """Return what a member's name says it works on: its words that name no stage."""
    return tuple(word for word in _words(member.id) if not any(word in names for names in _STAGES))


def _in_order(members: Sequence[str], depends_on: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return members so that each comes after those it needs, else in their order; a circle keeps the order."""
    left, done = list(members), []
    while left:
        ready = next((name for name in left if not set(depends_on.get(name, ())) & set(left) - {name}), left[0])
        left.remove(ready)
        done.append(ready)
    return tuple(done)
