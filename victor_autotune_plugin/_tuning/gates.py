"""Which scorers decide for a team: those that are set, really score its runs, and where a model judges, are trusted.

It follows from the settings and from what is stored, so every process comes to the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from .._model.score import Gate, gates_from
from .._model.text import count
from ..quality.agreement import LabelledRun, Trust, trust

if TYPE_CHECKING:
    from .._model.experiment import Experiment, TeamState
    from .._model.run import TeamRun
    from .._model.score import JudgedRun, Score
    from .._model.scorer_settings import ScorerSettings
    from .._settings import Settings
    from ..storage import Store

LAST_RUNS: Final = 10
"""Among so many of a team's last runs a scorer must have scored some before it decides."""

LEAST_SCORED: Final = 3
"""How many it must have scored."""

LOOKED_AT: Final = 100
"""How many of a team's last runs are looked at: a person's scores may come late."""

GONE_RUNS: Final = 50
"""Runs without a word of a third party's scorer after which it is taken for gone."""

MOST_LABELS: Final = 500
"""How many of a judge's last runs are compared with labels."""

NOT_SET: Final = "not set"
"""Why there is no score where the process that the run was in had no such scorer."""

OFF: Final = "gates: false"
"""Why a scorer does not decide that is only shown."""

CHANGED: Final = "its rubric, model or version changed"
"""Why a judge is another one."""

REDEFINED: Final = "the settings have it do something else"
"""Why any other scorer is."""

ScoredRuns = Sequence[tuple["TeamRun", Sequence["Score"]]]
"""Finished runs of a team, newest first, each with its scores."""

JudgedBy = Callable[[str, str], Iterable["JudgedRun"]]
"""Gives what a judge of this name and digest made of the team's runs, beside the labels of the same runs."""


@frozen
class ScorerStatus:
    """Whether a scorer decides for a team.

    Attributes:
        name: The scorer.
        why: Why it does, or why not, in a phrase.
        gate: What it decides as; None where it does not.
        trust: How far it agrees with labels, for a model as judge that has scored runs.
        judge: Digest of the model as judge; empty for any other scorer.
    """

    name: str
    why: str
    gate: Gate | None = None
    trust: Trust | None = None
    judge: str = ""

    @property
    def decides(self) -> bool:
        """Whether it decides."""
        return self.gate is not None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        known = None if self.trust is None else self.trust.to_dict()
        weight = None if self.gate is None else self.gate.weight
        return {"name": self.name, "decides": self.decides, "why": self.why, "weight": weight, "trust": known}


@frozen
class GatesInForce:
    """The scorers that decide for a team from now on.

    Attributes:
        gates: Those that do.
        gone: Those that did until now and do no more, each with the reason, in a clause.
        scorers: All that are known, in the order of the settings; empty where the scores were not looked at.
    """

    gates: tuple[Gate, ...] = field(converter=gates_from)
    gone: tuple[tuple[Gate, str], ...] = ()
    scorers: tuple[ScorerStatus, ...] = ()

    def of(self, gate: Gate) -> ScorerStatus | None:
        """Return what is known of a gate's scorer."""
        return next((one for one in self.scorers if one.name == gate.name), None)


def still_set(settings: Settings, before: Iterable[Gate]) -> GatesInForce:
    """Return which gates the settings still want, with the weights that they have there.

    Args:
        settings: The team's settings.
        before: The gates so far.
    """
    wanted = {one.name: one for one in settings.quality.scorers}
    kept, gone = [], []
    for gate in before:
        scorer = wanted.get(gate.name)
        reason = _unset_because(gate, scorer)
        if reason is not None:
            gone.append((gate, reason))
        else:
            kept.append(gate if scorer is None else evolve(gate, weight=float(scorer.weight)))
    return GatesInForce(kept, tuple(gone))


def _unset_because(gate: Gate, scorer: ScorerSettings | None) -> str | None:
    if scorer is None:
        return None if gate.is_hook else "the settings name it no more"
    if not scorer.gates:
        return f"the settings say {OFF}"
    same = (scorer.kind == "rubric") == bool(gate.judge) and (scorer.kind == "external") == gate.is_external
    if not same or gate.is_hook:
        return "the settings name another scorer so"
    if gate.definition and gate.definition != scorer.definition:
        return REDEFINED
    return CHANGED if _judge_set(scorer) not in ("", gate.judge) else None


def _judge_set(scorer: ScorerSettings) -> str:
    """Return the digest of a judge whose model the settings name; else it follows from the run, and is empty here."""
    if scorer.kind != "rubric" or not (scorer.provider and scorer.model):
        return ""
    from ..quality.rubric import judge_of

    return judge_of(scorer)


def alike(some: Iterable[Gate], others: Iterable[Gate]) -> bool:
    """Return whether gates are the same scorers with the same weights."""
    return [(one.identity, one.weight) for one in some] == [(one.identity, one.weight) for one in others]


def may_change(settings: Settings, before: Sequence[Gate]) -> bool:
    """Return whether scores may tell of other gates than those so far, even if no third party scores.

    Args:
        settings: The team's settings.
        before: The gates so far, all of which are still set.
    """
    if any(gate.is_hook or gate.judge for gate in before):
        return True
    return {one.name for one in settings.quality.scorers if one.gates} != {gate.name for gate in before}


def gates_in_force(settings: Settings, before: Iterable[Gate], scored: ScoredRuns, judged: JudgedBy) -> GatesInForce:
    """Return which scorers decide for a team.

    One decides from `LEAST_SCORED` scores of the last `LAST_RUNS` runs on; of the scores that come from outside, those
    of the last run that has one count, and of the `LAST_RUNS` before. It does not lose that by missing scores, which
    are counted by arm, but only where it is no longer set, is another one, or is no longer trusted.

    Args:
        settings: The team's settings.
        before: The gates so far.
        scored: The team's last runs with their scores, newest first.
        judged: Gives what a judge made of its runs.
    """
    set_now = still_set(settings, before)
    kept = {gate.name: gate for gate in set_now.gates}
    rows = [{one.name: one for one in scores} for run, scores in scored if not run.cancelled][:LOOKED_AT]
    gone = list(set_now.gone)
    found = [_status(one, kept.get(one.name), rows, judged) for one in settings.quality.scorers]
    names = {one.name for one in settings.quality.scorers}
    hooks = {name for row in rows for name, one in row.items() if one.source == "hook"}
    hooks |= {gate.name for gate in kept.values() if gate.is_hook}
    found += [_status_of_hook(name, kept.get(name), rows) for name in sorted(hooks - names)]
    for one in found:
        gate = kept.get(one.name)
        if gate is not None and (one.gate is None or one.gate.identity != gate.identity):
            is_off = one.why == OFF
            gone.append((gate, CHANGED if one.judge != gate.judge else f"{'it says' if is_off else 'it is'} {one.why}"))
    return GatesInForce([one.gate for one in found if one.gate is not None], tuple(gone), tuple(found))


def _status(
    scorer: ScorerSettings, gate: Gate | None, rows: Sequence[Mapping[str, Score]], judged: JudgedBy
) -> ScorerStatus:
    if not scorer.gates:
        return ScorerStatus(scorer.name, OFF)
    is_external = scorer.kind == "external"
    if scorer.kind != "rubric":
        asked_for = Gate(scorer.name, float(scorer.weight), is_external=is_external, definition=scorer.definition)
        short = None if gate is not None else _short_of(scorer.name, rows, is_external=is_external)
        return ScorerStatus(scorer.name, short or "decides", None if short else gate or asked_for)
    given = [row[scorer.name] for row in rows if scorer.name in row and row[scorer.name].judge]
    newest = max(given, key=lambda one: one.at, default=None)
    digest = _judge_set(scorer) or ("" if newest is None else newest.judge) or ("" if gate is None else gate.judge)
    if not digest:
        return ScorerStatus(scorer.name, _short_of(scorer.name, rows) or "it has no digest of its rubric and model")
    is_gate = gate is not None and gate.judge == digest
    labelled = [LabelledRun.of(*one) for one in judged(scorer.name, digest)]
    known = trust([one for one in labelled if one is not None], before=is_gate)
    if not known.is_trusted:
        return ScorerStatus(scorer.name, known.why, None, known, digest)
    short = None if is_gate else _short_of(scorer.name, rows, judge=digest)
    asked_for = Gate(scorer.name, float(scorer.weight), digest)
    return ScorerStatus(scorer.name, short or known.why, None if short else asked_for, known, digest)


def _status_of_hook(name: str, gate: Gate | None, rows: Sequence[Mapping[str, Score]]) -> ScorerStatus:
    given = [row[name] for row in rows if name in row]
    last = given[:LAST_RUNS]
    is_gone = len(last) >= LEAST_SCORED and all(one.why == NOT_SET for one in last)
    is_silent = len(rows) >= GONE_RUNS and not any(name in row for row in rows[:GONE_RUNS])
    if is_gone or is_silent:
        return ScorerStatus(name, "not set any more")
    details = given[0].details if given else {}
    if details.get("gates", True) is False:
        return ScorerStatus(name, OFF)
    short = None if gate is not None else _short_of(name, rows)
    weight = details.get("weight", 1.0) if given else gate.weight if gate is not None else 1.0
    return ScorerStatus(name, short or "decides", None if short else Gate(name, float(weight), is_hook=True))


def _short_of(
    name: str, rows: Sequence[Mapping[str, Score]], *, is_external: bool = False, judge: str = ""
) -> str | None:
    """Return what a scorer lacks to decide, in a phrase; None for nothing."""
    scored = [name in row and row[name].value is not None and row[name].judge == judge for row in rows]
    first = scored.index(True) if is_external and any(scored) else 0
    found = sum(scored[first : first + LAST_RUNS])
    if found >= LEAST_SCORED:
        return None
    last = count(min(len(rows), LAST_RUNS) or LAST_RUNS, "run")
    reasons = Counter(row[name].why for row in rows[:LAST_RUNS] if name in row and row[name].why)
    because = f" ({reasons.most_common(1)[0][0]})" if reasons else ""
    return f"scored {found or 'none'} of the last {last}{because}; from {LEAST_SCORED} on it decides"


def lost_gate(experiment: Experiment, gates: Iterable[Gate]) -> Gate | None:
    """Return a gate that an experiment rests on and that is not in force; None where all are."""
    in_force = {gate.identity for gate in gates}
    return next((gate for gate in experiment.gates if gate.identity not in in_force), None)


def scorers_now(store: Store, state: TeamState, settings: Settings) -> tuple[ScorerStatus, ...]:
    """Return which scorers decide for a team, and why the others don't, from what is stored; nothing is written.

    Args:
        store: The store.
        state: The team's state.
        settings: Its settings.
    """
    key = state.key
    if not (settings.quality.scorers or state.gates or store.is_scored(*key, LOOKED_AT)):
        return ()

    def judged(name: str, judge: str) -> Iterable[JudgedRun]:
        return store.judged_runs(*key, name, judge, MOST_LABELS)

    return gates_in_force(settings, state.gates, store.team_scores(*key, LOOKED_AT), judged).scorers
