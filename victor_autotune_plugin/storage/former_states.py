"""What experiments and runs of 0.1 become: stores of schema 0006 and archives of version 3 hold them, and those before.

Plain data in, plain data out, for the migration and for imports alike. What a verdict is replayed from stays as it is;
an open test ends, since its rules are no longer followed, and a live plan gets an experiment that verifies it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from .._model.assignment import ASSIGNMENT_VERSION
from .._model.policy import REFERENCE, RULES, SENTINEL, SIGNED_RANK, WatchPolicy

LIVE: Final = "-live"
"""What is added to an experiment's id for the one that verifies its plan from now on."""

SHARE: Final = "member_success_share"

FORMER_SHARE: Final = "score"
"""What 0.1 called `SHARE`."""

REASON: Final = "The plugin was upgraded, and tests follow other rules now. The change may be tested again at once."
"""Why an open test ended."""

FORMER: Final[Mapping[str, str]] = {
    "draft": "awaits_approval",
    "running": "aborted",
    "watched": "superseded",
    "settled": "superseded",
}
"""What the states of 0.1 that are no more have become."""
_KEPT_OF_WATCH: Final = ("metric", "success_drop", "p95_rise")
_MOST_OF_PLAN: Final = 200
_MOST_OF_CONTROL: Final = 100

Plain = Mapping[str, Any]
"""An experiment or an observation, as `to_dict` gives it."""


def with_shares(values: Plain) -> dict[str, Any]:
    """Return a run, or an experiment with the runs in it, with today's name of the share of members that succeeded."""
    found = {SHARE if name == FORMER_SHARE else name: value for name, value in values.items()}
    for name in ("observations", "reference"):
        if isinstance(runs := found.get(name), list):
            found[name] = [with_shares(run) if isinstance(run, Mapping) else run for run in runs]
    return found


def renewed(experiment: Plain, at: float) -> dict[str, Any]:
    """Return an experiment in the states of today.

    Args:
        experiment: An experiment of 0.1.
        at: Unix time at which it ends if it was open, seconds.
    """
    former = experiment["status"]
    status = FORMER.get(former, former)
    if former == "draft":  # it has not begun, so it follows the rules of today
        policy = dict(experiment["policy"])
        if policy.get("rule") in RULES:
            policy["rule"] = SIGNED_RANK
        watch_policy = _sentinel(experiment["watch_policy"])
        rules = {"policy": policy, "watch_policy": watch_policy, "assignment_version": ASSIGNMENT_VERSION}
        return {**experiment, "status": status, **rules}
    ended_at = experiment.get("ended_at")
    if former in FORMER and ended_at is None:
        ended_at = at
    watch_policy = {**experiment["watch_policy"], "rule": REFERENCE}
    return {**experiment, "status": status, "ended_at": ended_at, "watch_policy": watch_policy}


def last_live(experiments: Iterable[Plain], plan: Plain, fingerprint: str | None) -> Plain | None:
    """Return the experiment of a team that was promoted last among those whose treatment is its live plan, or None.

    Args:
        experiments: The team's experiments, renewed.
        plan: The team's plan.
        fingerprint: Fingerprint of the definition that the plan was made for.
    """
    found = [
        one
        for one in experiments
        if one["status"] == "superseded" and one["treatment"] == plan and one["fingerprint"] == fingerprint
    ]
    return max(found, key=lambda one: (one["promoted_at"] or 0.0, one["created_at"]), default=None)


def verifying(experiment: Plain, test: Iterable[Plain], watch: Iterable[Plain]) -> dict[str, Any]:
    """Return the experiment that verifies a live plan from now on.

    Args:
        experiment: The one that the plan is from, renewed.
        test: The observations of its test, in order.
        watch: Those of its watch, in order.

    Returns:
        One that is `proven`, with the plan's last runs and those of the plan before as its reference.
    """
    tested = [*test]
    plan = [one for one in (*tested, *watch) if one["arm"] == "treatment"][-_MOST_OF_PLAN:]
    before = [one for one in tested or experiment.get("reference") or () if one["arm"] == "control"]
    runs = sorted([*before[-_MOST_OF_CONTROL:], *plan], key=lambda one: one["order"])
    return {
        **experiment,
        "id": f"{experiment['id']}{LIVE}",
        "status": "proven",
        "assignment_version": ASSIGNMENT_VERSION,
        "watch_policy": _sentinel(experiment["watch_policy"]),
        "decided_at": None,
        "ended_at": None,
        "verdict": None,
        "watch_verdict": None,
        "reference": [{**one, "index": index, "stream": "", "order": 0} for index, one in enumerate(runs)],
        "proven_by": experiment["id"],
    }


def _sentinel(watch_policy: Plain) -> dict[str, Any]:
    kept = {name: watch_policy[name] for name in _KEPT_OF_WATCH if name in watch_policy}
    return WatchPolicy(rule=SENTINEL, **kept).to_dict()
