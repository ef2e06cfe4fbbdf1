"""The settings of one team as values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

from attrs import Factory, field, frozen

from .._model.data_flow import DataFlowMode
from .._model.experiment import Promotion
from .._model.notice import Webhook
from .._model.optimization import OptimizationType
from .._model.plan import Limits, TeamPlan
from .._model.policy import SIGNED_RANK
from .._model.price import Price
from .._model.scorer_settings import ScorerSettings

MODES: Final = ("off", "observe", "suggest", "approve", "auto")
"""From least to most that the plugin does by itself."""

METRICS: Final = ("duration", "score", "success", "cost", "tool_calls")
"""What an experiment may be decided on."""

RULES: Final = (SIGNED_RANK,)
"""What may prove an improvement."""

PROMOTIONS: Final[tuple[str, ...]] = get_args(Promotion)
"""What a change of the layout that keeps the work needs to go live."""

RISKS: Final = ("off", "low", "medium", "high")
"""How bold the tuner is; `off` leaves the choice to the strategies alone."""

DATA_FLOWS: Final[tuple[str, ...]] = get_args(DataFlowMode)
"""What a person can say of a team's data flow."""

STRATEGIES: Final = tuple(kind.value for kind in OptimizationType)
"""Names of the built-in strategies."""


@frozen
class ExperimentSettings:
    """How an A/B test decides.

    Attributes:
        metric: Primary metric, one of `METRICS`.
        rule: What proves an improvement; there is one rule since 0.2.
        alpha: Most false positives, as a share of tests of changes that do nothing.
        minimum_improvement: Relative improvement that a change must prove, 0.05 is 5 %.
        min_runs_per_arm: Fewest runs in each arm before a verdict.
        max_runs_per_arm: Runs in each arm after which a test ends without proof.
        success_margin: Most that the success rate may fall, 0.10 is 10 percentage points.
        p95_margin: Most that the 95th percentile of the duration may rise, relative.
        cost_margin: Most that the mean cost may rise, relative.
        min_history: Runs recorded before the first test.
        sticky: Whether a task keeps the arm of its first run, so that tasks and not runs are compared.
    """

    metric: str = "duration"
    rule: str = SIGNED_RANK
    alpha: float = 0.05
    minimum_improvement: float = 0.05
    min_runs_per_arm: int = 10
    max_runs_per_arm: int = 200
    success_margin: float = 0.10
    p95_margin: float = 0.50
    cost_margin: float = 0.25
    min_history: int = 5
    sticky: bool = False


@frozen
class WatchSettings:
    """How a live plan is verified.

    Attributes:
        enabled: Whether a change is rolled back automatically.
        holdback: Share of runs that stay on the replaced plan, to compare with; 0 for none.
    """

    enabled: bool = True
    holdback: float = 0.02


@frozen
class QualitySettings:
    """How the work of a team is scored.

    Attributes:
        scorers: Who scores it, by name.
        deadline: How long the scores that decide are waited for, as seconds or a number with s, m, h or d: 24h.
        exit_wait: Most seconds that the end of a process waits for scorers that are under way; 0 for none.
        keep_outputs: How long the outputs of runs are kept for victor autotune rate, as for `deadline`; null for not at
            all. Each is a file that only its owner can read, and goes when it was rated.
        show: Command that shows a person the work of a run whose id it gets as its last argument; null for none.
        concurrency: Most scorers at work at a time in a process.
        max_cost_usd_per_day: Most US dollars that scorers may spend in a day (UTC), all processes together.
    """

    scorers: tuple[ScorerSettings, ...] = ()
    deadline: float = 86_400.0
    exit_wait: float = 10.0
    keep_outputs: float | None = None
    show: tuple[str, ...] | None = None
    concurrency: int = 2
    max_cost_usd_per_day: float = 1.0


@frozen
class TunerSettings:
    """How the next test is chosen.

    Attributes:
        risk: One of `RISKS`.
        weights: Weight of each metric that the team is tuned for, by name; None for the experiment's metric alone.
        max_p95_seconds: Most that the 95th percentile of the duration may be, or None.
    """

    risk: str = "low"
    weights: Mapping[str, float] | None = None
    max_p95_seconds: float | None = None


@frozen
class StoreSettings:
    """How the process uses its store.

    Attributes:
        snapshot_ttl: Seconds without a word from the store after which runs take part in no test.
        silent_after: Seconds without a heartbeat after which the unfinished runs of a process are lost.
    """

    snapshot_ttl: float = 600.0
    silent_after: float = 60.0


@frozen
class JournalSettings:
    """Where runs wait while the store is away.

    Attributes:
        max_megabytes: Most megabytes of a process's journal; what does not fit any more is lost, and counted.
        fsync: Whether the journal survives a power failure, at some milliseconds a run.
    """

    max_megabytes: float = 64.0
    fsync: bool = False


@frozen
class RetentionSettings:
    """How long runs are kept in full.

    What a test or a watch decides on is always kept, and so are experiments and the history.

    Attributes:
        runs: Runs of a team that are kept in full, the last ones; null for no limit.
        days: Age in days from which runs are no longer kept in full; null for no limit. The last 1000 of a team stay.
    """

    runs: int | None = 20_000
    days: float | None = 400.0


@frozen
class HookSettings:
    """How long hooks of third parties may take.

    Attributes:
        plan_seconds: Most seconds that they may hold up the start of a run, all together.
    """

    plan_seconds: float = 0.05


@frozen
class Settings:
    """Everything that is set for one team.

    Attributes:
        mode: What the plugin may do: nothing (off), record runs (observe), suggest changes (suggest), test and promote
            what a person approves (approve), or do so by itself (auto).
        strategies: Names of the strategies that may suggest changes.
        promotion: What a change of the layout that keeps the work needs to go live: to be likely better, on probation
            until it is proven (probation), or the proof (proof). Any other change needs the proof.
        limits: What no plan ever crosses, in any mode, and what the tests of a team may do in a week.
        experiment: How an A/B test decides.
        watch: How a live plan is verified.
        quality: How the work of a team is scored.
        tuner: How the next test is chosen.
        task_key: Name of a key in the workflow's state or shared context whose value identifies the task, or None.
        dataflow: Whether members use each other's work, in a person's word: to be found out from the runs (auto), no
            (independent), yes (dependent), or not to be looked at (off). What `dataflow_edges` says comes on top.
        dataflow_edges: Pairs of ids of members, `[a, b]`: b uses the work of a. No plan that the plugin chooses takes
            it from b.
        plan: The plan that a person fixed, or None. It applies in every mode but `off` and `observe`, and then nothing
            is tuned.
        start_from: A plan that is a part of the team's definition, and from which tuning goes on, or None. Other than
            `plan` it fixes nothing; victor autotune propose writes it.
        environment: Where the runs belong, such as `staging`; None for OpenTelemetry's `deployment.environment.name`,
            else `test` under pytest or in CI, else `default`. Runs of two environments never share a test, a baseline
            or a plan. Only at the top of a file.
        store: How the process uses its store; only at the top of a file.
        retention: How long runs are kept in full; only at the top of a file.
        journal: Where runs wait while the store is away; only at the top of a file.
        hooks: How long hooks of third parties may take; only at the top of a file.
        notify: Webhooks that are told what awaits a person and what happens to plans, by name; only at the top of a
            file.
        public_prices: Whether a model that prices does not name costs what its provider publishes, as the package
            genai-prices has it; only at the top of a file.
        prices: What models cost, by name or pattern; only at the top of a file.
    """

    mode: str = "observe"
    strategies: tuple[str, ...] = STRATEGIES
    promotion: Promotion = "probation"
    limits: Limits = field(default=Factory(Limits))
    experiment: ExperimentSettings = field(default=Factory(ExperimentSettings))
    watch: WatchSettings = field(default=Factory(WatchSettings))
    quality: QualitySettings = field(default=Factory(QualitySettings))
    tuner: TunerSettings = field(default=Factory(TunerSettings))
    task_key: str | None = None
    dataflow: str = "auto"
    dataflow_edges: tuple[tuple[str, str], ...] = ()
    plan: TeamPlan | None = None
    start_from: TeamPlan | None = None
    environment: str | None = None
    store: StoreSettings = field(default=Factory(StoreSettings))
    retention: RetentionSettings = field(default=Factory(RetentionSettings))
    journal: JournalSettings = field(default=Factory(JournalSettings))
    hooks: HookSettings = field(default=Factory(HookSettings))
    notify: tuple[Webhook, ...] = ()
    public_prices: bool = True
    prices: Mapping[str, Price] = field(factory=dict)

    def value(self, key: str) -> object:
        """Return the value of a dotted key, such as `limits.max_members`."""
        section, _, name = key.partition(".")
        value = getattr(self, section)
        return getattr(value, name, None) if name else value
