"""What would change a team's plan next, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..experiment.words import TITLES, evidence_in_words
from . import rendering as show

if TYPE_CHECKING:
    from .._settings import Settings
    from .facts import TeamFacts


def outlook(facts: TeamFacts, settings: Settings) -> list[str]:
    """Say what would change the decision about a team.

    Args:
        facts: What is known of it.
        settings: Its settings.

    Returns:
        Sentences, at least one.
    """
    team = facts.state.team_id
    experiment = facts.experiment if facts.experiment is not None and facts.experiment.is_open else None
    if facts.state.paused:
        return [f"The tuning is paused: nothing is tested or judged until `victor autotune resume {team}`."]
    if settings.plan is not None:
        return ["The settings fix the plan, so nothing is tuned. Take `plan` out of them to have it tuned."]
    if facts.mode not in ("approve", "auto"):
        stays = " The open test waits." if experiment is not None else ""
        return [f"In mode {facts.mode} nothing is tested.{stays} Set `mode: auto` (or `approve`) to test changes."]
    if experiment is None:
        return [*_closed(facts, settings)]
    if experiment.status == "watched":
        return [*_watched(experiment.watch_policy, facts.watch or {})]
    return [*_running(experiment.policy, facts.verdict or {})]


def _running(policy: Mapping[str, Any], verdict: Mapping[str, Any]) -> Iterator[str]:
    runs = verdict["runs"]
    least, most = policy["min_runs_per_arm"], policy["max_runs_per_arm"]
    if min(runs.values()) < least:
        yield (
            f"It may pass from {least} runs in each arm on; there are {runs['control']} of the control and "
            f"{runs['treatment']} of the treatment."
        )
    boundary = verdict["boundary"]
    if boundary is not None:
        now = evidence_in_words(policy.get("rule", ""), verdict["statistic"], boundary)
        yield (
            f"It passes when the evidence reaches its boundary (now {now}), with an estimated improvement of at least "
            f"{show.percent(policy['minimum_improvement'])} and every guardrail clear."
        )
    if verdict["runs_needed"] is not None:
        more = show.count(verdict["runs_needed"], "more run")
        yield f"If the estimate is true, that takes about {more} in each arm."
    unclear = [TITLES[guardrail["name"]] for guardrail in verdict["guardrails"] if guardrail["status"] == "unclear"]
    if unclear:
        yield f"It can't pass while harm is not ruled out; that is so for: {', '.join(unclear)}."
    yield "It fails as soon as harm is proven, in the metric or in a guardrail."
    yield f"It ends without proof after {most} runs in each arm, or earlier once a pass has become very unlikely."


def _watched(policy: Mapping[str, Any], verdict: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "The plan is taken back as soon as harm is proven: worse than the plan it replaced, success down by more "
        f"than {100 * policy['success_drop']:.0f} points, or P95 up by more than {show.percent(policy['p95_rise'])}."
    )
    seen = sum(verdict["runs"].values())
    yield f"It is settled after {policy['max_runs']} runs without that; there are {seen}."
    if verdict.get("drift"):
        yield "The replaced plan is slower than in the test, too. That is a drift, and no reason to take back."


def _closed(facts: TeamFacts, settings: Settings) -> Iterator[str]:
    verdict = facts.verdict or {}
    if facts.experiment is not None and facts.experiment.status == "draft":
        yield (
            "A test waits for an approval: a hook `approve_change` gives it, or set `mode: auto`, and it starts: "
            f"{facts.experiment.description}"
        )
        return
    if facts.experiment is not None and facts.experiment.status == "inconclusive":
        detectable, needed = verdict.get("minimum_detectable_effect"), verdict.get("runs_needed")
        if detectable is not None:
            yield f"The last test would have found an improvement of {show.percent(detectable)} with probability 0.8."
        if needed is not None:
            more = show.count(needed, "more run")
            yield f"If its estimate is true, a proof takes about {more} in each arm (see `max_runs_per_arm`)."
    least = settings.experiment.min_history
    if facts.figures.runs < least:
        yield f"A first test may start after {show.count(least, 'run')}; there are {facts.figures.runs}."
    yield "A test starts when a strategy suggests a change that was not tested before."
