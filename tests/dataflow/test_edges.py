"""Who used whose work: each kind of edge, with the smallest run that shows it."""

from __future__ import annotations

import json
import random

import pytest

from victor_autotune_plugin._dataflow import edges as module
from victor_autotune_plugin._dataflow.edges import flow_of
from victor_autotune_plugin._dataflow.trace import Entry, Given, ReadValue, RunTrace, Sent, Walked, Wrote
from victor_autotune_plugin._model.data_flow import Edge, RunFlow

GOAL = "Find out why the nightly build of the parser fails and mend it"
REPORT = (
    "The parser rejects dates before 1970 since commit 4f2a; the lexer treats a minus sign as an operator, "
    "and the fix is to look ahead one character more."
)
TRUISM = "Every build runs in a fresh container with the locked set of packages and no network at all."


def edges(*entries: Entry, members: str = "abc", known: tuple[str, ...] = (), goal: str = GOAL) -> set[Edge]:
    return set(flow(*entries, members=members, known=known, goal=goal).edges)


def flow(*entries: Entry, members: str = "abc", known: tuple[str, ...] = (), goal: str = GOAL) -> RunFlow:
    trace = RunTrace(tuple(members), goal=goal, known=list(known))
    for entry in entries:
        trace.note(entry)
    return flow_of(trace)


def result(member: str, text: str) -> Wrote:
    return Wrote(member, text, is_result=True)


def test_nobody_gets_anything_of_others() -> None:
    assert not edges(
        Given("a", GOAL, "task"), result("a", REPORT), Given("b", GOAL, "task"), result("b", TRUISM), ReadValue("a", ())
    )


def test_a_value_of_the_context_is_read() -> None:
    assert edges(ReadValue("c", ("a", "b", "c"))) == {Edge("a", "c", "context"), Edge("b", "c", "context")}


def test_a_walk_over_the_context_may_use_all_that_is_there() -> None:
    assert edges(Walked("c", ("a", "c"))) == {Edge("a", "c", "context", sure=False)}


def test_a_walk_adds_nothing_to_a_value_that_was_read() -> None:
    assert edges(Walked("c", ("a", "b")), ReadValue("c", ("a",))) == {
        Edge("a", "c", "context"),
        Edge("b", "c", "context", sure=False),
    }


@pytest.mark.parametrize(("recipient", "targets"), [("b", "b"), (None, "bc"), ("unheard of", "bc")])
def test_messages_over_the_bus_may_be_used(recipient: str | None, targets: str) -> None:
    assert edges(Sent("a", recipient)) == {Edge("a", name, "messages", sure=False) for name in targets}


# Tasks


@pytest.mark.parametrize("output", ["42", "yes", "−7.5", "✅", "extracted(data)", "四十二", REPORT])
@pytest.mark.parametrize("frame", ["{}", "Go on with {}.", "{{'previous': '{}'}}", "# Before\n\n> **{}**\n"])
def test_a_task_holds_an_output(output: str, frame: str) -> None:
    assert edges(result("a", output), Given("b", frame.format(output), "task")) == {Edge("a", "b", "task")}


@pytest.mark.parametrize(
    "task",
    [
        str({"task": GOAL, "previous_results": [{"agent_id": "a", "output": REPORT.replace(";", ";\n\n- ")}]}),
        json.dumps(json.dumps([REPORT.upper()])),
        "Begin with this: " + REPORT[:90],
    ],
    ids=["as_a_dictionary", "as_json_in_json", "cut_off"],
)
def test_a_task_holds_an_output_in_another_form(task: str) -> None:
    assert edges(result("a", REPORT), Given("b", task, "task")) == {Edge("a", "b", "task")}


def test_a_task_holds_the_beginning_of_a_very_long_output() -> None:
    long = " ".join(f"word{number} of many" for number in range(5000))
    assert edges(result("a", long), Given("b", "Go on: " + long[:500], "task")) == {Edge("a", "b", "task")}


def test_an_output_that_the_goal_holds_says_nothing() -> None:
    goal = "Sort the 42 tickets"
    assert not edges(result("a", "42"), Given("b", goal, "task"), goal=goal)
    assert not edges(result("a", "42"), Given("b", "tickets: 42", "task"), known=("tickets: 42",))


def test_a_part_of_a_word_or_number_is_not_an_output() -> None:
    assert edges(result("a", "42"), result("c", "x"), Given("b", "wait for 1042", "task")) == {
        Edge("a", "b", "task", sure=False),
        Edge("c", "b", "task", sure=False),
    }


def test_a_task_may_be_a_part_of_what_another_member_wrote() -> None:
    plan = Wrote("a", json.dumps({"delegate": {"b": "Read the lexer again", "c": "Read all the tests"}}))
    found = edges(plan, result("c", TRUISM), Given("b", "Read the lexer again", "task"))
    assert found == {Edge("a", "b", "task")}


def test_a_task_that_nothing_explains_may_tell_of_all_that_was_written_before() -> None:
    assert edges(result("a", "4 faults"), Given("b", "Mend what is broken", "task"), result("c", TRUISM)) == {
        Edge("a", "b", "task", sure=False)
    }


@pytest.mark.parametrize(
    "task",
    [GOAL, f"  {GOAL}\n", f"# Task\n{GOAL}", GOAL[:37] + "…", TRUISM, f"{TRUISM}\n{GOAL}", ""],
)
def test_a_task_of_known_words_is_explained(task: str) -> None:
    assert not edges(result("a", REPORT), Given("b", task, "task"), known=(TRUISM, "Task"))


def test_a_members_own_draft_explains_its_task() -> None:
    assert not edges(result("a", "half done"), result("b", "first draft"), Given("b", f"{GOAL} first draft", "task"))


def test_a_task_before_anything_was_written_comes_from_nobody() -> None:
    assert not edges(Given("a", "Something else", "task"), Given("b", "And else", "task"), result("a", "And else"))


# Texts

CODE = "def mended(line):\n\tif line[:1] == '-' and not is_operator(line):\n\t\treturn look_ahead(line, by=1)\n"
CHINESE = "解析器会拒绝一九七〇年之前的日期，词法分析器把减号当成了运算符。"


@pytest.mark.parametrize(
    "text", [REPORT, CODE, CHINESE, 'C:\\new\\table of\\u names \\d+ \\\\srv\\r\\n and "more" of it']
)
@pytest.mark.parametrize(
    "form",
    [
        str,
        json.dumps,
        lambda text: json.dumps(json.dumps({"content": text})),
        lambda text: json.dumps(text, ensure_ascii=False),
        lambda text: str({"output": text}),
        lambda text: text if "\\" in text else text.upper(),
        lambda text: "> " + text.replace("\n", "\n> ").replace(" ", "  "),
        lambda text: f"<result>{text}</result>",
    ],
    ids=["plain", "json", "json_in_json", "json_as_it_is", "dictionary", "upper_case", "quoted", "tagged"],
)
@pytest.mark.parametrize("how", ["message", "result", "system"])
def test_a_text_is_found_in_what_another_member_was_given(text: str, form, how) -> None:
    assert edges(Wrote("a", text), Given("b", f"{TRUISM}\n\n{form(text)}\n{TRUISM}", how)) == {Edge("a", "b", "text")}


def test_a_text_comes_in_pieces() -> None:
    words = REPORT.split()
    pieces = [" ".join(words[at : at + 7]) for at in range(0, len(words), 5)]
    assert edges(result("a", REPORT), *(Given("b", piece, "message") for piece in pieces)) == {Edge("a", "b", "text")}


def test_a_short_result_among_many_tool_calls_is_found() -> None:
    work = [Wrote("a", json.dumps({"path": f"src/module{n}.py", "content": f"value {n} " * 40})) for n in range(200)]
    assert edges(*work, result("a", REPORT), Given("b", REPORT, "message")) == {Edge("a", "b", "text")}


def test_a_few_words_in_common_are_no_edge() -> None:
    sentence = " ".join(REPORT.split()[:6])
    assert not edges(result("a", REPORT), Given("b", f"{TRUISM} {sentence}", "message"))
    book = " ".join(f"{REPORT.split()[at % 25]}{at}" for at in range(600)) + " " + sentence + " by the way"
    assert not edges(result("a", book), Given("b", f"{sentence} by the way", "result"))


def test_what_was_given_before_it_was_written_came_from_elsewhere() -> None:
    assert not edges(Given("b", REPORT, "message"), result("a", REPORT))
    assert not edges(Given("b", REPORT, "message"), result("a", REPORT), Given("b", REPORT, "result"))


def test_equal_answers_are_no_edge() -> None:
    assert not edges(result("a", REPORT), result("b", REPORT), result("c", REPORT))
    assert not edges(result("a", REPORT), result("b", REPORT), Given("b", REPORT, "message"))


def test_both_read_the_same_file_and_quote_it() -> None:
    read = [Given(name, TRUISM, "result") for name in "abc"]
    assert not edges(read[0], result("a", TRUISM), read[1], result("b", TRUISM), read[2], result("c", TRUISM))


def test_quoting_the_goal_or_a_role_is_no_edge() -> None:
    assert not edges(result("a", f"{GOAL}! {TRUISM}"), Given("b", f"{TRUISM} {GOAL}", "system"), known=(TRUISM,))


def test_a_text_comes_through_a_third_member() -> None:
    found = edges(
        result("a", REPORT),
        Given("c", REPORT, "message"),
        result("c", f"Quite so: {REPORT}"),
        Given("b", REPORT, "message"),
    )
    assert found == {Edge("a", "c", "text"), Edge("a", "b", "text"), Edge("c", "b", "text", sure=False)}


def test_a_third_member_may_pass_on_a_small_part_of_what_it_was_given() -> None:
    book = " ".join(f"word{number} of many" for number in range(2000))
    given = [Given("c", book, "message"), Given("c", REPORT, "message")]
    found = edges(result("a", book), result("a", REPORT), *given, result("c", REPORT), Given("b", REPORT, "message"))
    assert Edge("c", "b", "text", sure=False) in found


def test_who_got_it_before_a_third_member_passed_it_on_has_it_from_its_author() -> None:
    found = edges(
        result("a", REPORT), Given("b", REPORT, "message"), Given("c", REPORT, "message"), result("c", REPORT),
        Given("b", REPORT, "result"),
    )  # fmt: skip
    assert found == {Edge("a", "b", "text"), Edge("a", "c", "text")}


def test_two_members_that_answer_each_other_need_each_other() -> None:
    found = edges(
        result("a", REPORT),
        result("b", TRUISM),
        Given("a", TRUISM, "message"),
        Given("b", REPORT, "message"),
        members="ab",
    )
    assert found == {Edge("a", "b", "text"), Edge("b", "a", "text")}


def test_a_task_and_later_messages_are_told_apart() -> None:
    found = edges(result("a", REPORT), Given("b", REPORT, "task"), Given("b", REPORT, "message"))
    assert found == {Edge("a", "b", "task")}


# The rest of a run


def test_reasons_and_rounds_are_taken_over() -> None:
    trace = RunTrace(("a", "b"), open={"b": {"unseen", "custom"}}, executions={"a": 1, "b": 3})
    assert flow_of(trace) == RunFlow(open={"b": ("custom", "unseen")}, rounds=3)
    assert flow_of(RunTrace(())) == RunFlow()


def test_a_run_in_which_a_member_did_not_work_is_not_whole() -> None:
    trace = RunTrace(("a", "b"), executions={"a": 1})
    assert flow_of(trace) == RunFlow(is_whole=False)


@pytest.mark.parametrize("entry", [result("x", REPORT), Given("x", REPORT, "task"), ReadValue("b", ("x",)), Sent("x")])
def test_what_someone_else_did_is_nobodys_and_leaves_them_open(entry: Entry) -> None:
    found = flow(entry, Given("b", REPORT, "message"))
    assert found.open == {"x": ("unseen",)}
    assert {name for edge in found.edges for name in (edge.source, edge.target)} <= set("abc")


def test_a_member_that_uses_its_own_work_is_no_edge() -> None:
    assert not edges(result("a", REPORT), Given("a", REPORT, "task"), ReadValue("a", ("a",)), Walked("a", ("a",)))


def test_it_pauses_between_texts_and_within_long_ones() -> None:
    pauses = []
    trace = RunTrace(("a", "b"))
    trace.note(Wrote("a", REPORT * 1000))
    trace.note(Given("b", TRUISM * 1000, "message"))
    flow_of(trace, lambda: pauses.append(1))
    assert len(pauses) > 40


def test_texts_are_only_compared_where_one_was_given_after_another_member_wrote(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng, looked = random.Random(17), 0
    for _ in range(200):
        trace = RunTrace(("a", "b", "c"), goal=GOAL)
        for _ in range(rng.randrange(7)):
            member, text = rng.choice("abcx"), rng.choice((REPORT, TRUISM, GOAL, "yes", ""))
            how = rng.choice(("task", "message"))
            trace.note(rng.choice((Given(member, text, how), result(member, text))))
        short = flow_of(trace)
        looked += module._may_have_passed_texts(trace)
        with monkeypatch.context() as patch:
            patch.setattr(module, "_may_have_passed_texts", lambda _: True)
            assert flow_of(trace) == short
    assert 40 < looked < 160
