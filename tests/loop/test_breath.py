"""A thread that works in pieces gives the interpreter up between them, and not after each."""

from __future__ import annotations

import sys

import pytest

from victor_autotune_plugin._tuning import threads
from victor_autotune_plugin._tuning.threads import BREATH_SECONDS, Breather, alone, breathing


def test_others_go_first_after_a_while_of_work_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], []
    monkeypatch.setattr(threads.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(threads.time, "sleep", slept.append)
    breathe = Breather()
    now[0] += 0.4 * BREATH_SECONDS
    breathe()
    assert slept == []
    now[0] += 0.2 * BREATH_SECONDS
    breathe()
    assert len(slept) == 1
    breathe()
    assert len(slept) == 1
    assert all(seconds > 0 for seconds in slept)  # a sleep of nothing lets nobody go first


def test_nothing_waits_for_others_where_one_thread_does_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [100.0], []
    monkeypatch.setattr(threads.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(threads.time, "sleep", slept.append)
    before = sys.getprofile()
    sys.setprofile(None)  # a run under coverage has one
    try:
        breathe = Breather()
        now[0] += 1.0
        with alone():
            breathe()
            with breathing():
                assert sys.getprofile() is None
        assert slept == []
        breathe()
        assert len(slept) == 1
        with breathing():
            assert sys.getprofile() is not None
    finally:
        sys.setprofile(before)
