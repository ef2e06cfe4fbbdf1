"""The JSON Schema of settings files, for editors, made of the same keys and kinds that read them.

The package ships it as `autotune.schema.json`; `python -m victor_autotune_plugin._settings.editor` writes it again.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from .._model.plan import Limits, TeamPlan
from .._values.fields import Kind
from .merge import value_of
from .prices import Price
from .schema import DATABASE_URL, DATABASE_URL_KIND, PRICE_KEYS, PRICE_KIND, leaves
from .values import STRATEGIES, ExperimentSettings, Settings, TunerSettings, WatchSettings

SCHEMA_FILE: Final = "autotune.schema.json"
"""Name of the shipped schema, and of the copy that `init` puts beside a settings file."""

_SECTIONS: Final = {
    "limits": Limits,
    "experiment": ExperimentSettings,
    "watch": WatchSettings,
    "tuner": TunerSettings,
    "plan": TeamPlan,
}
_WORDS: Final = {
    DATABASE_URL: "URL of the store that several machines share; by default a SQLite file in the project's folder.",
    "prices": "What models cost, by name or by pattern such as gpt-4o*.",
    "workflows": "Settings by workflow, which win over those at the top.",
    "teams": "Settings by id of the team step, which win over the workflow's.",
}
_NAME: Final = {"pattern": r"\S"}


def schema(strategies: Iterable[str] = STRATEGIES) -> dict[str, Any]:
    """Return the JSON Schema (draft 7, which editors know) of a settings file.

    It accepts what the plugin reads, with two exceptions that it can't express: keys that contradict each other, and
    that a whole number must be written without a decimal point.

    Args:
        strategies: Names of the strategies that there are, those of third parties included.
    """
    kinds = leaves(strategies)
    settings = {name: {"$ref": f"#/definitions/{name}"} for name in _level(kinds, "")}
    team = _table(settings)
    workflow = _table({**settings, "teams": _named({"$ref": "#/definitions/team"}, _WORDS["teams"])})
    top = {
        **settings,
        DATABASE_URL: DATABASE_URL_KIND.schema() | {"description": _WORDS[DATABASE_URL]},
        "prices": _named({"$ref": "#/definitions/price"}, _WORDS["prices"]),
        "workflows": _named({"$ref": "#/definitions/workflow"}, _WORDS["workflows"]),
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Settings of victor-autotune-plugin",
        **_table(top),
        "definitions": {
            **{name: _definition(kinds, name) for name in settings},
            "team": team,
            "workflow": workflow,
            "price": _price(),
        },
    }


def schema_text(strategies: Iterable[str] = STRATEGIES) -> str:
    """Return the schema as the file that is shipped holds it."""
    return json.dumps(schema(strategies), indent=2) + "\n"


def shipped() -> dict[str, Any]:
    """Return the schema that the package ships."""
    data: dict[str, Any] = json.loads(files(__package__).joinpath(SCHEMA_FILE).read_text(encoding="utf-8"))
    return data


def _definition(kinds: Mapping[str, Kind], name: str) -> dict[str, Any]:
    words = {**_WORDS, **_attributes(Settings)}
    if name in kinds:
        return kinds[name].schema() | _hints(name, words[name])
    inner = _attributes(_SECTIONS[name])
    keys = _level(kinds, f"{name}.")
    properties = {key: kinds[f"{name}.{key}"].schema() | _hints(f"{name}.{key}", inner[key]) for key in keys}
    return _table(properties) | {"description": words[name]}


def _hints(key: str, description: str) -> dict[str, Any]:
    default = value_of(Settings(), key)
    return {"description": description, "default": list(default) if isinstance(default, tuple) else default}


def _price() -> dict[str, Any]:
    words = _attributes(Price)
    assert set(words) == set(PRICE_KEYS)
    properties = {key: PRICE_KIND.schema() | {"description": words[key]} for key in PRICE_KEYS}
    return {"type": "object", "properties": properties, "required": list(PRICE_KEYS), "additionalProperties": False}


def _table(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "properties": dict(properties), "additionalProperties": False}


def _named(value: Mapping[str, Any], description: str) -> dict[str, Any]:
    table = {"type": ["object", "null"], "propertyNames": _NAME, "additionalProperties": dict(value)}
    return {**table, "description": description}


def _level(kinds: Iterable[str], prefix: str) -> tuple[str, ...]:
    below = (key.removeprefix(prefix) for key in kinds if key.startswith(prefix))
    return tuple(dict.fromkeys(key.partition(".")[0] for key in below))


def _attributes(kind: type) -> dict[str, str]:
    """Return what the docstring of a class says about each attribute."""
    _, _, listed = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", listed, re.MULTILINE)
    return {name: _readable(" ".join(words.split())) for name, words in found}


def _readable(words: str) -> str:
    """Return words of a docstring without names of Python's: one of `METRICS` is one of the metrics."""
    named = re.sub(r"ne of `([A-Z]+)`", lambda found: f"ne of the {found[1].lower()}", words)
    return named.replace("`", "")


if __name__ == "__main__":
    Path(str(files(__package__).joinpath(SCHEMA_FILE))).write_text(schema_text(), encoding="utf-8")
