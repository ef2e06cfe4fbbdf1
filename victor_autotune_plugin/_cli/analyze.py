"""`analyze`: what is wrong with a team, or with every team."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .options import HERE, Json, Metrics, Output, Project, SkipBad, Team, TeamName, Workflow, chosen

if TYPE_CHECKING:
    from .._analysis import TeamKey
    from .._model.optimization import PerformanceInsight
    from .sources import Source


def analyze(
    name: TeamName = None,
    metrics: Metrics = None,
    skip_bad: SkipBad = False,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Find the bottlenecks of a team, or of every team: how severe, compared with what, and what to do.

    Runs come from the project's store, or from a file with --metrics: a
    JSON list, JSON Lines, CSV, or OTLP JSON traces of this plugin.

    A baseline is the team's own history where that is long enough (50 runs
    and 20 newer ones), else a default.
    """
    from .._values.files import write_text
    from . import rendering as show

    found = _found(metrics, project, workflow, chosen(name, team), skip_bad=skip_bad)
    data = {"teams": [_data(source, key, insights) for source, key, insights in found]}
    if output is not None:
        write_text(output, show.json_text(data))
    if as_json:
        show.write_json(data)
    elif not found and metrics is not None:
        show.say(f"{metrics} holds no runs{' that can be used' if skip_bad else ''}.")
    elif not found:
        show.say(
            "Nothing was recorded here yet. Run a workflow (victor autotune run WORKFLOW.yaml), or give --metrics."
        )
    else:
        for source, key, insights in found:
            _print(source, key, insights)


def _found(
    metrics: Any, project: Any, workflow: str | None, team_id: str | None, *, skip_bad: bool
) -> list[tuple[Source, TeamKey, list[PerformanceInsight]]]:
    from .session import opened
    from .sources import from_file, from_store

    if metrics is not None:
        source = from_file(metrics, team_id, workflow, skip_bad=skip_bad)
        return [(source, key, _insights(source, key)) for key in source.keys]
    with opened(project) as session:
        source = from_store(session, team_id, workflow)
        specs = {state.key: state.spec for state in session.teams(workflow, team_id)}
        return [(source, key, _insights(source, key, spec=specs.get(key))) for key in source.keys]


def _insights(source: Source, key: TeamKey, **known: Any) -> list[PerformanceInsight]:
    return source.analyzer.analyze_team_workflow(key[1], workflow=key[0], **known)


def _data(source: Source, key: TeamKey, insights: list[PerformanceInsight]) -> dict[str, Any]:
    summary = source.analyzer.summary(key[1], workflow=key[0])
    return {
        "workflow": key[0],
        "team_id": key[1],
        "summary": summary,
        "insights": [insight.to_dict() for insight in insights],
    }


def _print(source: Source, key: TeamKey, insights: list[PerformanceInsight]) -> None:
    from . import rendering as show
    from .findings import print_insight

    summary = source.analyzer.summary(key[1], workflow=key[0])
    assert summary is not None
    figures = summary["figures"]
    title = show.name(key[1]).append(f" ({show.clean(key[0])})" if key[0] else "")
    title.stylize("bold", 0, len(show.name(key[1])))
    show.say(title)
    show.say(
        f"{show.count(summary['runs'], 'run')}: mean {show.seconds(figures['duration_seconds']['value'])}, "
        f"P95 {show.seconds(figures['p95_duration_seconds']['value'])}, "
        f"success {show.percent(figures['success_rate']['value'])}, "
        f"{figures['tool_calls']['value']:.1f} tool calls, {figures['members']:.3g} members."
    )
    if not insights:
        show.say("Nothing stands out.")
        show.blank()
        return
    order = ", the most severe first" if len(insights) > 1 else ""
    show.say(f"{show.count(len(insights), 'issue')}{order}:")
    show.blank()
    for number, insight in enumerate(insights, 1):
        print_insight(number, insight)
