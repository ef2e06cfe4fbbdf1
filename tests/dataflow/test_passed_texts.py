"""A text that is passed on is found, whatever it says and however it is wrapped; one that is not passed on never is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_autotune_plugin._dataflow.edges import flow_of
from victor_autotune_plugin._dataflow.trace import Called, Entry, Given, RunTrace, Wrote
from victor_autotune_plugin._dataflow.words import WordReader
from victor_autotune_plugin._model.data_flow import Edge

LETTERS = st.characters(categories=["L", "Nd"])
WORDS = st.lists(
    st.text(LETTERS, min_size=1, max_size=9), min_size=12, max_size=40, unique_by=lambda word: word.casefold()
)
BETWEEN = st.sampled_from(
    [" ", "\n", "\t", ", ", '" "', "' ", "\r\n", "_", " (", " — ", "\u00a0", " \U0001f600 ", "://"]
)
AROUND = st.text(st.characters(categories=["L", "P", "Zs", "Cc"]), max_size=30)
FORMS = st.sampled_from(
    [
        lambda text: text,
        json.dumps,
        lambda text: json.dumps({"output": json.dumps([text])}),
        lambda text: str([text]),
        lambda text: json.dumps(text, ensure_ascii=False),
    ]
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    words = draw(WORDS)
    gaps = draw(st.lists(BETWEEN, min_size=len(words), max_size=len(words)))
    return "".join(word + gap for word, gap in zip(words, gaps, strict=True))


def edges(*entries: Entry) -> set[Edge]:
    trace = RunTrace(("a", "b", "c"), goal="Say it")
    for entry in entries:
        trace.note(entry)
    return set(flow_of(trace).edges)


@given(texts(), AROUND, AROUND, FORMS)
def test_a_text_is_found_inside_another_one(text: str, before: str, after: str, form) -> None:
    given = Given("b", form(f"{before} {text} {after}"), "message")
    assert edges(Wrote("a", text), given) == {Edge("a", "b", "text")}
    assert edges(Wrote("a", form(text)), Given("b", text, "result")) == {Edge("a", "b", "text")}
    assert not edges(given, Wrote("a", text))


@given(texts(), st.integers(0, 400))
def test_a_text_is_found_in_pieces(text: str, cut: int) -> None:
    text = f"{text} {text[::-1]}"
    cut %= len(text)
    assert Edge("a", "b", "text") in edges(
        Wrote("a", text), Given("b", text[:cut], "message"), Given("b", text[cut:], "message")
    )


@given(texts(), FORMS)
def test_equal_outputs_are_no_edge(text: str, form) -> None:
    assert not edges(*(Wrote(name, form(text), is_result=True) for name in "abc"))
    assert not edges(Wrote("a", text), Wrote("b", form(text)), Given("b", text, "result"))


@settings(max_examples=30)
@given(st.lists(texts(), min_size=6, max_size=6, unique=True))
def test_nothing_is_found_where_nobody_gets_anything_of_others(some: list[str]) -> None:
    written = [" ".join(f"{name}{word}" for word in text.split()) for name, text in zip("abc", some, strict=False)]
    given = [" ".join(f"{name}x{word}" for word in text.split()) for name, text in zip("abc", some[3:], strict=False)]
    assert not edges(
        *(Given(name, text, "result") for name, text in zip("abc", given, strict=True)),
        *(Wrote(name, text) for name, text in zip("abc", written, strict=True)),
        *(Given(name, text, "message") for name, text in zip("abc", given, strict=True)),
    )


@given(texts(), st.permutations(range(6)), st.integers(0, 6))
def test_the_order_of_unrelated_entries_changes_nothing(text: str, order: list[int], place: int) -> None:
    unrelated: list[Entry] = [
        Given("c", "nothing of all this was ever heard of before by anyone", "result"),
        Wrote("c", "and what is told here is told to nobody else at all"),
        Called("c", "read", ("/srv/one",)),
        Called("a", "write", ("/srv/two",)),
        Given("b", "it rains on the roof of the house beside the river", "result"),
        Wrote("b", "the roof is wet and so is all that lies under it now"),
    ]
    mixed = [unrelated[at] for at in order]
    found = edges(*mixed[:place], Wrote("a", text), *mixed[place:], Given("b", text, "message"))
    assert found == edges(Wrote("a", text), Given("b", text, "message"))


@pytest.mark.parametrize("letter", ["a", "é", "界", "🙂", "\\u754c", "\\n", '"'])
def test_long_texts_are_read_in_pieces_and_as_a_whole(letter: str) -> None:
    """A text without a single space is cut somewhere; what is around it is still found."""
    line = "the lexer treats a minus sign as an operator and looks ahead one character more. "
    assert edges(Wrote("a", letter * 20_000 + f" {line}"), Given("b", f"{letter * 11_111} {line}", "message"))
    numbered = " ".join(f"{letter}{number} is" for number in range(9000))
    count = len(WordReader(lambda: None).words(numbered))
    assert edges(Wrote("a", numbered), Given("b", f"So {numbered}", "message")) == {Edge("a", "b", "text")}
    assert count >= 9000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("… — !", 0),
        ("don't", 2),
        ("snake_case, camelCase(x) = 1.5", 6),
        ("nai\u0308ve Straße हिन्दी", 3),
        ("日本語 and ภาษา", 8),
        (r"a\nb\tc\u00e9\\u00e9\x41 \ud83d\ude00 \ud835\udc9c", 4),
        ("\ud800 lone", 1),
        ("⚠️ 1️⃣", 1),
    ],
)
def test_words(text: str, words: int) -> None:
    assert len(WordReader(lambda: None).words(text)) == words


def test_ten_characters_weigh_as_much_as_five_words() -> None:
    def grams(text: str) -> int:
        reader = WordReader(lambda: None)
        return sum(len(found) for found, _ in reader.grams(reader.words(text)))

    assert grams("一二三四五六七八九") == 0
    assert grams("一二三四五六七八九十百千") == 3
    assert grams("one 二 three 四 five six") == 2
