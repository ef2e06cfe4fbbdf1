"""A team whose data flow is known, how real Victor runs it, and how the truth of what is said about it shows.

What is said is checked without the plugin: a member that uses nothing of the others answers the same when it works
alone, and when the others work in the reverse order; who used a member's work answers differently without it.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from victor_autotune_testing.scripted import MODEL, ScriptedModel

Verdict = Literal["dependent", "independent", "unknown"]
Pair = tuple[str, str]

_numbers = itertools.count(1)


@frozen
class Stage:
    """Where scenes are played.

    Attributes:
        orchestrator: Victor's.
        model: The scripted model behind it.
        project: The sandbox's project; each run gets a new folder in it, which goes with the run.
        latency: Seconds that a custom participant, or a call of the model, takes.
    """

    orchestrator: Any
    model: ScriptedModel
    project: Path
    latency: float = 0.0

    @contextmanager
    def desk(self, files: Mapping[str, str], links: Mapping[str, str]) -> Iterator[Desk]:
        """Lay out a run's folder and what else its members can reach, and clear it away afterwards."""
        desk = Desk(self, f"run{next(_numbers)}")
        for name, text in files.items():
            path = desk.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        desk.folder.mkdir(exist_ok=True)
        for name, target in links.items():
            (desk.folder / name).symlink_to(target)
        try:
            yield desk
        finally:
            shutil.rmtree(desk.folder)


@frozen
class Desk:
    """What custom participants of one run can reach beside task and context.

    Attributes:
        stage: Where the run takes place.
        name: Name of the run's folder in the project.
        notes: What Python lets members share unseen, such as a variable that their functions close over.
        inboxes: Messages received, by member id.
        team: Victor's coordinator, whose message bus they use.
    """

    stage: Stage
    name: str
    notes: dict[str, str] = field(factory=dict)
    inboxes: dict[str, list[str]] = field(factory=dict)
    team: list[Any] = field(factory=list)

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.stage.project / self.name

    async def ask(self, prompt: str) -> str:
        """Ask the model as custom participants do: through Victor's provider."""
        from victor.providers.base import Message

        answer = await self.stage.orchestrator.provider.chat([Message(role="user", content=prompt)], model=MODEL)
        return str(answer.content)

    async def send(self, sender: str, recipient: str | None, text: str) -> None:
        """Send a text over Victor's message bus, to one member or to all."""
        from victor.teams.types import AgentMessage, MessageType

        message = AgentMessage(sender, text, MessageType.DISCOVERY, recipient)
        (team,) = self.team
        await (team.broadcast(message) if recipient is None else team.send_message(message))

    def fill(self, text: str) -> str:
        """Put the run's folder into a text, for `{here}` from the project and for `{root}` from the root."""
        return text.replace("{here}", self.name).replace("{root}", str(self.folder))

    def files(self) -> dict[str, str]:
        """Return the files that the run has left, by name."""
        found = (path for path in sorted(self.folder.rglob("*")) if path.is_file() and path.suffix != ".db")
        return {str(path.relative_to(self.folder)): path.read_text(encoding="utf-8") for path in found}


@frozen
class Outcome:
    """What a run gave.

    Attributes:
        answers: What the members answered, by id; of a reflection only the generator's last answer.
        final: The team's answer.
        files: What is left in the run's folder.
    """

    answers: Mapping[str, str]
    final: str
    files: Mapping[str, str]


def _pairs(text: str | tuple[Pair, ...]) -> tuple[Pair, ...]:
    """Read `a>b b>c`."""
    if isinstance(text, tuple):
        return text
    return tuple((source, target) for source, _, target in (word.partition(">") for word in text.split()))


@frozen(kw_only=True)
class Scene:
    """A team, and the truth about who uses whose work in it.

    Attributes:
        name: Its name in the plugin's store.
        kind: How work reaches other members.
        formation: Formation as configured; `consensus` is one round, `consensus:3` up to three.
        goal: What the team is asked to do.
        files: Files in the run's folder at the start.
        links: Symbolic links there, with what they lead to.
        uses: Who uses whose work in a way that can be seen, as `a>b b>c`.
        unseen: The same where Python hides it, such as in a database.
        verdicts: Verdicts that are acceptable; by default what is true, and `unknown` where it can't be seen.
    """

    name: str
    kind: str
    formation: str = "sequential"
    goal: str
    files: Mapping[str, str] = field(factory=dict)
    links: Mapping[str, str] = field(factory=dict)
    uses: tuple[Pair, ...] = field(default="", converter=_pairs)
    unseen: tuple[Pair, ...] = field(default="", converter=_pairs)
    verdicts: tuple[Verdict, ...] = ()

    @property
    def members(self) -> tuple[str, ...]:
        """Ids of the members, in order."""
        raise NotImplementedError

    @property
    def is_independent(self) -> bool:
        """Whether its members truly use nothing of each other."""
        return not self.uses and not self.unseen

    @property
    def acceptable(self) -> tuple[Verdict, ...]:
        """The acceptable verdicts."""
        return self.verdicts or ("dependent" if self.uses else "unknown",)

    @property
    def flows(self) -> frozenset[Pair]:
        """Whose work can be in whose: the pairs, and those over others in between."""
        found = {*self.uses, *self.unseen}
        while more := {(a, d) for a, b in found for c, d in found if b == c and a != d} - found:
            found |= more
        return frozenset(found)

    async def play(self, stage: Stage, members: Sequence[str] | None = None, formation: str | None = None) -> Outcome:
        """Run the team once.

        Args:
            stage: Where.
            members: Who takes part, in order; None for all.
            formation: Instead of the configured one.
        """
        who = self.members if members is None else tuple(members)
        with stage.desk(self.files, self.links) as desk:
            answers, final = await self._run(desk, who, formation or self.formation)
            kept = {name: answers.get(name, "") for name in who}
            if "reflection" in (formation or self.formation):
                kept = {who[0]: final}
            return Outcome(kept, final, desk.files())

    async def _run(self, desk: Desk, members: Sequence[str], formation: str) -> tuple[dict[str, str], str]:
        raise NotImplementedError

    @property
    def can_leave_out(self) -> bool:
        """Whether its formation works without any one of its members."""
        return self.formation in ("sequential", "pipeline", "parallel")

    @property
    def proof(self) -> Scene:
        """The same team in a form that tells each member's answer."""
        return self

    async def shows_dependence(self, stage: Stage) -> bool:
        """Return whether members answer, or leave files, otherwise when they work alone or in the reverse order."""
        together = await self.play(stage)
        for name in together.answers:
            alone = await self.play(stage, [name], "sequential")
            if alone.answers[name] != together.answers[name]:
                return True
        if not self.can_leave_out:
            return False
        reverse = await self.play(stage, self.members[::-1])
        return (reverse.answers, reverse.files) != (together.answers, together.files)

    async def influences(self, stage: Stage) -> set[Pair]:
        """Return who answers otherwise without whom, in a formation that members can be left out of."""
        together = await self.play(stage)
        found: set[Pair] = set()
        for left in self.members if self.can_leave_out else ():
            rest = [name for name in self.members if name != left]
            without = await self.play(stage, rest)
            found |= {(left, name) for name in rest if without.answers[name] != together.answers[name]}
        return found
