"""Scorers work behind the runs, a few at a time; whatever becomes of one, a row says so, and the output goes."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from attrs import evolve

from victor_autotune_plugin import failsafe
from victor_autotune_plugin._model.plan import MemberSpec, TeamSpec
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin._model.score import Gate, Score
from victor_autotune_plugin._model.scorer_settings import ScorerSettings
from victor_autotune_plugin._settings.team_settings import QualitySettings
from victor_autotune_plugin._tuning import score_work
from victor_autotune_plugin._tuning.score_work import GRACE_SECONDS, MOST_HANGING, ScoreJob, ScoreWork
from victor_autotune_plugin._tuning.threads import start_once
from victor_autotune_plugin.quality import RunOutput

SPEC = TeamSpec("flow", "team", "sequential", [MemberSpec("a")])
RUN = TeamRun("r1", SPEC, 1.0, 2.0, True, 1.0)
MIDNIGHT = 1_800_000_000.0 - 1_800_000_000.0 % 86_400
SAFETY = 20.0


class Scorer:
    """A scorer that does what it is told."""

    judge = ""
    weight = 1.0

    def __init__(
        self, name: str, does: Callable[[], Any] = lambda: 1.0, *, source: str = "check", timeout: float = 60.0
    ) -> None:
        self.name = name
        self.source = source
        self.timeout = timeout
        self.does = does
        self.seen: list[str] = []

    def score(self, output: RunOutput) -> Any:
        """Give what it was told to."""
        self.seen.append(output.text)
        return self.does()


class Bench:
    """The work on scores with a clock of its own, and jobs that are done when a test says so."""

    def __init__(self, *scorers: Scorer, cost: float | None = None, inline: bool = True) -> None:
        self.now = 0.0
        self.at = MIDNIGHT + 3600.0
        self.scorers = scorers
        self.cost = cost
        self.rows: list[Score] = []
        self.written = True
        self.by_store: float | None = 0.0
        self.begun: list[Callable[[], None]] = []
        self.work = ScoreWork(
            lambda job: self.scorers,
            self.run_scorer,
            self.done,
            lambda _: self.by_store,
            lambda: self.now,
            lambda: self.at,
        )
        if not inline:
            self.work.start = lambda _, job: self.begun.append(job)

    def run_scorer(self, scorer: Scorer, output: RunOutput) -> Score:
        value = scorer.score(output)
        cost = self.cost if scorer.source != "check" else None
        return Score(output.run.run_id, scorer.name, value, "check", self.at, cost_usd=cost)

    def done(self, run: TeamRun, score: Score) -> Callable[[], bool]:
        assert run.run_id == score.run_id
        self.rows.append(score)
        return lambda: self.written

    def submit(self, run_id: str = "r1", text: str = "text", gates: tuple[Gate, ...] = (), **quality: Any) -> RunOutput:
        run = evolve(RUN, run_id=run_id)
        output = RunOutput(run, text, {"a": text})
        self.work.submit(ScoreJob(output, run, QualitySettings(**quality), gates))
        return output

    def step(self) -> float | None:
        return self.work.step(self.now)

    @property
    def told(self) -> list[tuple[str, str, float | None, str]]:
        return [(one.run_id, one.name, one.value, one.why) for one in self.rows]


def test_every_scorer_of_a_run_gets_its_output_and_hands_over_a_score() -> None:
    bench = Bench(Scorer("a", lambda: 0.25), Scorer("b"))
    bench.submit(text="poem")
    bench.step()
    assert bench.told == [("r1", "a", 0.25, ""), ("r1", "b", 1.0, "")]
    assert [scorer.seen for scorer in bench.scorers] == [["poem"], ["poem"]]
    assert bench.work.is_idle


def test_no_more_scorers_work_at_a_time_than_are_set() -> None:
    bench = Bench(Scorer("a"), Scorer("b"), Scorer("c"), inline=False)
    bench.submit(concurrency=2)
    bench.step()
    assert len(bench.begun) == 2
    bench.begun.pop(0)()
    bench.step()
    assert len(bench.begun) == 2
    while bench.begun:
        bench.begun.pop()()
        bench.step()
    assert [name for _, name, _, _ in bench.told] == ["a", "c", "b"]


def test_what_a_scorer_raises_is_no_opinion_and_its_text_is_told_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise KeyError("the secret that the team wrote")

    def ends() -> None:
        raise SystemExit("secret")

    bench = Bench(Scorer("a", broken), Scorer("b", ends), Scorer("c"))
    bench.submit()
    bench.step()
    assert bench.told == [
        ("r1", "a", None, "failed: KeyError"),
        ("r1", "b", None, "failed: SystemExit"),
        ("r1", "c", 1.0, ""),
    ]
    assert "secret" not in caplog.text + repr(failsafe.seen()) + repr(bench.rows)


def test_a_hanging_scorer_is_given_up_after_its_time_and_a_grace_and_its_slot_is_free() -> None:
    slow = Scorer("slow", timeout=5.0)
    bench = Bench(slow, Scorer("b"), inline=False)
    bench.submit(concurrency=1)
    assert bench.step() == 5.0 + GRACE_SECONDS
    (late,) = bench.begun
    bench.begun.clear()
    bench.now += 5.0 + GRACE_SECONDS - 0.1
    bench.step()
    assert not bench.told
    bench.now += 0.1
    bench.step()
    assert bench.told == [("r1", "slow", None, "timeout")]
    bench.begun.pop()()
    late()  # what it says after all is dropped
    assert bench.told == [("r1", "slow", None, "timeout"), ("r1", "b", 1.0, "")]
    assert bench.work.is_idle


def test_a_scorer_that_keeps_hanging_is_not_called_again_until_it_returns() -> None:
    slow = Scorer("slow", timeout=5.0)
    bench = Bench(slow, inline=False)
    for number in range(MOST_HANGING + 2):
        bench.submit(f"r{number}")
        bench.step()
        bench.now += 5.0 + GRACE_SECONDS
        bench.step()
    assert [why for *_, why in bench.told] == ["timeout"] * (MOST_HANGING + 2)
    assert len(bench.begun) == MOST_HANGING  # threads
    bench.begun.pop()()
    bench.submit("again")
    bench.step()
    bench.begun.pop()()
    assert bench.told[-1] == ("again", "slow", 1.0, "")


@pytest.mark.parametrize(("bound", "runs"), [("MOST_WAITING", 3), ("MOST_CHARACTERS", 3)])
def test_a_run_that_is_too_much_gets_no_opinion_at_once(monkeypatch: pytest.MonkeyPatch, bound: str, runs: int) -> None:
    monkeypatch.setattr(score_work, bound, {"MOST_WAITING": 2, "MOST_CHARACTERS": 2 * 20}[bound])
    bench = Bench(Scorer("a"), inline=False)
    for number in range(runs):
        bench.submit(f"r{number}", text="0123456789")
    bench.step()
    assert bench.told == [("r2", "a", None, "queue full")]
    for job in bench.begun:
        job()
    bench.submit("r3", text="0123456789")
    bench.begun.clear()
    bench.step()
    bench.begun.pop()()
    assert bench.told[-1] == ("r3", "a", 1.0, "")


def test_an_output_goes_with_its_last_scorer() -> None:
    bench = Bench(Scorer("a"), Scorer("b"), inline=False)

    class Text(str):
        __slots__ = ("__weakref__",)

    text = Text("long")
    gone = weakref.ref(text)
    bench.submit(text=text, concurrency=1)
    del text
    bench.step()
    bench.begun.pop()()
    assert gone() is not None
    for scorer in bench.scorers:
        scorer.seen.clear()
    bench.step()
    bench.begun.pop()()
    bench.scorers[1].seen.clear()
    gc.collect()
    assert gone() is None


def test_a_gate_that_no_scorer_here_answers_for_has_no_opinion_but_a_person_s_is_awaited() -> None:
    bench = Bench(Scorer("a"))
    bench.submit(gates=(Gate("a"), Gate("gone", judge="digest"), Gate("review", is_external=True)))
    bench.step()
    assert bench.told == [("r1", "gone", None, "not set"), ("r1", "a", 1.0, "")]
    assert (bench.rows[0].source, bench.rows[0].judge) == ("model", "digest")


def test_scorers_that_can_t_be_found_leave_no_run_waiting() -> None:
    bench = Bench()
    bench.scorers = None  # type: ignore[assignment]
    bench.submit(gates=(Gate("a"),))
    bench.step()
    assert bench.told == [("r1", "a", None, "not set")]
    assert bench.work.is_idle


def test_what_is_under_way_at_the_end_of_a_process_is_lost_with_its_output() -> None:
    bench = Bench(Scorer("a"), Scorer("b"), inline=False)
    bench.submit("r1", concurrency=1, exit_wait=7.0)
    bench.step()
    (late,) = bench.begun
    command = ScorerSettings("c", "command", ("true",))
    bench.submit("r2", scorers=(command, ScorerSettings("p", "external", True)), gates=(Gate("theirs"),), exit_wait=3.0)
    assert bench.work.exit_seconds == 7.0
    bench.work.give_up()
    lost = [("r1", "a"), ("r1", "b"), ("r2", "theirs"), ("r2", "c")]
    assert bench.told == [(run, name, None, "output lost") for run, name in lost]
    assert bench.rows[-1].source == "command"
    late()
    bench.step()
    bench.work.give_up()
    assert len(bench.told) == 4
    assert (bench.work.is_idle, bench.work.exit_seconds) == (True, 0.0)


def test_scorers_that_cost_stop_at_the_day_s_cap_and_that_is_said_once() -> None:
    bench = Bench(Scorer("judge", source="model"), Scorer("check"), cost=0.5)
    for number in range(4):
        bench.submit(f"r{number}", max_cost_usd_per_day=1.0)
        bench.step()
        bench.by_store = 0.0  # the store is slow to tell of what this process spent
    assert [why for _, name, _, why in bench.told if name == "judge"] == ["", "", "cost cap", "cost cap"]
    assert [why for _, name, _, why in bench.told if name == "check"] == [""] * 4
    assert [fault.count for fault in failsafe.seen() if fault.where == "scorers' cost"] == [1]
    bench.at += 86_400.0  # the next day (UTC)
    bench.submit("next")
    bench.step()
    assert bench.told[-2] == ("next", "judge", 1.0, "")


def test_a_third_party_s_scorer_that_turned_out_to_cost_stops_at_the_cap_too() -> None:
    bench = Bench(Scorer("theirs", source="hook"), cost=1.0)
    for number in range(2):
        bench.submit(f"r{number}", max_cost_usd_per_day=1.0)
        bench.step()
    assert [why for *_, why in bench.told] == ["", "cost cap"]


def test_what_other_processes_spent_and_what_is_under_way_count_for_the_cap() -> None:
    bench = Bench(Scorer("judge", source="model"), cost=0.3, inline=False)
    bench.by_store = 0.5
    bench.submit("r0")
    bench.step()
    bench.begun.pop()()
    bench.by_store = 0.8  # which holds what this process spent
    bench.submit("r1")
    bench.step()
    assert len(bench.begun) == 1
    bench.submit("r2")
    bench.step()
    assert bench.told[-1] == ("r2", "judge", None, "cost cap")
    bench.by_store = None  # while the store is away, what is known last counts
    bench.written = False
    bench.begun.pop()()
    bench.submit("r3")
    bench.step()
    assert bench.told[-1] == ("r3", "judge", None, "cost cap")


def test_on_threads_a_hanging_scorer_holds_up_nothing() -> None:
    gate, done = threading.Event(), threading.Event()
    bench = Bench(Scorer("hangs", gate.wait), Scorer("works", done.set))
    bench.work.start = start_once
    bench.submit(concurrency=2)
    bench.step()
    assert done.wait(SAFETY)
    assert not bench.work.is_idle
    bench.now += 100.0
    bench.step()
    assert ("r1", "hangs", None, "timeout") in bench.told
    gate.set()
