"""The JSON Schema for editors accepts what the plugin reads, and rejects what it rejects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest

from victor_autotune_plugin._settings import keys as editor
from victor_autotune_plugin._settings.keys import IGNORED, OF_PROCESS, TOP_ONLY, leaves
from victor_autotune_plugin._settings.layers import SourceReader
from victor_autotune_plugin._values.nodes import from_plain

VALUES: list[Any] = [
    None, True, False, 0, 1, 2, -1, 9, 10, 11, 200, 1000, 1001, 2000, 2001, 10**6, 10**6 + 1, 2_592_000, 2_592_001,
    0.001, 0.005, 0.004, 0.15, 0.16, 0.5, 0.51, 1.5, 99.5, 100.5, "", " ", "auto", "off", "atuo", "duration",
    "parallel", "balanced", "text", "5", "sqlite:///runs.db", " sqlite://", "://x", "runs.db",
    [], ["parallel"], ["parallel", "parallel"],
    ["a", "b"], ["a", ""], ["a", 7], ["team_sizing"], ["team_sizing", "sizing"], [["a", "b"], ["c"]], [["a"], []],
    [["a", "b"], ["c", "d"]], [["a", "a"]], [["a", "b", "c"]], [["a", 7]], ["a", ["a", "b"]],
    "independent", "dependent", "probation", "proof", "signed_rank", "e_ranks", 5, 5.5,
    {}, {"a": 5}, {"a": "x"}, {"a": -1}, {"": 5}, {"a": None}, {"formation": "parallel"}, {"members": []},
]  # fmt: skip

GOOD: list[Any] = [
    None,
    {},
    {"mode": "auto", "limits": {"max_tool_budget": 60, "protected_members": ["security"]}},
    {"mode": False, "workflows": {"w": None, "v": {"teams": {"t": {"experiment": {"minimum_improvement": 0.1}}}}}},
    {"prices": {"gpt-4o*": {"input_per_million_usd": 0.15, "output_per_million_usd": 1}}, "workflows": None},
    {"workflows": {"../w [red]": {"plan": {"formation": "parallel", "member_budgets": {"a": 3}}}}},
    {"dataflow": False, "dataflow_edges": [["a", "b"], ["b", "a"], ["b", "c"]]},
    {"workflows": {"w": {"dataflow": "off", "teams": {"t": {"dataflow": "dependent", "dataflow_edges": []}}}}},
    {"plan": None, "database_url": "postgresql+psycopg://me@host/runs", "task_key": "ticket"},
]

BAD: list[Any] = [
    {"modes": "auto"},
    {"teams": {"t": {"mode": "auto"}}},
    {"holdback": 0.1},
    {"dataflow_edges": [["a", "b"], ["a", "b"]]},
    {"workflows": {"w": {"database_url": "sqlite://"}}},
    {"workflows": {"w": {"teams": {"t": {"teams": {}}}}}},
    {"workflows": {"w": {"teams": {"t": {"watch": {"hold_back": 0.1}}}}}},
    {"workflows": {"": {"mode": "auto"}}},
    {"workflows": ["w"]},
    {"workflows": {"w": "auto"}},
    {"plan": "auto"},
    {"prices": {"m": 3}},
    {"prices": {"m": None}},
    {"prices": {"m": {"input_per_million_usd": 1}}},
    {"prices": {"m": {"input_per_million_usd": -1, "output_per_million_usd": 1}}},
    {"prices": {"m": {"input_per_million_usd": 1, "output_per_million_usd": 1, "cached": 1}}},
    ["mode"],
    "auto",
]


def is_read(document: Any) -> bool:
    """Whether the plugin reads a document."""
    return not SourceReader(leaves()).top(from_plain(document, "here")).problems


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema.Draft7Validator.check_schema(editor.shipped())
    return jsonschema.Draft7Validator(editor.shipped())


def test_the_shipped_schema_is_made_of_the_keys_that_there_are() -> None:
    path = Path(editor.__file__).with_name(editor.SCHEMA_FILE)
    assert path.read_text(encoding="utf-8") == editor.schema_text(), (
        "write it again: victor-autotune schema --output victor_autotune_plugin/_settings/autotune.schema.json"
    )


@pytest.mark.parametrize("document", GOOD)
def test_what_the_plugin_reads_is_valid(validator: Any, document: Any) -> None:
    assert is_read(document)
    validator.validate(document)


@pytest.mark.parametrize("document", BAD)
def test_what_the_plugin_rejects_is_not_valid(validator: Any, document: Any) -> None:
    assert not is_read(document)
    assert not validator.is_valid(document)


@pytest.mark.parametrize("key", [*leaves(), "plan", "limits", "experiment", "watch", *TOP_ONLY])
@pytest.mark.parametrize("scope", [(), ("workflows", "w"), ("workflows", "w", "teams", "t")], ids=len)
def test_every_value_of_every_key_is_judged_as_the_plugin_judges_it(validator: Any, key: str, scope: Any) -> None:
    verdicts = set()
    for value in VALUES:
        document = value
        for name in reversed((*scope, *key.split("."))):
            document = {name: document}
        verdict = is_read(document)
        assert validator.is_valid(document) == verdict, document
        verdicts.add(verdict)
    is_top_only = key in TOP_ONLY or key.partition(".")[0] in OF_PROCESS
    assert verdicts == ({False} if scope and is_top_only else {True, False})


def test_every_key_says_what_it_means_and_its_default() -> None:
    definitions = editor.shipped()["definitions"]
    for key in leaves():
        section, _, name = key.partition(".")
        found = definitions[section]["properties"][name] if name else definitions[section]
        assert found["description"]
        assert ("default" in found) == (key not in IGNORED)
        assert found.get("deprecated", False) == (key in IGNORED)


def test_a_third_partys_strategy_is_valid_in_a_schema_made_with_it() -> None:
    document = {"strategies": ["mine"]}
    assert not jsonschema.Draft7Validator(editor.schema()).is_valid(document)
    assert jsonschema.Draft7Validator(editor.schema([*editor.STRATEGIES, "mine"])).is_valid(document)
