"""Tool calls of two members that may not change places."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from victor_autotune_plugin._dataflow.edges import flow_of
from victor_autotune_plugin._dataflow.trace import Called, RunTrace
from victor_autotune_plugin._model.data_flow import Edge

FILE, BELOW, BESIDE = "/srv/project/parser.py", "/srv/project/parser.py/x", "/srv/project/parser.pyc"


def edges(*calls: Called, members: str = "abc") -> set[Edge]:
    trace = RunTrace(tuple(members))
    for call in calls:
        trace.note(call)
    return set(flow_of(trace).edges)


def call(member: str, access, *paths: str, failed: bool = False) -> Called:
    return Called(member, access, paths, failed)


SURE, MAYBE = {Edge("a", "b", "files")}, {Edge("a", "b", "tools", sure=False)}


@pytest.mark.parametrize("pair", [("write", "read"), ("read", "write"), ("write", "write")])
@pytest.mark.parametrize(
    "paths", [(FILE, FILE), (FILE, BELOW), (BELOW, FILE), ("/srv", FILE), (FILE, "/"), ("/", FILE)]
)
def test_both_touch_the_same_path_and_one_writes_it(pair: tuple[str, str], paths: tuple[str, str]) -> None:
    assert edges(call("a", pair[0], paths[0]), call("b", pair[1], "/elsewhere", paths[1])) == SURE


def test_paths_of_windows() -> None:
    assert edges(call("a", "write", "C:\\project\\x"), call("b", "read", "C:\\project")) == SURE


@pytest.mark.parametrize("other", [BESIDE, "/srv/project/parser", "/srv/other/parser.py", "/parser.py"])
def test_other_paths_are_no_conflict(other: str) -> None:
    assert not edges(call("a", "write", FILE), call("b", "write", other), call("b", "read", other))


def test_both_only_read() -> None:
    assert not edges(call("a", "read", FILE), call("b", "read", FILE), call("c", "read"))


def test_a_member_does_not_conflict_with_itself() -> None:
    assert not edges(call("a", "write", FILE), call("a", "execute"), call("a", "read", FILE))


def test_each_conflict_has_its_own_direction() -> None:
    found = edges(call("a", "read", FILE), call("b", "write", FILE), call("a", "read", FILE))
    assert found == {Edge("a", "b", "files"), Edge("b", "a", "files")}


@pytest.mark.parametrize("access", ["execute", "mixed", "unclassified"])
@pytest.mark.parametrize("other", ["read", "write", "execute", "mixed", "unclassified", "network"])
@pytest.mark.parametrize("failed", [False, True])
def test_a_call_that_may_do_anything(access: str, other: str, failed: bool) -> None:
    assert edges(call("a", access, failed=failed), call("b", other, FILE)) == MAYBE
    assert edges(call("a", other, FILE), call("b", access, failed=failed)) == MAYBE


@pytest.mark.parametrize("other", ["read", "write", "network"])
@pytest.mark.parametrize("failed", [False, True])
def test_the_network_is_not_changed_by_files_or_by_reading_it(other: str, failed: bool) -> None:
    assert not edges(call("a", "network", failed=failed), call("b", other, FILE), call("a", "network", failed=failed))


def test_where_the_path_is_unknown_it_may_be_any() -> None:
    assert edges(call("a", "write"), call("b", "read", FILE)) == MAYBE
    assert edges(call("a", "write", FILE), call("b", "read")) == MAYBE
    assert edges(call("a", "read"), call("b", "write", FILE)) == MAYBE


def test_a_failed_read_may_name_what_others_wrote_anywhere() -> None:
    assert edges(call("a", "write", FILE), call("b", "read", "/nowhere", failed=True)) == MAYBE
    assert edges(call("a", "read", "/nowhere", failed=True), call("b", "write", FILE)) == MAYBE
    assert edges(call("a", "execute"), call("b", "read", "/nowhere", failed=True)) == MAYBE


def test_a_failed_read_tells_nothing_where_nobody_writes() -> None:
    assert not edges(call("a", "read", FILE), call("b", "read", FILE, failed=True), call("c", "read", failed=True))


def test_a_failed_write_may_have_written_a_part_and_read_anything() -> None:
    assert edges(call("a", "write", FILE, failed=True), call("b", "read", FILE)) == MAYBE
    assert edges(call("a", "read", FILE), call("b", "write", FILE, failed=True)) == MAYBE
    assert edges(call("a", "write", FILE), call("b", "write", "/nowhere", failed=True)) == MAYBE
    assert edges(call("a", "write", failed=True), call("b", "read", FILE)) == MAYBE
    assert not edges(call("a", "write", FILE, failed=True), call("b", "read", BESIDE))


def test_a_sure_conflict_stays_beside_a_suspected_one() -> None:
    found = edges(call("a", "write", FILE), call("b", "execute"), call("b", "read", FILE))
    assert found == {*SURE, *MAYBE}


def test_many_paths_of_many_calls_are_compared_in_pieces() -> None:
    pauses = []
    trace = RunTrace(tuple("ab"))
    for number in range(500):
        trace.note(call("ab"[number % 2], "read", f"/srv/{number}"))
    flow_of(trace, lambda: pauses.append(1))
    assert len(pauses) >= 500 // 64


PATHS = st.lists(st.sampled_from(["", "x", "y", "xy"]), max_size=3).map(
    lambda parts: "/" + "/".join(filter(None, parts))
)
CALLS = st.lists(
    st.builds(
        Called,
        st.sampled_from("abc"),
        st.sampled_from(["read", "write"]),
        st.lists(PATHS, min_size=1, max_size=2).map(tuple),
    ),
    max_size=8,
)


@given(CALLS)
def test_sure_conflicts_are_those_of_each_pair_of_calls(calls: list[Called]) -> None:
    def overlap(one: str, other: str) -> bool:
        return f"{one.rstrip('/')}/".startswith(f"{other.rstrip('/')}/")

    wanted = {
        Edge(one.member, other.member, "files")
        for at, one in enumerate(calls)
        for other in calls[at + 1 :]
        if one.member != other.member
        and "write" in (one.access, other.access)
        and any(overlap(p, q) or overlap(q, p) for p in one.paths for q in other.paths)
    }
    assert edges(*calls) == wanted
