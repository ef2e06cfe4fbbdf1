"""The rules of a test and of the watch after a promotion, and what the two say: values stored with the experiment."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final, Protocol

from attrs import Attribute, asdict, field, frozen
from attrs.validators import optional

from .quantities import Count, Figure, OneOf, Share, Within, is_flag

METRICS: Final = ("duration", "cost", "tool_calls", "score", "success")
"""Metrics a test can decide on."""

MORE_IS_BETTER: Final = ("score", "success")
"""Those of which more is better; of the others less is."""

RULES: Final = ("balanced", "pocock", "obrien_fleming")
"""Names of the shapes."""

E_RULES: Final = ("e_logs", "e_ranks")
"""Names of the rules that need no boundary over time (`eprocess`)."""

SIGNED_RANK: Final = "signed_rank"
"""Name of the rule that analyses as randomised: within pairs and blocks (`paired`), by the balanced boundary."""

ALL_RULES: Final = (*RULES, *E_RULES, SIGNED_RANK)
"""Names of the rules."""

PASS_SHARE: Final = 0.90
"""Share of alpha for passing without an improvement; the rest is for failing without a harm."""

PROOF_SHARE: Final = 0.87
"""The same by the rule `signed_rank`, which also looks at the first runs by exact tests."""

SHARE_BESIDE_BET: Final = 0.50
"""The same where a bet on the forecast is placed, too ..."""

BET_SHARE: Final = 0.70
"""... which has this share. The two often prove the same, so that both together pass without an improvement about as
often as the boundary alone does with `PROOF_SHARE`: `benchmarks/experiment_error_rates.py --crossings`."""

FAIL_SHARES: Final[dict[str, float]] = {
    "primary": 0.30,
    "success": 0.25,
    "score": 0.10,
    "p95": 0.10,
    "mean": 0.10,
    "cost": 0.10,
    "tool_calls": 0.05,
}
"""How the budget of failing is shared by the primary metric and the guardrails; adds up to 1."""

HARM_SHARES: Final[dict[str, float]] = {
    "below_baseline": 0.30,
    "lost_gain": 0.15,
    "success": 0.25,
    "score": 0.10,
    "p95": 0.20,
}
"""How the watch's alpha is shared by the harms it looks for; adds up to 1."""

HARMS: Final = (*HARM_SHARES, "cost", "loss", "member_success")
"""Names of the harms of a live plan; the last three by the rule `sentinel` only."""

GUARDRAILS: Final = ("success", "score", "p95", "mean", "cost", "tool_calls")
"""Names by the rules of 0.1, in the order in which they are judged."""

LOSS: Final = "loss"
"""Name of the guardrail that counts runs that went missing, and in a scored test those without a score."""

ALL_GUARDRAILS: Final = ("success", "score", "member_success", LOSS, "p95", "mean", "cost", "tool_calls")
"""Names by the rule `signed_rank`, in the order in which they are judged."""

MAX_RUNS: Final = 2000
"""Longest test and watch, in runs per arm and in runs: as far as the boundaries were checked."""


def _within(low: float, high: float) -> Any:
    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (number and math.isfinite(value) and low <= value <= high):
            raise ValueError(f"{attribute.name} must be a number from {low:g} to {high:g}, not {value!r}")

    return check


def _integer(low: int, high: int) -> Any:
    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"{attribute.name} must be an integer from {low} to {high}, not {value!r}")

    return check


def _one_of(names: tuple[str, ...]) -> Any:
    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if value not in names:
            raise ValueError(f"{attribute.name} must be one of {', '.join(names)}, not {value!r}")

    return check


@frozen
class Policy:
    """How a test decides.

    Attributes:
        alpha: Probability, in all, that a test of two equal plans passes (nine tenths of it) or fails,
            although it is looked at after every run. From 0.005 to 0.15.
        minimum_improvement: Least improvement of the estimate that passes, relative to the control (0.05 is 5 %).
        min_runs_per_arm: Runs in each arm before a test may pass. Harm is looked for from half of it.
        max_runs_per_arm: Runs in each arm after which a test ends without proof.
        metric: Primary metric, one of `METRICS`.
        rule: What proves an improvement: `signed_rank`, which compares runs within the pairs and blocks that they were
            assigned in; the shape of a boundary for independent runs, one of `RULES`; or an e-process, one of
            `E_RULES`.
        success_margin: Drop that is tolerated of the success share, of the mean score and of the members' success,
            absolute (0.10 is 10 points).
        success_confidence: One-sided confidence that the drop is within `success_margin`, without which nothing passes.
        p95_margin: Relative rise of the P95 of the duration that is tolerated.
        mean_margin: Relative rise of the mean duration that is tolerated where another metric is the primary one. Where
            duration itself is, no rise is: the mean tells of rare extreme runs that ranks miss.
        cost_margin: Relative rise of the mean cost that is tolerated.
        tool_calls_margin: Relative rise of the mean number of tool calls that is tolerated.
        futility: Whether a test that will hardly pass any more ends early.
        pair_tasks: Whether a task that comes again is paired within itself.
        sticky: Whether a task keeps the arm of its first run, so that tasks and not runs are what is compared.
        scored: Whether scorers tell how good the work is. Then a run without a score counts as one that went missing,
            and success, which only tells that it ran, need not be proven.
        adds_no_calls: Whether the treatment is known to call models and tools no more than the control does. Then cost
            and tool calls need not be proven: they only must not look worse.
        forecast: Log gain of the metric that the treatment is expected to bring, by which a bet is placed; None, or 0
            and less, for no bet. A wrong one makes the test longer, and never wrong.
    """

    alpha: float = field(default=0.05, validator=_within(0.005, 0.15))
    minimum_improvement: float = field(default=0.05, validator=_within(0, 1))
    min_runs_per_arm: int = field(default=10, validator=_integer(4, MAX_RUNS))
    max_runs_per_arm: int = field(default=200, validator=_integer(4, MAX_RUNS))
    metric: str = field(default="duration", validator=_one_of(METRICS))
    rule: str = field(default=SIGNED_RANK, validator=_one_of(ALL_RULES))
    success_margin: float = field(default=0.10, validator=_within(0, 1))
    success_confidence: float = field(default=0.80, validator=_within(0.5, 0.999))
    p95_margin: float = field(default=0.50, validator=_within(0, 100))
    mean_margin: float = field(default=0.10, validator=_within(0, 100))
    cost_margin: float = field(default=0.25, validator=_within(0, 100))
    tool_calls_margin: float = field(default=0.50, validator=_within(0, 100))
    futility: bool = field(default=True, validator=is_flag)
    pair_tasks: bool = field(default=True, validator=is_flag)
    sticky: bool = field(default=False, validator=is_flag)
    scored: bool = field(default=False, validator=is_flag)
    adds_no_calls: bool = field(default=False, validator=is_flag)
    forecast: float | None = field(default=None, validator=optional(_within(-10, 10)))

    def __attrs_post_init__(self) -> None:
        if self.max_runs_per_arm < self.min_runs_per_arm:
            raise ValueError(
                f"max_runs_per_arm ({self.max_runs_per_arm}) must not be below "
                f"min_runs_per_arm ({self.min_runs_per_arm})"
            )

    @property
    def has_bet(self) -> bool:
        """Whether a bet is placed on the forecast: only by the rule of pairs, on a metric of which less is better."""
        is_paired = self.rule == SIGNED_RANK and not self.sticky and self.metric not in MORE_IS_BETTER
        return is_paired and self.forecast is not None and self.forecast > 0

    @property
    def proof_alpha(self) -> float:
        """Alpha of the boundary of an improvement."""
        return self.alpha * (SHARE_BESIDE_BET if self.has_bet else PROOF_SHARE)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)


SENTINEL: Final = "sentinel"
"""Name of the rule of a watch that never ends: an e-detector alarms, pairs of both plans decide (`sentinel`)."""

REFERENCE: Final = "reference"
"""Name of the rule of 0.1: so many runs against those of the test (`earlier`)."""

WATCH_RULES: Final = (SENTINEL, REFERENCE)
"""Names of the rules of a watch."""


@frozen
class WatchPolicy:
    """How a live plan is watched. Both rules know metric, holdback, success_drop and p95_rise.

    Attributes:
        alpha: Upper bound of the probability of a false rollback when the promoted plan is no worse, over the whole
            watch, without drift. The harms of `HARM_SHARES` share it. From 0.005 to 0.15.
        metric: Primary metric of the test, one of `METRICS`; success, score and P95 are watched in any case.
        holdback: Share of the runs that keep the replaced plan.
        max_runs: Runs, both arms together, after which the watch ends as settled.
        success_drop: Drop of the success share or mean score below which nothing is rolled back, absolute.
        p95_rise: Relative rise of the P95 of the duration below which it alone is no reason.
        confirm_level: One-sided level at which runs of the replaced plan from the same time must confirm a harm of
            the metric or the P95, so that a drift of both arms is no harm.
        confirm_success_level: The same for success and score.
        max_probes: Runs of the replaced plan that the watch may ask for to tell a harm from a drift.
        rule: One of `WATCH_RULES`.
        quiet_runs: By the rule `sentinel`, runs of a world that does not change per false alarm, about.
        max_pairs: By the rule `sentinel`, pairs of runs after which a re-verification ends.
        scored: Whether scorers tell how good the work is; else the share of members that succeed is watched in their
            place.
    """

    alpha: float = field(default=0.05, validator=_within(0.005, 0.15))
    metric: str = field(default="duration", validator=_one_of(METRICS))
    holdback: float = field(default=0.02, validator=_within(0, 0.5))
    max_runs: int = field(default=200, validator=_integer(10, MAX_RUNS))
    success_drop: float = field(default=0.10, validator=_within(0, 1))
    p95_rise: float = field(default=0.50, validator=_within(0, 100))
    confirm_level: float = field(default=0.0125, validator=_within(0.0001, 0.5))
    confirm_success_level: float = field(default=0.03, validator=_within(0.0001, 0.5))
    max_probes: int = field(default=20, validator=_integer(0, MAX_RUNS))
    rule: str = field(default=SENTINEL, validator=_one_of(WATCH_RULES))
    quiet_runs: int = field(default=10_000, validator=_integer(100, 10_000_000))
    max_pairs: int = field(default=30, validator=_integer(5, MAX_RUNS))
    scored: bool = field(default=False, validator=is_flag)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data."""
        return asdict(self)


def plain(value: Any) -> Any:
    """Return the value, or None for a number that is not finite, which JSON has no word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


@frozen
class GuardrailEvidence:
    """What is known of one guardrail.

    Attributes:
        name: One of `ALL_GUARDRAILS`.
        control: Its value in the control: share of successes or of missing runs, mean score, seconds, US dollars or
            calls. NaN without data.
        treatment: Its value in the treatment.
        change: Harm: absolute drop (success, score, members' success), absolute rise (loss) or relative rise (others);
            negative when better.
        margin: Change that is tolerated.
        statistic: Standardised evidence of any harm; standard normal without an effect.
        boundary: Height at which harm is proven; infinite while there are too few runs.
        status: `ok`, `unclear`, `harmed`, `no data`, or by the rule `signed_rank` `open`: the P95 that a test is too
            short for. By that rule `ok` is a proof that the change is below its margin, for all but `mean`.
    """

    name: Annotated[str, OneOf(ALL_GUARDRAILS)]
    control: Figure
    treatment: Figure
    change: Figure
    margin: Figure
    statistic: Figure
    boundary: Figure
    status: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; numbers that are not finite are None."""
        return {name: plain(value) for name, value in asdict(self).items()}


class InterimVerdict(Protocol):
    """What is asked of a test after every run. A verdict has all of it; a judge tells it without making one."""

    @property
    def status(self) -> str:
        """As in `Verdict`."""

    @property
    def stage(self) -> str:
        """As in `Verdict`."""

    @property
    def pairs(self) -> float:
        """As in `Verdict`."""

    @property
    def chance_better(self) -> float:
        """As in `Verdict`."""

    @property
    def may_go_live(self) -> bool:
        """As in `Verdict`."""

    @property
    def guardrails(self) -> tuple[GuardrailEvidence, ...]:
        """As in `Verdict`."""


@frozen
class Verdict:
    """The state of a test after some runs. Changes are relative to the control: -0.2 is 20 % less.

    Attributes:
        status: `running`, `passed`, `failed` or `inconclusive`. Only `running` can still change.
        reason: Why, in one plain sentence.
        metric: Primary metric.
        runs: Runs that count, by arm.
        effect: Estimated change of the metric; NaN without data.
        interval: Ends of the interval of the effect. It holds the true change at all looks together with probability
            1 - `error_rate` at least, and excludes 0 exactly when the primary metric is decided. By the rule
            `signed_rank` it is the confidence sequence of `experiment.told`, and excludes 0 when that is decided.
        statistic: Standardised evidence, positive for an improvement.
        boundary: Height at which an improvement is proven, by the boundary or the bet on the forecast, whichever is
            lower; infinite before the least number of runs.
        error_rate: Probability, guaranteed, that a test of two equal plans passes or fails.
        minimum_detectable_effect: Improvement (above 0) that the whole test finds with probability 0.8, or None.
        runs_needed: Further runs per arm until a pass is expected if the estimate is true, which may be more than the
            test has; None when the estimate points elsewhere, or the test is decided.
        guardrails: Evidence of each guardrail.
        sample_ratio_p_value: p-value of the runs per arm under equal shares.
        ignored: Runs that don't count: `repeated` task keys, `duplicate` indices, `unmeasured` (no price), and
            `late`, after the end. By the rule `signed_rank` also those that are `unpaired`: their partner is lost or
            has not come yet. They count in the guardrails' means only.
        missing: Runs that were lost or cancelled, by arm.
        unscored: In a scored test, runs that finished and got no score, by arm.
        stage: `canary` until three runs of the treatment have finished, then `testing`.
        pairs: Information gathered, in pairs of runs.
        chance_better: Probability that the treatment is better on the metric; NaN while nothing is known.
        may_go_live: Whether the metric is proven better and nothing shows harm, which is enough for a change that keeps
            the work by the team's data flow; what is not proven yet then keeps it on probation.
        open: Guardrails that are neither proven nor harmed.
    """

    status: str
    reason: str
    metric: Annotated[str, OneOf(METRICS)]
    runs: dict[str, Count]
    effect: Figure
    interval: tuple[Figure, Figure]
    statistic: Annotated[float, Within()]
    boundary: Figure
    error_rate: Share
    minimum_detectable_effect: Figure | None
    runs_needed: Count | None
    guardrails: tuple[GuardrailEvidence, ...]
    sample_ratio_p_value: Share
    ignored: dict[str, Count]
    missing: dict[str, Count] = field(factory=dict)
    unscored: dict[str, Count] = field(factory=dict, kw_only=True)
    stage: str = "testing"
    pairs: Annotated[float, Within(0)] = 0.0
    chance_better: Figure = field(default=math.nan, eq=repr)
    may_go_live: bool = False
    open: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """Whether the test has ended."""
        return self.status != "running"

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from .notebook_html import verdict_html

        return verdict_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; numbers that are not finite are None."""
        data = asdict(self, recurse=False)
        data["guardrails"] = [evidence.to_dict() for evidence in self.guardrails]
        data["interval"], data["open"] = [plain(end) for end in self.interval], list(self.open)
        data |= {name: dict(getattr(self, name)) for name in ("runs", "ignored", "missing", "unscored")}
        return {name: plain(value) for name, value in data.items()}


@frozen
class HarmEvidence:
    """What is known of one harm.

    Attributes:
        name: One of `HARMS`.
        reference: Value that the promoted plan is compared with: a median of the metric, a share, a mean score,
            or a P95 in seconds. NaN without data.
        promoted: The promoted plan's value since the promotion.
        change: Relative rise (metric, P95) or absolute drop (success, score); negative when better.
        threshold: Change up to which nothing is rolled back.
        statistic: Standardised evidence against the reference; standard normal without a harm. By the rule `sentinel`
            the logarithm of the alarm's sum; of the P95 the evidence that it is within its margin.
        boundary: Height at which it raises the alarm (or proves the P95); infinite while there are too few runs.
        confirmation: Standardised evidence against the holdback, or by the rule `sentinel` that of the pairs.
        confirmation_needed: Height at which it confirms.
        status: `ok`, `alarm` (not confirmed yet), `confirmed`, `no data`, or of the P95 `open`.
    """

    name: Annotated[str, OneOf(HARMS)]
    reference: Figure
    promoted: Figure
    change: Figure
    threshold: Figure
    statistic: Figure
    boundary: Figure
    confirmation: Figure
    confirmation_needed: Figure
    status: str

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; numbers that are not finite are None."""
        return {name: plain(value) for name, value in asdict(self).items()}


@frozen
class WatchVerdict:
    """The state of a watch after some runs since the promotion.

    Attributes:
        status: `watching` or `reverifying`, which can still change; `rolled_back`, or by the rule of 0.1 `settled`.
        reason: Why, in one plain sentence.
        harm: The harm that was proven, one of `HARMS`, or None.
        runs: Runs since the promotion, by arm; the control is the holdback.
        detected_at: Number of runs since the promotion, both arms, after which the harm was proven, or None.
        effect: Change that the harm is about (see `HarmEvidence.change`); without a harm that of the primary metric
            against the replaced plan. NaN without data.
        error_rate: Upper bound of the probability of a false rollback over the whole watch, without drift.
        drift: Whether the replaced plan, too, is worse than it was in the test. That alone is no reason to roll back.
        wants_control: Whether the next runs should keep the replaced plan, to tell a harm from a drift. A host that
            can't do so gets the same answer later, from the holdback.
        evidence: What is known of each harm.
        ignored: Runs that don't count: `duplicate` indices, and `late`, after the end.
        missing: Runs that were lost or cancelled, by arm.
        rounds: Re-verifications so far, the one that goes on included.
        alarm: What opened the last one, in a plain sentence; empty when there was none.
        pairs: Pairs of the re-verification that goes on, or ended the watch.
        p95: What is known of the P95 against the plan before: `open`, `proven` or `no data`.
    """

    status: str
    reason: str
    harm: str | None
    runs: dict[str, Count]
    detected_at: Count | None
    effect: Figure
    error_rate: Share
    drift: bool
    wants_control: bool
    evidence: tuple[HarmEvidence, ...]
    ignored: dict[str, Count]
    missing: dict[str, Count] = field(factory=dict)
    rounds: Count = 0
    alarm: str = ""
    pairs: Annotated[float, Within(0)] = 0.0
    p95: str = "no data"

    @property
    def is_final(self) -> bool:
        """Whether the watch has ended."""
        return self.status not in ("watching", "reverifying")

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from .notebook_html import watch_html

        return watch_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON-able data; numbers that are not finite are None."""
        data = asdict(self, recurse=False)
        data["evidence"] = [item.to_dict() for item in self.evidence]
        data |= {name: dict(getattr(self, name)) for name in ("runs", "ignored", "missing")}
        data["effect"] = self.effect if math.isfinite(self.effect) else None
        return data
