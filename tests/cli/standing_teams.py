"""Projects whose team stands in a chosen state, written into the store as the loop would leave them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve

from victor_autotune_plugin._model.experiment import STATES, Change, Experiment, TeamState
from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.policy import Policy, WatchPolicy
from victor_autotune_plugin.storage import Store, default_url
from victor_autotune_testing.simulated import SPEC

PARALLEL = TeamPlan(formation="parallel")
AT = 1_790_000_000.0
ID = "5f0c2a91d3e4"

GUARDRAIL = {
    "name": "success", "control": 1.0, "treatment": 0.97, "change": 0.03, "margin": 0.1, "statistic": 0.4,
    "boundary": None, "status": "unclear",
}  # fmt: skip
VERDICT: dict[str, Any] = {
    "status": "running", "reason": "No proof yet after 12 + 14 runs.", "metric": "duration",
    "runs": {"control": 12, "treatment": 14}, "effect": -0.35, "interval": [-0.5, 0.02], "statistic": 2.1,
    "boundary": 2.9, "error_rate": 0.05, "minimum_detectable_effect": 0.2, "runs_needed": 9,
    "guardrails": [GUARDRAIL, {**GUARDRAIL, "name": "p95", "control": 20.0, "treatment": 14.0, "status": "open"}],
    "sample_ratio_p_value": 1.0, "ignored": {"unpaired": 3, "late": 0}, "missing": {"control": 1, "treatment": 2},
    "stage": "testing", "pairs": 10.5, "chance_better": 0.93, "may_go_live": False, "open": ["success", "p95"],
}  # fmt: skip
WATCHING: dict[str, Any] = {
    "status": "watching", "reason": "No harm in 55 runs since the promotion.", "harm": None,
    "runs": {"control": 2, "treatment": 53}, "detected_at": None, "effect": -0.3, "error_rate": 0.05, "drift": False,
    "wants_control": False, "evidence": [], "ignored": {}, "missing": {}, "rounds": 0, "alarm": "", "pairs": 0.0,
    "p95": "open",
}  # fmt: skip


def experiment(status: str, **changes: Any) -> Experiment:
    """An experiment of the team `team` of workflow `flow` in a state."""
    is_live = STATES[status].is_live  # type: ignore[index]
    made = Experiment(
        id=ID,
        workflow=SPEC.workflow,
        team_id=SPEC.team_id,
        fingerprint=SPEC.fingerprint(),
        strategy="formation_selection",
        description="Run the members side by side.",
        control=EMPTY_PLAN,
        treatment=PARALLEL,
        seed="seed",
        assignment_version="shake256-streams-2",
        policy=Policy(),
        watch_policy=WatchPolicy(),
        status=status,  # type: ignore[arg-type]
        created_at=AT,
        promoted_at=AT + 60 if is_live else None,
        verdict=VERDICT,
        watch_verdict=WATCHING if status in ("proven", "reverifying") else None,
        allowed_by="data_flow",
        promotion="probation",
    )
    return evolve(made, **changes)


def team_of(one: Experiment) -> TeamState:
    """The state of the team that has the experiment."""
    state = TeamState(SPEC.workflow, SPEC.team_id, fingerprint=SPEC.fingerprint(), spec=SPEC)
    if one.is_verified:
        return evolve(state, plan=one.treatment, live_id=one.id)
    on_probation = one.status == "probation"
    tested = one.takes_runs
    return evolve(state, plan=one.treatment if on_probation else one.control, experiment_id=one.id if tested else None)


def write(folder: Path, *experiments: Experiment, state: TeamState | None = None, **line: Any) -> None:
    """Write a project's store; `line` are attributes of the line of the history that led to the last experiment."""
    (folder / ".victor").mkdir(exist_ok=True)
    (folder / ".victor" / "autotune.yaml").write_text("mode: approve\n")
    last = experiments[-1]
    with Store.open(default_url(folder)) as store, store.transaction() as transaction:
        for one in experiments:
            transaction.save_experiment(one)
        transaction.save_team(state or team_of(last))
        if line:
            transaction.add_change(
                Change(None, AT + 5, SPEC.workflow, SPEC.team_id, experiment_id=last.id, actor="auto", **line)
            )
