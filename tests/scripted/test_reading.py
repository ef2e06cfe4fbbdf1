"""Script files: what they can say, and what is said about a wrong one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from victor_autotune_testing.scripted import (
    Constant,
    Crowding,
    Failure,
    Lognormal,
    Rule,
    Script,
    ScriptError,
    Tailed,
    ToolTurns,
    Uniform,
    load_script,
    read_script,
)
from victor_autotune_testing.scripted.__main__ import example

YAML = """\
seed: 4
rules:
  - name: slow
    when: {role: researcher, goal: /re.iew/, turn: 1, in_flight: 3, refused: 2}
    latency: {median: 0.2, sigma: 0.5, tail: {probability: 0.1, factor: 10}}
    tokens: {prompt: 800, completion: {low: 10, high: 20}}
    crowding: {free: 2}
    tools:
      - {turns: 2, calls: 3, tool: ls, arguments: {path: "{n}"}}
    failures:
      - {status: 429, calls: [1, 3], retry_after: 2}
    answer: Here it is.
"""
SCRIPT = Script(
    [
        Rule(
            "slow",
            role="researcher",
            goal="/re.iew/",
            turn=1,
            in_flight=3,
            refused=2,
            latency=Tailed(Lognormal(0.2, 0.5), 0.1, 10),
            prompt_tokens=Constant(800),
            completion_tokens=Uniform(10, 20),
            crowding=Crowding(free=2),
            tools=[ToolTurns(2, 3, "ls", {"path": "{n}"})],
            failures=[Failure(429, calls=[1, 3], retry_after=2)],
            answer="Here it is.",
        )
    ],
    seed=4,
)


def test_a_file_says_what_the_classes_say(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_text(YAML)
    assert load_script(path) == SCRIPT


def test_json_and_a_bare_list_of_rules_are_read_too() -> None:
    rules = [{"role": "planner"}]
    assert read_script(json.dumps({"rules": [{"when": one} for one in rules]})) == Script([Rule(role="planner")])
    assert read_script("- when: {role: planner}\n") == Script([Rule(role="planner")])


def test_the_example_is_a_script_that_uses_every_key() -> None:
    script = read_script(example())
    assert [rule.name for rule in script.rules] == ["busy provider", "researcher", "reviewer", "tester"]
    fields = {
        name
        for rule in script.rules
        for name in Rule.__slots__
        if getattr(rule, name, None) != getattr(Rule(), name, None)
    }
    assert fields >= {field.name for field in Rule.__attrs_attrs__}


@pytest.mark.parametrize(
    ("text", "where", "problem", "hint"),
    [
        ("rules:\n  - latensy: 3\n", "s.yaml:2", "unknown key 'latensy'", "Did you mean `latency`?"),
        ("- when:\n    rool: x\n", "s.yaml:2", "unknown key 'rool'", "Did you mean `role`?"),
        ("- failures:\n    - {stat: 500}\n", "s.yaml:2", "unknown key 'stat'", "`status`"),
        ("rules: 3\n", "s.yaml:1", "'rules' must be a list", "- "),
        ("- name: a\n- 7\n", "s.yaml:2", "a rule must be a mapping, not 7", "key: value"),
        ("a: [\n", "s.yaml", "this is not YAML", "line"),
        ("- name: a\n  name: b\n", "s.yaml:2", "duplicate key", "keep one"),
        (
            "- name: a\n  latency: -1\n",
            "s.yaml:2",
            "latency: value must be a number of at least 0, not -1",
            "--example",
        ),
        ("- latency:\n    low: 1\n    high: 0.5\n", "s.yaml:1", "high (0.5) must not be below low (1)", "--example"),
        ("- latency: {low: 1}\n", "s.yaml:1", "'latency' is not a distribution", "median"),
        ("- latency: fast\n", "s.yaml:1", "'latency' must be a mapping", "key: value"),
        ("- name: a\n  when:\n    turn: 0\n", "s.yaml:3", "turn must be a whole number of at least 1", "--example"),
        ("- when:\n    goal: /(/\n", "s.yaml:2", "goal is not a regular expression", "--example"),
        ("- failures:\n    - status: 200\n", "s.yaml:2", "status must be a whole number of at least 400", "--example"),
        ("- tools:\n    - tool: ls\n      turns: 0\n", "s.yaml:3", "turns must be", "--example"),
        ("- tools: {turns: 1}\n", "s.yaml:1", "'tools' must be a list", "- "),
        ("- tokens: {prompt: many}\n", "s.yaml:1", "'prompt' must be a mapping", "key: value"),
        ("- crowding: {free: x}\n", "s.yaml:1", "free must be a whole number", "--example"),
        ("seed: soon\nrules: []\n", "s.yaml:1", "seed must be a whole number", "--example"),
        ("- name: a\n- name: a\n", "s.yaml", "two rules are called 'a'", "--example"),
        ("3\n", "s.yaml", "this is not a script", "rules"),
        ("", "s.yaml", "this is not a script", "rules"),
    ],
)
def test_errors_name_line_problem_and_mend(text: str, where: str, problem: str, hint: str) -> None:
    with pytest.raises(ScriptError) as caught:
        read_script(text, where="s.yaml")
    assert caught.value.where is not None
    assert caught.value.where.startswith(where)
    assert problem in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_a_file_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"missing\.yaml: the file can't be read: No such file"):
        load_script(tmp_path / "missing.yaml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ScriptError, match="not UTF-8"):
        load_script(tmp_path / "binary")
