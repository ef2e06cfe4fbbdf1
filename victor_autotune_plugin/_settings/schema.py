"""The keys that there are and what each accepts; reading one source's tree by them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, cast

from attrs import field, frozen

from .._model.plan import FORMATIONS
from .._values.fields import Choice, Flag, Groups, Kind, NameList, Number, Numbers, OrNone, Text, Url
from .._values.names import did_you_mean
from .._values.nodes import Entry, Node, Problem, Scalar, Table, WrongValueError, show
from .prices import Price
from .values import METRICS, MODES, RISKS, RULES, STRATEGIES

Scope = tuple[str, ...]
"""`()` for all teams, `(workflow,)`, or `(workflow, team id)`."""

_MOST_SECONDS: Final = 30 * 86_400
_MOST_RUNS: Final = 100_000
_MEMBERS: Final = Number(1, 1_000, whole=True)
_CALLS: Final = Number(0, 1_000_000, whole=True)
_SECONDS: Final = Number(0, _MOST_SECONDS, above=True)
_RUNS: Final = Number(10, 2_000, whole=True)
_ALPHA: Final = Number(0.005, 0.15)
PRICE_KIND: Final = Number(0, 1_000_000)

DATABASE_URL: Final = "database_url"
TOP_ONLY: Final = (DATABASE_URL, "prices", "workflows")
"""Keys that stand only at the top of a file."""

PRICE_KEYS: Final = ("input_per_million_usd", "output_per_million_usd")


def leaves(strategies: Iterable[str] = STRATEGIES) -> dict[str, Kind]:
    """Return the keys that may stand at the top, per workflow and per team, by dotted path, in order.

    Args:
        strategies: Names of the strategies that there are.
    """
    return {
        "mode": Choice("mode", MODES),
        "strategies": NameList(Choice("strategy", tuple(strategies))),
        "limits.formations": NameList(Choice("formation", FORMATIONS), least=1),
        "limits.min_members": _MEMBERS,
        "limits.max_members": OrNone(_MEMBERS),
        "limits.protected_members": NameList(Text()),
        "limits.min_tool_budget": OrNone(_CALLS),
        "limits.max_tool_budget": OrNone(_CALLS),
        "limits.min_timeout_seconds": OrNone(_SECONDS),
        "limits.max_timeout_seconds": OrNone(_SECONDS),
        "limits.max_cost_usd_per_run": OrNone(Number(0, 1_000_000, above=True)),
        "experiment.metric": Choice("metric", METRICS),
        "experiment.rule": Choice("rule", RULES),
        "experiment.alpha": _ALPHA,
        "experiment.minimum_improvement": Number(0, 1, below=True),
        "experiment.min_runs_per_arm": _RUNS,
        "experiment.max_runs_per_arm": _RUNS,
        "experiment.success_margin": Number(0, 1, above=True, below=True),
        "experiment.p95_margin": Number(0, 100, above=True),
        "experiment.cost_margin": Number(0, 100, above=True),
        "experiment.min_history": Number(0, _MOST_RUNS, whole=True),
        "watch.enabled": Flag(),
        "watch.holdback": Number(0, 0.5, above=True),
        "watch.alpha": _ALPHA,
        "watch.max_runs": _RUNS,
        "tuner.risk": Choice("risk", RISKS),
        "tuner.weights": OrNone(Numbers(Number(0, 1_000, above=True), Choice("metric", METRICS))),
        "tuner.max_p95_seconds": OrNone(_SECONDS),
        "task_key": OrNone(Text()),
        "plan.formation": OrNone(Choice("formation", FORMATIONS)),
        "plan.members": OrNone(NameList(Text(), least=1)),
        "plan.tool_budget": OrNone(_CALLS),
        "plan.member_budgets": OrNone(Numbers(_CALLS)),
        "plan.timeout_seconds": OrNone(_SECONDS),
        "plan.sub_teams": OrNone(Groups()),
    }


DATABASE_URL_KIND: Final = OrNone(Url())


@frozen
class Layer:
    """What one source sets: checked values by scope and dotted key.

    Attributes:
        scopes: Values by scope. `plan` itself stands for `plan: null`, which takes away a plan that a lower source
            fixed; `prices.NAME` for a price.
        problems: What is wrong in the source.
        failed: Dotted keys that have a wrong value.
    """

    scopes: dict[Scope, dict[str, Entry]] = field(factory=dict)
    problems: list[Problem] = field(factory=list)
    failed: set[str] = field(factory=set)

    def get(self, scope: Scope) -> Mapping[str, Entry]:
        """Return what is set for exactly this scope."""
        return self.scopes.get(scope, {})

    def put(self, scope: Scope, key: str, kind: Kind, node: Node, path: str) -> None:
        """Check a value and keep it, or what is wrong with it.

        Args:
            scope: For whom it is set.
            key: Dotted key in that scope.
            kind: What the key accepts.
            node: The value.
            path: Dotted path from the top of the source, for the error.
        """
        try:
            value = kind.read(node)
        except WrongValueError as wrong:
            self.failed.add(key)
            self.problems.append(Problem(wrong.where or node.where, path, wrong.message, wrong.hint))
        else:
            self.scopes.setdefault(scope, {})[key] = Entry(value, node.where)


@frozen
class Reader:
    """Reads the tree of one source into a `Layer`.

    Attributes:
        kinds: What `leaves` gives.
        layer: Where the values go.
    """

    kinds: Mapping[str, Kind]
    layer: Layer = field(factory=Layer)

    def top(self, root: Node) -> Layer:
        """Read a whole file."""
        for key, path, node in self._pairs(root, "", (*self._level(""), *TOP_ONLY)):
            if key == "workflows":
                for name, place, workflow in self._pairs(node, path, None):
                    self.scope(workflow, (name,), place)
            elif key == "prices":
                for name, place, price in self._pairs(node, path, None):
                    self._price(name, price, place)
            elif key == DATABASE_URL:
                self.layer.put((), key, DATABASE_URL_KIND, node, path)
            else:
                self._setting((), key, node, path)
        return self.layer

    def scope(self, root: Node, scope: Scope, path: str) -> Layer:
        """Read what is set for one workflow, or for one team.

        Args:
            root: Its mapping.
            scope: Whom it is for.
            path: Dotted path of the mapping, empty for that of the whole source.
        """
        of_workflow = len(scope) == 1
        known = (*self._level(""), "teams") if of_workflow else self._level("")
        for key, place, node in self._pairs(root, path, known):
            if key == "teams" and of_workflow:
                for team, inner, settings in self._pairs(node, place, None):
                    self.scope(settings, (*scope, team), inner)
            else:
                self._setting(scope, key, node, place)
        return self.layer

    def _setting(self, scope: Scope, key: str, node: Node, path: str) -> None:
        kind = self.kinds.get(key)
        if kind is not None:
            self.layer.put(scope, key, kind, node, path)
        elif key == "plan" and _is_null(node):
            self.layer.scopes.setdefault(scope, {})[key] = Entry(None, node.where)
        else:
            for name, place, inner in self._pairs(node, path, self._level(f"{key}.")):
                self.layer.put(scope, f"{key}.{name}", self.kinds[f"{key}.{name}"], inner, place)

    def _price(self, model: str, node: Node, path: str) -> None:
        read = Layer()
        for name, place, inner in self._pairs(node, path, PRICE_KEYS):
            read.put((), name, PRICE_KIND, inner, place)
        self.layer.problems.extend(read.problems)
        numbers = {name: entry.value for name, entry in read.get(()).items()}
        missing = [name for name in PRICE_KEYS if name not in numbers and name not in read.failed]
        if missing and (isinstance(node, Table) or _is_null(node)):
            hint = f"Add {' and '.join(missing)} (US dollars for a million tokens)."
            self.layer.problems.append(Problem(node.where, path, "the price is not complete", hint))
        elif len(numbers) == len(PRICE_KEYS):
            price = Price(**cast("dict[str, float]", numbers))
            self.layer.scopes.setdefault((), {})[f"prices.{model}"] = Entry(price, node.where)

    def _level(self, prefix: str) -> tuple[str, ...]:
        """Names of the keys and sections right below a prefix, in order."""
        below = (key[len(prefix) :] for key in self.kinds if key.startswith(prefix))
        return tuple(dict.fromkeys(key.partition(".")[0] for key in below))

    def _pairs(self, node: Node, path: str, known: tuple[str, ...] | None) -> Iterable[tuple[str, str, Node]]:
        """Give `(key, dotted path, value)` of a mapping's sound pairs, and note what is wrong with the others.

        Args:
            node: What should be a mapping; null counts as an empty one.
            path: Dotted path of the mapping.
            known: Keys that it may have, or None for any name.
        """
        prefix = f"{path}." if path else ""
        if _is_null(node):
            return
        if not isinstance(node, Table):
            hint = f"Write keys under it: {', '.join(known or ('names, each with its settings',))}."
            self.layer.problems.append(Problem(node.where, path, f"{show(node)} is not a mapping", hint))
            return
        seen: dict[str, str] = {}
        for key, value in node.pairs:
            name = str(key.value)
            place = f"{prefix}{name}"
            if name in seen:
                message = f"this key is given twice, first at {seen[name]}"
                self.layer.problems.append(Problem(key.where, place, message, "Keep one of them."))
            elif known is not None and name not in known:
                self.layer.problems.append(Problem(key.where, place, "this key is not known", self._place(name, known)))
            elif known is None and (key.value is None or not name.strip()):
                self.layer.problems.append(Problem(key.where, place, "the name is empty", "Write a name."))
            else:
                yield name, place, value
            seen.setdefault(name, key.where)

    def _place(self, name: str, known: tuple[str, ...]) -> str:
        """How to hint an unknown key: it may be a known one in a wrong place."""
        if name in TOP_ONLY:
            return f"`{name}` stands only at the top of a file."
        elsewhere = [key for key in self.kinds if key.endswith(f".{name}") or key == name]
        if name == "teams":
            return "`teams` stands under a workflow."
        if elsewhere:
            return f"It belongs elsewhere: {' or '.join(f'`{key}`' for key in elsewhere)}."
        return did_you_mean(name, known)


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None
