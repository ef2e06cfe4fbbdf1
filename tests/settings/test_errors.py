"""Each thing that can be wrong gives file and line, the key, what is wrong, and the hint."""

from __future__ import annotations

import pytest

from victor_autotune_plugin._values import reading
from victor_autotune_plugin.errors import SettingsError

WRONG = [
    pytest.param("a: 1\nmode: auto", 1, "a: this key is not known", "Known here: mode, strategies,", id="unknown key"),
    pytest.param(
        "\nstratgies: []", 2, "stratgies: this key is not known", "Did you mean `strategies`?", id="typo in a key"
    ),
    pytest.param(
        "workflows:\n  w:\n    experiment:\n      alfa: 0.1",
        4,
        "workflows.w.experiment.alfa: this key is not known",
        "Did you mean `alpha`?",
        id="typo in a nested key",
    ),
    pytest.param(
        "workflows: {w: {teams: {t: {watch: {hold_back: 0.1}}}}}",
        1,
        "workflows.w.teams.t.watch.hold_back: this key is not known",
        "Did you mean `holdback`?",
        id="typo in a team's key",
    ),
    pytest.param(
        "holdback: 0.1", 1, "holdback: this key is not known", "It belongs elsewhere: `watch.holdback`.", id="misplaced"
    ),
    pytest.param(
        "workflows: {w: {database_url: 'sqlite://'}}",
        1,
        "workflows.w.database_url: this key is not known",
        "`database_url` stands only at the top of a file.",
        id="a key of the top",
    ),
    pytest.param(
        "teams: {t: {mode: auto}}",
        1,
        "teams: this key is not known",
        "`teams` stands under a workflow.",
        id="teams at the top",
    ),
    pytest.param("mode: atuo", 1, "mode: 'atuo' is not a known mode", "Did you mean `auto`?", id="unknown mode"),
    pytest.param("mode: true", 1, "mode: true is not a known mode", "Known here: off,", id="mode of a wrong type"),
    pytest.param("mode: [auto]", 1, "mode: a list is not a known mode", "Known here: off,", id="mode as a list"),
    pytest.param("mode:", 1, "mode: nothing is not a known mode", "Known here: off,", id="no mode"),
    pytest.param(
        "strategies:\n- team_sizing\n- formation",
        3,
        "strategies: 'formation' is not a known strategy",
        "Did you mean `formation_selection`?",
        id="unknown strategy",
    ),
    pytest.param(
        "strategies: team_sizing",
        1,
        "strategies: 'team_sizing' is not a list",
        "Write a list: [team_sizing].",
        id="one name for a list",
    ),
    pytest.param(
        "limits:\n  formations: [sequential,\n   paralel]",
        3,
        "limits.formations: 'paralel' is not a known formation",
        "Did you mean `parallel`?",
        id="unknown formation",
    ),
    pytest.param("limits: {formations: []}", 1, "limits.formations: the list is empty", "Name at least 1", id="none"),
    pytest.param(
        "limits: {protected_members: [a, b, a]}",
        1,
        "limits.protected_members: 'a' is in the list twice",
        "Leave one of them out.",
        id="a name twice",
    ),
    pytest.param(
        "limits: {protected_members: [7]}", 1, "7 is not text", "Put it in quotes: '7'.", id="a number for a name"
    ),
    pytest.param(
        "experiment: {metric: time}",
        1,
        "experiment.metric: 'time' is not a known metric",
        "duration",
        id="unknown metric",
    ),
    pytest.param(
        "experiment: {alpha: true}",
        1,
        "experiment.alpha: true is not a number",
        "of at least 0.005 and at most 0.15",
        id="a flag",
    ),
    pytest.param(
        'watch: {alpha: "0.05"}',
        1,
        "'0.05' is text, not a number",
        "Write it without quotes: 0.05.",
        id="number in quotes",
    ),
    pytest.param(
        "watch: {alpha: five}", 1, "'five' is not a number", "Write a number of at least 0.005", id="text for a number"
    ),
    pytest.param("watch: {alpha: .nan}", 1, "nan is not a finite number", "Write a number of at least 0.005", id="NaN"),
    pytest.param("watch: {alpha: -.inf}", 1, "-inf is not a finite number", "Write a number", id="infinite"),
    pytest.param("watch: {alpha: 0.5}", 1, "watch.alpha: 0.5 is out of range", "at most 0.15", id="too great"),
    pytest.param("watch: {alpha: 0}", 1, "watch.alpha: 0 is out of range", "at least 0.005", id="too small"),
    pytest.param("watch: {holdback: 0.51}", 1, "watch.holdback: 0.51 is out of range", "at most 0.5", id="holdback"),
    pytest.param("watch: {holdback: -0.1}", 1, "watch.holdback: -0.1 is out of range", "at least 0", id="below none"),
    pytest.param("promotion: prove", 1, "'prove' is not a known promotion", "Did you mean `proof`?", id="promotion"),
    pytest.param("promotion: true", 1, "promotion: true is not a known promotion", "probation, proof", id="a flag"),
    pytest.param(
        "experiment: {rule: pocok}", 1, "'pocok' is not a known rule", "Known here: signed_rank.", id="unknown rule"
    ),
    pytest.param("experiment: {rule: [pocock]}", 1, "a list is not a known rule", "signed_rank", id="list of rules"),
    pytest.param(
        "experiment: {sticky: 1}", 1, "experiment.sticky: 1 is neither true nor false", "Write true", id="sticky"
    ),
    pytest.param(
        "limits: {max_bad_runs_per_week: 2.5}", 1, "2.5 is not a whole number", "at least 0", id="half a bad run"
    ),
    pytest.param(
        "limits: {max_extra_cost_usd_per_week: -1}", 1, "-1 is out of range", "at least 0", id="negative extra cost"
    ),
    pytest.param("watch: {enabled: yes}", 1, "watch.enabled: 'yes' is neither true nor false", "Write true", id="yes"),
    pytest.param(
        "watch: {enabled: 1}", 1, "watch.enabled: 1 is neither true nor false", "Write true", id="number: flag"
    ),
    pytest.param(
        "experiment: {min_runs_per_arm: 9}", 1, "9 is out of range", "a whole number of at least 10", id="too few runs"
    ),
    pytest.param(
        "limits: {max_members: 2.0}", 1, "limits.max_members: 2.0 is not a whole number", "at least 1", id="not whole"
    ),
    pytest.param("limits: {max_members: 0}", 1, "limits.max_members: 0 is out of range", "at least 1", id="nobody"),
    pytest.param(f"limits: {{max_members: {10**400}}}", 1, "is out of range", "at most 1000", id="huge"),
    pytest.param(
        f"plan: {{tool_budget: {'9' * 5000}}}", 1, "can't be read as int", "plain value", id="thousands of digits"
    ),
    pytest.param(
        "experiment: {p95_margin: 1_0_0_0}", 1, "1000 is out of range", "at most 100", id="out of range above"
    ),
    pytest.param("task_key: ''", 1, "task_key: '' is not text", "Write some text.", id="empty text"),
    pytest.param("task_key: {a: b}", 1, "task_key: a mapping is not text", "Write some text.", id="a mapping for text"),
    pytest.param(
        "plan: {member_budgets: {a: x}}",
        1,
        "plan.member_budgets: 'x' is not a number",
        "at least 0",
        id="member budget",
    ),
    pytest.param("plan: {member_budgets: [a]}", 1, "a list is not a mapping", "{name: number}", id="member budgets"),
    pytest.param("plan: {member_budgets: {}}", 1, "the mapping is empty", "leave the key out", id="no member budget"),
    pytest.param(
        "plan: {member_budgets: {a: 1, a: 2}}",
        1,
        "plan.member_budgets: 'a' is given twice",
        "Leave one",
        id="budget twice",
    ),
    pytest.param(
        "plan: auto", 1, "plan: 'auto' is not a mapping", "Write keys under it: formation,", id="plan as text"
    ),
    pytest.param("plan: {members: []}", 1, "plan.members: the list is empty", "leave the key out", id="plan of nobody"),
    pytest.param("plan: {sub_teams: a}", 1, "plan.sub_teams: 'a' is not a list", "list of lists", id="groups as text"),
    pytest.param("plan: {sub_teams: [a]}", 1, "'a' in it is not a list", "[[a, b], [c]]", id="names for groups"),
    pytest.param("plan: {sub_teams: []}", 1, "the list is empty", "at least one group", id="no group"),
    pytest.param("plan: {sub_teams: [[a], []]}", 1, "the list is empty", "Name at least 1", id="an empty group"),
    pytest.param("plan: {sub_teams: [[a, a]]}", 1, "'a' is in the list twice", "Leave one", id="twice in a group"),
    pytest.param(
        "plan:\n  sub_teams:\n  - [a, b]\n  - [c, b]",
        4,
        "plan.sub_teams: 'b' is in two of the lists",
        "Leave it out of one",
        id="in two groups",
    ),
    pytest.param(
        "dataflow: independant",
        1,
        "dataflow: 'independant' is not a known data flow",
        "Did you mean `independent`?",
        id="data flow misspelt",
    ),
    pytest.param(
        "dataflow: [[a, b]]", 1, "dataflow: a list is not a known data flow", "auto, ind", id="edges as a word"
    ),
    pytest.param("dataflow:", 1, "dataflow: nothing is not a known data flow", "auto, independent", id="no data flow"),
    pytest.param("dataflow-edges: [[a, b]]", 1, "this key is not known", "`dataflow_edges`", id="key with a dash"),
    pytest.param("dataflow_edges: a", 1, "dataflow_edges: 'a' is not a list", "[[a, b], [b, c]]", id="edges as text"),
    pytest.param("dataflow_edges:", 1, "dataflow_edges: nothing is not a list", "[[a, b], [b, c]]", id="no edges"),
    pytest.param("dataflow_edges: {a: b}", 1, "a mapping is not a list", "[[a, b], [b, c]]", id="edges as a mapping"),
    pytest.param("dataflow_edges: [a, b]", 1, "'a' in it is not a list", "[[a, b], [b, c]]", id="one edge, flat"),
    pytest.param(
        "dataflow_edges:\n- [a, b]\n- a -> b", 3, "'a -> b' in it is not a list", "[[a, b], [b, c]]", id="an arrow"
    ),
    pytest.param(
        "dataflow_edges:\n- [a, b]\n- [a, b, c]", 3, "a list in it has 3 names, not two", "[[a, b],", id="three names"
    ),
    pytest.param("dataflow_edges: [[a]]", 1, "a list in it has 1 name, not two", "[[a, b], [b, c]]", id="one name"),
    pytest.param("dataflow_edges: [[]]", 1, "a list in it has no names, not two", "[[a, b], [b, c]]", id="no name"),
    pytest.param("dataflow_edges: [[a, a]]", 1, "a pair has 'a' twice", "two different", id="an edge to itself"),
    pytest.param("dataflow_edges: [[a, '']]", 1, "'' is not text", "Write some text.", id="an empty id"),
    pytest.param("dataflow_edges: [[a, 1]]", 1, "1 is not text", "Put it in quotes: '1'.", id="a number for an id"),
    pytest.param(
        "dataflow_edges:\n- [a, b]\n- [b, a]\n- [a, b]", 4, "[a, b] is in the list twice", "Leave one", id="edge twice"
    ),
    pytest.param("database_url: runs.db", 1, "database_url: this is not a database URL", "sqlite:///", id="no URL"),
    pytest.param("prices: {m: 3}", 1, "prices.m: 3 is not a mapping", "input_per_million_usd", id="price as a number"),
    pytest.param("prices: {m: null}", 1, "prices.m: the price is not complete", "input_per_million_usd", id="no price"),
    pytest.param(
        "prices:\n  m:\n    input_per_million_usd: 1",
        2,
        "prices.m: the price is not complete",
        "Add output_per_million_usd",
        id="half a price",
    ),
    pytest.param(
        "prices: {m: {input_per_million_usd: -1, output_per_million_usd: 1}}",
        1,
        "prices.m.input_per_million_usd: -1 is out of range",
        "at least 0",
        id="negative price",
    ),
    pytest.param(
        "mode: auto\nmode: off",
        2,
        "mode: this key is given twice, first at .victor/autotune.yaml:1",
        "Keep one",
        id="twice",
    ),
    pytest.param(
        "workflows:\n  w: {mode: auto}\n  w: {mode: off}",
        3,
        "workflows.w: this key is given twice, first at .victor/autotune.yaml:2",
        "Keep one",
        id="workflow twice",
    ),
    pytest.param(
        "workflows: {'': {mode: auto}}", 1, "the name is empty", "Write a name.", id="workflow without a name"
    ),
    pytest.param("workflows: {~: {mode: auto}}", 1, "the name is empty", "Write a name.", id="null for a name"),
    pytest.param(
        "workflows: [w]",
        1,
        "workflows: a list is not a mapping",
        "names, each with its settings",
        id="list of workflows",
    ),
    pytest.param(
        "workflows: {w: auto}", 1, "workflows.w: 'auto' is not a mapping", "Write keys under it", id="text: flow"
    ),
    pytest.param("- mode", 1, "a list is not a mapping", "Write keys under it: mode", id="file is a list"),
    pytest.param("auto", 1, "'auto' is not a mapping", "Write keys under it: mode", id="file is a word"),
    pytest.param("mode: auto\n\twatch: {}", 2, "not YAML", "spaces in place of the tab", id="tab"),
    pytest.param("watch:\n\tenabled: true", 2, "not YAML", "spaces in place of the tab", id="tab as indent"),
    pytest.param("mode: [auto\n", 2, "not YAML", "Fix the line, or the one before it.", id="open bracket"),
    pytest.param("a: b: c", 1, "not YAML: mapping values are not allowed", "Fix the line", id="two colons"),
    pytest.param("a: *nobody", 1, "not YAML: found undefined alias", "Fix the line", id="unknown alias"),
    pytest.param("mode: auto\n---\nmode: off", 2, "another document", "Fix the line", id="two documents"),
    pytest.param("mode: !secret auto", 1, "'auto' can't be read as !secret", "Write a plain value.", id="own tag"),
    pytest.param("mode: auto\n? [a, b]\n: 1", 2, "a key is not plain text", "Write a name", id="list as a key"),
    pytest.param("workflows: &w\n  a: *w", 1, "this refers to itself", "Take the alias", id="alias of itself"),
    pytest.param("watch: {<<: 3}", 1, "`<<` merges mappings only", "*name", id="merge of a number"),
]


@pytest.mark.parametrize(("text", "line", "message", "hint"), WRONG)
def test_a_wrong_file_is_told_with_line_key_and_mend(sources, text: str, line: int, message: str, hint: str) -> None:
    sources.project_file(text)
    error = sources.error()
    assert error.startswith(f".victor/autotune.yaml:{line}: ")
    first, second = error.split("\n")
    assert message in first
    assert hint in second


@pytest.mark.parametrize(
    ("text", "lines", "message"),
    [
        (
            "limits:\n  min_members: 3\n  max_members: 2",
            (2, 3),
            "min_members is 3, more than limits.max_members, which is 2",
        ),
        ("limits: {min_tool_budget: 3, max_tool_budget: 2}", (1,), "min_tool_budget is 3, more than"),
        (
            "limits:\n  max_timeout_seconds: 2\n  min_timeout_seconds: 2.5",
            (3, 2),
            "min_timeout_seconds is 2.5, more than",
        ),
        ("experiment: {min_runs_per_arm: 300}", (1,), "more than experiment.max_runs_per_arm, which is 200 by default"),
        ("experiment: {max_runs_per_arm: 11, min_runs_per_arm: 12}", (1,), "min_runs_per_arm is 12, more than"),
        (
            "limits:\n  protected_members: [a, b]\n  max_members: 1",
            (2, 3),
            "protected_members has 2 members, more than",
        ),
        (
            "plan: {formation: parallel}\nlimits: {formations: [pipeline]}",
            (1, 2),
            "plan.formation is parallel, which is not",
        ),
        (
            "plan: {members: [a]}\nlimits: {min_members: 2}",
            (1, 2),
            "plan.members is 1, less than min_members, which is 2",
        ),
        ("plan: {members: [a, b]}\nlimits: {max_members: 1}", (1, 2), "plan.members is 2, more than max_members"),
        ("plan: {members: [a]}\nlimits: {protected_members: [b]}", (1, 2), "plan.members leaves out b, who is one of"),
        (
            "plan: {tool_budget: 9}\nlimits: {max_tool_budget: 8}",
            (1, 2),
            "plan.tool_budget is 9, more than max_tool_budget",
        ),
        ("plan: {tool_budget: 0}\nlimits: {min_tool_budget: 1}", (1, 2), "plan.tool_budget is 0, less than"),
        ("plan: {member_budgets: {a: 9}}\nlimits: {max_tool_budget: 8}", (1, 2), "plan.member_budgets is 9, more than"),
        (
            "plan: {timeout_seconds: 9}\nlimits: {max_timeout_seconds: 8}",
            (1, 2),
            "plan.timeout_seconds is 9, more than",
        ),
        (
            "plan: {members: [a], member_budgets: {b: 1}}",
            (1,),
            "plan.member_budgets names b, whom plan.members leaves out",
        ),
        (
            "plan:\n  formation: parallel\n  sub_teams: [[a], [b]]",
            (3, 2),
            "plan.sub_teams and plan.formation are both set",
        ),
        ("plan:\n  members: [a, b]\n  sub_teams: [[a]]", (3, 2), "plan.sub_teams has no place for b, whom"),
        ("plan:\n  members: [a]\n  sub_teams: [[a], [b]]", (3, 2), "plan.sub_teams names b, whom plan.members leaves"),
        (
            "plan: {sub_teams: [[a], [b]]}\nlimits: {formations: [sequential]}",
            (1, 2),
            "plan.sub_teams run in parallel, which is not one of formations",
        ),
        ("plan: {sub_teams: [[a], [b]]}\nlimits: {max_members: 1}", (1, 2), "plan.sub_teams is 2, more than"),
        ("plan: {sub_teams: [[a]]}\nlimits: {protected_members: [b]}", (1, 2), "plan.sub_teams leaves out b, who is"),
    ],
)
def test_settings_that_contradict_each_other_are_told_with_both_places(
    sources, text: str, lines: tuple[int, ...], message: str
) -> None:
    sources.project_file(text)
    error = sources.error()
    assert error.startswith(f".victor/autotune.yaml:{lines[0]}: ")
    if len(lines) == 2:
        assert f"(.victor/autotune.yaml:{lines[1]})" in error
    assert message in error
    assert "\n  Change `" in error


@pytest.mark.parametrize("place", ["workflows: {w: %s}", "workflows: {w: {teams: {t: %s}}}"])
def test_a_contradiction_with_an_inherited_value_is_found_when_the_file_is_read(sources, place: str) -> None:
    sources.user_file("limits: {max_members: 2}")
    sources.project_file(place % "{limits: {min_members: 3}}")
    error = sources.error()
    assert error.startswith(".victor/autotune.yaml:1: limits.min_members is 3")
    assert "(~/.victor/autotune.yaml:1)" in error


def test_one_contradiction_at_the_top_is_told_once_however_many_workflows_inherit_it(sources) -> None:
    sources.project_file("limits: {min_members: 3, max_members: 2}\nworkflows: {a: {mode: auto}, b: {mode: auto}}")
    assert sources.error().count("limits.min_members is 3") == 1


def test_a_wrong_value_is_not_reported_a_second_time_as_a_contradiction(sources) -> None:
    sources.project_file("experiment: {min_runs_per_arm: 300, max_runs_per_arm: many}")
    error = sources.error()
    assert "'many' is not a number" in error
    assert "more than" not in error


def test_all_that_is_wrong_is_told_at_once_in_order(sources) -> None:
    sources.user_file("mode: atuo\nwatch: {enabled: maybe}")
    sources.project_file("watch:\n  holdback: 2\nlimits: {min_members: 3, max_members: 2}")
    error = sources.error(environ={"VICTOR_AUTOTUNE_MODE": "no"}, overrides={"watch.alpha": "x"})
    places = [line.split(": ")[0] for line in error.split("\n")[1:] if not line.startswith("  ")]
    assert error.startswith("6 things are wrong in the settings\n")
    assert places == [
        "~/.victor/autotune.yaml:1",
        "~/.victor/autotune.yaml:2",
        ".victor/autotune.yaml:2",
        "env VICTOR_AUTOTUNE_MODE",
        "option --watch-alpha",
        ".victor/autotune.yaml:3",
    ]


@pytest.mark.parametrize(
    ("name", "text", "message", "hint"),
    [
        ("MODE", "on", "mode: 'on' is not a known mode", "Known here: off, observe, suggest, approve, auto."),
        ("MODUS", "auto", "this variable is not known", "Did you mean `VICTOR_AUTOTUNE_MODE`?"),
        ("ALPHA", "0.1", "this variable is not known", "Did you mean `VICTOR_AUTOTUNE_WATCH__ALPHA`?"),
        ("mode", "auto", "this variable is not known", "Did you mean `VICTOR_AUTOTUNE_MODE`?"),
        ("WATCH__ENABLED", "maybe", "watch.enabled: 'maybe' is neither true nor false", "Write true or false."),
        ("WATCH__ALPHA", "nan", "watch.alpha: nan is not a finite number", "of at least 0.005 and at most 0.15"),
        ("EXPERIMENT__MIN_HISTORY", "1.5", "experiment.min_history: 1.5 is not a whole number", "at least 0"),
        ("PLAN__MEMBER_BUDGETS", "a", "plan.member_budgets: 'a' is not a mapping", "{name: number}"),
        ("LIMITS__FORMATIONS", "parallel,serial", "limits.formations: 'serial' is not a known formation", "Known here"),
        ("DATABASE_URL", "me:s3cret@host", "database_url: this is not a database URL", "postgresql"),
    ],
)
def test_a_wrong_variable_is_named(sources, name: str, text: str, message: str, hint: str) -> None:
    error = sources.error(environ={f"VICTOR_AUTOTUNE_{name}": text, "VICTOR_AUTOTUNES": "another's"})
    assert error.startswith(f"env VICTOR_AUTOTUNE_{name}: {message}")
    assert hint in error
    assert "s3cret" not in error


@pytest.mark.parametrize(
    ("key", "value", "message", "hint"),
    [
        ("mode", "on", "option --mode: mode: 'on' is not a known mode", "Known here: off"),
        ("experiment.min_runs", 3, "experiment.min_runs: this key is not known", "`experiment.min_runs_per_arm`"),
        ("watch.alpha", True, "option --watch-alpha: watch.alpha: true is not a number", "of at least 0.005"),
    ],
)
def test_a_wrong_option_is_named(sources, key: str, value: object, message: str, hint: str) -> None:
    error = sources.error(overrides={key: value})
    assert message in error
    assert hint in error


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"mod": "auto"}, "workflow review.yaml:7: mod: this key is not known"),
        ({"mode": "atuo"}, "workflow review.yaml:7: mode: 'atuo' is not a known mode"),
        ({"limits": {"max_members": 10**5000}}, "limits.max_members: a huge number is out of range"),
        ({"workflows": {}}, "workflow review.yaml:7: workflows: this key is not known"),
        ({"database_url": "sqlite://"}, "`database_url` stands only at the top of a file."),
        ({"teams": {"t": {"watch": {"alpha": "1e-3"}}}}, "teams.t.watch.alpha: '1e-3' is text, not a number"),
        ({"limits": {"min_members": 9}}, "limits.min_members is 9, more than limits.max_members, which is 8"),
        ("auto", "workflow review.yaml:7: 'auto' is not a mapping"),
        (["auto"], "workflow review.yaml:7: a list is not a mapping"),
    ],
)
def test_wrong_metadata_names_the_workflow_when_its_team_is_asked_for(sources, metadata: object, message: str) -> None:
    sources.project_file("limits: {max_members: 8}")
    book = sources.load()
    for ask in (book.for_team, book.explain):
        with pytest.raises(SettingsError) as caught:
            ask("w", "t", metadata, "workflow review.yaml:7")
        assert message in str(caught.value)
    assert book.for_team("w", "t").mode == "observe"


def test_metadata_that_contains_itself_is_told(sources) -> None:
    metadata: dict[str, object] = {}
    metadata["teams"] = metadata
    with pytest.raises(SettingsError, match="this refers to itself"):
        sources.load().for_team("w", "t", metadata)


def test_a_file_that_is_not_text_is_told_with_the_line(sources) -> None:
    sources.project_file("").write_bytes(b"mode: auto\ntask_key: \xff\n")
    assert sources.error().startswith(".victor/autotune.yaml:2: this is not UTF-8 text\n  Save the file as UTF-8")


def test_control_characters_are_told(sources) -> None:
    sources.project_file("mode: au\x00to")
    assert ".victor/autotune.yaml:1: this is not YAML: " in sources.error()


def test_a_file_that_is_nested_beyond_reason_is_told(sources) -> None:
    sources.project_file("[" * 5_000)
    assert sources.error().startswith(".victor/autotune.yaml:1: this is nested too deeply\n")


def test_aliases_of_aliases_do_not_blow_up(sources) -> None:
    doubled = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 40))
    sources.project_file(f"a0: &a0 [1]\n{doubled}")
    assert sources.error().startswith(".victor/autotune.yaml: this holds more than 200,000 values once")


def test_a_folder_in_place_of_the_file_is_told(sources) -> None:
    sources.project_file("").unlink()
    (sources.project / ".victor" / "autotune.yaml").mkdir()
    assert sources.error().startswith(".victor/autotune.yaml: this is a folder\n  Move it away: mv ")


def test_a_file_far_too_large_is_not_parsed(sources) -> None:
    sources.project_file("#" * 1_000_001)
    assert sources.error().startswith(".victor/autotune.yaml: the file has 1,000,001 bytes")


def test_a_file_that_may_not_be_read_is_told(sources, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sources.project_file("mode: auto")

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(reading.os, "open", refuse)
    problem, hint = sources.error().split("\n")
    assert problem == ".victor/autotune.yaml: the file can't be read: Permission denied"
    assert hint == f"  Make it a file that you may read: ls -l {path}"


def test_a_mark_at_the_files_start_and_windows_line_ends_are_fine(sources) -> None:
    sources.project_file("").write_bytes(b"\xef\xbb\xbfmode: auto\r\nwatch: {enabled: false}\r\n")
    assert sources.load().for_team("w", "t").mode == "auto"
