"""What is known of a team's data flow, and which plans follow from it."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from victor_autotune_plugin._dataflow.verdict import LEAST_TO_TEST, Knowledge, Rules, knowledge_of
from victor_autotune_plugin._model.data_flow import CHANNELS, CONFIGURED, Edge, RunFlow, TeamFlow, layout_name
from victor_autotune_plugin._model.plan import EMPTY_PLAN, MemberSpec, TeamPlan, TeamSpec, plan_as_used
from victor_autotune_plugin._settings import Settings

PARALLEL = TeamPlan(formation="parallel")


def team(formation: str = "sequential", *, names: str = "abc", lead: str = "") -> TeamSpec:
    return TeamSpec("flow", "team", formation, [MemberSpec(name, is_supervisor=name == lead) for name in names])


def known(
    spec: TeamSpec, *edges: Edge, runs: int = LEAST_TO_TEST, shown: RunFlow | None = None, **settings: Any
) -> Knowledge:
    flow = TeamFlow()
    for _ in range(runs):
        flow = flow.with_run(spec.fingerprint(), CONFIGURED, shown or RunFlow(edges))
    return knowledge_of(flow, spec, Settings(**settings))


# --- the verdict


def test_a_team_is_independent_after_ten_runs_in_which_no_member_used_another() -> None:
    nearly = known(team(), runs=LEAST_TO_TEST - 1)
    assert (nearly.verdict, nearly.missing) == ("unknown", "1 more run as configured.")
    assert known(team()).verdict == "independent"


@pytest.mark.parametrize(
    ("runs", "because"),
    [(0, "No run as configured was looked at yet."), (1, "Only 1 run as configured was looked at.")],
)
def test_how_many_runs_were_looked_at_is_told_in_a_sentence(runs: int, because: str) -> None:
    assert known(team(), runs=runs).because == because


def test_a_team_of_one_uses_the_work_of_none() -> None:
    alone = known(team(names="a"))
    assert (alone.verdict, alone.because) == ("independent", "The team has only one member.")


def test_one_sure_use_in_any_run_makes_a_team_dependent_for_good() -> None:
    flow = TeamFlow()
    for number in range(100):
        edges = [Edge("a", "b", "files")] if number == 0 else []
        flow = flow.with_run(team().fingerprint(), CONFIGURED, RunFlow(edges))
    found = knowledge_of(flow, team(), Settings())
    assert (found.verdict, found.because) == ("dependent", "b used the work of a in 1 run (files).")


@pytest.mark.parametrize(
    "shown", [RunFlow([Edge("a", "b", "tools", sure=False)]), RunFlow(open={"c": ("unexplained",)})]
)
def test_what_can_t_be_ruled_out_leaves_a_team_unknown(shown: RunFlow) -> None:
    found = known(team(), shown=shown)
    assert found.verdict == "unknown"
    assert not found.keeps_work(PARALLEL, EMPTY_PLAN)
    assert "dataflow" in str(found.missing)


def test_a_run_in_which_a_member_did_not_work_shows_what_was_used_and_not_what_was_not() -> None:
    assert known(team(), shown=RunFlow(is_whole=False)).verdict == "unknown"
    assert known(team(), shown=RunFlow([Edge("a", "b", "text")], is_whole=False)).verdict == "dependent"


def test_runs_of_another_definition_count_for_nothing() -> None:
    flow = TeamFlow().with_run(team().fingerprint(), CONFIGURED, RunFlow([Edge("a", "b", "text")]))
    other = evolve(team(), tool_budget=9)
    assert knowledge_of(flow, other, Settings()).edges == ()
    assert flow.with_run(other.fingerprint(), CONFIGURED, RunFlow()).edges == ()


def test_what_another_layout_showed_adds_edges_and_no_runs_as_configured() -> None:
    flow = TeamFlow().with_run(team().fingerprint(), CONFIGURED, RunFlow([Edge("a", "b", "text")]))
    flow = flow.with_run(team().fingerprint(), "parallel", RunFlow([Edge("c", "b", "files")]))
    found = knowledge_of(flow, team(), Settings())
    assert found.binding == (Edge("a", "b", "text"), Edge("c", "b", "files"))
    assert found.runs == 1


def test_a_person_s_word_counts() -> None:
    seen = Edge("a", "b", "context")
    said = known(team(), seen, dataflow="independent")
    assert (said.verdict, said.binding) == ("independent", ())
    assert said.keeps_work(PARALLEL, EMPTY_PLAN)
    assert [one.edge for one in said.edges] == [seen]  # still told, since it speaks against the word
    assert known(team(), dataflow="dependent").verdict == "dependent"
    off = known(team(), dataflow="off")
    assert (off.verdict, off.keeps_work(PARALLEL, EMPTY_PLAN)) == ("unknown", False)
    pairs = known(team(), dataflow_edges=(("a", "c"), ("of another team", "too")))
    assert (pairs.verdict, pairs.binding) == ("dependent", (Edge("a", "c", "declared"),))
    only = known(team(), seen, dataflow="independent", dataflow_edges=(("a", "c"),), runs=1)
    assert only.binding == (Edge("a", "c", "declared"),)
    assert only.keeps_work(TeamPlan(sub_teams=[["a", "c"], ["b"]]), EMPTY_PLAN)


def test_a_name_that_is_no_member_leaves_the_team_unknown() -> None:
    found = known(team(), dataflow="independent", dataflow_edges=(("aa", "b"),))
    because = "The setting dataflow_edges names aa, which is not a member of the team."
    assert (found.verdict, found.because) == ("unknown", because)
    assert not found.keeps_work(PARALLEL, EMPTY_PLAN)


# --- which plans cut an edge


@pytest.mark.parametrize(
    ("plan", "cuts"),
    [
        (PARALLEL, True),
        (TeamPlan(formation="consensus"), True),
        (TeamPlan(formation="pipeline"), False),
        (TeamPlan(members=["b", "a", "c"]), True),
        (TeamPlan(members=["b", "c"]), True),
        (TeamPlan(members=["a", "b"]), False),
        (TeamPlan(members=["a", "c"]), False),
        (TeamPlan(sub_teams=[["a", "b"], ["c"]]), False),
        (TeamPlan(sub_teams=[["b", "a"], ["c"]]), True),
        (TeamPlan(sub_teams=[["a", "c"], ["b"]]), True),
        (TeamPlan(tool_budget=3), False),
    ],
)
@pytest.mark.parametrize("channel", [one for one in CHANNELS if one != "declared"])
def test_a_plan_cuts_an_edge_whose_target_works_without_or_before_the_source(
    plan: TeamPlan, cuts: bool, channel: str
) -> None:
    found = known(team(), Edge("a", "b", channel))
    assert bool(found.cut_by(plan)) == cuts
    assert bool(known(team(), Edge("a", "b", channel, sure=False)).cut_by(plan)) == cuts


def test_the_layout_as_configured_cuts_nothing_even_where_members_use_each_other() -> None:
    both = Edge("a", "b", "text"), Edge("b", "a", "task")
    for formation in ("reflection", "consensus", "parallel", "hierarchical"):
        spec = team(formation, lead="a")
        assert known(spec, *both).cut_by(EMPTY_PLAN) == ()
        assert known(spec, *both).cut_by(TeamPlan(formation=formation)) == ()


def test_what_a_formation_hands_over_is_cut_by_one_that_does_not() -> None:
    found = known(team("reflection"), Edge("a", "b", "text"))
    assert found.cut_by(TeamPlan(formation="sequential")) == (Edge("a", "b", "text"),)
    files = known(team("reflection"), Edge("a", "b", "files"))
    assert files.cut_by(TeamPlan(formation="sequential")) == ()


def test_in_a_hierarchy_only_the_supervisor_comes_before_the_others() -> None:
    spec = team(lead="a")
    hierarchical = TeamPlan(formation="hierarchical")
    assert known(spec, Edge("a", "b", "files")).cut_by(hierarchical) == ()
    assert known(spec, Edge("b", "c", "files")).cut_by(hierarchical) == (Edge("b", "c", "files"),)


NAMES = "abcd"
EDGES = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(lambda pair: pair[0] < pair[1]), max_size=4
)
GROUPS = st.permutations(NAMES).flatmap(
    lambda order: st.integers(1, 3).map(lambda cut: [list(order[:cut]), list(order[cut:])])
)


@given(EDGES, GROUPS)
def test_sub_teams_cut_nothing_exactly_when_every_source_stands_before_its_target_in_one_group(
    pairs: list[tuple[str, str]], groups: list[list[str]]
) -> None:
    found = known(team(names=NAMES), *(Edge(a, b, "files") for a, b in pairs))
    kept = all(any(a in g and b in g and g.index(a) < g.index(b) for g in groups) for a, b in pairs)
    assert (found.cut_by(TeamPlan(sub_teams=groups)) == ()) == kept


# --- which plans keep the work


@pytest.mark.parametrize(
    ("configured", "plan", "keeps"),
    [
        ("sequential", PARALLEL, True),
        ("parallel", TeamPlan(formation="sequential"), True),
        ("sequential", TeamPlan(sub_teams=[["a", "b"], ["c"]]), True),
        ("sequential", TeamPlan(formation="pipeline"), False),
        ("pipeline", PARALLEL, False),
        ("pipeline", TeamPlan(formation="sequential"), False),
        ("sequential", TeamPlan(formation="consensus"), False),
        ("consensus", PARALLEL, True),
        ("reflection", PARALLEL, False),
        ("sequential", TeamPlan(formation="parallel", members=["a", "b"]), False),
        ("sequential", TeamPlan(formation="parallel", members=["b", "a", "c"]), False),
        ("sequential", TeamPlan(formation="parallel", tool_budget=5), False),
        ("sequential", TeamPlan(formation="parallel", member_budgets={"a": 1}), False),
        ("sequential", TeamPlan(tool_budget=5), False),
    ],
)
def test_a_change_of_layout_over_an_independent_team_keeps_the_work_within_one_kind_of_output(
    configured: str, plan: TeamPlan, keeps: bool
) -> None:
    assert known(team(configured)).keeps_work(plan, EMPTY_PLAN) == keeps


def test_a_consensus_that_needed_another_round_is_no_joined_output() -> None:
    assert not known(team("consensus"), shown=RunFlow(rounds=2)).keeps_work(PARALLEL, EMPTY_PLAN)


def test_a_hierarchy_whose_lead_stands_first_and_delegates_nothing_joins_its_outputs() -> None:
    spec = team("hierarchical", lead="a")
    assert known(spec).keeps_work(PARALLEL, EMPTY_PLAN)
    assert not known(team("hierarchical", lead="b")).keeps_work(PARALLEL, EMPTY_PLAN)
    delegates = known(spec, Edge("a", "b", "task"))
    assert not delegates.keeps_work(TeamPlan(formation="sequential"), EMPTY_PLAN)


def test_sub_teams_along_the_graph_keep_the_work_of_a_team_whose_members_are_all_known() -> None:
    along = TeamPlan(sub_teams=[["a", "b"], ["c"]])
    assert known(team(), Edge("a", "b", "files")).keeps_work(along, EMPTY_PLAN)
    shown = RunFlow([Edge("a", "b", "files")], open={"c": ("custom",)})
    assert not known(team(), shown=shown).keeps_work(along, EMPTY_PLAN)


def test_a_timeout_keeps_the_work_where_it_leaves_room_for_the_slowest_run() -> None:
    found = known(team())
    assert found.keeps_work(TeamPlan(timeout_seconds=12.0), EMPTY_PLAN, 10.0)
    assert not found.keeps_work(TeamPlan(timeout_seconds=11.9), EMPTY_PLAN, 10.0)
    assert not found.keeps_work(TeamPlan(timeout_seconds=1e6), EMPTY_PLAN)


# --- what allows a change


def test_what_allows_a_change() -> None:
    fewer = TeamPlan(members=["a", "b"])
    rules = Rules(known(team()))
    assert rules.allowance(PARALLEL, EMPTY_PLAN) == ("data_flow", None)
    assert rules.allowance(fewer, EMPTY_PLAN)[0] is None
    assert "no scorer" in str(rules.refusal(fewer, EMPTY_PLAN))
    assert evolve(rules, has_scorer=True).allowance(fewer, EMPTY_PLAN) == ("score", None)
    assert evolve(rules, asks_person=True).allowance(fewer, EMPTY_PLAN) == ("person", None)


def test_nothing_but_a_person_s_own_act_allows_a_plan_that_cuts_an_edge() -> None:
    rules = Rules(known(team(), Edge("a", "b", "text", sure=False)), has_scorer=True, asks_person=True)
    assert rules.allowance(PARALLEL, EMPTY_PLAN) == (None, "b may use the work of a, and could not any more")


@pytest.mark.parametrize("edges", [(), (Edge("a", "b", "text"),), (Edge("a", "b", "files"), Edge("b", "c", "context"))])
@pytest.mark.parametrize("more", [{}, {"has_scorer": True}, {"asks_person": True}, {"disproved": "parallel"}])
def test_what_is_allowed_is_what_is_not_refused(edges: tuple[Edge, ...], more: dict[str, Any]) -> None:
    rules = Rules(known(team(), *edges), **more)
    for plan in (
        PARALLEL,
        TeamPlan(formation="pipeline"),
        TeamPlan(members=["a", "b"]),
        TeamPlan(sub_teams=[["a", "b"], ["c"]]),
        TeamPlan(tool_budget=3),
    ):
        allowed = rules.allows(plan, keeps=rules.keeps_work(plan, EMPTY_PLAN))
        assert allowed == (rules.refusal(plan, EMPTY_PLAN) is None)


# --- the name of a layout


@pytest.mark.parametrize(
    ("plan", "name"),
    [
        (EMPTY_PLAN, CONFIGURED),
        (TeamPlan(tool_budget=3, timeout_seconds=4.0), CONFIGURED),
        (PARALLEL, "parallel"),
        (TeamPlan(sub_teams=[["a"], ["b", "c"]]), "sub_teams"),
        (TeamPlan(members=["a", "b"]), "sequential"),
        (TeamPlan(members=["c", "b", "a"]), "sequential"),
    ],
)
def test_a_run_counts_as_configured_when_all_its_members_worked_in_the_declared_layout(
    plan: TeamPlan, name: str
) -> None:
    assert layout_name(team(), plan_as_used(team(), plan)) == name


def test_a_reflection_with_more_members_than_sides_is_as_configured() -> None:
    spec = team("reflection")
    assert layout_name(spec, plan_as_used(spec, EMPTY_PLAN)) == CONFIGURED
