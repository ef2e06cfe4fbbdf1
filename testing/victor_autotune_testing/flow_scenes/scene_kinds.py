"""The two kinds of teams that Victor runs: custom participants, and its own sub-agents."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import evolve, frozen

from victor_autotune_testing.scripted import Rule, Script, ToolTurns
from victor_autotune_testing.scripted.scripts import SATISFIED_ANSWER

from .scene import Desk, Scene, Verdict


@frozen
class Turn:
    """What a custom participant works with.

    Attributes:
        desk: What it can reach in Python.
        task: Its task.
        seen: Its context.
    """

    desk: Desk
    task: Any
    seen: dict[str, Any]

    def before(self, otherwise: str) -> str:
        """Return what the member before has written."""
        return str(self.seen.get("previous_output") or otherwise)


Work = Callable[[Turn], Any]
"""What a custom participant does; it may be a coroutine function."""


class Participant:
    """A custom participant, as applications write them: an object that Victor's coordinator calls."""

    role = "executor"
    persona = None

    def __init__(self, name: str, work: Work, desk: Desk) -> None:
        self.id = self.name = name
        self._work = work
        self._desk = desk

    async def execute_task(self, task: str, context: dict[str, Any]) -> Any:
        """Do its work."""
        await asyncio.sleep(self._desk.stage.latency)
        answer = self._work(Turn(self._desk, task, context))
        return await answer if inspect.isawaitable(answer) else answer

    async def receive_message(self, message: Any) -> None:
        """Keep a message."""
        self._desk.inboxes.setdefault(self.id, []).append(str(message.content))


@frozen(kw_only=True)
class CustomScene(Scene):
    """A team of custom participants.

    Attributes:
        works: What each member does, by its id.
        context: Makes the context that the caller hands in.
        replies: What the model answers to participants that ask it: a rule for each of their prompts.
    """

    works: Mapping[str, Work]
    context: Callable[[], dict[str, Any]] = dict
    replies: tuple[Rule, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """Ids of the members, in order."""
        return tuple(self.works)

    async def _run(self, desk: Desk, members: Sequence[str], formation: str) -> tuple[dict[str, str], str]:
        desk.stage.model.script = Script(self.replies)
        team = _coordinator(desk, formation, lightweight_mode=True)
        for name in members:
            team.add_member(Participant(name, self.works[name], desk))
        result = await team.execute_task(self.goal, {"team_name": self.name, **self.context()})
        return _texts(result["member_results"]), str(result["final_output"])


@frozen(kw_only=True)
class Part:
    """What the model plays of a sub-agent.

    Attributes:
        member: The sub-agent's id.
        role: Its role, which no other member of the team has.
        answer: What it answers, with `{found}` for what it found.
        tools: Tools that it calls first, one after another, with their arguments.
        finds: What it looks for in what it was given and read.
        when: A text of the task that this part answers; the first part of a member without one answers all others.
    """

    member: str
    role: str
    answer: str
    tools: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    finds: str | None = None
    when: str | None = None

    def rule(self, desk: Desk) -> Rule:
        """Return the rule of the scripted model."""
        filled = [(tool, {key: _filled(desk, value) for key, value in given.items()}) for tool, given in self.tools]
        return Rule(
            role=self.role,
            goal=self.when,
            latency=desk.stage.latency,
            tools=[ToolTurns(1, 1, tool, arguments) for tool, arguments in filled],
            finds=self.finds,
            answer=self.answer,
        )


@frozen(kw_only=True)
class SubAgentScene(Scene):
    """A team of Victor's own sub-agents, played by the scripted model.

    Attributes:
        parts: What the model plays; members come in the order of their first parts. In a hierarchy the first leads.
        allowed_tools: Tools that the members have instead of those of their roles.
        as_step: Whether it is the step of a workflow, which tells the members' answers only joined, instead of a
            `TeamConfig`.
    """

    parts: tuple[Part, ...]
    allowed_tools: tuple[str, ...] | None = None
    as_step: bool = False

    @property
    def members(self) -> tuple[str, ...]:
        """Ids of the members, in order."""
        return tuple(dict.fromkeys(part.member for part in self.parts))

    @property
    def can_leave_out(self) -> bool:
        """Whether its formation works without any one of its members."""
        return self.formation in ("sequential", "pipeline", "parallel")

    @property
    def proof(self) -> Scene:
        """The same team as a `TeamConfig`."""
        return evolve(self, as_step=False)

    @property
    def acceptable(self) -> tuple[Verdict, ...]:
        """The acceptable verdicts; Victor runs all members, so that they can be known to be independent."""
        return self.verdicts or ("independent" if self.is_independent else super().acceptable[0],)

    async def _run(self, desk: Desk, members: Sequence[str], formation: str) -> tuple[dict[str, str], str]:
        parts = sorted(self.parts, key=lambda part: part.when is None)
        desk.stage.model.script = Script([part.rule(desk) for part in parts])
        roles = {part.member: part.role for part in self.parts}
        if self.as_step:
            return {}, await self._run_step(desk, {name: roles[name] for name in members}, formation)
        from victor.core.shared_types import SubAgentRole
        from victor.teams import TeamConfig, TeamFormation, TeamMember

        tools = None if self.allowed_tools is None else list(self.allowed_tools)
        leads = formation == "hierarchical"
        made = [
            TeamMember(
                id=name,
                role=SubAgentRole(roles[name]),
                name=name.title(),
                goal="do your part",
                allowed_tools=tools,
                is_manager=leads and name == self.members[0],
            )
            for name in members
        ]
        config = TeamConfig(
            name=self.name, goal=self.goal, members=made, formation=TeamFormation(formation.partition(":")[0])
        )
        team = _coordinator(desk, formation)
        result = await team.execute_team_config(config)
        return _texts(result.member_results), str(result.final_output)

    async def _run_step(self, desk: Desk, roles: Mapping[str, str], formation: str) -> str:
        from victor.workflows.definition import TeamStepWorkflow, WorkflowDefinition

        from victor_autotune_plugin import run_workflow

        members = [{"id": name, "role": role, "goal": "do your part"} for name, role in roles.items()]
        step = TeamStepWorkflow(id="team", name="team", goal=self.goal, team_formation=formation, members=members)
        workflow = WorkflowDefinition(name=self.name, nodes={"team": step})
        result = await run_workflow(workflow, desk.stage.orchestrator, {})
        return str(result.state["team_output"])


def said(text: str) -> str:
    """Return an answer that Victor's sub-agents accept as final: the text, and that all is done."""
    return f"{text} {SATISFIED_ANSWER}"


def _filled(desk: Desk, value: Any) -> Any:
    return desk.fill(value) if isinstance(value, str) else value


def _coordinator(desk: Desk, formation: str, **options: Any) -> Any:
    from victor.coordination.formations.consensus import ConsensusFormation
    from victor.teams import TeamFormation, UnifiedTeamCoordinator

    name, _, rounds = formation.partition(":")
    team = UnifiedTeamCoordinator(desk.stage.orchestrator, **options)
    team.set_formation(TeamFormation(name))
    if rounds:
        team._formations[TeamFormation.CONSENSUS] = ConsensusFormation(max_rounds=int(rounds))
    desk.team.append(team)
    return team


def _texts(results: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(one["output"] if isinstance(one, Mapping) else one.output) for name, one in results.items()}
