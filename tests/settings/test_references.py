"""Names in settings that nothing knows, whichever source and key names them."""

from __future__ import annotations

import pytest

from victor_autotune_plugin._settings import SettingsResolver

from .conftest import Sources

KNOWN = {("review", "team"): ["security", "style"], ("review", "other"): ["docs"], ("ship", "team"): ["pilot"]}


def told(sources: Sources, text: str, environ: dict[str, str] | None = None, own: object = None) -> list[str]:
    sources.project_file(text)
    resolver = SettingsResolver.load(sources.project, home=sources.home, environ=environ or {})
    metadata = [] if own is None else [("review", own, "flow.yaml:3")]
    return [
        f"{error.where}: {error.message.partition(' is in ')[0]}" for error in resolver.unknown_names(KNOWN, metadata)
    ]


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ("limits: {protected_members: [secrity]}", "limits.protected_members: member 'secrity'"),
        ("plan: {members: [style, docs]}", "plan.members: member 'docs'"),
        ("plan: {member_budgets: {styles: 3}}", "plan.member_budgets: member 'styles'"),
        ("plan: {sub_teams: [[security], [stile]]}", "plan.sub_teams: member 'stile'"),
        ("dataflow_edges: [[style, security], [stile, security]]", "dataflow_edges: member 'stile'"),
        ("dataflow_edges: [[security, stile], [stile, style]]", "dataflow_edges: member 'stile'"),
    ],
)
def test_every_key_that_names_members(sources: Sources, setting: str, name: str) -> None:
    text = f"workflows:\n  review:\n    teams:\n      team:\n        {setting}\n"
    assert told(sources, text) == [f".victor/autotune.yaml:5: {name} of team 'team'"]


def test_members_are_those_of_the_scope(sources: Sources) -> None:
    assert told(sources, "limits: {protected_members: [pilot, docs]}") == []
    of_workflow = "workflows:\n  review: {limits: {protected_members: [docs, pilot]}}\n"
    found = ".victor/autotune.yaml:2: limits.protected_members: member 'pilot' of workflow 'review'"
    assert told(sources, of_workflow) == [found]


def test_below_an_unknown_name_nothing_is_looked_at(sources: Sources) -> None:
    text = "workflows:\n  revew:\n    limits: {protected_members: [x]}\n    teams: {tam: {mode: auto}}\n"
    assert told(sources, text) == [".victor/autotune.yaml:2: workflows.revew: workflow 'revew'"]
    text = "workflows:\n  review:\n    teams:\n      tam: {plan: {members: [y]}}\n"
    assert told(sources, text) == [".victor/autotune.yaml:4: workflows.review.teams.tam: team 'tam'"]


def test_a_name_below_which_nothing_is_set_counts_too(sources: Sources) -> None:
    assert told(sources, "workflows:\n  revew:\n") == [".victor/autotune.yaml:2: workflows.revew: workflow 'revew'"]


def test_variables_and_a_workflows_own_settings_are_looked_at(sources: Sources) -> None:
    environ = {"VICTOR_AUTOTUNE_LIMITS__PROTECTED_MEMBERS": "style,stile"}
    name = "limits.protected_members: member 'stile'"
    assert told(sources, "", environ) == [f"env VICTOR_AUTOTUNE_LIMITS__PROTECTED_MEMBERS: {name}"]
    own = {"teams": {"tam": {"mode": "auto"}}, "limits": {"protected_members": ["pilot"]}}
    assert told(sources, "", own=own) == [
        "flow.yaml:3: workflows.review.teams.tam: team 'tam'",
        "flow.yaml:3: limits.protected_members: member 'pilot' of workflow 'review'",
    ]


def test_the_two_members_of_an_edge_are_of_one_team(sources: Sources) -> None:
    assert told(sources, "dataflow_edges: [[security, style], [security, docs], [docs, pilot], [pilot, security]]") == [
        f".victor/autotune.yaml:1: dataflow_edges: no team has both {pair}"
        for pair in ("'security' and 'docs'", "'docs' and 'pilot'", "'pilot' and 'security'")
    ]
