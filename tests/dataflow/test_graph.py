"""A graph of who uses whose work: its groups, and one line that draws it."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_autotune_plugin._dataflow.graph import components, drawn
from victor_autotune_plugin._model.data_flow import Edge


def edges(pairs: str) -> list[Edge]:
    return [Edge(pair[0], pair[1], "text") for pair in pairs.split()]


@pytest.mark.parametrize(
    ("members", "pairs", "line"),
    [
        ("abc", "", "a, b, c independent"),
        ("a", "", "a independent"),
        ("", "", ""),
        ("abc", "ab bc", "a → b → c"),
        ("abc", "ab bc ac", "a → b → c"),
        ("cba", "ab bc", "a → b → c"),
        ("abc", "ab", "a → b; c independent"),
        ("abcde", "ca db", "c → a; d → b; e independent"),
        ("abcd", "ab ac bd cd", "a → (b, c) → d"),
        ("abcd", "ab ac bd cd ad", "a → (b, c) → d"),
        ("abc", "ac bc", "(a, b) → c"),
        ("abcd", "ac bc bd", "a → c, b → c, b → d"),
        ("abcde", "ab bc cd ae ed", "a → b → c → d, a → e → d"),
        ("ab", "ab ba", "a ↔ b"),
        ("abc", "ab bc ca", "a ↔ b ↔ c"),
        ("abcd", "ab ba bc", "(a ↔ b) → c; d independent"),
        ("abcd", "ab bc cb cd", "a → (b ↔ c) → d"),
        ("abc", "ax xb aa", "a, b, c independent"),
    ],
)
def test_a_graph_is_one_line(members: str, pairs: str, line: str) -> None:
    assert drawn(tuple(members), edges(pairs)) == line


def test_two_edges_of_one_pair_are_drawn_once() -> None:
    assert drawn(
        ("extract", "clean"), [Edge("extract", "clean", "text"), Edge("extract", "clean", "files", False)]
    ) == ("extract → clean")


def test_groups_are_in_the_order_of_the_members() -> None:
    assert components(tuple("abcdef"), edges("fb ae ec")) == (("a", "c", "e"), ("b", "f"), ("d",))
    assert components(("a", "b"), edges("ax xb")) == (("a",), ("b",))


@given(st.sets(st.sampled_from(list(itertools.permutations("abcdef", 2)))))
def test_what_is_drawn_is_who_needs_whom(pairs: set[tuple[str, str]]) -> None:
    line = drawn("abcdef", [Edge(a, b, "text") for a, b in pairs])
    told = set()
    for chain in _split(line.replace("; ", ", ")):
        if chain.endswith("independent"):
            continue
        layers = [[_split(node.strip("()"), " ↔ ") for node in _nodes(layer)] for layer in _split(chain, " → ")]
        for ring in itertools.chain.from_iterable(layers):
            told |= set(itertools.permutations(ring, 2))
        for upper, lower in itertools.pairwise(layers):
            told |= {(a, b) for one in upper for other in lower for a in one for b in other}
    assert _closed(told) == _closed(pairs)


def _nodes(layer: str) -> list[str]:
    inner = layer[1:-1] if layer.startswith("(") and ", " in layer else layer
    return _split(inner)


def _split(line: str, at: str = ", ") -> list[str]:
    """Split a line, but not within brackets."""
    parts, depth, begin = [], 0, 0
    for place, char in enumerate(line):
        depth += (char == "(") - (char == ")")
        if not depth and line.startswith(at, place):
            parts.append(line[begin:place])
            begin = place + len(at)
    return [*parts, line[begin:]]


def _closed(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    pairs = set(pairs)
    while more := {(a, d) for a, b in pairs for c, d in pairs if b == c and a != d} - pairs:
        pairs |= more
    return pairs
