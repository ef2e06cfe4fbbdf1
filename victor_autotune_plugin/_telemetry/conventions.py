"""Every name that telemetry uses: spans, attributes, their fixed values, metrics, units, buckets, events.

Names under `gen_ai.` follow the OpenTelemetry semantic conventions for generative AI, which are still in
development: their release 0.1.0, and, for the name of a workflow, also release 1.41.0 of the general conventions,
where it was `gen_ai.workflow.name`. Names under `victor.autotune.` are the plugin's. `docs/telemetry.md` explains each.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Final

from attrs import frozen

SCOPE: Final = "victor_autotune_plugin"
"""Name of the instrumentation scope of all spans and metrics."""

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.41.0"
"""Schema of the names: the last release of the general conventions that has those for generative AI, too."""

NO_PROVIDERS: Final = ("opentelemetry.trace", "opentelemetry.metrics", "opentelemetry._logs")
"""Modules of the API's own providers, which keep nothing and stand in while the application has set none."""

BY_ENVIRONMENT: Final = any(os.environ.get(f"OTEL_PYTHON_{kind}_PROVIDER") for kind in ("TRACER", "METER", "LOGGER"))
"""Whether the environment may name a provider. The API asks it at every call, which takes longer than all else of a
span that is not recorded; so it is asked here, once. Where it names none, only a process that has imported the API can
have set one, so no other imports it for a run, which would hold the event loop for 30 ms."""

# Attributes of the semantic conventions.
OPERATION: Final = "gen_ai.operation.name"
WORKFLOW: Final = "gen_ai.workflow.name"
AGENT: Final = "gen_ai.agent.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
CACHED_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS: Final = "gen_ai.usage.cache_creation.input_tokens"
TOKEN_TYPE: Final = "gen_ai.token.type"
ERROR_TYPE: Final = "error.type"
EXPERIMENT: Final = "feature_flag.key"
ARM: Final = "feature_flag.result.variant"
FLAG_REASON: Final = "feature_flag.result.reason"
FLAG_PROVIDER: Final = "feature_flag.provider.name"

# Attributes of the plugin.
RUN_ID: Final = "victor.autotune.run.id"
PARENT_RUN_ID: Final = "victor.autotune.run.parent_id"
NESTED: Final = "victor.autotune.run.nested"
TEAM_ID: Final = "victor.autotune.team.id"
TEAM_SIZE: Final = "victor.autotune.team.size"
MODE: Final = "victor.autotune.mode"
OUTCOME: Final = "victor.autotune.outcome"
ELAPSED: Final = "victor.autotune.duration"
SCORE: Final = "victor.autotune.score"
MEMBER_SUCCESS_SHARE: Final = "victor.autotune.member_success_share"
COST: Final = "victor.autotune.cost"
TOOL_CALLS: Final = "victor.autotune.tool_calls"
REFUSED_TOOL_CALLS: Final = "victor.autotune.refused_tool_calls"
LLM_CALLS: Final = "victor.autotune.llm_calls"
PLAN_ID: Final = "victor.autotune.plan.id"
PLAN_CHANGES: Final = "victor.autotune.plan.changes"
PLAN_FORMATION: Final = "victor.autotune.plan.formation"
PLAN_MEMBERS: Final = "victor.autotune.plan.members"
PLAN_TOOL_BUDGET: Final = "victor.autotune.plan.tool_budget"
PLAN_MEMBER_BUDGETS: Final = "victor.autotune.plan.member_budgets"
PLAN_TIMEOUT: Final = "victor.autotune.plan.timeout"
MEMBER_ID: Final = "victor.autotune.member.id"
MEMBER_ROLE: Final = "victor.autotune.member.role"
MEMBER_MODELS: Final = "victor.autotune.member.models"
MEMBER_MODEL_TIME: Final = "victor.autotune.member.model_duration"
MEMBER_TOOL_TIME: Final = "victor.autotune.member.tool_duration"
MEMBER_IN_FLIGHT: Final = "victor.autotune.member.in_flight"
CHANGE_ID: Final = "victor.autotune.change.id"
CHANGE_ACTION: Final = "victor.autotune.change.action"
CHANGE_ACTOR: Final = "victor.autotune.change.actor"
IMPROVEMENT: Final = "victor.autotune.change.improvement"
PLAN_BEFORE: Final = "victor.autotune.change.plan_before"
PLAN_AFTER: Final = "victor.autotune.change.plan_after"
ENVIRONMENT: Final = "victor.autotune.environment"
SCORER: Final = "victor.autotune.scorer"

# Values.
INVOKE_WORKFLOW: Final = "invoke_workflow"
INVOKE_AGENT: Final = "invoke_agent"
TOKEN_INPUT: Final = "input"
TOKEN_OUTPUT: Final = "output"
SUCCESS: Final = "success"
FAILURE: Final = "failure"
TIMEOUT: Final = "timeout"
CANCELLED: Final = "cancelled"
UNFINISHED: Final = "unfinished"
OTHER_ERROR: Final = "_OTHER"
SPLIT: Final = "split"
PROVIDER: Final = "victor-autotune"

# Events.
EVALUATION: Final = "feature_flag.evaluation"
CHANGE: Final = "victor.autotune.change"


@frozen
class Metric:
    """A metric as it is registered with the meter.

    Attributes:
        name: Its name.
        unit: Its unit, in UCUM.
        description: What one measurement is.
        buckets: Advised histogram boundaries in the metric's unit, or None for a counter or gauge.
        is_gauge: Whether a measurement is a state, and not something to add.
    """

    name: str
    unit: str
    description: str
    buckets: tuple[float, ...] | None = None
    is_gauge: bool = False

    @property
    def kind(self) -> str:
        """Its type: `histogram`, `counter` or `gauge`."""
        return "gauge" if self.is_gauge else "counter" if self.buckets is None else "histogram"


_SECONDS: Final = tuple(0.1 * 2**k for k in range(13))
_CALLS: Final = tuple(float(2**k) for k in range(8))
_TOKENS: Final = tuple(float(4**k) for k in range(14))
_DOLLARS: Final = tuple(0.001 * 4**k for k in range(9))
_SHARES: Final = tuple(k / 10 for k in range(11))

DURATION: Final = Metric(
    "gen_ai.invoke_agent.duration", "s", "Duration of a team run, or of one member in it.", _SECONDS
)
MEMBER_TOOL_CALLS: Final = Metric(
    "gen_ai.invoke_agent.tool_calls", "{tool_call}", "Tool calls that one member made in a run.", _CALLS
)
MEMBER_LLM_CALLS: Final = Metric(
    "gen_ai.invoke_agent.inference_calls", "{inference_call}", "Model calls that one member made in a run.", _CALLS
)
RUN_TOKENS: Final = Metric("victor.autotune.run.tokens", "{token}", "Tokens that a team run used, by type.", _TOKENS)
RUN_TOOL_CALLS: Final = Metric("victor.autotune.run.tool_calls", "{tool_call}", "Tool calls of a team run.", _CALLS)
RUN_LLM_CALLS: Final = Metric("victor.autotune.run.llm_calls", "{inference_call}", "Model calls of a team run.", _CALLS)
RUN_COST: Final = Metric("victor.autotune.run.cost", "{USD}", "Cost of a team run whose models have a price.", _DOLLARS)
RUN_MEMBER_SUCCESS_SHARE: Final = Metric(
    "victor.autotune.run.member_success_share", "1", "Share of a team's members that succeeded, from 0 to 1.", _SHARES
)
RUN_SCORE: Final = Metric("victor.autotune.run.score", "1", "What one scorer made of a team run, from 0 to 1.", _SHARES)
RUNS: Final = Metric("victor.autotune.runs", "{run}", "Team runs that ended.")
TIMEOUTS: Final = Metric("victor.autotune.timeouts", "{run}", "Team runs that a deadline ended.")
REFUSALS: Final = Metric(
    "victor.autotune.refusals", "{tool_call}", "Tool calls refused because a tool budget was spent."
)
CHANGES: Final = Metric("victor.autotune.changes", "{change}", "Lines added to the histories of teams, by action.")
AWAITING: Final = Metric(
    "victor.autotune.awaiting", "{experiment}", "Experiments of a team that await a person.", is_gauge=True
)

METRICS: Final = (
    DURATION,
    MEMBER_TOOL_CALLS,
    MEMBER_LLM_CALLS,
    RUN_TOKENS,
    RUN_TOOL_CALLS,
    RUN_LLM_CALLS,
    RUN_COST,
    RUN_MEMBER_SUCCESS_SHARE,
    RUN_SCORE,
    RUNS,
    TIMEOUTS,
    REFUSALS,
    CHANGES,
    AWAITING,
)
"""All metrics."""


@cache
def scope_version() -> str | None:
    """Return the version of the instrumentation scope."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("victor-autotune-plugin")
    except PackageNotFoundError:
        return None
