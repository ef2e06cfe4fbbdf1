"""The watch over a live plan, for as long as it lives.

A strict alarm and a loose conviction: the sentinel looks at every run of the live plan and alarms about once in
`quiet_runs` runs of a world that does not change. An alarm rolls nothing back; it opens a re-verification, pairs of the
live plan and the one before, which decides. A plan that is confirmed is compared with its runs since the alarm from
then on, for the world may have changed; each alarm that was not confirmed doubles the next one's threshold.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Final

from .._model.assignment import REVERIFY, block_of
from .._model.policy import MORE_IS_BETTER, HarmEvidence, WatchPolicy, WatchVerdict
from .._model.run import ARMS, CONTROL, TREATMENT, Observation
from .._model.text import TITLES, amount, count, number
from .blocks import BlockRanks
from .reverification import FIRST_PAIRS, NAMES, Reverification, changed, metric_value, tolerated
from .sentinel import FIRST_BET, WINDOW, Sentinel
from .tail import TailProof

YOUNG_RUNS: Final = 100
"""Runs since the promotion in which a first alarm comes sooner: it is then that a plan which only its test liked shows,
and there are few runs to compare with ..."""

YOUNG_SHARE: Final = 0.15
"""... by this share of the threshold."""

MOST_DOUBLINGS: Final = 20
"""How often a threshold is doubled at most."""

PLACES: Final = 4096
"""Last places that a run which comes twice is told by."""

PROOF_Z: Final = 2.0
"""Evidence of an improvement from which the reference is taken for the test that proved the plan."""

AHEAD_Z: Final = 1.28
"""Evidence of the pairs from which a confirmed plan is told to be still better."""

HARM_NAMES: Final = {"metric": "below_baseline"}
"""Names of what is compared in verdicts, where they differ."""


class Watch:
    """Verifies a live plan with every run. The same runs in the same order give the same verdict, bit for bit.

    Args:
        policy: The rules.
        reference: Runs to compare with: those of the test, or from before. `treatment` is the live plan, `control` the
            one before; either may be without runs.
        tested: Whether the reference is a test that the live plan passed, since only then must its P95 be proven, too;
            None to see that from its runs.
    """

    def __init__(self, policy: WatchPolicy, *, reference: Sequence[Observation], tested: bool | None = None) -> None:
        self._policy = policy
        self._sentinel = Sentinel(policy)
        # A plan of which no run was measured before it went live is compared with the plan before, or verified at once.
        own = [run for run in reference if run.arm == TREATMENT]
        self._sentinel.learn(own or reference)
        self._tail = tail_of(policy, reference, tested=tested)
        self._round: Reverification | None = None
        self._rounds = 0
        self._unconfirmed = 0
        self._new_models = 0
        self._about = ""
        self._alarm = ""
        self._status = "watching"
        self._harm: str | None = None
        self._detected_at: int | None = None
        self._reason, self._drift = "", False
        self._seen = 0
        self._runs, self._missing = dict.fromkeys(ARMS, 0), dict.fromkeys(ARMS, 0)
        self._ignored = {"duplicate": 0, "late": 0}
        self._places: dict[tuple[str, int], None] = {}
        self._last: dict[str, deque[Observation]] = {arm: deque(maxlen=WINDOW) for arm in ARMS}
        for run in reference:
            self._last[run.arm].append(run)
        self._verdict: WatchVerdict | None = None
        if not own and 0 < len(reference) < FIRST_BET:
            self._open("metric", "Too few runs of the plan before are known to compare with.")

    def observe(self, observation: Observation) -> None:
        """Take one run into account: `treatment` ran the live plan, `control` the plan before.

        A place that was seen, and a run after a rollback, are counted and otherwise ignored.
        """
        self._verdict = None
        if self._status == "rolled_back":
            self._ignored["late"] += 1
            return
        place = observation.stream, observation.index
        if place in self._places:
            self._ignored["duplicate"] += 1
            return
        self._places[place] = None
        if len(self._places) > PLACES:
            del self._places[next(iter(self._places))]
        self._seen += 1
        (self._missing if observation.missing else self._runs)[observation.arm] += 1
        self._last[observation.arm].append(observation)
        self._tail.add(observation)
        if self._round is None:
            if observation.arm == TREATMENT:
                self._sentinel.observe(observation)
                self._look()
        else:
            self._compare(self._round, observation)
        if self._tail.is_overdue and self._status != "rolled_back":
            self._roll_back("p95", self._overdue())

    def _look(self) -> None:
        """Open a re-verification where the sentinel alarms."""
        if models := self._sentinel.new_models:
            self._new_models += 1
            self._open("", f"Another model answers: {models}, before {self._sentinel.usual_models}.")
        elif self._sentinel.sum >= self._threshold:
            sums = self._sentinel.sums()
            loudest = max(sums, key=lambda name: sums[name])
            self._open(loudest, f"The {self._title(loudest)} is worse than in the last runs.")

    @property
    def _threshold(self) -> float:
        threshold = self._policy.quiet_runs * 2.0 ** min(self._unconfirmed, MOST_DOUBLINGS)
        return threshold * YOUNG_SHARE if self._seen <= YOUNG_RUNS and not self._rounds else threshold

    def _open(self, about: str, alarm: str) -> None:
        self._status, self._about, self._alarm, self._drift = "reverifying", about, alarm, False
        self._rounds += 1
        self._round = Reverification(self._policy, self._sentinel.spread, about)
        for runs in self._last.values():
            runs.clear()

    def _compare(self, pairs: Reverification, run: Observation) -> None:
        pairs.add(run, paired=run.stream.partition(":")[0] == f"{REVERIFY}{self._rounds}")
        if harm := pairs.harm():
            self._roll_back(self._harm_name(harm), self._tell(harm, pairs))
        elif pairs.is_over or pairs.is_better:
            self._confirm(pairs)

    def _confirm(self, pairs: Reverification) -> None:
        self._status, self._round = "watching", None
        self._unconfirmed += 1
        self._reason = f"{self._alarm} {self._confirmed(pairs)}"
        # It is slower than it was, and as much ahead of the plan before: that one is slower, too.
        self._drift = self._about == "metric" and pairs.z <= -AHEAD_Z
        earlier, self._sentinel = self._sentinel, Sentinel(self._policy, 2 ** min(self._new_models, 4))
        self._sentinel.keep_from(earlier)
        self._sentinel.learn(self._last[TREATMENT])

    def _roll_back(self, harm: str, reason: str) -> None:
        self._status, self._harm, self._reason = "rolled_back", harm, reason
        self._detected_at = self._seen

    def _title(self, name: str) -> str:
        return TITLES[self._policy.metric if name == "metric" else self._harm_name(name)]

    def _harm_name(self, name: str) -> str:
        """Return the name in verdicts of one of `NAMES`."""
        if name == "score" and not self._policy.scored:
            return "member_success"
        return HARM_NAMES.get(name, name)

    def _tell(self, name: str, pairs: Reverification) -> str:
        proven = f"proven by {count(pairs.pairs, 'pair')} of runs. {self._alarm}"
        if name in ("metric", "cost"):
            way = "lower" if name == "metric" and self._policy.metric in MORE_IS_BETTER else "higher"
            size = amount(pairs.change(name))
            return f"The {self._title(name)} is {size} {way} than the replaced plan's, {proven}"
        before, now = pairs.values(name)
        return f"The {self._title(name)} is {number(now)}, the replaced plan's {number(before)}, {proven}"

    def _confirmed(self, pairs: Reverification) -> str:
        known = f"in {count(pairs.pairs, 'pair')} of runs"
        if pairs.pairs < FIRST_PAIRS:
            return (
                f"The plan stays: only {count(pairs.pairs, 'pair')} of runs came to compare it with the replaced plan."
            )
        title, way = self._title("metric"), "higher" if self._policy.metric in MORE_IS_BETTER else "lower"
        if pairs.z <= -AHEAD_Z:
            return f"The plan is confirmed: its {title} is {amount(pairs.change('metric'))} {way} {known}."
        return (
            f"The plan stays: its {title} is no longer clearly better than the replaced plan's, and no worse, {known}."
        )

    def _overdue(self) -> str:
        before, now, _ = self._tail.values()
        return (
            f"The P95 of the duration is not proven to be within its margin after {self._tail.runs} runs: it is about "
            f"{number(now)} s, the replaced plan's {number(before)} s."
        )

    @property
    def seen(self) -> int:
        """How many runs it has seen, each once."""
        return self._seen

    @property
    def rounds(self) -> int:
        """As in the verdict, cheaper."""
        return self._rounds

    @property
    def status(self) -> str:
        """As in the verdict, cheaper."""
        return self._status

    @property
    def is_final(self) -> bool:
        """Whether the plan goes back; cheaper than asking the verdict."""
        return self._status == "rolled_back"

    def verdict(self) -> WatchVerdict:
        """Return the verdict after the runs so far."""
        if self._verdict is None:
            pairs = self._round
            evidence = (*(self._evidence(name) for name in NAMES), self._tail_evidence())
            told = next(item for item in evidence if item.name == (self._harm or "below_baseline"))
            self._verdict = WatchVerdict(
                status=self._status,
                reason=self._told(),
                harm=self._harm,
                runs=dict(self._runs),
                detected_at=self._detected_at,
                effect=told.change,
                error_rate=self._policy.alpha,
                drift=self._drift,
                wants_control=False,
                evidence=evidence,
                ignored=dict(self._ignored),
                missing=dict(self._missing),
                rounds=self._rounds,
                alarm=self._alarm,
                pairs=0.0 if pairs is None else float(pairs.pairs),
                p95=self._tail.status,
            )
        return self._verdict

    def _told(self) -> str:
        if self._status == "reverifying":
            return f"{self._alarm} Pairs of runs tell whether it is worse than the replaced plan."
        return self._reason or f"No alarm in {count(self._seen, 'run')} since the promotion."

    def _evidence(self, name: str) -> HarmEvidence:
        pairs, harm = self._round, self._harm_name(name)
        metric = self._policy.metric if name == "metric" else name
        before, now, change = changed(self._policy, metric, self._last[CONTROL], self._last[TREATMENT])
        if pairs is not None and name in ("metric", "cost"):
            change = pairs.change(name)
        status = "no data" if math.isnan(change) else "ok"
        if self._harm == harm:
            status = "confirmed"
        elif pairs is not None and self._about == name:
            status = "alarm"
        z, needed = (0.0, math.inf) if pairs is None else pairs.evidence(name)
        statistic, height = math.log1p(self._sentinel.sums()[name]), math.log(self._threshold)
        return HarmEvidence(
            harm, before, now, change, tolerated(self._policy, name), statistic, height, z, needed, status
        )

    def _tail_evidence(self) -> HarmEvidence:
        before, now, change = self._tail.values()
        status = {"open": "open", "proven": "ok"}.get(self._tail.status, "no data")
        status = "confirmed" if self._harm == "p95" else status
        rise, z, height = self._policy.p95_rise, self._tail.z, self._tail.height
        return HarmEvidence("p95", before, now, change, rise, z, height, 0.0, math.inf, status)


def tail_of(policy: WatchPolicy, reference: Sequence[Observation], *, tested: bool | None = None) -> TailProof:
    """Return the proof of a live plan's P95 as it begins: it has seen the runs to compare with, and none since.

    Args:
        policy: The rules of the watch.
        reference: As for `Watch`.
        tested: As for `Watch`.
    """
    tail = TailProof(policy.p95_rise)
    for run in reference:
        tail.learn(run)
    tail.start(tested=_is_proof(policy, reference) if tested is None else tested)
    return tail


def _is_proof(policy: WatchPolicy, reference: Sequence[Observation]) -> bool:
    """Whether runs are a test that proved the live plan better."""
    ranks = BlockRanks()
    for run in reference:
        value = None if run.missing else metric_value(policy, run)
        if value is not None:
            block, length = block_of(run.stream, run.index)
            ranks.add(block, value, treatment=run.arm == TREATMENT, wide=length > 2)
    return ranks.information >= FIRST_PAIRS and ranks.z >= PROOF_Z
