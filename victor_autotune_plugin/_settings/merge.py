"""Many layers become one team's settings, whose values must not contradict each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .._model.plan import ADHOC_WORKFLOW, Limits, TeamPlan, adhoc_team_name
from .._model.scorer_settings import SCORER_KINDS
from .._values.fields import Acting, NameList, Text
from .._values.nodes import from_plain
from .keys import PLANS, SCORERS, SECTIONS, leaves
from .layers import Entry, Layer, Problem, Scope, SourceReader, log_retired, raise_if_any
from .team_settings import STRATEGIES, Settings

_ORDERED = (
    ("limits.min_members", "limits.max_members"),
    ("limits.min_tool_budget", "limits.max_tool_budget"),
    ("limits.min_timeout_seconds", "limits.max_timeout_seconds"),
    ("experiment.min_runs_per_arm", "experiment.max_runs_per_arm"),
)


def merge(layers: Iterable[Layer], workflow: str, team_id: str, kinds: Iterable[str]) -> dict[str, Entry]:
    """Merge all sources for a team, key by key.

    Args:
        layers: What each source sets, the weakest first.

    Returns:
        The values that are not defaults, by dotted key.
    """
    keys = tuple(kinds)
    scopes: list[Scope] = [(), (workflow,), (workflow, team_id)]
    if workflow == ADHOC_WORKFLOW:  # its teams may be set by name, too
        scopes.insert(2, (workflow, adhoc_team_name(team_id)))
    merged: dict[str, Entry] = {}
    for layer in layers:
        for scope in scopes:
            entries = layer.get(scope)
            if not entries:
                continue
            for section in PLANS:
                no_plan = entries.get(section)
                if no_plan is not None:
                    merged.update((key, no_plan) for key in keys if key.startswith(f"{section}."))
            merged.update((key, entries[key]) for key in keys if key in entries)
    return merged


def build(entries: Mapping[str, Entry], strategies: tuple[str, ...]) -> Settings:
    """Return a team's settings from its merged values; by default it uses all strategies."""

    def section(name: str) -> dict[str, Any]:
        prefix = f"{name}."
        return {key.removeprefix(prefix): entry.value for key, entry in entries.items() if key.startswith(prefix)}

    top: dict[str, Any] = {key: entry.value for key, entry in entries.items() if "." not in key}
    sections: dict[str, Any] = {name: kind(**section(name)) for name, kind in SECTIONS.items()}
    for name in PLANS:
        if sections[name].is_empty:
            del sections[name]
    return Settings(**{"strategies": strategies, **top, **sections})


def contradictions(
    settings: Settings, entries: Mapping[str, Entry], *, scored_by_hooks: bool = False
) -> Iterator[tuple[tuple[str, str], Problem]]:
    """Give the contradictions in the settings of a team, each as the two keys and the problem.

    Args:
        settings: The settings.
        entries: What they were made of.
        scored_by_hooks: Whether a third party may score the runs.
    """
    for low, high in _ORDERED:
        least, most = settings.value(low), settings.value(high)
        if isinstance(least, int | float) and isinstance(most, int | float) and least > most:
            yield _problem(entries, low, high, f"{low} is {least:g}, more than {high}, which is {most:g}")
    if not scored_by_hooks:
        yield from _unscored(settings, entries)
    limits = settings.limits
    protected = len(limits.protected_members)
    if limits.max_members is not None and protected > limits.max_members:
        low, high = "limits.protected_members", "limits.max_members"
        yield _problem(
            entries, low, high, f"{low} has {protected} members, more than {high}, which is {limits.max_members}"
        )
    for section in PLANS:
        plan = getattr(settings, section)
        if plan is not None:
            yield from _of_plan(entries, section, plan, limits)


def _of_plan(
    entries: Mapping[str, Entry], section: str, plan: TeamPlan, limits: Limits
) -> Iterator[tuple[tuple[str, str], Problem]]:
    for knob, limit, text in limits.crossed_by(plan):
        yield _problem(entries, f"{section}.{knob}", f"limits.{limit}", f"{section}.{text}")
    if plan.sub_teams is not None:
        yield from _sub_teams(entries, section, plan)
    for member in plan.member_budgets or ():
        if plan.members is not None and member not in plan.members:
            text = f"{section}.member_budgets names {member}, whom {section}.members leaves out"
            yield _problem(entries, f"{section}.member_budgets", f"{section}.members", text)


def _unscored(settings: Settings, entries: Mapping[str, Entry]) -> Iterator[tuple[tuple[str, str], Problem]]:
    """Give the keys that want a score where nothing that decides is named; what waits for trust counts as named."""
    entry = entries.get(SCORERS)
    written = {} if entry is None else entry.written
    named = written.values() if isinstance(written, Mapping) else ()
    if any(one.gates for one in settings.quality.scorers) or any(
        isinstance(one, Mapping) and one.get("gates") is not False for one in named
    ):
        return
    wants = {"experiment.metric": settings.experiment.metric == "score"}
    wants["tuner.weights"] = "score" in (settings.tuner.weights or {})
    for key in (key for key, wanted in wants.items() if wanted):
        text = f"{key} names score, and no scorer decides what that is"
        hint = f"Name one under `{SCORERS}` ({', '.join(SCORER_KINDS)}), or choose another metric, such as success."
        where = entries[key].where if key in entries else ""
        yield (key, SCORERS), Problem(where, "", text, hint)


def _sub_teams(entries: Mapping[str, Entry], section: str, plan: TeamPlan) -> Iterator[tuple[tuple[str, str], Problem]]:
    groups, formation, members = (f"{section}.{knob}" for knob in ("sub_teams", "formation", "members"))
    named = {name for group in plan.sub_teams or () for name in group}
    if plan.formation is not None:
        text = f"{groups} and {formation} are both set, and sub-teams take the place of a formation"
        yield _problem(entries, groups, formation, text)
    for member in plan.members or ():
        if member not in named:
            yield _problem(entries, groups, members, f"{groups} has no place for {member}, whom {members} names")
    if plan.members is not None:
        for member in sorted(named.difference(plan.members)):
            yield _problem(entries, groups, members, f"{groups} names {member}, whom {members} leaves out")


def _problem(entries: Mapping[str, Entry], key: str, other: str, text: str) -> tuple[tuple[str, str], Problem]:
    places = [entries[name].where for name in (key, other) if name in entries]
    also = f" ({places[1]})" if len(places) == 2 and places[1] != places[0] else ""
    default = "" if len(places) == 2 else " by default"
    return (key, other), Problem(places[0], "", f"{text}{default}{also}", f"Change `{key}` or `{other}`.")


def own_settings(workflow: str, team_id: str, metadata: object, where: str) -> Settings:
    """Return the settings that a workflow's own metadata gives a team; what it does not set is the default.

    Args:
        metadata: The `metadata.autotune`, or None. Its strategies may be anybody's.

    Raises:
        SettingsError: It is wrong.
    """
    kinds = {**leaves(), "strategies": NameList(Text())}
    layer = SourceReader(kinds).scope(from_plain(metadata, where), (workflow,), "metadata.autotune")
    # What acts is not needed of a file that is read to be changed, and needs no trust.
    counting = [key for key, kind in kinds.items() if not isinstance(kind, Acting)]
    entries = merge([layer], workflow, team_id, counting)
    settings = build(entries, STRATEGIES)
    problems = list(layer.problems)
    found = contradictions(settings, entries, scored_by_hooks=True)  # what acts was left out, so nothing is known of it
    problems += [problem for keys, problem in found if layer.failed.isdisjoint(keys)]
    raise_if_any(problems)
    log_retired([layer])
    return settings
