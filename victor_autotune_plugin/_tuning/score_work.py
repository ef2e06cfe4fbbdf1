"""What the scoring thread does: it has the work of runs scored, behind them, each scorer on a thread of its own.

```
run ─▶ submit ─▶ scorers found ─▶ waits for a slot ─▶ at work ─▶ a score, or none and why
                                                        └─▶ late: given up, its slot is free, what it says is dropped
```

What a run delivered is in memory only, and goes with its last scorer. Whatever happens to a scorer, a row says so:
a run never waits for a score that can't come.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field

from .. import failsafe
from .._model.score import Gate, Score, ScoreSource
from .gates import NOT_SET
from .score_budget import ScoreBudget

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._settings.team_settings import QualitySettings
    from ..quality import RunOutput

MOST_WAITING: Final = 64
"""Runs whose work waits to be scored at most; one beyond them gets no opinion."""

MOST_CHARACTERS: Final = 8_000_000
"""Text of theirs that is held at most."""

GRACE_SECONDS: Final = 2.0
"""How much longer than its time limit a scorer is waited for: it may end by itself what it started."""

MOST_HANGING: Final = 2
"""Calls of a scorer that were given up and have not returned, beyond which it is not called again until one does."""

LONGEST_SECONDS: Final = 3600.0
"""Most seconds that any scorer may take, whatever it says."""

IS_SCORING: Final[contextvars.ContextVar[bool]] = contextvars.ContextVar("autotune_is_scoring", default=False)
"""Whether this is inside a scorer. A team that a scorer runs is not scored: that would never end."""

QUEUE_FULL: Final = "queue full"
OUTPUT_LOST: Final = "output lost"
COST_CAP: Final = "cost cap"
TIMEOUT: Final = "timeout"
"""Why a scorer has no opinion: too much waits; the process ended; the day's money is spent; it took too long."""

_UNSAID: Final = {"weight": 1.0, "gates": True}


@define(eq=False)
class ScoreJob:
    """A run whose work is to be scored.

    Attributes:
        output: The run, and what it delivered.
        quality: The settings of its team.
        gates: The scorers that its score is made of.
        has_text: Whether the output is there; without it only those are asked that score the run itself.
        characters: Length of the text in it.
        tasks: What is still to do, once its scorers are known.
        is_over: Whether nothing is.
    """

    output: RunOutput | None
    run: TeamRun
    quality: QualitySettings
    gates: tuple[Gate, ...] = ()
    has_text: bool = True
    characters: int = field(init=False)
    tasks: list[_Task] | None = field(default=None, init=False)
    is_over: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        output = self.output
        self.characters = 0 if output is None else len(output.text) + sum(map(len, output.members.values()))


@define(eq=False)
class _Task:
    """One scorer's work on a run.

    Attributes:
        ends_at: When it is given up, in monotonic seconds; None while it waits.
        is_over: Whether its score was handed over, or is about to be.
    """

    job: ScoreJob
    scorer: Any
    name: str
    ends_at: float | None = None
    is_over: bool = False


class ScoreWork:
    """The work of the scoring thread.

    Args:
        scorers: Gives the scorers of a run, in the order of their names' precedence; it may wait for third parties.
        run_scorer: Has one scorer score an output, and makes a score of whatever it does.
        done: Called with each run and score; returns a function that tells whether the score is written.
        spent: Gives what scorers have cost by the store since a Unix time, in US dollars, or None where it can't be
            asked.
        clock: Monotonic seconds.
        wall_clock: Unix seconds.
    """

    def __init__(
        self,
        scorers: Callable[[ScoreJob], Sequence[Any]],
        run_scorer: Callable[[Any, RunOutput], Score],
        done: Callable[[TeamRun, Score], Callable[[], bool]],
        spent: Callable[[float], float | None],
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.start: Callable[[str, Callable[[], None]], None] = _here
        self.wake: Callable[[], None] = _no_thread
        self.on_cap: Callable[[float, float], None] = _nobody
        self._scorers = scorers
        self._run_scorer = run_scorer
        self._done = done
        self._clock = clock
        self._wall_clock = wall_clock
        self._budget = ScoreBudget(spent)
        self._jobs: dict[str, ScoreJob] = {}
        self._new: deque[ScoreJob] = deque()
        self._waiting: deque[_Task] = deque()
        self._running: list[_Task] = []
        self._hanging: list[_Task] = []
        self._lock = threading.Lock()  # held for moments, and never taken on an event loop

    # --- on the event loop

    def submit(self, job: ScoreJob) -> None:
        """Take in a run; what is too much for the memory goes at once."""
        known = tuple(self._jobs.values())
        held = sum(one.characters for one in known) + job.characters
        if job.output is not None and (len(known) >= MOST_WAITING or held > MOST_CHARACTERS):
            job.output, job.characters = None, 0
        self._jobs[job.run.run_id] = job
        self._new.append(job)
        self.wake()

    # --- at the end of a process

    @property
    def is_idle(self) -> bool:
        """Whether no run waits for a score."""
        return not self._jobs

    @property
    def exit_seconds(self) -> float:
        """How long the end of a process waits for what is under way: the most that a team of it asks for."""
        return max((job.quality.exit_wait for job in tuple(self._jobs.values())), default=0.0)

    def give_up(self) -> None:
        """Let nothing be under way any more: what is not scored by now never will be, since its output goes."""
        for job in tuple(self._jobs.values()):
            with self._lock:
                tasks = job.tasks
                if tasks is None:
                    job.tasks = []  # whoever looks for its scorers now comes too late
            if tasks is None:
                own = {one.name: source_of(one.kind) for one in job.quality.scorers if one.kind != "external"}
                gates = {gate.name: _source_of_gate(gate) for gate in job.gates if not gate.is_external}
                for name, source in {**gates, **own}.items():
                    self._hand_over(job, _no_opinion(job.run, name, source, self._wall_clock(), OUTPUT_LOST))
                self._forget(job)
            for task in tasks or ():
                self._end(task, OUTPUT_LOST)

    # --- on the scoring thread

    def step(self, now: float) -> float | None:
        """Do what is due.

        Args:
            now: Monotonic seconds.

        Returns:
            Seconds after which to call again at the latest; None to wait for something new.
        """
        self._give_up_late(now)
        while self._new:
            self._find_scorers(self._new.popleft())
        while self._waiting:
            task = self._waiting[0]
            if task.is_over:
                self._waiting.popleft()
                continue
            if len(self._running) >= task.job.quality.concurrency:
                break
            self._waiting.popleft()
            self._begin(task)
        ends = [task.ends_at for task in tuple(self._running) if task.ends_at is not None]
        return max(0.0, min(ends) - self._clock()) if ends else None

    def _give_up_late(self, now: float) -> None:
        for task in tuple(self._running):
            if task.ends_at is not None and now >= task.ends_at and self._end(task, TIMEOUT):
                failsafe.report(f"scorer {task.name!r} (hangs)", TimeoutError("it did not end by its time limit"))

    def _find_scorers(self, job: ScoreJob) -> None:
        tasks: list[_Task] = []
        with failsafe.guard("scorers of a team"):
            tasks = [_Task(job, scorer, scorer.name) for scorer in self._scorers(job)]
        with self._lock:
            if job.tasks is not None:  # the process ends, and gave it up
                return
            job.tasks = tasks
        names = {task.name for task in tasks}
        for gate in job.gates if job.has_text else ():  # without it, its scores may come from elsewhere
            if not gate.is_external and gate.name not in names:
                source = _source_of_gate(gate)
                self._hand_over(job, _no_opinion(job.run, gate.name, source, self._wall_clock(), NOT_SET, gate.judge))
        if not tasks:
            self._forget(job)
        for task in tasks:
            if job.output is None:
                self._end(task, QUEUE_FULL)
            elif not job.has_text and getattr(task.scorer, "needs_text", True):
                self._end(task, OUTPUT_LOST)
        self._waiting.extend(task for task in tasks if not task.is_over)

    def _begin(self, task: _Task) -> None:
        output = task.job.output
        if output is None:
            return
        hanging = sum(one.name == task.name for one in tuple(self._hanging))
        if hanging >= MOST_HANGING:
            self._end(task, TIMEOUT)
            return
        if self._costs(task):
            day, cap = self._budget.day(self._wall_clock()), task.job.quality.max_cost_usd_per_day
            under_way = [one.name for one in tuple(self._running) if self._costs(one)]
            if self._budget.spent(day, under_way) >= cap:
                if self._budget.say(day, cap):
                    self.on_cap(day, cap)
                self._end(task, COST_CAP)
                return
        with self._lock:
            if task.is_over:
                return
            task.ends_at = self._clock() + _seconds_of(task.scorer) + GRACE_SECONDS
            self._running.append(task)

        def work() -> None:
            self._work(task, output)

        try:
            self.start(f"scorer {task.name!r}", work)
        except RuntimeError as error:  # no thread can be started any more
            failsafe.report("thread of a scorer", error)
            self._end(task, f"failed: {type(error).__name__}")

    def _work(self, task: _Task, output: RunOutput) -> None:
        """Score a run; on the scorer's thread."""
        score: Score | None = None
        why = ""
        try:
            # In a context of its own: what it starts is no part of the run, and is scored by nobody.
            score = contextvars.Context().run(self._called, task.scorer, output)
        except BaseException as error:  # foreign code; its text may quote what the run delivered
            why = f"failed: {type(error).__name__}"
        del output
        with self._lock:
            if task in self._hanging:
                self._hanging.remove(task)
        if self._end(task, why, score):
            self.wake()

    def _called(self, scorer: Any, output: RunOutput) -> Score:
        IS_SCORING.set(True)
        return self._run_scorer(scorer, output)

    def _end(self, task: _Task, why: str, score: Score | None = None) -> bool:
        """Hand over what came of a scorer, and free its slot; return False where that was done before."""
        with self._lock:
            if task.is_over:
                return False
            task.is_over = True
            if task in self._running:
                self._running.remove(task)
                if why == TIMEOUT:
                    self._hanging.append(task)
        job = task.job
        if score is None:
            source: ScoreSource = getattr(task.scorer, "source", "hook")
            judge: str = getattr(task.scorer, "judge", "")
            score = _no_opinion(job.run, task.name, source, self._wall_clock(), why, judge)
        if score.source == "hook":  # no setting says it: the gates of a team are found in its scores
            said = {"weight": getattr(task.scorer, "weight", 1.0), "gates": getattr(task.scorer, "gates", True)}
            told = {name: value for name, value in said.items() if value != _UNSAID[name]}
            score = evolve(score, details=told)  # nothing else: it may hold anything
        self._hand_over(job, score)
        if all(one.is_over for one in job.tasks or ()):
            self._forget(job)
        return True

    def _hand_over(self, job: ScoreJob, score: Score) -> None:
        with failsafe.guard("handing over of a score"):
            is_written = self._done(job.run, score)
            if score.cost_usd:
                self._budget.pay(score, is_written)

    def _costs(self, task: _Task) -> bool:
        return getattr(task.scorer, "source", "") == "model" or self._budget.has_paid(task.name)

    def _forget(self, job: ScoreJob) -> None:
        """Let what a run delivered go; `is_idle` tells that its scores were handed over."""
        job.output, job.is_over = None, True
        if self._jobs.get(job.run.run_id) is job:
            del self._jobs[job.run.run_id]


def source_of(kind: str) -> ScoreSource:
    """Return where the scores of a kind of scorer come from."""
    if kind == "external":
        return "person"
    return "command" if kind == "command" else "model" if kind == "rubric" else "check"


def _source_of_gate(gate: Gate) -> ScoreSource:
    return "model" if gate.judge else "hook" if gate.is_hook else "check"


def _no_opinion(run: TeamRun, name: str, source: ScoreSource, at: float, why: str, judge: str = "") -> Score:
    return Score(run.run_id, name, None, source, at, judge=judge, why=why)


def _seconds_of(scorer: Any) -> float:
    """Return a scorer's time limit; a third party's may be anything."""
    seconds = getattr(scorer, "timeout", 60.0)
    if isinstance(seconds, int | float) and 0 < seconds < LONGEST_SECONDS:
        return float(seconds)
    return LONGEST_SECONDS if isinstance(seconds, int | float) and seconds >= LONGEST_SECONDS else 60.0


def _here(_name: str, job: Callable[[], None]) -> None:
    """Do a job here and now; for a simulator."""
    job()


def _no_thread() -> None:
    """Wake no thread: a simulator calls the steps itself."""


def _nobody(_day: float, _cap: float) -> None:
    """Tell no webhook that scorers have spent what they may."""
