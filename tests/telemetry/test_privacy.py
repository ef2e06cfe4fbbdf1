from __future__ import annotations

import pytest

from victor_autotune_plugin._model.plan import EMPTY_PLAN
from victor_autotune_plugin._model.run import MemberOutcome
from victor_autotune_plugin._telemetry.metrics import record_run
from victor_autotune_plugin._telemetry.spans import member_span, team_run_span

CANARY = "canary-7d1f: summarise the patient's letter"


def test_text_of_tasks_outputs_and_errors_is_in_no_span_and_no_metric(telemetry, spec, make_run):
    class PromptRejectedError(Exception):
        pass

    run = make_run(
        success=False,
        error_class=f"ProviderError: {CANARY}",  # as a caller might pass Victor's error text
        task_key=CANARY,
        members=[MemberOutcome("scout", "researcher", finished=True, duration_seconds=1.0, error_class=CANARY)],
    )
    with team_run_span(spec, run_id="r", mode="auto", plan=EMPTY_PLAN) as team:
        with member_span("scout", "researcher", team=team) as member:
            member.finish(run.members[0])
        with pytest.raises(PromptRejectedError), member_span("judge", "reviewer", team=team):
            raise PromptRejectedError(CANARY) from ValueError(CANARY)
        team.finish(run)
    with pytest.raises(PromptRejectedError), team_run_span(spec, run_id="r2", mode="auto", plan=EMPTY_PLAN):
        raise PromptRejectedError(CANARY)
    record_run(run)

    exported = "".join(span.to_json() for span in telemetry.spans)
    metrics = telemetry.reader.get_metrics_data().to_json()
    assert len(telemetry.spans) == 4
    assert "PromptRejectedError" in exported
    assert '"error.type": "_OTHER"' in exported
    assert "_OTHER" in metrics
    for text in (exported, metrics):
        assert "canary" not in text
        assert "patient" not in text
