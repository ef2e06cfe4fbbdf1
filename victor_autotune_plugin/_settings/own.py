"""What a workflow's own `metadata.autotune` says by itself, without the other sources."""

from __future__ import annotations

from .._values.fields import NameList, Text
from .._values.nodes import from_plain, raise_if_any
from .consistency import contradictions
from .merge import build, merge
from .schema import Reader, leaves
from .values import STRATEGIES, Settings


def own_settings(workflow: str, team_id: str, metadata: object, where: str) -> Settings:
    """Return the settings that a workflow's own metadata gives a team; what it does not set is the default.

    Args:
        workflow: Workflow name.
        team_id: Team id.
        metadata: The `metadata.autotune`, or None. Its strategies may be anybody's.
        where: Where it stands.

    Raises:
        SettingsError: It is wrong.
    """
    kinds = {**leaves(), "strategies": NameList(Text())}
    layer = Reader(kinds).scope(from_plain(metadata, where), (workflow,), "metadata.autotune")
    entries = merge([layer], workflow, team_id, kinds)
    settings = build(entries, STRATEGIES)
    problems = list(layer.problems)
    problems += [problem for keys, problem in contradictions(settings, entries) if layer.failed.isdisjoint(keys)]
    raise_if_any(problems)
    return settings
