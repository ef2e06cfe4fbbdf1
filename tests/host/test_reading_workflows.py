"""A workflow file means to the plugin what it means to Victor: every node, and every value of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from importlib.metadata import files
from pathlib import Path
from typing import Any, Final

import pytest
from victor.workflows import yaml_loader
from victor.workflows.definition import TeamStepWorkflow

from victor_autotune_plugin import read_workflows
from victor_autotune_plugin.errors import WorkflowError

EXAMPLES: Final = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
SHIPPED: Final = [Path(str(file.locate())) for file in files("victor-ai") or () if file.suffix in (".yaml", ".yml")]
TEAM: Final = ("goal", "timeout_seconds", "merge_strategy", "output_key", "shared_context", "max_iterations")


def taught(node: dict[str, Any], config: Any) -> Any:
    """Read a node as Victor's loader would if it knew team steps: what is missing has its own default."""
    if node.get("type") != "team":
        return ORIGINAL(node, config)
    given = {key: node[key] for key in TEAM if key in node}
    formation = node.get("formation", node.get("team_formation", "sequential"))
    name = node.get("name", node["id"])
    if "total_tool_budget" in node:
        given["total_tool_budget"] = node["total_tool_budget"]
    return TeamStepWorkflow(
        node["id"], name, node.get("next", []), team_formation=formation, members=node["members"], **given
    )


ORIGINAL: Final = yaml_loader._parse_node


@pytest.fixture
def victors(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return the workflows of a file by name, or one of them, as Victor's own loader reads them."""

    def victors(path: Path, name: str | None = None) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(yaml_loader, "_parse_node", taught)
            return yaml_loader.load_workflow_from_file(path, name)

    return victors


def plain(value: Any) -> Any:
    """A node as data that can be compared; a condition and a transformation are functions, made for each reading."""
    if callable(value):
        return value.__qualname__, value.__defaults__
    return (
        {key: plain(one) for key, one in vars(value).items()} if hasattr(value, "next_nodes") else (type(value), value)
    )


def told(value: Any) -> str:
    """What `repr` says, with a set's members in one order: equal sets may give them in another, by the hash seed."""
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}{sorted(map(told, value))}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{told(key)}: {told(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}[{', '.join(map(told, value))}]"
    return repr(value)


def assert_equal(ours: Any, theirs: Any) -> None:
    assert list(ours.nodes) == list(theirs.nodes)
    for name, node in theirs.nodes.items():
        assert told(plain(ours.nodes[name])) == told(plain(node))
    mine, others = ({**vars(one), "nodes": 0, "metadata": {**one.metadata, "autotune": 0}} for one in (ours, theirs))
    assert told(mine) == told(others)


@pytest.mark.parametrize("path", [*EXAMPLES, *SHIPPED], ids=lambda path: path.name)
def test_every_node_of_the_examples_is_what_victor_reads(victors: Callable[..., Any], path: Path) -> None:
    if "type: team" not in path.read_text():
        with pytest.raises(WorkflowError, match=r"no workflow with a team step|must be a mapping"):
            read_workflows(path)
        return
    found = read_workflows(path)
    assert found.workflows
    for name, workflow in victors(path).items():
        assert_equal(found.workflow(name), workflow)


ODD: Final = (
    "off", "no", "Yes", "on", "y", "true", "False", "0300", "0o17", "0x1F", "0b101", "1:30", "190:20:30", "1_000",
    "1e3", "1.5e+3", ".5", ".inf", "-.INF", "~", "null", "", "2026-01-31", "2026-01-31T10:00:00Z",
    "2026-01-31 10:00:00 +02:00", "!!str 2026", "!!float 3", "!!set {a, b}", "!!omap [a: 1]", "!!binary aGk=",
    "'it''s'", '"tab\\there \\u00e9"', "plain é 🐛", "${REPO}", "${REPO:-none}", "${UNSET}", "${UNSET:-a b}",
    "$env.REPO/x", "$env.UNSET", "'${NUMBER:-7}'", "${REPO:-${X}}", "[a, b]", "{a: on, 1: two, no: 3}", "*shared",
    "[*shared, 0300]", "|\n            two\n            lines",
)  # fmt: skip
"""Values that YAML 1.1 and 1.2 read differently, and such that are rarely met."""

KEYS: Final = ("llm_config_x", "description", "metadata", "timeout_x", "on", "2026", "~", "'quoted'")


class Writer:
    """Makes up a workflow file, the same for each seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._anchors = 0

    def text(self) -> str:
        shared = self._random.choice(("{on: off, mode: 0300}", "{a: *none}", "[1:30, ~]")).replace("*none", "&none 1_0")
        lines = [f"defaults: &shared {shared}", "common: &common {goal: 'for ${REPO}', name: on, tool_budget: 010}"]
        lines += ["workflows:", *self._workflow("first"), *self._workflow("second")]
        return "\n".join(lines) + "\n"

    def _one(self, *values: str) -> str:
        return self._random.choice(values)

    def _odd(self) -> str:
        return self._one(*ODD)

    def _workflow(self, name: str) -> Iterator[str]:
        yield f"  {name}:"
        yield f"    description: {self._odd()}"
        if self._random.random() < 0.5:
            key = self._one("on", "0300", "1:30", "*shared")
            yield f"    metadata: {{version: 1.0, created: 2026-01-31, key: {key}}}"
        yield "    nodes:"
        count = self._random.randint(1, 5)
        team = self._random.randrange(count)
        for number in range(count):
            kind = (
                "team"
                if number == team
                else self._one("agent", "compute", "team", "hitl", *["condition"][: number < count - 1])
            )
            yield f"      - id: n{number}"
            yield f"        type: {kind}"
            yield from (f"        {line}" for line in getattr(self, f"_{kind}")(number))
            if self._random.random() < 0.3:
                yield f"        {self._one(*KEYS)}: {self._odd()}"
            if number < count - 1 and kind != "condition" and self._random.random() < 0.3:
                yield f"        next: {self._one('[]', '[]', f'[n{number + 1}]', f'[n{number + 1}]', '')}"

    def _agent(self, number: int) -> Iterator[str]:
        if self._random.random() < 0.3:
            yield "<<: *common"
        for key in ("goal", "name", "tool_budget", "timeout", "output", "profile", "goal"):
            if self._random.random() < 0.5:
                yield f"{key}: {self._odd()}"

    def _compute(self, number: int) -> Iterator[str]:
        yield "handler: shell"
        for key in ("fail_fast", "timeout", "parallel", "tools"):
            if self._random.random() < 0.5:
                yield f"{key}: {self._odd()}"
        if self._random.random() < 0.7:
            allowed = ", ".join(f"{key}_allowed: {self._one('off', 'no', 'yes', 'on')}" for key in ("network", "write"))
            yield f"constraints: {{{allowed}, timeout: {self._one('1:30', '0300', '1_000')}}}"

    def _condition(self, number: int) -> Iterator[str]:
        yield f"condition: {self._one('ready', 'x == 3', 'default')}"
        yield f"branches: {{{self._one('true', 'yes', '0300', 'a')}: n{number + 1}}}"

    def _hitl(self, number: int) -> Iterator[str]:
        yield f"prompt: {self._odd()}"
        yield f"timeout: {self._one('0300', '1:30', '.5')}"

    def _team(self, number: int) -> Iterator[str]:
        formation = self._one("parallel", "Pipeline", "consensus", "sequential")
        yield f"{self._one('formation', 'team_formation')}: {formation}"
        yield f"goal: {self._one('text ${REPO}', '${UNSET:-a}', '$env.REPO', 'plain', '!!str 2026')}"
        if self._random.random() < 0.5:
            yield f"timeout_seconds: {self._one('0300', '1:30', '1_000', '.5', '12')}"
            yield f"total_tool_budget: {self._one('0300', '1_0', '0x1F', '5')}"
        if self._random.random() < 0.5:
            value = self._one("off", "0300", "2026-01-31", "*shared")
            yield f"shared_context: {{a: {value}, no: '${{REPO}}'}}"
        if self._random.random() < 0.3:
            yield "max_iterations: 1"
            yield "max_iterations: 0b101"
        yield "members:"
        yield "  - {id: one, role: reviewer, goal: 'a ${REPO:-x}', expertise: [on, 0300], backstory: 2026-01-31}"
        self._anchors += 1
        yield f"  - &m{self._anchors} {{id: two, role: Writer, tool_budget: 010, personality: {self._one('y', 'no')}}}"
        yield f"  - {{<<: *m{self._anchors}, id: three, tools: [read], role: tester, role: planner}}"


@pytest.mark.parametrize("block", range(10))
def test_500_files_are_read_as_victor_reads_them(
    victors: Callable[..., Any], block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPO", "our repo")
    monkeypatch.delenv("UNSET", raising=False)
    path = tmp_path / "flow.yaml"
    equal = 0
    for seed in range(50 * block, 50 * block + 50):
        path.write_text(Writer(seed).text())
        for name in ("first", "second"):
            try:
                theirs = victors(path, name)
            except Exception:
                with pytest.raises(WorkflowError, match=r"flow\.yaml:\d+: "):
                    read_workflows(path).workflow(name)
            else:
                assert_equal(read_workflows(path).workflow(name), theirs)
                equal += 1
    assert equal >= 80  # of 100; the others can't be read by Victor either


@pytest.mark.parametrize("name", ["2026", "on", "2026-01-31", "'no'", "two words"])
def test_a_workflow_may_have_any_name(victors: Callable[..., Any], tmp_path: Path, name: str) -> None:
    path = tmp_path / "flow.yaml"
    path.write_text(f"workflows:\n  {name}: {{nodes: [{{id: t, type: team, members: [{{id: a, role: planner}}]}}]}}\n")
    (theirs,) = victors(path).values()
    assert plain(read_workflows(path).workflow(name.strip("'")).nodes["t"]) == plain(theirs.nodes["t"])
