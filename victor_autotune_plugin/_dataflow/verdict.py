"""What is known of who uses whose work in a team, and what follows for its plans.

A plan that would cut an edge is never chosen by the plugin. One that changes the layout alone, cuts nothing, and ends
in the same kind of final output keeps the work: every member does with it what it does as configured.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Final, Literal

from attrs import frozen

from .._model.data_flow import CONFIGURED, Edge, SeenEdge, TeamFlow
from .._model.experiment import Allowance
from .._model.plan import SUB_TEAMS, TeamPlan, TeamSpec
from .._model.text import count

if TYPE_CHECKING:
    from .._settings import Settings

LEAST_TO_TEST: Final = 10
"""Runs as configured that must have been looked at before a change rests on the data flow."""

LEAST_TO_LIVE: Final = 20
"""The same, before such a change is promoted."""

ROOM_FOR_SLOW_RUNS: Final = 1.2
"""A timeout of so many times the longest of the last successful runs cuts none of them."""

FlowVerdict = Literal["dependent", "independent", "unknown"]

_IN_ORDER: Final = ("sequential", "pipeline")
_CARRIED: Final = (*_IN_ORDER, SUB_TEAMS)
"""Formations that hand a member's output to the next one through the shared context."""

_GIVEN_BY_FORMATION: Final = ("context", "task", "text")
"""Channels that are a formation's own; files and tools stay whatever the formation is."""

OPEN_WORDS: Final[Mapping[str, str]] = {
    "custom": "is the caller's own code",
    "unseen": "calls a model that was not seen",
    "unexplained": "gets messages from elsewhere",
    "too_much": "works on more text than is looked at",
}


@frozen(cache_hash=True)
class _Layout:
    formation: str
    members: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...] = ()

    def is_ordered(self, source: str, target: str, supervisor: str | None) -> bool:
        """Return whether the source has surely ended before the target begins."""
        order = self.members
        if self.groups:
            order = next((group for group in self.groups if source in group), ())
        elif self.formation == "hierarchical":
            return source == supervisor
        elif self.formation not in _IN_ORDER:
            return False
        return target in order and order.index(source) < order.index(target)


def _layout(spec: TeamSpec, plan: TeamPlan) -> _Layout:
    groups = plan.sub_teams or ()
    members = plan.members
    if members is None:
        members = tuple(one for one in spec.member_ids if not groups or any(one in group for group in groups))
    return _Layout(SUB_TEAMS if groups else plan.formation or spec.formation, members, groups)


@frozen
class Knowledge:
    """What is known of a team's data flow.

    Attributes:
        spec: The team as configured.
        verdict: `dependent`: a use was seen or declared. `independent`: every member is known, and used nothing of
            another. `unknown`: anything else.
        because: Why, in one plain sentence.
        missing: What would make it known, or None where it is.
        edges: All edges, declared ones too.
        open: How many runs left a member open, by its id and the reason.
        runs: Runs as configured that were looked at.
        declared: What a person says of it: `auto`, `independent`, `dependent` or `off`.
        is_whole: Whether the edges are all there are: no member is open, or a person says so.
        repeated: Runs in which a member worked more than once.
    """

    spec: TeamSpec
    verdict: FlowVerdict
    because: str
    missing: str | None
    edges: tuple[SeenEdge, ...]
    open: Mapping[str, Mapping[str, int]]
    runs: int
    declared: str = "auto"
    is_whole: bool = False
    repeated: int = 0

    @property
    def is_due_soon(self) -> bool:
        """Whether a few more runs as configured will tell, so that it is too early to choose what to test."""
        return self.verdict == "unknown" and self.is_whole and not self.edges and self.runs < LEAST_TO_TEST

    @property
    def binding(self) -> tuple[Edge, ...]:
        """The edges that no plan of the plugin's may cut; a person's word that there are none wins."""
        seen = (one.edge for one in self.edges)
        if self.declared == "independent":
            seen = (edge for edge in seen if edge.channel == "declared")
        return tuple(dict.fromkeys(seen))

    @property
    def depends_on(self) -> dict[str, tuple[str, ...]]:
        """Ids of the members whose work a member needs, by its id."""
        needs: dict[str, list[str]] = {}
        for edge in self.binding:
            if edge.source not in needs.setdefault(edge.target, []):
                needs[edge.target].append(edge.source)
        return {name: tuple(sources) for name, sources in needs.items()}

    def cut_by(self, plan: TeamPlan) -> tuple[Edge, ...]:
        """Return the edges that a plan would cut: the target works without the source, or not after it."""
        if not self._bound:
            return ()
        layout = self._layout(plan)
        if layout not in self._cuts:
            self._cuts[layout] = self._cut_by(layout)
        return self._cuts[layout]

    @cached_property
    def _bound(self) -> tuple[Edge, ...]:
        return self.binding

    @cached_property
    def _cuts(self) -> dict[_Layout, tuple[Edge, ...]]:
        return {}

    @cached_property
    def _layouts(self) -> dict[object, _Layout]:
        return {}

    def _layout(self, plan: TeamPlan) -> _Layout:
        key = plan.formation, plan.members, plan.sub_teams
        if key not in self._layouts:  # a decision asks for hundreds of plans, which share layouts
            self._layouts[key] = _layout(self.spec, plan)
        return self._layouts[key]

    def _cut_by(self, layout: _Layout) -> tuple[Edge, ...]:
        spec = self.spec
        kept_order = [name for name in spec.member_ids if name in layout.members]
        as_declared = layout.formation == spec.formation and kept_order == list(layout.members)
        supervisor = next((one.id for one in spec.members if one.is_supervisor), None)
        cut = []
        for edge in self._bound:
            if edge.target not in layout.members:
                continue
            if edge.source in layout.members:
                if as_declared:
                    continue
                given = edge.channel in _GIVEN_BY_FORMATION
                carried = not given or (spec.formation in _CARRIED and layout.formation in _CARRIED)
                if carried and layout.is_ordered(edge.source, edge.target, supervisor):
                    continue
            cut.append(edge)
        return tuple(cut)

    def keeps_work(self, plan: TeamPlan, live: TeamPlan, longest_seconds: float | None = None) -> bool:
        """Return whether a plan changes the layout alone, over members that do the same work under it.

        Args:
            live: The plan that it is compared with.
            longest_seconds: Longest of the last successful runs; None where none is known.
        """
        if not self.is_whole or (self.declared != "independent" and self.runs < LEAST_TO_TEST):
            return False
        if plan.tool_budget != live.tool_budget or plan.member_budgets != live.member_budgets:
            return False
        now, then = self._layout(live), self._layout(plan)
        return (
            now.members == then.members
            and self._fits(plan, live, longest_seconds)
            and self._output(now) == self._output(then)
            and not self.cut_by(plan)
        )

    def _fits(self, plan: TeamPlan, live: TeamPlan, longest_seconds: float | None) -> bool:
        if plan.timeout_seconds in (None, live.timeout_seconds):
            return True
        return longest_seconds is not None and plan.timeout_seconds >= ROOM_FOR_SLOW_RUNS * longest_seconds

    def _output(self, layout: _Layout) -> str:
        """Return the kind of final output: what it is made of, in which order."""
        formation = layout.formation
        if formation in ("sequential", "parallel", SUB_TEAMS):
            return "joined"
        if formation == "hierarchical":
            lead = next((one.id for one in self.spec.members if one.is_supervisor), None)
            delegates = any(edge.source == lead or edge.target == lead for edge in self.binding)
            return "joined" if layout.members[:1] == (lead,) and not delegates else "supervised"
        if formation == "consensus" == self.spec.formation and not self.repeated:
            return "joined"  # one round was enough in every run
        return formation


@frozen
class Rules:
    """Which plans the plugin may choose for a team, so that the work stays as good.

    Attributes:
        knowledge: What is known of its data flow.
        has_scorer: Whether what comes out is graded by more than the members' own word.
        asks_person: Whether a person is asked before a change is made.
        longest_seconds: Longest of the last successful runs; None where none is known.
        disproved: The layout of this team under which the work got worse, in words; None where none did. What the data
            flow shows then tells no more that another layout keeps the work.
    """

    knowledge: Knowledge
    has_scorer: bool = False
    asks_person: bool = False
    longest_seconds: float | None = None
    disproved: str | None = None

    def keeps_work(self, plan: TeamPlan, live: TeamPlan) -> bool:
        """Return whether a plan keeps the work as the live one does it."""
        return self.disproved is None and self.knowledge.keeps_work(plan, live, self.longest_seconds)

    @property
    def opens_work(self) -> bool:
        """Whether changes of the work are allowed, as far as they cut nothing."""
        return self.has_scorer or self.asks_person

    def allows(self, plan: TeamPlan, *, keeps: bool) -> bool:
        """Return whether anything allows a change from the live plan to another.

        Args:
            keeps: Whether the plan keeps the work, as `keeps_work` says.
        """
        return keeps or (self.opens_work and not self.knowledge.cut_by(plan))

    def refusal(self, plan: TeamPlan, live: TeamPlan) -> str | None:
        """Return why nothing allows a change from the live plan to another, or None when something does."""
        return self.allowance(plan, live)[1]

    def allowance(self, plan: TeamPlan, live: TeamPlan) -> tuple[Allowance | None, str | None]:
        """Return what allows a change from the live plan to another, or why nothing does."""
        cut = self.knowledge.cut_by(plan)
        if cut:
            return None, f"{use(cut[0])}, and could not any more"
        if self.keeps_work(plan, live):
            return "data_flow", None
        if self.has_scorer:
            return "score", None
        if self.asks_person:
            return "person", None
        if self.disproved is not None and self.knowledge.keeps_work(plan, live, self.longest_seconds):
            return None, f"the work got worse under {self.disproved}, and no scorer would tell whether it does here"
        return None, "it may change what the team delivers, and no scorer would tell"


def use(edge: Edge) -> str:
    """Return an edge in words: `b uses the work of a`."""
    return f"{edge.target} {'uses' if edge.sure else 'may use'} the work of {edge.source}"


def knowledge_of(flow: TeamFlow, spec: TeamSpec, settings: Settings) -> Knowledge:
    """Return what is known of a team's data flow.

    Args:
        flow: What its runs showed.
        spec: The team as configured; what was seen of another definition counts for nothing.
        settings: Its settings, in which a person may say it.
    """
    if flow.fingerprint != spec.fingerprint():
        flow = TeamFlow()
    known = set(spec.member_ids)
    said = [Edge(a, b, "declared") for a, b in settings.dataflow_edges if {a, b} <= known]
    edges = (*flow.edges, *(SeenEdge(edge, CONFIGURED, 0) for edge in said))
    verdict, because, missing, whole = _judged(flow, spec, settings.dataflow, said)
    half = (pair for pair in settings.dataflow_edges if len(known & set(pair)) == 1)
    strange = next((one for pair in half for one in pair if one not in known), None)
    if strange is not None:  # most likely a typo: a use that was meant must not be taken for none
        whole = False
        if verdict == "independent":
            because = f"The setting dataflow_edges names {strange}, which is not a member of the team."
            verdict, missing = "unknown", "Correct the setting."
    return Knowledge(
        spec=spec,
        verdict=verdict,
        because=because,
        missing=missing,
        edges=edges,
        open=flow.open,
        runs=flow.runs_as_configured,
        declared=settings.dataflow,
        is_whole=whole,
        repeated=flow.repeated,
    )


def _judged(
    flow: TeamFlow, spec: TeamSpec, declared: str, said: Iterable[Edge]
) -> tuple[FlowVerdict, str, str | None, bool]:
    said = list(said)
    if declared == "off":
        return "unknown", "The setting dataflow is off, so no run is looked at.", "Set dataflow to auto.", False
    if declared == "dependent":
        return "dependent", "The setting dataflow says so.", None, False
    if declared == "independent":
        if said:
            return "dependent", f"The settings say that {_pairs(said)}, and nothing else.", None, True
        return "independent", "The setting dataflow says so.", None, True
    sure = [one for one in flow.edges if one.edge.sure]
    is_open = bool(flow.open)
    if said or sure:
        because = f"The settings say that {_pairs(said)}." if said else _seen(sure)
        return "dependent", because, None, not is_open
    if is_open:
        name, reasons = next(iter(flow.open.items()))
        because = f"What {name} uses can't be known: it {OPEN_WORDS[next(iter(reasons))]}."
        return "unknown", because, "Say it with the setting dataflow, or have a scorer grade the runs.", False
    if flow.edges:
        first = flow.edges[0].edge
        because = f"{first.target} may use the work of {first.source} ({first.channel})."
        return "unknown", because, "Say it with the setting dataflow, or have a scorer grade the runs.", True
    left = LEAST_TO_TEST - flow.runs_as_configured
    if left > 0:
        looked_at = flow.runs_as_configured
        because = f"Only {count(looked_at, 'run')} as configured {'was' if looked_at == 1 else 'were'} looked at."
        if not looked_at:
            because = "No run as configured was looked at yet."
        return "unknown", because, f"{count(left, 'more run')} as configured.", True
    if len(spec.members) == 1:
        return "independent", "The team has only one member.", None, True
    runs = count(sum(flow.runs.values()), "run")
    return "independent", f"In {runs}, no member used the work of another.", None, True


def _pairs(edges: Iterable[Edge]) -> str:
    return ", ".join(map(use, edges))


def _seen(sure: Iterable[SeenEdge]) -> str:
    most = max(sure, key=lambda one: one.runs)
    edge = most.edge
    return f"{edge.target} used the work of {edge.source} in {count(most.runs, 'run')} ({edge.channel})."
