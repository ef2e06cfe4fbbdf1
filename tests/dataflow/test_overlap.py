"""The comparison of 5-grams gives what a slow and plain one over sets gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from victor_autotune_plugin._dataflow import overlap
from victor_autotune_plugin._dataflow.edges import flow_of
from victor_autotune_plugin._dataflow.trace import Given, RunTrace, Wrote
from victor_autotune_plugin._model.data_flow import Edge

SENTENCES = [" ".join(f"{letter}{place}" for place in range(11)) for letter in "abcdefgh"]
TEXTS = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=3).map(" ".join)
MEMBERS = st.sampled_from("abcd")
ENTRIES = st.lists(
    st.builds(Given, MEMBERS, TEXTS, st.sampled_from(["message", "result"]))
    | st.builds(Wrote, MEMBERS, TEXTS, st.booleans()),
    max_size=14,
)
Gram = tuple[str, ...]


def grams(text: str) -> set[Gram]:
    words = text.split()
    return {tuple(words[at : at + 5]) for at in range(len(words) - 4)}


def plainly(trace: RunTrace, share: float) -> set[Edge]:
    """Return the edges of texts, gram by gram."""
    known = set().union(*map(grams, trace.known))
    wrote: dict[str, dict[Gram, int]] = {name: {} for name in trace.members}
    got: dict[str, dict[Gram, int]] = {name: {} for name in trace.members}
    in_results: dict[str, set[Gram]] = {name: set() for name in trace.members}
    for time, entry in enumerate(trace.entries):
        assert isinstance(entry, Given | Wrote)
        for gram in grams(entry.text) - known:
            (wrote if isinstance(entry, Wrote) else got)[entry.member].setdefault(gram, time)
            if isinstance(entry, Wrote) and entry.is_result:
                in_results[entry.member].add(gram)
    never = len(trace.entries)
    own = {name: {g for g, at in wrote[name].items() if got[name].get(g, never) > at} for name in trace.members}
    made = {
        name: own[name]
        | {
            g
            for g, at in wrote[name].items()
            if any(g in own[other] and wrote[other][g] < got[name].get(g, never) < at for other in trace.members)
        }
        for name in trace.members
    }
    found = set()
    for source in trace.members:
        for target in trace.members:
            kept = {g for g, at in wrote[target].items() if at < got[target].get(g, never)}
            later = {
                g for g, at in got[target].items() if wrote[source].get(g, never) < at < wrote[target].get(g, never)
            }
            enough = [
                any(
                    len(text & later) >= max(3, min(64, share * len(text - kept)))
                    for text in (kind[source], kind[source] & in_results[source])
                )
                for kind in (own, made)
            ]
            if source != target and any(enough):
                found.add(Edge(source, target, "text", sure=enough[0]))
    return found


@pytest.mark.parametrize(("bucket", "share"), [(4096, overlap.LEAST_SHARE), (16, 0.6)])
@settings(max_examples=150)
@given(entries=ENTRIES, known=st.lists(TEXTS, max_size=1))
def test_it_gives_what_sets_give(bucket: int, share: float, entries: list[Given | Wrote], known: list[str]) -> None:
    trace = RunTrace(tuple("abcd"), known=known, entries=list(entries))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlap, "_BUCKET", bucket)
        patch.setattr(overlap, "LEAST_SHARE", share)
        assert set(flow_of(trace).edges) == plainly(trace, share)
