"""The watch over a promoted plan."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from ..._model.policy import HARM_SHARES, HarmEvidence, WatchPolicy, WatchVerdict
from ..._model.run import ARMS, CONTROL, TREATMENT, Observation
from ..._model.text import TITLES, amount, count, number
from ..boundaries import NORMAL, TABLE_STEP, Boundary, boundary
from ..twosample import information
from .degradation import BelowBaseline, Drop, Harm, LostGain, TailRise

FIRST_LOOK: Final = 3
"""Runs of the promoted plan before the first look."""

DRIFT_RUNS: Final = 3
"""Runs of the holdback before a drift is looked for."""

DRIFT_Z: Final = 1.28
"""Evidence that the holdback is worse than the same plan was in the test, from which a drift is assumed ..."""

DRIFT_TOLD_Z: Final = 2.33
"""Evidence of a drift from which the verdict says so."""

PATIENT_RUNS: Final = 18
"""Beyond this many runs of the holdback a worse metric or P95 is always confirmed strictly: there is the data."""

STRICT_LEVEL: Final = 0.01
"""... and a harm must be confirmed at this level although the holdback is looked at after every run: strictly."""


class ReferenceWatch:
    """Looks after every run whether a promoted plan does harm.

    A harm is proven when its estimate is beyond its threshold, its evidence against the runs of the test crosses a
    boundary, and runs of the replaced plan from the same time confirm it. The same runs in the same order give
    the same verdict, bit for bit. All runs count, also those of one task, since after a promotion safety comes first.

    Args:
        policy: The rules.
        reference: The runs of the test, both arms. Of a task key only the first counts.
    """

    def __init__(self, policy: WatchPolicy, *, reference: Sequence[Observation]) -> None:
        self._policy = policy
        first = _first_of_each_task(reference)
        controls = [run for run in first if run.arm == CONTROL]
        treatments = [run for run in first if run.arm == TREATMENT]
        baseline = BelowBaseline(policy.metric, controls)
        self._harms: dict[str, Harm] = {
            "below_baseline": baseline,
            "lost_gain": LostGain(policy.metric, controls, treatments, baseline),
            "success": Drop("success", controls, policy.success_drop),
            "score": Drop("outcome", controls, policy.success_drop),
            "p95": TailRise(controls, policy.p95_rise),
        }
        self._most: dict[str, float] = {}
        self._boundaries: dict[str, Boundary] = {}
        for name, harm in self._harms.items():
            self._set_boundary(name, harm)
        self._strict = boundary("pocock", STRICT_LEVEL, 0.1).scale
        self._confirm = {
            name: NORMAL.inv_cdf(1 - level)
            for name in self._harms
            for level in [policy.confirm_success_level if name in ("success", "score") else policy.confirm_level]
        }
        self._runs = dict.fromkeys(ARMS, 0)
        self._ignored = {"duplicate": 0, "late": 0}
        self._places: set[tuple[str, int]] = set()
        self._status, self._reason = "watching", "No runs since the promotion yet."
        self._harm: str | None = None
        self._detected_at: int | None = None
        self._probes = 0
        self._wants_control = False
        self._verdict: WatchVerdict | None = None

    def _set_boundary(self, name: str, harm: Harm) -> None:
        """Information runs from that of the first look to that of a whole watch with its planned holdback."""
        planned = round(self._policy.max_runs * (1 - self._policy.holdback))
        old = harm.sizes[0]
        joins = 0 if name == "lost_gain" else max(self._policy.max_runs - planned, 1)
        self._most[name] = most = information(old + joins, planned)
        start = information(max(old, 1), FIRST_LOOK) / most if most else 1.0
        alpha, step = self._policy.alpha * HARM_SHARES[name], min(1 / self._policy.max_runs, TABLE_STEP)
        self._boundaries[name] = boundary("pocock", alpha, min(max(start, 0.001), 1.0), step)

    def observe(self, observation: Observation) -> None:
        """Take one run since the promotion into account: `treatment` is the promoted plan, `control` the holdback.

        An index that was seen, and a run after the end, are counted and otherwise ignored.
        """
        self._verdict = None
        if self._status != "watching":
            self._ignored["late"] += 1
            return
        if (observation.stream, observation.index) in self._places:
            self._ignored["duplicate"] += 1
            return
        self._places.add((observation.stream, observation.index))
        self._probes += self._wants_control and observation.arm == CONTROL
        self._runs[observation.arm] += 1
        for harm in self._harms.values():
            harm.add(observation)
        self._look()
        if self._status == "watching" and len(self._places) >= self._policy.max_runs:
            self._status, self._wants_control = "settled", False
            self._reason = f"No harm in {count(len(self._places), 'run')} since the promotion."

    def verdict(self) -> WatchVerdict:
        """Return the verdict after the runs so far."""
        if self._verdict is None:
            evidence = tuple(self._evidence(name) for name in self._harms)
            told = next(item for item in evidence if item.name == (self._harm or "below_baseline"))
            self._verdict = WatchVerdict(
                status=self._status,
                reason=self._reason,
                harm=self._harm,
                runs=dict(self._runs),
                detected_at=self._detected_at,
                effect=told.change,
                error_rate=self._policy.alpha,
                drift=self._drift(),
                wants_control=self._wants_control,
                evidence=evidence,
                ignored=dict(self._ignored),
            )
        return self._verdict

    @property
    def seen(self) -> int:
        """How many runs it has seen, each once."""
        return len(self._places)

    @property
    def is_final(self) -> bool:
        """Whether the watch has ended; cheaper than asking the verdict."""
        return self._status != "watching"

    @property
    def status(self) -> str:
        """As in the verdict, cheaper."""
        return self._status

    @property
    def wants_control(self) -> bool:
        """As in the verdict, cheaper."""
        return self._wants_control

    def _drifts(self, name: str) -> bool:
        return self._runs[CONTROL] >= DRIFT_RUNS and self._harms[name].drift >= DRIFT_Z

    def _drift(self) -> bool:
        """Whether the replaced plan, too, is clearly worse than in the test."""
        return self._runs[CONTROL] >= DRIFT_RUNS and any(
            self._harms[name].drift >= DRIFT_TOLD_Z for name in ("below_baseline", "success", "score")
        )

    def _needed(self, name: str) -> float:
        """Height of a confirmation; none is needed when the policy leaves no way to get one."""
        if self._policy.holdback == 0 and self._policy.max_probes == 0:
            return -math.inf
        patient = name not in ("success", "score") and self._runs[CONTROL] > PATIENT_RUNS
        if patient or self._drifts(name):
            return max(self._strict, self._confirm[name])
        return self._confirm[name]

    def _height(self, name: str) -> float:
        old, new = self._harms[name].sizes
        if new < FIRST_LOOK or not old:
            return math.inf
        limits = self._boundaries[name]
        return limits.at(max(min(information(old, new) / self._most[name], 1.0), limits.start))

    def _look(self) -> None:
        alarms = [name for name, harm in self._harms.items() if harm.statistic >= self._height(name) and harm.exceeds]
        proven = next((name for name in alarms if self._harms[name].confirmation >= self._needed(name)), None)
        if proven is not None:
            self._status, self._harm, self._detected_at = "rolled_back", proven, len(self._places)
            self._reason, self._wants_control = self._tell(proven), False
            return
        if not alarms:
            self._wants_control = False
            self._reason = f"No harm in {count(len(self._places), 'run')} since the promotion."
            if self._drift():
                self._reason += " The replaced plan, too, is worse than in the test: a drift."
            return
        drifting = self._drift()
        self._wants_control = self._probes < self._policy.max_probes
        title = _title(alarms[0], self._policy.metric)
        if drifting:
            self._reason = f"The {title} is worse in both arms: a drift, not a reason to roll back."
        else:
            held = count(self._runs[CONTROL], "run")
            self._reason = f"The {title} is worse than in the test, not yet confirmed by {held} of the replaced plan."

    def _tell(self, name: str) -> str:
        before, now, change = self._harms[name].values()
        seen = count(len(self._places), "run")
        after = f"after {seen} since the promotion, {self._runs[CONTROL]} of the replaced plan"
        if name in ("success", "score"):
            return f"The {TITLES[name]} fell from {number(before)} to {number(now)}, proven {after}."
        title, direction = _title(name, self._policy.metric), "lower" if self._policy.metric == "score" else "higher"
        if name == "p95":
            return f"The {title} is {amount(change)} higher than the replaced plan's, proven {after}."
        whose = "than in the test, and the gain is gone" if name == "lost_gain" else "than the replaced plan's"
        return f"The {title} is {amount(change)} {direction} {whose}, proven {after}."

    def _evidence(self, name: str) -> HarmEvidence:
        harm = self._harms[name]
        before, now, change = harm.values()
        height, needed = self._height(name), self._needed(name)
        alarm = harm.statistic >= height and harm.exceeds
        if math.isnan(change):
            status = "no data"
        elif not alarm:
            status = "ok"
        else:
            status = "confirmed" if harm.confirmation >= needed else "alarm"
        return HarmEvidence(
            name, before, now, change, harm.threshold, harm.statistic, height, harm.confirmation, needed, status
        )


def _first_of_each_task(runs: Sequence[Observation]) -> list[Observation]:
    seen: set[str] = set()
    first = []
    for run in runs:
        if run.task_key is None or run.task_key not in seen:
            first.append(run)
        if run.task_key is not None:
            seen.add(run.task_key)
    return first


def _title(name: str, metric: str) -> str:
    return TITLES[metric if name in ("below_baseline", "lost_gain") else name]
