"""What people are shown of a team's data flow: the graph, what it rests on, and which formations follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from .._model.data_flow import CONFIGURED, Edge, SeenEdge, TeamFlow
from .._model.plan import TeamPlan, TeamSpec, feasible_formations
from .._model.text import DASH, count, listed
from .graph import drawn
from .verdict import OPEN_WORDS, Knowledge, Rules, knowledge_of, use

if TYPE_CHECKING:
    from .._settings import Settings

HEADINGS: Final = ("Use", "Through", "How sure", "Runs", "Layout")
"""Headings of the table that `FlowFacts.rows` gives."""

CHANNEL_WORDS: Final[Mapping[str, str]] = {
    "context": "shared context",
    "task": "its task",
    "text": "text it was given",
    "files": "files",
    "tools": "tool calls",
    "messages": "message bus",
    "declared": "settings",
}
"""Channels in words for a table."""


@frozen
class FlowFacts:
    """What is known of a team's data flow, and what follows from it.

    Attributes:
        knowledge: What is known.
        runs: Runs that were looked at, by layout.
        ignored: Declared edges that name no member of the team.
        kept: Formations that keep the work, so that a test of them needs no scorer.
        cut: Formations that take from a member work that it uses; they are never chosen.
        unsure: Formations that may change the work.
        opened_by: Formations that could be tested besides, by what would open them: `scorer`, and where the data flow
            is unknown `independent`, the declaration that the team is so. Empty where a scorer or a person allows them.
    """

    knowledge: Knowledge
    runs: Mapping[str, int] = field(factory=dict)
    ignored: tuple[tuple[str, str], ...] = ()
    kept: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    opened_by: Mapping[str, tuple[str, ...]] = field(factory=dict)

    @property
    def graph(self) -> str:
        """The graph in one line. Only where all is known, a member without an edge is called independent."""
        known, members = self.knowledge, self.knowledge.spec.member_ids
        edges = [edge for edge in known.binding if {edge.source, edge.target} <= set(members)]
        if known.is_whole and known.verdict != "unknown":
            return drawn(members, edges)
        linked = {name for edge in edges for name in (edge.source, edge.target)}
        parts = [drawn([name for name in members if name in linked], edges)] if edges else []
        alone = [name for name in members if name not in linked]
        if alone:
            parts.append(f"{', '.join(alone)}: {'no use seen' if self.runs else 'not looked at yet'}")
        return "; ".join(parts)

    @property
    def edges(self) -> tuple[SeenEdge, ...]:
        """The edges, declared and most frequent ones first."""
        return tuple(sorted(self.knowledge.edges, key=lambda one: (one.edge.channel != "declared", -one.runs, one)))

    def rows(self, most: int | None = None) -> list[tuple[str, str, str, str, str]]:
        """Return the edges as rows of a table: use, channel, how sure, runs, layout.

        Args:
            most: How many at most; None for all.
        """
        return [
            (
                f"{one.edge.source} → {one.edge.target}",
                CHANNEL_WORDS[one.edge.channel],
                *(
                    ("declared", DASH, DASH)
                    if one.edge.channel == "declared"
                    else ("seen" if one.edge.sure else "may be", str(one.runs), layout_text(one.layout))
                ),
            )
            for one in self.edges[:most]
        ]

    @property
    def looked_at(self) -> str:
        """How many runs were looked at, in words."""
        return (
            ", ".join(f"{count(runs, 'run')} {layout_text(name)}" for name, runs in self.runs.items()) or "no run yet"
        )

    @property
    def open(self) -> tuple[tuple[str, str], ...]:
        """Each open member, and why it is open, in words."""
        return tuple(
            (name, "; ".join(f"it {OPEN_WORDS[reason]} ({count(runs, 'run')})" for reason, runs in reasons.items()))
            for name, reasons in sorted(self.knowledge.open.items())
        )

    def consequences(self) -> list[str]:
        """Return what follows for the team's plans, sentence by sentence."""
        said = []
        if self.kept:
            said.append(f"Formations that keep the work, so a test needs no scorer: {listed(self.kept)}.")
        if self.cut:
            what = "take away work that a member uses or may use, so they are never chosen"
            said.append(f"Formations that {what}: {listed(self.cut)}.")
        if self.unsure:
            must = "so a scorer or a person must allow them"
            said.append(f"Formations that may change the work, {must}: {listed(self.unsure)}.")
        if self.opened_by.get("independent"):
            opened = listed(self.opened_by["independent"])
            said.append(f"If you know that no member uses another's work, `dataflow: independent` opens: {opened}.")
        if self.opened_by.get("scorer"):
            opened = listed(self.opened_by["scorer"])
            said.append(f"A scorer (`quality.scorers`) opens: {opened}.")
        said += [
            f"The declared edge {source} → {target} is left out: the team has no member {name}."
            for source, target in self.ignored
            for name in (source, target)
            if name not in self.knowledge.spec.member_ids
        ]
        against = contradicted(self.knowledge)
        if against is not None:
            said.append(f"The settings say otherwise, but a run showed that {use(against)} ({against.channel}).")
        return said

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        known = self.knowledge
        return {
            "verdict": known.verdict,
            "because": known.because,
            "missing": known.missing,
            "declared": known.declared,
            "graph": self.graph,
            "runs": dict(self.runs),
            "edges": [
                {
                    "source": one.edge.source,
                    "target": one.edge.target,
                    "channel": one.edge.channel,
                    "sure": one.edge.sure,
                    "layout": one.layout,
                    "runs": one.runs,
                }
                for one in self.edges
            ],
            "open": {name: dict(reasons) for name, reasons in known.open.items()},
            "formations": {"kept": list(self.kept), "cut": list(self.cut), "unsure": list(self.unsure)},
            "opened_by": {what: list(formations) for what, formations in self.opened_by.items()},
            "ignored_edges": [list(pair) for pair in self.ignored],
        }


def layout_text(layout: str) -> str:
    """Return under which layout runs were, in words."""
    return "as configured" if layout == CONFIGURED else f"with formation {layout}"


def contradicted(knowledge: Knowledge) -> Edge | None:
    """Return the most frequent use that was seen although a person says that there is none, or None.

    Where `a → b` and `b → c` are declared, work of a that comes to c is not against the word.
    """
    if knowledge.declared != "independent":
        return None
    said = {(edge.source, edge.target) for edge in knowledge.binding}
    while further := {(a, d) for a, b in said for c, d in said if b == c} - said:
        said |= further
    seen = [one for one in knowledge.edges if one.edge.sure and (one.edge.source, one.edge.target) not in said]
    return max(seen, key=lambda one: one.runs).edge if seen else None


def facts_of(flow: TeamFlow, spec: TeamSpec, settings: Settings, live: TeamPlan, *, has_scorer: bool) -> FlowFacts:
    """Return what people are shown of a team's data flow.

    Args:
        flow: What its runs showed.
        spec: The team as configured.
        settings: Its settings.
        live: Its live plan, which other formations are compared with.
        has_scorer: Whether what comes out is graded by more than the members' own word.
    """
    known = knowledge_of(flow, spec, settings)
    rules = Rules(known, has_scorer=has_scorer, asks_person=settings.mode != "auto")
    now = "" if live.sub_teams else live.formation or spec.formation
    plans = {name: live.merged(TeamPlan(formation=name)) for name in feasible_formations(spec.members) if name != now}
    plans = {name: plan for name, plan in plans.items() if not settings.limits.crossed_by(plan)}
    kept = tuple(name for name, plan in plans.items() if rules.keeps_work(plan, live))
    cut = tuple(name for name, plan in plans.items() if known.cut_by(plan))
    opened_by: dict[str, tuple[str, ...]] = {}
    if not (rules.has_scorer or rules.asks_person):
        others = {"scorer": evolve(rules, has_scorer=True)}
        if known.verdict == "unknown":
            declared = knowledge_of(flow, spec, evolve(settings, dataflow="independent"))
            others = {"independent": evolve(rules, knowledge=declared), **others}
        closed = {name: plan for name, plan in plans.items() if rules.refusal(plan, live) is not None}
        for what, other in others.items():
            opened_by[what] = tuple(name for name, plan in closed.items() if other.refusal(plan, live) is None)
    return FlowFacts(
        knowledge=known,
        runs=flow.runs if flow.fingerprint == spec.fingerprint() else {},
        ignored=tuple(pair for pair in settings.dataflow_edges if not set(pair) <= set(spec.member_ids)),
        kept=kept,
        cut=cut,
        unsure=tuple(name for name in plans if name not in kept and name not in cut),
        opened_by=opened_by,
    )
