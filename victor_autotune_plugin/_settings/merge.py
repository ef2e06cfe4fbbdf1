"""Many layers become one team's settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .._model.plan import Limits, TeamPlan
from .._values.nodes import Entry
from .schema import Layer, Scope
from .values import ExperimentSettings, Settings, TunerSettings, WatchSettings


def merge(layers: Iterable[Layer], workflow: str, team_id: str, kinds: Iterable[str]) -> dict[str, Entry]:
    """Merge all sources for a team, key by key.

    Args:
        layers: What each source sets, the weakest first.
        workflow: Workflow name.
        team_id: Team id.
        kinds: The dotted keys that there are.

    Returns:
        The values that are not defaults, by dotted key.
    """
    keys = tuple(kinds)
    scopes: tuple[Scope, ...] = ((), (workflow,), (workflow, team_id))
    merged: dict[str, Entry] = {}
    for layer in layers:
        for scope in scopes:
            entries = layer.get(scope)
            no_plan = entries.get("plan")
            if no_plan is not None:
                merged.update((key, no_plan) for key in keys if key.startswith("plan."))
            merged.update((key, entries[key]) for key in keys if key in entries)
    return merged


def build(entries: Mapping[str, Entry], strategies: tuple[str, ...]) -> Settings:
    """Make a team's settings of its merged values.

    Args:
        entries: What `merge` returns.
        strategies: Names of all strategies, which are the default.
    """

    def section(name: str) -> dict[str, Any]:
        prefix = f"{name}."
        return {key.removeprefix(prefix): entry.value for key, entry in entries.items() if key.startswith(prefix)}

    top: dict[str, Any] = {key: entry.value for key, entry in entries.items() if "." not in key}
    plan = TeamPlan(**section("plan"))
    return Settings(
        **{"strategies": strategies, **top},
        limits=Limits(**section("limits")),
        experiment=ExperimentSettings(**section("experiment")),
        watch=WatchSettings(**section("watch")),
        tuner=TunerSettings(**section("tuner")),
        plan=None if plan.is_empty else plan,
    )


def value_of(settings: Settings, key: str) -> object:
    """Return the value of a dotted key.

    Args:
        settings: A team's settings.
        key: The key, such as `limits.max_members`.
    """
    section, _, name = key.partition(".")
    value = getattr(settings, section)
    return getattr(value, name, None) if name else value
