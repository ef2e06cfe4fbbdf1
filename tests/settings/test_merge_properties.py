"""Whatever is set wherever: each key has the value of the strongest source that sets it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from victor_autotune_plugin._settings import METRICS, MODES, STRATEGIES, SettingsResolver
from victor_autotune_plugin._settings.layers import variable
from victor_autotune_plugin._settings.merge import build
from victor_autotune_plugin._settings.team_settings import DATA_FLOWS
from victor_autotune_plugin.errors import SettingsError

# Ranges are chosen so that no two values contradict each other.
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "mode": st.sampled_from(MODES),
    "strategies": st.lists(st.sampled_from(STRATEGIES), unique=True),
    "limits.min_members": st.integers(1, 2),
    "limits.max_members": st.one_of(st.none(), st.integers(4, 9)),
    "limits.protected_members": st.lists(st.sampled_from("abcd"), unique=True, max_size=2),
    "limits.min_timeout_seconds": st.one_of(st.none(), st.floats(1, 5)),
    "limits.max_cost_usd_per_run": st.one_of(st.none(), st.floats(0.01, 5)),
    "experiment.metric": st.sampled_from(METRICS),
    "experiment.alpha": st.floats(0.005, 0.15),
    "experiment.min_runs_per_arm": st.integers(10, 20),
    "experiment.max_runs_per_arm": st.integers(20, 300),
    "watch.enabled": st.booleans(),
    "watch.holdback": st.floats(0.01, 0.5),
    "task_key": st.one_of(st.none(), st.text("abc_", min_size=1)),
    "dataflow": st.sampled_from(DATA_FLOWS),
    "dataflow_edges": st.lists(st.permutations("abc").map(lambda ids: tuple(ids[:2])), unique=True, max_size=2),
    "plan.tool_budget": st.one_of(st.none(), st.integers(0, 99)),
    "plan.timeout_seconds": st.one_of(st.none(), st.floats(6, 99)),
}
SOME = st.fixed_dictionaries({}, optional=VALUES)
LISTS = {"strategies", "limits.protected_members", "dataflow_edges"}
SCALARS = st.fixed_dictionaries({}, optional={key: value for key, value in VALUES.items() if key not in LISTS})
DEFAULTS = build({}, STRATEGIES)


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        section, _, name = key.rpartition(".")
        (tree.setdefault(section, {}) if section else tree)[name] = value
    return tree


@st.composite
def files(draw: st.DrawFn) -> tuple[list[dict[str, Any]], str]:
    """What a file sets at the top, for the workflow and for the team; and its text."""
    levels = [draw(SOME) for _ in range(3)]
    top, workflow, team = (nested(level) for level in levels)
    tree = {**top, "workflows": {"w": {**workflow, "teams": {"t": team}}, "another": nested(draw(SOME))}}
    return levels, json.dumps(tree, indent=1)


@settings(max_examples=60, deadline=None)
@given(user=files(), project=files(), metadata=st.tuples(SOME, SOME), environ=SCALARS, overrides=SOME)
def test_each_key_is_merged_on_its_own(user, project, metadata, environ, overrides) -> None:
    texts = {variable(key): "null" if value is None else str(value) for key, value in environ.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, (_, text) in (("home", user), ("project", project)):
            path = Path(folder, name, ".victor", "autotune.yaml")
            path.parent.mkdir(parents=True)
            path.write_text(text)
        book = SettingsResolver.load(
            Path(folder, "project"),
            home=Path(folder, "home"),
            environ=texts,
            overrides=overrides,
            scored_by_hooks=True,
        )
    own = {**nested(metadata[0]), "teams": {"t": nested(metadata[1]), "another": {"mode": "off"}}}
    result = book.for_team("w", "t", own, "metadata")
    sources = {key: source for key, _, source in book.explain("w", "t", own, "metadata")}

    given_options = {key: value for key, value in overrides.items() if value is not None}
    for key in VALUES:
        by_precedence = (*user[0], *project[0], *metadata, environ, given_options)
        setting = [level[key] for level in by_precedence if key in level]
        expected = setting[-1] if setting else DEFAULTS.value(key)
        actual = result.value(key)
        assert (list(actual) if isinstance(actual, tuple) else actual) == (
            list(expected) if isinstance(expected, tuple) else expected
        ), key
        assert (sources[key] == "default") == (not setting), key
        assert (sources[key] == f"env {variable(key)}") == (key in environ and key not in given_options), key


NAMES = st.sampled_from(["mode", "limits", "plan", "teams", "t", "members", "watch", "alpha"]) | st.text()
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner),
)


@settings(max_examples=100, deadline=None)
@given(ANYTHING)
def test_any_metadata_gives_settings_or_a_settings_error_that_names_it(metadata: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book = SettingsResolver.load(Path(folder), home=Path(folder), environ={})
    problem = ""
    try:
        book.for_team("w", "t", metadata)
    except SettingsError as error:
        problem = str(error)
    assert not problem or "workflow w (metadata.autotune): " in problem
