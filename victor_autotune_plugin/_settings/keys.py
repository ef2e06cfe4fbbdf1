"""The keys of the settings: what each accepts, and the JSON Schema of it for editors.

The package ships the schema as `autotune.schema.json`; `victor-autotune schema --output …` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import frozen

from .._model.known_formations import is_misspelt
from .._model.plan import FORMATIONS, Limits, TeamPlan
from .._model.policy import E_RULES, SIGNED_RANK
from .._model.policy import RULES as SHAPES
from .._model.price import Price
from .._values.fields import (
    Acting,
    Choice,
    Flag,
    Groups,
    Kind,
    NameList,
    Number,
    Numbers,
    OpenChoice,
    OrNone,
    Pairs,
    Text,
    Url,
)
from .._values.nodes import Node, Scalar
from .scorer_fields import CommandWords, Duration, Scorers, harmless_scorers, plain_scorers
from .team_settings import (
    DATA_FLOWS,
    METRICS,
    MODES,
    PROMOTIONS,
    RISKS,
    RULES,
    STRATEGIES,
    ExperimentSettings,
    HookSettings,
    JournalSettings,
    QualitySettings,
    RetentionSettings,
    Settings,
    StoreSettings,
    TunerSettings,
    WatchSettings,
)
from .webhook_fields import Webhooks, plain_webhooks

_FORMATION: Final = OpenChoice("formation", FORMATIONS, is_misspelt)
_MOST_SECONDS: Final = 30 * 86_400
_MOST_RUNS: Final = 100_000
_MEMBERS: Final = Number(1, 1_000, whole=True)
_CALLS: Final = Number(0, 1_000_000, whole=True)
_SECONDS: Final = Number(0, _MOST_SECONDS, above=True)
_RUNS: Final = Number(10, 2_000, whole=True)
_ALPHA: Final = Number(0.005, 0.15)
PRICE_KIND: Final = Number(0, 1_000_000)

DATABASE_URL: Final = "database_url"
OF_PROCESS: Final = ("environment", "store", "retention", "journal", "hooks", "notify", "public_prices")
"""Keys and sections that hold for the whole process, and so stand only at the top of a file."""

TOP_ONLY: Final = (DATABASE_URL, "prices", "workflows")
"""Other keys that stand only at the top of a file."""

SCORERS: Final = "quality.scorers"
NOTIFY: Final = "notify"

IGNORED: Final = ("watch.alpha", "watch.max_runs")
"""Keys that 0.1 knew: they are read, and have no effect."""

NEEDED_PRICES: Final = ("input_per_million_usd", "output_per_million_usd")
"""What every price has."""

PRICE_KEYS: Final = (
    *NEEDED_PRICES,
    *("cached_per_million_usd", "cache_write_per_million_usd", "reasoning_per_million_usd"),
)


@frozen
class Retired(Kind):
    """Something that 0.1 acted on: it is still read, and without an effect.

    Attributes:
        of: What may be written.
        why: What is told of it, after its value.
        names: What is retired: these names, which may be written, too; without any, the key as a whole.
    """

    of: Kind
    why: str
    names: tuple[str, ...] = ()

    def retires(self, value: object) -> bool:
        """Whether a value is read without an effect."""
        return not self.names or value in self.names

    def read(self, node: Node) -> Any:
        """Return the other kind's value, or one of the names."""
        value = node.value if isinstance(node, Scalar) else None
        return value if isinstance(value, str) and value in self.names else self.of.read(node)

    def parse(self, text: str) -> object:
        """Return what the other kind makes of the text."""
        return self.of.parse(text)

    def schema(self) -> dict[str, Any]:
        """Return what accepts the same; what of it is deprecated has the mark that editors know."""
        mark = {"deprecated": True, "description": f"This {self.why}."}
        if not self.names:
            return self.of.schema() | mark
        return {"anyOf": [self.of.schema(), {"enum": list(self.names)} | mark]}


_RULE: Final = Retired(
    Choice("rule", RULES),
    f"is a rule of 0.1, which can't be chosen any more, so {SIGNED_RANK} decides",
    (*SHAPES, *E_RULES),
)
_WATCH_ENDS: Final = "is ignored: since 0.2 a live plan is verified for as long as it lives"


PLANS: Final = ("plan", "start_from")
"""The sections that hold a plan; null in place of one takes away the plan that a lower source sets."""

_KNOBS: Final = {
    "formation": OrNone(_FORMATION),
    "members": OrNone(NameList(Text(), least=1)),
    "tool_budget": OrNone(_CALLS),
    "member_budgets": OrNone(Numbers(_CALLS)),
    "timeout_seconds": OrNone(_SECONDS),
    "sub_teams": OrNone(Groups()),
}


def leaves(strategies: Iterable[str] = STRATEGIES) -> dict[str, Kind]:
    """Return the keys that may stand at the top, per workflow and per team, by dotted path, in order.

    The kind of a key by which the machine acts, such as a command or an address, is wrapped in `Acting`: from the files
    of a project it counts only once the user trusts it (`trust`).

    Args:
        strategies: Names of all strategies, those of third parties included.
    """
    return {
        "mode": Choice("mode", MODES),
        "strategies": NameList(Choice("strategy", tuple(strategies))),
        "promotion": Choice("promotion", PROMOTIONS),
        "limits.formations": NameList(_FORMATION, least=1),
        "limits.min_members": _MEMBERS,
        "limits.max_members": OrNone(_MEMBERS),
        "limits.protected_members": NameList(Text()),
        "limits.min_tool_budget": OrNone(_CALLS),
        "limits.max_tool_budget": OrNone(_CALLS),
        "limits.min_timeout_seconds": OrNone(_SECONDS),
        "limits.max_timeout_seconds": OrNone(_SECONDS),
        "limits.max_cost_usd_per_run": OrNone(Number(0, 1_000_000, above=True)),
        "limits.max_bad_runs_per_week": OrNone(Number(0, 1_000_000, whole=True)),
        "limits.max_extra_cost_usd_per_week": OrNone(Number(0, 1_000_000)),
        "experiment.metric": Choice("metric", METRICS),
        "experiment.rule": _RULE,
        "experiment.alpha": _ALPHA,
        "experiment.minimum_improvement": Number(0, 1, below=True),
        "experiment.min_runs_per_arm": _RUNS,
        "experiment.max_runs_per_arm": _RUNS,
        "experiment.success_margin": Number(0, 1, above=True, below=True),
        "experiment.p95_margin": Number(0, 100, above=True),
        "experiment.cost_margin": Number(0, 100, above=True),
        "experiment.min_history": Number(0, _MOST_RUNS, whole=True),
        "experiment.sticky": Flag(),
        "watch.enabled": Flag(),
        "watch.holdback": Number(0, 0.5),
        "watch.alpha": Retired(_ALPHA, _WATCH_ENDS),
        "watch.max_runs": Retired(_RUNS, _WATCH_ENDS),
        "quality.scorers": Acting(Scorers(), harmless_scorers),
        "quality.deadline": Duration(Number(0, _MOST_SECONDS)),
        "quality.exit_wait": Duration(Number(0, 3_600)),
        "quality.keep_outputs": OrNone(Duration(Number(0, _MOST_SECONDS, above=True))),
        "quality.show": Acting(OrNone(CommandWords()), _nothing),
        "quality.concurrency": Number(1, 64, whole=True),
        "quality.max_cost_usd_per_day": Number(0, 1_000_000),
        "tuner.risk": Choice("risk", RISKS),
        "tuner.weights": OrNone(Numbers(Number(0, 1_000, above=True), Choice("metric", METRICS))),
        "tuner.max_p95_seconds": OrNone(_SECONDS),
        "task_key": OrNone(Text()),
        "dataflow": Choice("data flow", DATA_FLOWS),
        "dataflow_edges": Pairs(),
        **{f"{section}.{knob}": kind for section in PLANS for knob, kind in _KNOBS.items()},
        "environment": OrNone(Text()),
        "store.snapshot_ttl": Number(0, _MOST_SECONDS),
        "store.silent_after": Number(15, _MOST_SECONDS),
        "retention.runs": OrNone(Number(1_000, 100_000_000, whole=True)),
        "retention.days": OrNone(Number(7, 36_500)),
        "journal.max_megabytes": Number(1, 100_000),
        "journal.fsync": Flag(),
        "hooks.plan_seconds": Number(0, 60),
        "notify": Acting(Webhooks()),
        "public_prices": Flag(),
    }


def _nothing(_: object) -> None:
    return None


DATABASE_URL_KIND: Final = OrNone(Url())


def shown_value(key: str, value: object) -> str:
    """Return the whole value of a key in one line of JSON, without a password in a database URL."""
    if key == DATABASE_URL and isinstance(value, str):
        from ..storage.location import without_secrets

        value = without_secrets(value)
    return json.dumps(plain_value(key, value), ensure_ascii=False, default=str)


def plain_value(key: str, value: object) -> object:
    """Return the value of a key as a person would write it."""
    if key == SCORERS and isinstance(value, tuple):
        return plain_scorers(value)
    if key == NOTIFY and isinstance(value, tuple):
        return plain_webhooks(value)
    return value


SCHEMA_FILE: Final = "autotune.schema.json"
"""Name of the shipped schema, and of the copy that `init` puts beside a settings file."""

SECTIONS: Final = {
    "limits": Limits,
    "experiment": ExperimentSettings,
    "watch": WatchSettings,
    "quality": QualitySettings,
    "tuner": TunerSettings,
    **dict.fromkeys(PLANS, TeamPlan),
    "store": StoreSettings,
    "retention": RetentionSettings,
    "journal": JournalSettings,
    "hooks": HookSettings,
}
"""The sections, by name."""

_WORDS: Final = {
    DATABASE_URL: "URL of the store that several machines share; by default a SQLite file in the project's folder. In "
    "a project's file any other place counts only after victor autotune trust.",
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
        strategies: As in `leaves`.
    """
    kinds = leaves(strategies)
    settings = {name: {"$ref": f"#/definitions/{name}"} for name in level(kinds, "")}
    of_team = {name: value for name, value in settings.items() if name not in OF_PROCESS}
    team = _table(of_team)
    workflow = _table({**of_team, "teams": _named({"$ref": "#/definitions/team"}, _WORDS["teams"])})
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
    from importlib.resources import files

    data: dict[str, Any] = json.loads(files(__package__).joinpath(SCHEMA_FILE).read_text(encoding="utf-8"))
    return data


def _definition(kinds: Mapping[str, Kind], name: str) -> dict[str, Any]:
    words = {**_WORDS, **_attributes(Settings)}
    if name in kinds:
        return kinds[name].schema() | _hints(name, words[name])
    inner = _attributes(SECTIONS[name])
    keys = level(kinds, f"{name}.")
    properties = {key: kinds[f"{name}.{key}"].schema() | _hints(f"{name}.{key}", inner.get(key)) for key in keys}
    return _table(properties) | {"description": words[name]}


def _hints(key: str, description: str | None) -> dict[str, Any]:
    if description is None:  # a retired key, which says so itself
        return {}
    default = Settings().value(key)
    return {"description": description, "default": list(default) if isinstance(default, tuple) else default}


def _price() -> dict[str, Any]:
    words = _attributes(Price)
    properties = {key: PRICE_KIND.schema() | {"description": words[key]} for key in PRICE_KEYS}
    return {"type": "object", "properties": properties, "required": list(NEEDED_PRICES), "additionalProperties": False}


def _table(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": ["object", "null"], "properties": dict(properties), "additionalProperties": False}


def _named(value: Mapping[str, Any], description: str) -> dict[str, Any]:
    table = {"type": ["object", "null"], "propertyNames": _NAME, "additionalProperties": dict(value)}
    return {**table, "description": description}


def level(kinds: Iterable[str], prefix: str) -> tuple[str, ...]:
    """Return the names of the keys and sections right below a prefix, in order."""
    below = (key.removeprefix(prefix) for key in kinds if key.startswith(prefix))
    return tuple(dict.fromkeys(key.partition(".")[0] for key in below))


def _attributes(kind: type) -> dict[str, str]:
    """Return what the docstring of a class says about each attribute."""
    # Imported here, since only the schema needs them.
    import inspect
    import re

    _, _, listed = (inspect.getdoc(kind) or "").partition("Attributes:\n")
    found = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", listed, re.MULTILINE)
    return {name: _readable(" ".join(words.split())) for name, words in found}


def _readable(words: str) -> str:
    """Return words of a docstring without names of Python's: one of `METRICS` is one of the metrics."""
    import re

    named = re.sub(r"ne of `([A-Z]+)`", lambda found: f"ne of the {found[1].lower()}", words)
    return named.replace("`", "")
