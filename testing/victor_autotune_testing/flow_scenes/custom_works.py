"""What custom participants do, as applications write it.

They get what formations put into the context, values of the caller's context, and whatever Python can reach.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from typing import Any, Final

from .scene_kinds import Turn, Work

NEEDS_WORK: Final = "It ends too early. VERDICT: NEEDS_WORK"
SATISFIED: Final = "Nothing is missing. VERDICT: SATISFIED"

_BOARD: dict[str, str] = {}
"""A global of the module, by folder of the run."""


def stage(verb: str) -> Work:
    return lambda turn: f"{verb}({turn.before(turn.task)})"


def counts(turn: Turn) -> str:
    """Tell something about the text before in words that are not in it."""
    text = turn.before("")
    return f"{len(text.split())} Wörter, davon {sum(word.istitle() for word in text.split())} groß geschrieben."


def doubled(turn: Turn) -> int:
    return 2 * int(turn.before("0"))


async def improved(turn: Turn) -> str:
    return await turn.desk.ask(f"Shorten this release note: {turn.before('none yet')}")


async def noted(turn: Turn) -> str:
    turn.desk.notes["draft"] = await turn.desk.ask("Draft a note about the outage of last night.")
    return turn.desk.notes["draft"]


async def from_closure(turn: Turn) -> str:
    return await turn.desk.ask(f"Turn this into an apology to customers: {turn.desk.notes.get('draft', 'none yet')}")


def secret(turn: Turn) -> str:
    turn.desk.notes["port"] = "8443"
    return "The port was chosen."


def secret_used(turn: Turn) -> str:
    return f"The health check asks port {turn.desk.notes.get('port', '80')}."


def finds(text: str) -> Work:
    def work(turn: Turn) -> str:
        turn.seen["findings"].append(text)
        return f"{len(turn.seen['findings'])} findings so far"

    return work


async def first_on_board(turn: Turn) -> str:
    turn.seen["board"]["region"] = "eu-central-1"
    return "The region is on the board."


async def reads_board(turn: Turn) -> str:
    for _ in range(200):
        if "region" in turn.seen["board"]:
            break
        await asyncio.sleep(0)
    return f"Costs were estimated for {turn.seen['board'].get('region', 'no region')}."


def voter(opinion: str, *, hesitates: bool = False) -> Work:
    """Agree in the second round with what most said in the first, in which one member may fail."""

    def work(turn: Turn) -> str:
        if "previous_results" not in turn.task:
            if hesitates:
                raise ValueError("not sure yet")
            return opinion
        return "adopt: " + ", ".join(sorted(one for one in ("Postgres", "Redis", "Kafka") if one in turn.task))

    return work


def generator(turn: Turn) -> str:
    if "REVIEWER FEEDBACK" in turn.task:
        return "Deploy on Monday, watch the error rate for an hour, and roll back when it doubles."
    return "Deploy on Monday."


def critic(turn: Turn) -> str:
    return SATISFIED if "roll back" in turn.task else NEEDS_WORK


def curt_critic(turn: Turn) -> str:
    return f"{len(turn.task)} characters. VERDICT: " + ("SATISFIED" if "roll back" in turn.task else "NEEDS_WORK")


def lead(turn: Turn) -> Any:
    """Give each specialist a part, and then put their answers together."""
    if isinstance(turn.task, Mapping):
        return " + ".join(str(one["content"]) for one in turn.task["specialist_results"])
    from victor.teams.types import AgentMessage, MessageType

    parts = ("count the open invoices of March", "count the reminders that were sent in March")
    tasks = [AgentMessage("lead", part, MessageType.DELEGATION) for part in parts]
    return {"output": "The work is split in two.", "metadata": {"delegated_tasks": tasks}}


def specialist(turn: Turn) -> str:
    return f"{'12 invoices' if 'invoices' in turn.task else '7 reminders' if 'reminders' in turn.task else 'no part'}"


def _orders(turn: Turn) -> sqlite3.Connection:
    base = sqlite3.connect(turn.desk.folder / "orders.db", isolation_level=None)
    base.execute("create table if not exists orders (number)")
    return base


def adds_row(turn: Turn) -> str:
    """Save a row."""
    with closing(_orders(turn)) as base:
        base.execute("insert into orders values (1)")
    return "saved"


def counts_rows(turn: Turn) -> str:
    """Count the rows."""
    with closing(_orders(turn)) as base:
        (number,) = base.execute("select count(*) from orders").fetchone()
    return f"{number} rows"


def to_global(turn: Turn) -> str:
    _BOARD[turn.desk.name] = "blue"
    return "A colour was chosen."


def from_global(turn: Turn) -> str:
    return f"The logo is {_BOARD.pop(turn.desk.name, 'grey')}."


def to_file(turn: Turn) -> str:
    (turn.desk.folder / "limits.json").write_text('{"rate": 12}', encoding="utf-8")
    return "The limits are set."


def from_file(turn: Turn) -> str:
    path = turn.desk.folder / "limits.json"
    return f"Rate {json.loads(path.read_text(encoding='utf-8'))['rate']}" if path.exists() else "no limits"


def to_variable(turn: Turn) -> str:
    os.environ[f"FLOW_{turn.desk.name}"] = "canary"
    return "The stage is set."


def from_variable(turn: Turn) -> str:
    return f"Rolled out to {os.environ.pop(f'FLOW_{turn.desk.name}', 'production')}."


def sends(sender: str, recipient: str | None, text: str) -> Work:
    async def work(turn: Turn) -> str:
        await turn.desk.send(sender, recipient, text)
        return "sent"

    return work


def inbox(name: str) -> Work:
    return lambda turn: f"read: {', '.join(turn.desk.inboxes.get(name, ['no message']))}"


def says(text: str) -> Work:
    return lambda _turn: text


def in_time(value: object) -> str:
    return "in time" if "31 milliseconds" in str(value) else "not measured"
