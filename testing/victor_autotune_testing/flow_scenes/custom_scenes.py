"""Teams of custom participants: objects with an id and `execute_task`."""

from __future__ import annotations

import copy
import json
import pickle
from collections import ChainMap
from collections.abc import Mapping
from string import Template
from typing import Any, Final

import yaml

from victor_autotune_testing.scripted import Rule

from . import custom_works as works
from .custom_works import in_time, says
from .scene import Scene
from .scene_kinds import CustomScene, Work

_WALKS: Final[Mapping[str, Work]] = {
    "dict()": lambda turn: in_time(dict(turn.seen)),
    "json.dumps": lambda turn: in_time(json.dumps(turn.seen, default=str)),
    "** and |": lambda turn: in_time({**turn.seen, "mine": 1} | dict(turn.seen)),
    "items()": lambda turn: in_time([value for _, value in turn.seen.items()]),
    "deepcopy": lambda turn: in_time(copy.deepcopy(turn.seen)),
    "f-string": lambda turn: in_time(f"{turn.seen}"),
    "copy()": lambda turn: in_time(turn.seen.copy()),
    "pickle": lambda turn: in_time(pickle.loads(pickle.dumps(turn.seen))),
    "yaml": lambda turn: in_time(yaml.safe_dump(dict(turn.seen))),
    "template": lambda turn: in_time(Template("$previous_output").safe_substitute(turn.seen)),
    "ChainMap": lambda turn: in_time(ChainMap({}, turn.seen).get("previous_output")),
    "pop": lambda turn: in_time(turn.seen.pop("previous_output", "")),
    "in": lambda turn: f"There is {'a' if 'previous_output' in turn.seen else 'no'} measurement.",
}
_PAIR: Final = "first>second"
_UNCLEAR: Final = ("dependent", "unknown")


def _team(name: str, kind: str, goal: str, members: Mapping[str, Work], **fields: Any) -> CustomScene:
    return CustomScene(name=name, kind=kind, goal=goal, works=members, **fields)


def _pair(first: Work, second: Work) -> Mapping[str, Work]:
    return {"first": first, "second": second}


def _walk(name: str, walk: Work, **fields: Any) -> CustomScene:
    members = {"measure": says("The latency is 31 milliseconds."), "judge": walk}
    return _team(f"walk {name}", "context", "judge the latency of the service", members, **fields)


CUSTOM_SCENES: Final[tuple[Scene, ...]] = (
    _team(
        "etl", "key", "data", {name: works.stage(f"{name}ed") for name in ("extract", "clean", "report")},
        formation="pipeline", uses="extract>clean clean>report",
    ),
    _team(
        "invoices", "key", "invoice 4711",
        {name: works.stage(name) for name in ("scan", "split", "match", "check", "post")},
        formation="pipeline", uses="scan>split split>match match>check check>post",
    ),
    _team("letters", "key", "a letter", _pair(works.stage("written"), works.stage("edited")), uses=_PAIR),
    _team(
        "thanks", "previous_agent", "thank everybody",
        {
            "anna": says("Hello from me."),
            "ben": lambda turn: f"Thanks to {turn.seen.get('previous_agent', 'nobody')}.",
            "cleo": lambda turn: f"And to {turn.seen.get('previous_agent', 'nobody')}.",
        },
        uses="anna>ben ben>cleo",
    ),
    _team(
        "paraphrase", "paraphrase", "count the words",
        _pair(says("Berlin and Bonn are two towns in Germany."), works.counts), uses=_PAIR,
    ),
    _team("forty-two", "short", "compute the answer", _pair(says("42"), works.doubled), uses=_PAIR),
    _team(
        "forty-two pipeline", "short", "compute it again",
        {"deep": lambda _turn: 42, "twice": works.doubled, "again": works.doubled},
        formation="pipeline", uses="deep>twice twice>again",
    ),
    _team(
        "release note", "prompt from a key", "write a release note",
        _pair(lambda turn: turn.desk.ask("Write a release note for version 3."), works.improved), uses=_PAIR,
        replies=(
            Rule(goal="Write a release note", answer="Version 3 brings faster exports and mends the calendar."),
            Rule(goal="Shorten this", finds="/calendar|none yet/", answer="New: exports, {found}."),
        ),
    ),
    _team(
        "apology", "prompt from a closure", "apologise for the outage", _pair(works.noted, works.from_closure),
        uses=_PAIR, verdicts=_UNCLEAR,
        replies=(
            Rule(goal="Draft a note", answer="From nine to eleven the shop was down because a certificate ran out."),
            Rule(goal="Turn this", finds="/certificate|none yet/", answer="We are sorry about the {found}."),
        ),
    ),
    _team("closure", "closure", "set up health checks", _pair(works.secret, works.secret_used), unseen=_PAIR),
    _team(
        "findings", "shared list", "look for faults",
        {"logs": works.finds("a timeout"), "code": works.finds("a lock"), "tests": works.finds("a flaky test")},
        context=lambda: {"findings": []}, uses="logs>code logs>tests code>tests",
    ),
    _team(
        "blackboard", "shared dict", "estimate the costs", _pair(works.first_on_board, works.reads_board),
        formation="parallel", context=lambda: {"board": {}}, uses=_PAIR, verdicts=_UNCLEAR,
    ),
    _team(
        "vote at once", "consensus", "choose a database", _pair(works.voter("Postgres"), works.voter("Redis")),
        formation="consensus",
    ),
    _team(
        "vote in rounds", "consensus in rounds", "choose a queue",
        {"a": works.voter("Kafka"), "b": works.voter("Redis"), "c": works.voter("", hesitates=True)},
        formation="consensus:3", uses="a>b b>a a>c b>c", verdicts=_UNCLEAR,
    ),
    _team(
        "plan reviewed", "reflection", "plan the deployment", _pair(works.generator, works.critic),
        formation="reflection", uses="first>second second>first",
    ),
    _team(
        "plan counted", "reflection", "plan the roll-out", _pair(works.generator, works.curt_critic),
        formation="reflection", uses="first>second second>first", verdicts=_UNCLEAR,
    ),
    _team(
        "dunning", "delegation", "report on March",
        {"lead": works.lead, "open": works.specialist, "sent": works.specialist},
        formation="hierarchical", uses="lead>open lead>sent open>lead sent>lead", verdicts=_UNCLEAR,
    ),
    _team(
        "no delegation", "nobody reads", "report on April",
        {"lead": says("All is well."), "one": says("4 invoices"), "two": says("2 reminders")},
        formation="hierarchical",
    ),
    *(_walk(name, walk, uses="measure>judge", verdicts=_UNCLEAR) for name, walk in _WALKS.items()),
    _walk("in vain", lambda turn: f"There is {'a' if 'team_name' in dict(turn.seen) else 'no'} team name."),
    _team(
        "mail", "message bus", "agree on a date",
        _pair(works.sends("first", "second", "Friday"), works.inbox("second")), uses=_PAIR, verdicts=_UNCLEAR,
    ),
    _team(
        "broadcast", "message bus", "agree on a room",
        {"first": works.sends("first", None, "room 12"), **{name: works.inbox(name) for name in ("second", "third")}},
        uses="first>second first>third", verdicts=_UNCLEAR,
    ),
    _team("orders", "database", "count the orders", _pair(works.adds_row, works.counts_rows), unseen=_PAIR),
    _team("logo", "module global", "draw a logo", _pair(works.to_global, works.from_global), unseen=_PAIR),
    _team("limits", "own files", "set the limits", _pair(works.to_file, works.from_file), unseen=_PAIR),
    _team("variable", "environment", "roll out", _pair(works.to_variable, works.from_variable), unseen=_PAIR),
    _team(
        "same answer", "equal answers", "is it done", _pair(says("Yes, it is done."), says("Yes, it is done."))
    ),
    _team(
        "from the start", "nobody reads", "name the topic",
        {name: lambda turn: f"It is about {turn.seen['topic']}." for name in ("one", "two", "three")},
        context=lambda: {"topic": "trains"},
    ),
)  # fmt: skip
"""Dependent ones show it in their answers; of the others nobody can know, since Python hides what they do."""
