"""What people are shown of a team's data flow."""

from __future__ import annotations

import json
from typing import Any

import pytest

from victor_autotune_plugin._dataflow.flow_facts import CHANNEL_WORDS, FlowFacts, contradicted, facts_of
from victor_autotune_plugin._dataflow.verdict import OPEN_WORDS
from victor_autotune_plugin._model.data_flow import CHANNELS, CONFIGURED, OPEN, Edge, RunFlow, TeamFlow
from victor_autotune_plugin._model.plan import EMPTY_PLAN, Limits, MemberSpec, TeamPlan, TeamSpec
from victor_autotune_plugin._settings import Settings

CHAIN = (Edge("extract", "clean", "context"), Edge("clean", "report", "context"))


def told(
    *shown: RunFlow,
    runs: int = 10,
    names: str = "extract clean report",
    formation: str = "sequential",
    live: TeamPlan = EMPTY_PLAN,
    has_scorer: bool = False,
    elsewhere: RunFlow | None = None,
    **settings: Any,
) -> FlowFacts:
    """Show the flows once each, and the last one until there are so many runs."""
    spec = TeamSpec("flow", "team", formation, [MemberSpec(name) for name in names.split()])
    flow = TeamFlow()
    for number in range(runs):
        one = shown[min(number, len(shown) - 1)] if shown else RunFlow()
        flow = flow.with_run(spec.fingerprint(), CONFIGURED, one)
    if elsewhere is not None:
        flow = flow.with_run(spec.fingerprint(), "parallel", elsewhere)
    return facts_of(flow, spec, Settings(**{"mode": "auto", **settings}), live, has_scorer=has_scorer)


def said(facts: FlowFacts) -> str:
    return "\n".join(facts.consequences())


@pytest.mark.parametrize(
    ("facts", "graph"),
    [
        (told(RunFlow(CHAIN)), "extract → clean → report"),
        (told(RunFlow([CHAIN[0]])), "extract → clean; report independent"),
        (told(), "extract, clean, report independent"),
        (told(runs=3), "extract, clean, report: no use seen"),
        (told(runs=0), "extract, clean, report: not looked at yet"),
        (told(runs=0, dataflow="independent"), "extract, clean, report independent"),
        (told(runs=0, dataflow="dependent"), "extract, clean, report: not looked at yet"),
        (told(runs=0, dataflow_edges=(("extract", "clean"),)), "extract → clean; report independent"),
        (told(RunFlow(CHAIN[:1], {"report": ("custom",)})), "extract → clean; report: no use seen"),
        (told(RunFlow([Edge("extract", "clean", "tools", sure=False)])), "extract → clean; report: no use seen"),
        (told(runs=0, names=""), ""),
        (told(names="alone"), "alone independent"),
    ],
)
def test_only_where_all_is_known_a_member_without_an_edge_is_called_independent(facts: FlowFacts, graph: str) -> None:
    assert facts.graph == graph


def test_every_channel_and_every_reason_has_words() -> None:
    assert set(CHANNEL_WORDS) == set(CHANNELS)
    assert set(OPEN_WORDS) == set(OPEN)


def test_each_edge_tells_its_channel_how_sure_it_is_how_often_and_where_it_was_seen() -> None:
    flow = RunFlow([*CHAIN, Edge("extract", "report", "files"), Edge("extract", "report", "tools", sure=False)])
    facts = told(RunFlow(CHAIN), RunFlow(CHAIN), flow, RunFlow(CHAIN), elsewhere=RunFlow([CHAIN[0]]))
    assert facts.rows() == [
        ("clean → report", "shared context", "seen", "10", "as configured"),
        ("extract → clean", "shared context", "seen", "10", "as configured"),
        ("extract → clean", "shared context", "seen", "1", "with formation parallel"),
        ("extract → report", "files", "seen", "1", "as configured"),
        ("extract → report", "tool calls", "may be", "1", "as configured"),
    ]
    assert facts.looked_at == "10 runs as configured, 1 run with formation parallel"


def test_a_declared_edge_was_not_seen_and_comes_first() -> None:
    facts = told(RunFlow([CHAIN[0]]), dataflow_edges=(("extract", "report"),))
    assert facts.rows()[0] == ("extract → report", "settings", "declared", "–", "–")
    assert facts.rows(1) == facts.rows()[:1]


def test_open_members_are_told_with_why_and_how_often() -> None:
    facts = told(RunFlow(open={"clean": ("custom", "unseen")}), RunFlow(open={"clean": ("custom",)}))
    ((name, why),) = facts.open
    assert (name, why) == ("clean", "it is the caller's own code (10 runs); it calls a model that was not seen (1 run)")


def test_an_independent_team_may_change_within_its_kind_of_final_output() -> None:
    facts = told()
    assert (facts.kept, facts.cut) == (("parallel",), ())
    assert "Formations that keep the work, so a test needs no scorer: parallel." in said(facts)
    assert told(formation="pipeline").kept == ()
    assert told(limits=Limits(formations=("sequential", "pipeline"))).kept == ()


def test_what_takes_used_work_away_is_named() -> None:
    facts = told(RunFlow(CHAIN))
    assert "parallel" in facts.cut
    assert "never chosen: parallel, consensus and reflection." in said(facts)
    assert "parallel" not in facts.opened_by["scorer"]


def test_a_scorer_opens_what_may_change_the_work_of_a_team_whose_data_flow_is_known() -> None:
    facts = told()
    assert set(facts.opened_by) == {"scorer"}
    assert set(facts.opened_by["scorer"]) == set(facts.unsure) != set()


def test_an_unknown_team_in_auto_tells_what_a_declaration_and_a_scorer_would_open() -> None:
    facts = told(RunFlow(open={"clean": ("custom",)}))
    assert facts.opened_by["independent"] == ("parallel",)
    assert "parallel" in facts.opened_by["scorer"]
    assert "`dataflow: independent` opens: parallel." in said(facts)
    assert "A scorer (`quality.scorers`) opens: parallel" in said(facts)


def test_a_scorer_opens_nothing_that_cuts_a_suspected_edge() -> None:
    facts = told(RunFlow([Edge("extract", "clean", "tools", sure=False)]))
    assert "parallel" not in facts.opened_by["scorer"]
    assert facts.opened_by["independent"] == ("parallel",)


@pytest.mark.parametrize("options", [{"mode": "approve"}, {"mode": "observe"}, {"has_scorer": True}])
def test_where_a_person_or_a_scorer_decides_nothing_is_closed(options: dict[str, Any]) -> None:
    assert told(RunFlow(open={"clean": ("custom",)}), **options).opened_by == {}


def test_a_declared_edge_of_no_member_is_left_out_and_told() -> None:
    facts = told(dataflow_edges=(("extract", "clean"), ("extrct", "report")))
    assert facts.graph == "extract → clean; report: no use seen"
    assert facts.ignored == (("extrct", "report"),)
    assert "The declared edge extrct → report is left out: the team has no member extrct." in facts.consequences()


def test_a_use_that_was_seen_in_spite_of_the_word_is_told() -> None:
    edges = (("extract", "clean"), ("clean", "report"))
    facts = told(RunFlow(CHAIN), dataflow="independent")
    assert contradicted(facts.knowledge) in CHAIN
    assert "The settings say otherwise, but a run showed that" in said(facts)
    assert contradicted(told(RunFlow(CHAIN), dataflow="independent", dataflow_edges=edges[:1]).knowledge) == CHAIN[1]
    passed_on = RunFlow([*CHAIN, Edge("extract", "report", "text")])
    assert contradicted(told(passed_on, dataflow="independent", dataflow_edges=edges).knowledge) is None
    assert contradicted(told(RunFlow(CHAIN)).knowledge) is None
    suspected = RunFlow([Edge("extract", "clean", "tools", sure=False)])
    assert contradicted(told(suspected, dataflow="independent").knowledge) is None


def test_it_is_plain_data_whole() -> None:
    facts = told(RunFlow(CHAIN[:1], {"report": ("custom",)}), dataflow_edges=(("clean", "report"), ("x", "clean")))
    data = facts.to_dict()
    assert json.loads(json.dumps(data)) == data
    assert data["verdict"] == "dependent"
    assert data["graph"] == "extract → clean → report"
    assert data["runs"] == {"configured": 10}
    assert data["edges"][1] == {
        "source": "extract",
        "target": "clean",
        "channel": "context",
        "sure": True,
        "layout": "configured",
        "runs": 10,
    }
    assert data["open"] == {"report": {"custom": 10}}
    assert data["ignored_edges"] == [["x", "clean"]]
    assert set(data["formations"]) == {"kept", "cut", "unsure"}


def test_runs_of_another_definition_are_not_shown() -> None:
    spec = TeamSpec("flow", "team", "sequential", [MemberSpec("a"), MemberSpec("b")])
    flow = TeamFlow().with_run("of another one", CONFIGURED, RunFlow([Edge("a", "b", "text")]))
    facts = facts_of(flow, spec, Settings(), EMPTY_PLAN, has_scorer=False)
    assert (facts.runs, facts.edges, facts.looked_at) == ({}, (), "no run yet")
