"""`quality:` in the settings: scorers of every kind, what is wrong with one, and what counts without trust."""

from __future__ import annotations

import jsonschema
import pytest

from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin._settings import SettingsResolver
from victor_autotune_plugin._settings.keys import shipped
from victor_autotune_plugin.errors import SettingsError

ALL = """\
quality:
  deadline: 24h
  exit_wait: 5
  keep_outputs: 90m
  show: less -R
  concurrency: 3
  max_cost_usd_per_day: .5
  scorers:
    tests: {command: [python, -m, pytest, -q], weight: 2, timeout: 2m}
    line: {command: "grep -c 'two words'"}
    shape: {json_schema: schemas/report.json}
    inline: {json_schema: {type: object}}
    cites: {regex: '\\[\\d+\\]', gates: false}
    words: {contains: [Summary, Risks]}
    word: {contains: Summary}
    own: {python: "my_package.scoring:Scores.score"}
    lint: {victor_verifier: lint}
    judge: {rubric: ["Is every figure sourced?", "Is it short?"], model: gpt-4o-mini, provider: openai, samples: 5}
    review: {external: true}
"""


def quality(sources, *team, **more):
    return sources.load(**more).for_team(*(team or ("w", "t"))).quality


def test_scorers_of_every_kind(sources):
    sources.user_file(ALL)
    found = quality(sources)
    assert (found.deadline, found.exit_wait, found.keep_outputs, found.show) == (86_400.0, 5.0, 5400.0, ("less", "-R"))
    assert (found.concurrency, found.max_cost_usd_per_day) == (3, 0.5)
    assert found.scorers == (
        ScorerSettings("tests", "command", ("python", "-m", "pytest", "-q"), 2.0, timeout=120.0),
        ScorerSettings("line", "command", ("grep", "-c", "two words")),
        ScorerSettings("shape", "json_schema", "schemas/report.json"),
        ScorerSettings("inline", "json_schema", {"type": "object"}),
        ScorerSettings("cites", "regex", r"\[\d+\]", gates=False),
        ScorerSettings("words", "contains", ("Summary", "Risks")),
        ScorerSettings("word", "contains", ("Summary",)),
        ScorerSettings("own", "python", "my_package.scoring:Scores.score"),
        ScorerSettings("lint", "victor_verifier", "lint"),
        ScorerSettings(
            "judge",
            "rubric",
            ("Is every figure sourced?", "Is it short?"),
            provider="openai",
            model="gpt-4o-mini",
            samples=5,
        ),
        ScorerSettings("review", "external", value=True),
    )


def test_without_any_nothing_is_scored(sources):
    found = quality(sources)
    assert (found.scorers, found.deadline, found.exit_wait, found.keep_outputs) == ((), 86_400.0, 10.0, None)
    assert (found.show, found.concurrency, found.max_cost_usd_per_day) == (None, 2, 1.0)


def test_a_workflow_or_a_team_has_scorers_of_its_own_in_place_of_all_others(sources):
    sources.user_file(
        "quality: {scorers: {a: {contains: A}, b: {contains: B}}, deadline: 1h}\n"
        "workflows: {w: {quality: {scorers: {c: {contains: C}}}, teams: {bare: {quality: {scorers: null}}}}}\n"
    )
    names = {team: [one.name for one in quality(sources, *team).scorers] for team in (("v", "t"), ("w", "t"))}
    assert names == {("v", "t"): ["a", "b"], ("w", "t"): ["c"]}
    assert quality(sources, "w", "bare").scorers == ()
    assert quality(sources, "w", "t").deadline == 3600.0


WRONG = {
    "{tests: {}}": ("tests has no kind", "Write one of"),
    "{tests: {comand: x}}": ("tests has no kind", "Did you mean `command`?"),
    "{tests: {command: x, regex: y}}": ("tests has two kinds: command and regex", "Write one of"),
    "{tests: {command: x, wieght: 2}}": ("tests.wieght is not known", "Did you mean `weight`?"),
    "{tests: {command: x, model: m}}": ("tests.model is not known", "It belongs to a rubric."),
    "{tests: {command: x, weight: 0}}": ("tests.weight: 0 is out of range", "above 0"),
    "{tests: {command: x, timeout: soon}}": ("tests.timeout: 'soon' is not a time", "90s, 30m"),
    "{tests: {command: []}}": ("tests.command: the command is empty", "Write a program"),
    '{tests: {command: "a \'b"}}': ("no closing quotation", "Close the quotes."),
    "{tests: {command: [1]}}": ("tests.command: 1 is not text", "Put it in quotes"),
    "{tests: {regex: '('}}": ("tests.regex: '(' is not a regular expression", "single quotes"),
    "{tests: {json_schema: {type: nonsense}}}": ("tests.json_schema: this is not a JSON Schema: type is wrong", ""),
    "{tests: {json_schema: {$schema: [a]}}}": ("tests.json_schema: this is not a JSON Schema: $schema is not text", ""),
    "{tests: {python: scoring}}": ("tests.python: 'scoring' names no function", "package.module:function"),
    "{tests: {victor_verifier: test}}": ("tests.victor_verifier: 'test' is not a known verifier", "`tests`"),
    "{tests: {rubric: []}}": ("tests.rubric: the list is empty", ""),
    "{tests: {rubric: [a], samples: 0}}": ("tests.samples: 0 is out of range", ""),
    "{tests: {external: false}}": ("tests.external: external is false", "leave the scorer out"),
    "{tests: {external: true, timeout: 3}}": ("tests.timeout is not known", ""),
    "{tests: command}": ("tests: 'command' is not a mapping", "Kinds: command"),
    "{'': {contains: a}}": ("is not text", ""),
    '{"a\\nb": {contains: a}}': (r"'a\nb' is not a name", "on a line"),
    '{"nul\\0": {contains: a}}': ("is not a name", "on a line"),
    f"{{? {'n' * 201} : {{contains: a}}}}": ("is not a name", "200 characters"),
    "[{command: x}]": ("a list is not a mapping", "Write names"),
    "{a: {contains: x}, a: {contains: y}}": ("'a' is given twice", ""),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_is_told_with_its_place_and_a_hint(sources, text):
    sources.user_file(f"mode: auto\nquality:\n  scorers: {text}\n")
    with pytest.raises(SettingsError) as caught:
        quality(sources)
    message, hint = WRONG[text]
    assert message in str(caught.value)
    assert hint in str(caught.value)
    assert "autotune.yaml:3" in str(caught.value)
    assert "quality.scorers" in str(caught.value)


@pytest.mark.parametrize("value", ["tomorrow", "3 weeks", "-1", "1x", "[]", "true"])
def test_a_time_is_seconds_or_has_a_unit(sources, value):
    sources.user_file(f"quality: {{deadline: {value}}}")
    with pytest.raises(SettingsError, match=r"quality\.deadline"):
        quality(sources)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90.0), ("1.5h", 5400.0), ("2 d", 172_800.0), ("0", 0.0)])
def test_times_with_units(sources, text, seconds):
    sources.user_file(f"quality: {{deadline: {text}}}")
    assert quality(sources).deadline == seconds


def test_of_a_projects_scorers_those_that_act_wait_for_trust_and_the_others_count(sources, caplog):
    sources.project_file(ALL)
    found = quality(sources)
    assert [one.name for one in found.scorers] == ["shape", "inline", "cites", "words", "word", "review"]
    assert (found.show, found.deadline) == (None, 86_400.0)
    assert "quality.scorers (.victor/autotune.yaml:8)" in caplog.text
    assert "quality.show (.victor/autotune.yaml:5)" in caplog.text


def test_a_projects_scorers_that_do_not_act_need_no_trust(sources, caplog):
    sources.project_file("quality: {scorers: {words: {contains: Summary}, review: {external: true}}}")
    assert [one.name for one in quality(sources).scorers] == ["words", "review"]
    assert sources.load().acting is None
    assert caplog.text == ""


@pytest.mark.parametrize("setting", ["experiment: {metric: score}", "tuner: {weights: {score: 2, duration: 1}}"])
def test_a_metric_of_score_needs_a_scorer_that_decides(sources, setting):
    sources.user_file(setting)
    with pytest.raises(SettingsError) as caught:
        quality(sources)
    for part in ("quality.scorers", "command", "rubric", "external", "autotune.yaml:1"):
        assert part in str(caught.value)
    assert sources.load(scored_by_hooks=True).for_team("w", "t")
    sources.user_file(f"{setting}\nquality: {{scorers: {{words: {{contains: a, gates: false}}}}}}")
    with pytest.raises(SettingsError):
        quality(sources)
    sources.user_file(f"{setting}\nquality: {{scorers: {{words: {{contains: a}}}}}}")
    assert quality(sources).scorers


def test_a_metric_of_score_whose_scorer_waits_for_trust_is_no_error(sources):
    sources.project_file("experiment: {metric: score}\nquality: {scorers: {tests: {command: pytest}}}")
    assert quality(sources).scorers == ()


def test_it_can_be_set_in_a_variable_and_as_an_option(sources):
    text = '{"words": {"contains": "Summary"}}'
    for more in ({"environ": {"VICTOR_AUTOTUNE_QUALITY__SCORERS": text}}, {"overrides": {"quality.scorers": text}}):
        assert [one.name for one in quality(sources, **more).scorers] == ["words"]


def test_it_is_explained_as_it_is_written(sources):
    sources.user_file("quality: {scorers: {tests: {command: pytest -q, weight: 2}, review: {external: true}}}")
    rows = {key: value for key, value, _ in sources.load().explain("w", "t")}
    assert rows["quality.scorers"] == {
        "tests": {"command": ["pytest", "-q"], "weight": 2.0},
        "review": {"external": True},
    }


def test_editors_accept_what_is_accepted_here():
    import yaml

    validator = jsonschema.Draft7Validator(shipped())
    validator.validate(yaml.safe_load(ALL))
    for text in ("{t: {}}", "{t: {command: x, regex: y}}", "{t: {command: x, model: m}}", "{t: {external: false}}"):
        assert not validator.is_valid({"quality": {"scorers": yaml.safe_load(text)}})


def test_a_resolver_read_again_keeps_what_it_knows_of_hooks(sources):
    sources.user_file("experiment: {metric: score}")
    first: SettingsResolver = sources.load(scored_by_hooks=True)
    assert first.reload().for_team("w", "t").experiment.metric == "score"
