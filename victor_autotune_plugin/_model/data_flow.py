"""Who used whose work: what one run of a team showed, and what all its runs showed together.

Neither a text nor a path nor a digest of one is in it: only who, through which channel, and how often.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Final, Literal

from attrs import evolve, field, frozen

from .plan import EMPTY_PLAN, SUB_TEAMS, TeamPlan, TeamSpec, planned_members
from .quantities import Count, Name, OneOf

if TYPE_CHECKING:
    from .run import TeamRun

CHANNELS: Final = ("context", "task", "text", "files", "tools", "messages", "declared")
"""How one member's work reaches another: a value of the shared context, the task it is given, what its model or a tool
tells it, files that both touch, tools whose effect can't be seen, Victor's message bus, or a person's word."""

Channel = Annotated[str, OneOf(CHANNELS)]

OPEN: Final = ("custom", "unseen", "unexplained", "too_much")
"""Why it can't be known what a member used: it is not run by Victor's own adapter; calls of its model were not seen; a
message to its model came from neither the team's goal nor its own work; or there was more text than is looked at."""

OpenReason = Annotated[str, OneOf(OPEN)]

CONFIGURED: Final = "configured"
"""Stands for the layout that the workflow declares."""

DataFlowMode = Literal["auto", "independent", "dependent", "off"]
"""What a person says of a team's data flow: to find it out, that its members use nothing of each other, that they do,
or not to look."""


@frozen(order=True)
class Edge:
    """One member used another's work.

    Attributes:
        source: Id of the member whose work it was.
        target: Id of the member that used it, or may have.
        channel: How it came there, one of `CHANNELS`.
        sure: Whether it was seen; otherwise it can't be ruled out, which counts as much.
    """

    source: Name
    target: Name
    channel: Channel
    sure: bool = True


def _edges(values: Iterable[Edge]) -> tuple[Edge, ...]:
    return tuple(sorted(set(values)))


@frozen
class RunFlow:
    """The data flow of one run.

    Attributes:
        edges: The edges, each once.
        open: Why it can't be known what a member used, by its id; a member of whom all is known is not in it.
        rounds: How often the member that worked most often worked.
        is_whole: Whether every member worked, and the run was not cancelled; others tell what was used, not what not.
    """

    edges: tuple[Edge, ...] = field(default=(), converter=_edges)
    open: Mapping[str, tuple[OpenReason, ...]] = field(factory=dict)
    rounds: Count = 1
    is_whole: bool = True


@frozen(order=True)
class SeenEdge:
    """An edge, and how often runs of one layout showed it.

    Attributes:
        edge: The edge.
        layout: `CONFIGURED`, or the name of the formation that the plugin ran instead.
        runs: Number of runs.
    """

    edge: Edge
    layout: Name
    runs: Count


def _seen(values: Iterable[SeenEdge]) -> tuple[SeenEdge, ...]:
    return tuple(sorted(values, key=_place))


def _place(one: SeenEdge) -> tuple[str, str, str, bool, str, int]:
    """Return what edges are sorted by: as they compare themselves, in a tenth of the time."""
    edge = one.edge
    return edge.source, edge.target, edge.channel, edge.sure, one.layout, one.runs


@frozen
class TeamFlow:
    """The data flow of all runs of a team's definition that were looked at.

    Attributes:
        fingerprint: Fingerprint of the `TeamSpec`; runs of another one are not in it.
        runs: Number of runs in which every member worked and was looked at, by layout.
        edges: Every edge that was ever seen.
        open: How many runs left a member open, by its id and the reason.
        repeated: Runs in which a member worked more than once.
    """

    fingerprint: str | None = None
    runs: Mapping[str, Count] = field(factory=dict)
    edges: tuple[SeenEdge, ...] = field(default=(), converter=_seen)
    open: Mapping[str, Mapping[OpenReason, Count]] = field(factory=dict)
    repeated: Count = 0

    @property
    def runs_as_configured(self) -> int:
        """Number of runs of the declared layout that were looked at."""
        return self.runs.get(CONFIGURED, 0)

    def after(self, run: TeamRun) -> TeamFlow:
        """Return what is known after one more run; one that was not looked at tells nothing."""
        if run.flow is None:
            return self
        shown = evolve(run.flow, is_whole=False) if run.cancelled else run.flow
        return self.with_run(run.spec.fingerprint(), layout_name(run.spec, run.plan_used), shown)

    def with_run(self, fingerprint: str, layout: str, flow: RunFlow) -> TeamFlow:
        """Return what is known after one more run.

        Args:
            fingerprint: Of the run's `TeamSpec`. What was seen of another definition is forgotten.
            layout: `CONFIGURED`, or the name of the formation that ran instead.
        """
        before = self if fingerprint == self.fingerprint else TeamFlow(fingerprint)
        counts = Counter({(one.edge, one.layout): one.runs for one in before.edges})
        counts.update((edge, layout) for edge in flow.edges)
        opened = {member: dict(reasons) for member, reasons in before.open.items()}
        for member, reasons in flow.open.items():
            known = opened.setdefault(member, {})
            for reason in reasons:
                known[reason] = known.get(reason, 0) + 1
        return TeamFlow(
            fingerprint,
            runs={**before.runs, layout: before.runs.get(layout, 0) + flow.is_whole},
            edges=[SeenEdge(edge, where, runs) for (edge, where), runs in counts.items()],
            open=opened,
            repeated=before.repeated + (flow.rounds > 1),
        )


def layout_name(spec: TeamSpec, used: TeamPlan) -> str:
    """Return the name under which the edges of a run are kept: `CONFIGURED`, or the formation that ran instead.

    Args:
        spec: The team as configured.
        used: Every knob as it really ran.
    """
    formation = SUB_TEAMS if used.sub_teams else used.formation or spec.formation
    members = spec.member_ids if used.members is None else used.members
    declared = tuple(one.id for one in planned_members(spec, EMPTY_PLAN))
    return CONFIGURED if (formation, members) == (spec.formation, declared) else formation
