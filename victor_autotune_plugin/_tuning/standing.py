"""Where a team stands: the state of its open experiments, what comes next, in how many runs, and what awaits a person.

Every screen, the JSON and the Python API show these values, so that none of them says it in a way of its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal

from attrs import asdict, frozen

from .._model.experiment import STATES, Change, Experiment, TeamState
from .._model.text import TITLES, count, likely, listed, percent, rounded, state_text, when
from .going_live import KEPT_CHANCE, PROBATION_CHANCE, PROBATION_PAIRS, kept_by

CANARY_BLOCK: Final = 4
"""Runs of a canary among which one has the treatment."""

Asks = Literal["start", "probation", "promotion", "keep"]
"""What a person decides: whether a test starts, a plan goes live on probation or for good, or a live one stays."""

Told = tuple[Mapping[str, Any] | None, Mapping[str, Any] | None]
"""What the test of an experiment, and the watch over its plan, say now, as plain data."""

_ASKS: Final[Mapping[Asks, str]] = {
    "start": "May this test start?",
    "probation": "May this plan go live on probation, while its test goes on?",
    "promotion": "May this plan go live? It is proven better.",
    "keep": "May this plan of 0.1 stay live? By what is known of the data flow, it may change the work.",
}
_SINCE: Final[Mapping[str, tuple[str, ...]]] = {
    "awaits_approval": ("awaits_approval",),
    "canary": ("started",),
    "testing": ("started",),
    "probation": ("probation",),
    "awaits_promotion": ("awaits_promotion",),
    "proven": ("promoted", "confirmed"),
    "reverifying": ("reverifying",),
}
# The lines of the history that begin a state; a test's other half of the canary has none of its own.


@frozen
class Decision:
    """What awaits a person.

    Attributes:
        asks: What is asked.
        question: The same in a sentence.
        experiment_id: The experiment that it is about.
        approve: The command that says yes; None where a plan is kept by leaving it.
        reject: The command that says no.
    """

    asks: Asks
    question: str
    experiment_id: str
    approve: str | None
    reject: str

    @classmethod
    def of(cls, asks: Asks, experiment: Experiment, options: str = "") -> Decision:
        """Return what is asked of a person about an experiment; `options` end the commands."""
        team = shlex.quote(experiment.team_id)
        named = f"{team} --id {experiment.id}{options}"
        if asks == "keep":
            return cls(asks, _ASKS[asks], experiment.id, None, f"victor autotune rollback {team}{options}")
        approve, reject = f"victor autotune approve {named}", f"victor autotune reject {named}"
        return cls(asks, _ASKS[asks], experiment.id, approve, reject)

    @property
    def answers(self) -> str:
        """The commands that answer it, in a sentence."""
        if self.approve is None:
            return f"Leave it, or roll it back: {self.reject}"
        return f"Yes: {self.approve}; no: {self.reject}"


@frozen
class Standing:
    """Where an open experiment of a team stands.

    Attributes:
        experiment: The experiment.
        since: Unix time at which the state began; of a test the time of its start.
        next: What comes next, sentence by sentence.
        runs: In how many runs that is, about, or at most; None where it is no matter of runs.
        at_most: Whether `runs` is a bound.
        runs_by_arm: Runs that count in this state, by arm.
        open: Guardrails that are neither proven nor harmed.
        decision: What awaits a person, or None.
        told: What its test and its watch say now.
    """

    experiment: Experiment
    since: float
    next: tuple[str, ...] = ()
    runs: int | None = None
    at_most: bool = False
    runs_by_arm: Mapping[str, int] = {}
    open: tuple[str, ...] = ()
    decision: Decision | None = None
    told: Told = (None, None)

    @property
    def state(self) -> str:
        """Name of the state, one of `STATES`."""
        return self.experiment.status

    @property
    def title(self) -> str:
        """The state in words for people; a plan that no test proved is not called proven."""
        one = self.experiment
        return "live, not tested" if one.status == "proven" and is_unproven(one) else state_text(self.state)

    @property
    def meaning(self) -> str:
        """What the state means."""
        return STATES[self.state].meaning

    @property
    def line(self) -> str:
        """The state, since when it is so, and what comes next, in a line."""
        told = [f"{self.title} since {when(self.since)}", self.brief, self.p95]
        return ", ".join(part for part in told if part is not None)

    @property
    def upcoming(self) -> str | None:
        """What comes next in a sentence, the most telling of `next`; None where nothing does."""
        if not self.next or len(self.next) == 1 or self.state == "proven":
            return self.next[0] if self.next else None
        begins = ("Every other run", "If the estimate")
        return next((said for said in self.next if said.startswith(begins)), self.next[-1])

    @property
    def p95(self) -> str | None:
        """That the P95 of a plan is open which may go live, or is; None where it is not so."""
        if "p95" not in self.open or self.state in ("canary", "testing"):
            return None
        verified = self.state == "proven" and self.runs is not None
        return f"P95 open, ≤ {count(self.runs or 0, 'run')}" if verified else "P95 open"

    @property
    def brief(self) -> str | None:
        """What comes next in a few words, or None where nothing is to be said."""
        if self.decision is not None and self.decision.asks != "keep":
            return f"asks you: {self.decision.asks}"
        what = {
            "canary": "to testing",
            "testing": "to proof",
            "probation": "to proof",
            "reverifying": "to the answer",
        }.get(self.state)
        if what is None or self.runs is None:
            return None
        if self.at_most and self.state in ("testing", "probation"):
            what = "to its end"
        return f"{'≤ ' if self.at_most else '~'}{count(self.runs, 'run')} {what}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return {
            "experiment_id": self.experiment.id,
            "state": self.state,
            "meaning": self.meaning,
            "since": self.since,
            "next": list(self.next),
            "runs_to_next": self.runs,
            "is_at_most": self.at_most,
            "runs": dict(self.runs_by_arm),
            "open_guardrails": list(self.open),
            "awaits_person": None if self.decision is None else asdict(self.decision),
        }


def open_ones(state: TeamState, experiments: Iterable[Experiment]) -> list[Experiment]:
    """Return the open experiments of a team: what awaits a person first, then what is tested, then what is live."""
    here = {state.experiment_id, state.live_id}
    found = [
        one
        for one in experiments
        if not one.has_ended and (one.id in here or one.status in ("draft", "awaits_approval"))
    ]
    return sorted(found, key=lambda one: (_asked(one, state) is None, one.is_verified, -one.created_at))


def _asked(experiment: Experiment, state: TeamState) -> Asks | None:
    """Return what a person is asked about an experiment; None as well where it does not fit the team any more."""
    if experiment.fingerprint != state.fingerprint or experiment.control != state.plan:
        return None
    if experiment.status == "awaits_approval":
        return "start"
    if experiment.status == "awaits_promotion":
        return "promotion"
    return "probation" if experiment.asks_for is not None else None


def standing(
    experiment: Experiment,
    state: TeamState,
    told: Told = (None, None),
    changes: Sequence[Change] = (),
    *,
    holds: str | None = None,
    refusal: str | None = None,
    is_watched: bool = True,
    options: str = "",
) -> Standing:
    """Return where an open experiment stands.

    Args:
        experiment: The experiment.
        state: State of its team.
        told: What its test and its watch say now.
        changes: The team's history, oldest first.
        holds: Why nothing goes on at all, such as a pause, in a sentence; None where things go on.
        refusal: Why nothing allows its plan by the team's data flow, or None where something does.
        is_watched: Whether the settings let live plans be verified.
        options: What the commands need to find the team's store, with a space in front.
    """
    verdict, watch = told[0] or {}, told[1] or {}
    began = [one.at for one in changes if one.experiment_id == experiment.id and one.action in _begin(experiment)]
    asked = _asked(experiment, state)
    if asked is None and experiment.is_verified and experiment.allowed_by is None and refusal is not None:
        asked = "keep"
    made = experiment.promoted_at if STATES[experiment.status].is_live else experiment.created_at
    sentences, runs, at_most = _next(experiment, verdict, watch, is_watched=is_watched)
    if asked is None and STATES[experiment.status].awaits_person:
        sentences, runs = ["It does not fit the team any more, and ends after a next run."], None
    if asked == "keep":
        sentences.insert(0, f"It was promoted by 0.1, which did not look at the data flow: {refusal}.")
    seen = watch if experiment.is_verified else verdict
    return Standing(
        experiment=experiment,
        since=began[-1] if began else made or experiment.created_at,
        next=tuple(sentences if holds is None else [holds]),
        runs=runs if holds is None else None,
        at_most=at_most,
        runs_by_arm=seen.get("runs") or {},
        open=tuple(_open(experiment, verdict, watch)),
        decision=None if asked is None else Decision.of(asked, experiment, options),
        told=told,
    )


def _begin(experiment: Experiment) -> tuple[str, ...]:
    return _SINCE.get(experiment.status, ())


def _open(experiment: Experiment, verdict: Mapping[str, Any], watch: Mapping[str, Any]) -> Iterator[str]:
    if experiment.is_tested:
        yield from verdict.get("open") or ()
    elif "p95" in (verdict.get("open") or ()) if experiment.status == "awaits_promotion" else _p95_is_open(watch):
        yield "p95"


def _p95_is_open(watch: Mapping[str, Any]) -> bool:
    return watch.get("p95") == "open"


def _next(
    experiment: Experiment, verdict: Mapping[str, Any], watch: Mapping[str, Any], *, is_watched: bool
) -> tuple[list[str], int | None, bool]:
    """Return what comes next, in how many runs, and whether that is a bound."""
    status = experiment.status
    if status == "draft":
        return ["A person is asked for it after a next run."], None, False
    if status == "awaits_approval":
        return ["Its test starts when a person approves it."], None, False
    if status == "awaits_promotion":
        return ["It goes live for good when a person approves it. Until then, all runs have its plan."], None, False
    if status == "canary":
        return _to_halves(experiment, verdict)
    if status in ("testing", "probation"):
        return _to_proof(experiment, verdict)
    if status == "reverifying":
        left = max(experiment.watch_policy.max_pairs - int(watch.get("pairs") or 0), 1)
        pairs = f"at most {count(left, 'more pair')} of runs"
        said = f"It stays, or the plan before comes back, after {pairs}: one run of each plan."
        return [*([watch["alarm"]] if watch.get("alarm") else []), said], 2 * left, True
    return _when_proven(experiment, verdict, watch, is_watched=is_watched)


def _to_halves(experiment: Experiment, verdict: Mapping[str, Any]) -> tuple[list[str], int, bool]:
    from ..experiment.canary import CANARY_RUNS, MOST_CANARY_RUNS

    finished = (verdict.get("runs") or {}).get("treatment", 0)
    doubted = finished >= CANARY_RUNS
    left = max((MOST_CANARY_RUNS if doubted else CANARY_RUNS) - finished, 1)
    more = f"{'at most ' if doubted else ''}{count(left, 'more run')}"
    said = [f"Every other run tests it after {more} of the changed plan, which is one run in {CANARY_BLOCK}."]
    if doubted:
        said.insert(0, "Its first runs look slow, or were bad.")
    return [*said, *_to_probation(experiment, verdict)], CANARY_BLOCK * left, doubted


def _to_proof(experiment: Experiment, verdict: Mapping[str, Any]) -> tuple[list[str], int | None, bool]:
    policy, seen = experiment.policy, verdict.get("runs") or {}
    fewest, most = policy.min_runs_per_arm, policy.max_runs_per_arm
    left = max(2 * most - sum(seen.values()), 0)
    needed = verdict.get("runs_needed")
    sentences = list(_to_probation(experiment, verdict))
    if min(seen.values(), default=0) < fewest:
        arms = " and ".join(f"{number} of the {arm}" for arm, number in seen.items()) or "none"
        sentences.append(f"It may pass from {count(fewest, 'run')} in each arm on; there are {arms}.")
    if needed is not None:
        more = f"about {count(needed, 'more run')} in each arm"
        sentences.append(f"If the estimate is true, it is proven after {more}.")
    unproven = [TITLES[name] for name in verdict.get("open") or ()]
    if unproven:
        sentences.append(f"Not proven yet: {listed(unproven)}.")
    ends = "its test ends, and the plan before is live again," if experiment.status == "probation" else "its test ends"
    sentences.append(f"Without a proof {ends} after at most {count(left, 'more run')}.")
    return (sentences, left, True) if needed is None or 2 * needed > left else (sentences, 2 * needed, False)


def _to_probation(experiment: Experiment, verdict: Mapping[str, Any]) -> Iterator[str]:
    """Say what a test lacks that may go live before it is proven."""
    told_by = kept_by(experiment)
    if experiment.status == "probation" or told_by is None:
        return
    pairs, chance = verdict.get("pairs") or 0.0, verdict.get("chance_better")
    now = f"{rounded(round(pairs, 1))} now" + ("" if chance is None else f", {likely(chance)} likely")
    kept = f", and to keep its score with {percent(KEPT_CHANCE)}" if told_by == "score" else ""
    yield (
        f"It may go live on probation from {PROBATION_PAIRS} pairs of runs on, when it is at least "
        f"{percent(PROBATION_CHANCE)} likely to be better{kept}: {now}."
    )


def _when_proven(
    experiment: Experiment, verdict: Mapping[str, Any], watch: Mapping[str, Any], *, is_watched: bool
) -> tuple[list[str], int | None, bool]:
    if not is_watched:
        return ["Nothing verifies it: the setting watch.enabled is false."], None, False
    said = ["It is verified with every run for as long as it lives, and goes when it turns worse than the plan before."]
    held = experiment.watch_policy.holdback
    said.append(f"{percent(held)} of the runs stay on the plan before." if held else "No run stays on the plan before.")
    if not _p95_is_open(watch):
        return said, None, False
    from ..experiment.tail import AFTER_TEST, DEADLINE

    since = sum((watch.get("runs") or {}).values())
    left = max(DEADLINE - since - sum((verdict.get("runs") or {}).values()), AFTER_TEST - since, 0)
    said.append(f"Its P95 is open: it is proven, or the plan goes, after at most {count(left, 'more run')}.")
    return said, left, True


def is_unproven(experiment: Experiment) -> bool:
    """Return whether no test proved the plan of an experiment, nor that of the one before it."""
    return experiment.is_untested and experiment.proven_by is None


def null_passes(experiments: Iterable[Experiment]) -> tuple[int, float]:
    """Return how many tests a team had, and how many would have passed by now had no change made a difference.

    Args:
        experiments: All experiments of the team. What a person applied was not tested.
    """
    from .._model.policy import PASS_SHARE

    tests = [one for one in experiments if one.status not in ("draft", "awaits_approval") and not one.is_untested]
    return len(tests), sum(one.policy.alpha * PASS_SHARE for one in tests)
