"""`analyze`: what is wrong with a team, or with every team."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.text import Text

from .._model.optimization import Bottleneck
from . import rendering as show
from .options import HERE, Json, Map, Metrics, Output, Project, SkipBad, Team, TeamName, Workflow, chosen
from .project import from_file, from_store, opened

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._analysis.run_table import TeamKey
    from .._model.optimization import PerformanceInsight
    from .._model.plan import TeamSpec
    from .project import RunSource

_CELLS: Final = 10
_SECONDS: Final = (Bottleneck.SLOW_EXECUTION, Bottleneck.HIGH_LATENCY_OUTLIERS, Bottleneck.SERIAL_INDEPENDENT_WORK)
_SHARES: Final = (Bottleneck.LOW_SUCCESS_RATE, Bottleneck.UNDERSIZED_BUDGET, Bottleneck.UNDERPERFORMING_MEMBER,
                  Bottleneck.TIMEOUTS_TOO_TIGHT)  # fmt: skip
_BASELINES: Final = {
    "own history": "before (own history)",
    "given": "baseline (given)",
    "default": "baseline (default)",
}


def analyze(
    name: TeamName = None,
    metrics: Metrics = None,
    mapped: Map = None,
    skip_bad: SkipBad = False,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Find the bottlenecks of a team, or of every team: how severe, compared with what, and what to do.

    Runs come from the project's store, or from a file with --metrics: JSON,
    JSON Lines, a CSV, or OpenTelemetry traces of this plugin as JSON.

    A baseline is the team's own history where that is long enough (50 runs
    and 20 newer ones), else a default.
    """
    source, specs = _source(metrics, project, workflow, chosen(name, team), mapped, skip_bad=skip_bad)
    found = ((key, _insights(source, key, spec=specs.get(key))) for key in source.keys)

    def told() -> Iterator[dict[str, Any]]:
        for key, insights in found:
            yield _data(source, key, insights)
            if not as_json:
                _print(source, key, insights)

    data: dict[str, Any] = {"teams": told()}
    if metrics is not None:
        data["left_out"] = source.left_out
    if show.answered(data, output, as_json=as_json, project=project):
        return
    if not source.keys:
        show.say(f"{show.NOTHING_YET}; or give --metrics")
    for key, insights in found:  # none is left where they were written to a file
        _print(source, key, insights)


def _source(
    metrics: Any, project: Any, workflow: str | None, team_id: str | None, mapped: list[str] | None, *, skip_bad: bool
) -> tuple[RunSource, dict[TeamKey, TeamSpec | None]]:
    if metrics is not None:
        return from_file(metrics, team_id, workflow, skip_bad=skip_bad, mapped=mapped), {}
    with opened(project) as session:
        specs = {state.key: state.spec for state in session.teams(workflow, team_id)}
        return from_store(session, team_id, workflow), specs


def _insights(source: RunSource, key: TeamKey, **known: Any) -> list[PerformanceInsight]:
    return source.analyzer.analyze_team_workflow(key[1], workflow=key[0], **known)


def _data(source: RunSource, key: TeamKey, insights: list[PerformanceInsight]) -> dict[str, Any]:
    summary = source.analyzer.summary(key[1], workflow=key[0])
    return {
        "workflow": key[0],
        "team_id": key[1],
        "summary": summary,
        "insights": [insight.to_dict() for insight in insights],
    }


def _print(source: RunSource, key: TeamKey, insights: list[PerformanceInsight]) -> None:
    summary = source.analyzer.summary(key[1], workflow=key[0])
    assert summary is not None
    figures = summary["figures"]
    title = show.name(key[1]).append(f" ({show.clean(key[0])})" if key[0] else "")
    scored = f"score {show.number(figures['score']['value'])}, " if "score" in figures else ""
    title.stylize("bold", 0, len(show.name(key[1])))
    show.say(title)
    show.say(
        f"{show.count(summary['runs'], 'run')}: mean {show.seconds(figures['duration_seconds']['value'])}, "
        f"P95 {show.seconds(figures['p95_duration_seconds']['value'])}, "
        f"success {show.percent(figures['success_rate']['value'])}, {scored}"
        f"{show.number(figures['tool_calls']['value'], 1)} tool calls, {show.rounded(figures['members'])} members."
    )
    if not insights:
        show.say("Nothing stands out.")
        show.blank()
        return
    order = ", the most severe first" if len(insights) > 1 else ""
    show.say(f"{show.count(len(insights), 'issue')}{order}:")
    show.blank()
    for number, insight in enumerate(insights, 1):
        _print_insight(number, insight)


def _print_insight(number: int, insight: PerformanceInsight) -> None:
    title = insight.bottleneck.replace("_", " ").capitalize()
    show.say(Text(f"{number}. ").append(show.clean(title), "bold"))
    head = Text("Severity ").append_text(_bar(insight.severity, show.out())).append(f" {insight.severity:.2f}")
    show.say(head.append(f"   Impact {insight.impact_magnitude:.2f}"), indent=3)
    now, usual = (_amount(insight.bottleneck, value) for value in (insight.current_value, insight.baseline_value))
    source = getattr(getattr(insight.evidence, "baseline", None), "source", None)
    show.say(f"Now {now}, {_BASELINES.get(str(source), 'against')} {usual}", indent=3)
    show.say(insight.recommendation, indent=3)
    if insight.affected_components:
        show.say(f"Concerns: {', '.join(insight.affected_components)}", "dim", indent=3)
    show.blank()


def _bar(share: float, console: Console) -> Text:
    """Return a bar of ten cells for a share from 0 to 1, in ASCII where the terminal shows nothing else."""
    full, empty = ("#", ".") if console.options.ascii_only else ("█", "░")
    cells = max(0, min(_CELLS, round(share * _CELLS)))
    style = "red" if share >= 0.7 else "yellow" if share >= 0.4 else "green"
    return Text("[").append(full * cells, style).append(empty * (_CELLS - cells)).append("]")


def _amount(bottleneck: str, value: float) -> str:
    if bottleneck in _SECONDS or bottleneck.startswith(Bottleneck.SUBOPTIMAL_FORMATION.value):
        return show.seconds(value)
    return show.percent(value) if bottleneck in _SHARES else show.rounded(value)
