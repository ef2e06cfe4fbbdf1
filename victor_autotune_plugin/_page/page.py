"""The report's page."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from .._dataflow.flow_facts import HEADINGS, FlowFacts
from .._model.experiment import Change
from .._model.plan import TeamPlan, TeamSpec
from .._model.text import DASH, change, count, interval, percent, plan_text, rounded, seconds, state_text, when, who
from .._tuning.standing import Decision, Standing
from .drawing import Child, Element, durations, effects, element, table, to_html
from .reported import ReportedExperiment, ReportedTeam

_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'"
"""The page may load nothing and run nothing, whatever a name in it tries."""

_KINDS: Final = {
    "promoted": "good",
    "proven": "good",
    "confirmed": "good",
    "settled": "good",
    "judge_trusted": "good",
    "failed": "bad",
    "rolled_back": "bad",
    "inconclusive": "unsure",
    "aborted": "unsure",
    "rejected": "unsure",
    "superseded": "unsure",
    "paused": "unsure",
    "judge_distrusted": "unsure",
    "reverifying": "unsure",
    "awaits_approval": "unsure",
    "awaits_promotion": "unsure",
    "started": "open",
    "canary": "open",
    "testing": "open",
    "probation": "open",
}


def page(teams: Sequence[ReportedTeam], *, title: str, at: float) -> str:
    """Return the report as an HTML document.

    Args:
        teams: The teams, in the order of the report.
        at: When it is made, Unix seconds.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        _style(),
    )
    body = element(
        "body",
        element("h1", title),
        element("p", f"{count(len(teams), 'team')}, {when(at)}. Neither prompts nor outputs are in it.", class_="dim"),
        *[_asks(team, one, one.decision) for team in teams for one in team.standings if one.decision is not None],
        _overview(teams) if teams else element("p", "Nothing was recorded yet."),
        *[_section(number, team) for number, team in enumerate(teams)],
    )
    return to_html(element("html", head, body, lang="en"))


def _style() -> Element:
    made = Element("style")
    made.text = files(__package__ or "").joinpath("style.css").read_text(encoding="utf-8")
    return made


def _overview(teams: Sequence[ReportedTeam]) -> Element:
    rows: list[list[Child]] = [
        [
            element("a", team.state.team_id, href=f"#team-{number}"),
            team.state.workflow,
            f"{team.mode}, paused" if team.state.paused else team.mode,
            plan_text(team.plan),
            str(len(team.runs)),
            percent(team.success_rate),
            seconds(team.median_seconds),
            seconds(team.p95_seconds),
        ]
        for number, team in enumerate(teams)
    ]
    headings = ["Team", "Workflow", "Mode", "Live plan", "Last runs", "Success", "Median", "P95"]
    return table(headings, rows, numbers={"Last runs", "Success", "Median", "P95"})


def _asks(team: ReportedTeam, one: Standing, decision: Decision) -> Element:
    """Return what awaits a person, with the commands that answer."""
    lines: list[Child] = [element("br"), one.experiment.description]
    for command in (decision.approve, decision.reject):
        if command is not None:
            lines += [element("br"), element("code", command)]
    return element("p", element("strong", f"{team.state.team_id} asks you: {decision.question}"), *lines, class_="asks")


def _standing(one: Standing) -> Element:
    state = element("strong", one.title, class_=_KINDS.get(one.state))
    said = f": {one.meaning}, since {when(one.since)}. "
    return element("p", state, said, element("span", " ".join(one.next).replace("`", ""), class_="dim"))


def _section(number: int, team: ReportedTeam) -> Element:
    parts: list[Child] = [
        element("h2", f"{team.state.team_id} ", element("span", team.state.workflow, class_="dim")),
        element("p", "Live plan: ", element("strong", plan_text(team.plan))),
    ]
    parts += [_standing(one) for one in team.standings]
    if team.state.spec is not None:
        parts.append(element("p", f"Configured: {_configured(team.state.spec)}", class_="dim"))
    if team.flow is not None:
        parts += [element("h3", "Data flow"), *_flow(team.flow)]
    if team.quality:
        parts += [element("h3", "Quality"), *[element("p", said) for said in team.quality]]
    if team.runs:
        legend = "Dots ran as configured, diamonds with a plan, crosses failed."
        parts += [element("h3", "Durations"), durations(team.runs), element("p", legend, class_="dim")]
    parts.append(element("h3", "Experiments"))
    if team.experiments:
        parts += [effects(team.experiments), _experiments(team.experiments)]
    else:
        parts.append(element("p", "None yet."))
    parts.append(element("h3", "History"))
    parts.append(_history(team.changes) if team.changes else element("p", "No changes yet."))
    return element("section", *parts, id=f"team-{number}")


def _flow(flow: FlowFacts) -> list[Child]:
    known = flow.knowledge
    parts: list[Child] = [
        element("p", element("strong", flow.graph)),
        element("p", _word(known.verdict), f". {known.because}"),
    ]
    if known.missing is not None:
        parts.append(element("p", f"Missing: {known.missing}"))
    parts += [element("p", f"{name} is open: {why}.") for name, why in flow.open]
    if flow.edges:
        parts.append(table([*HEADINGS], [[*row] for row in flow.rows()], numbers={"Runs"}))
    parts += [element("p", sentence.replace("`", ""), class_="dim") for sentence in flow.consequences()]
    return [*parts, element("p", f"Looked at: {flow.looked_at}.", class_="dim")]


def _configured(spec: TeamSpec) -> str:
    parts = [spec.formation, f"{count(len(spec.members), 'member')} ({', '.join(spec.member_ids)})"]
    if spec.tool_budget is not None:
        parts.append(f"tool budget {spec.tool_budget}")
    if spec.timeout_seconds is not None:
        parts.append(f"timeout {rounded(spec.timeout_seconds)} s")
    return ", ".join(parts)


def _experiments(experiments: Sequence[ReportedExperiment]) -> Element:
    rows: list[list[Child]] = []
    for one in experiments:
        experiment, verdict = one.experiment, one.verdict
        runs = verdict.get("runs") or {}
        said = (one.watch or {}).get("reason") or verdict.get("reason") or ""
        rows.append(
            [
                element("span", experiment.id[:7], class_="id"),
                element(
                    "span",
                    experiment.description,
                    element("br"),
                    element("span", _plans(experiment.control, experiment.treatment), class_="dim"),
                ),
                _word(experiment.status),
                f"{runs.get('control', 0)} + {runs.get('treatment', 0)}",
                _effect(one),
                said,
            ]
        )
    return table(["Id", "Change", "Status", "Runs", "Effect", "Why"], rows, numbers={"Runs", "Effect"})


def _effect(one: ReportedExperiment) -> Element:
    effect, ends = one.verdict.get("effect"), one.verdict.get("interval") or (None, None)
    if effect is None:
        return element("span", DASH)
    metric = str(one.verdict.get("metric", "")).replace("_", " ")
    bounds = element("span", f"{metric}, {interval(*ends)}", class_="dim")
    return element("span", change(effect), element("br"), bounds)


def _history(changes: Sequence[Change]) -> Element:
    rows: list[list[Child]] = [
        [
            when(one.at),
            element("span", _word(one.action), element("br"), element("span", who(one), class_="dim")),
            DASH if one.improvement_percent is None else percent(one.improvement_percent / 100),
            one.reason,
            DASH
            if one.plan_before == one.plan_after
            else f"{plan_text(one.plan_before)} → {plan_text(one.plan_after)}",
        ]
        for one in changes
    ]
    return table(["When", "What", "Improvement", "Why", "Plan"], rows, numbers={"Improvement"})


def _plans(before: TeamPlan, after: TeamPlan) -> str:
    return f"{plan_text(before)} → {plan_text(after)}"


def _word(value: str) -> Element:
    return element("span", state_text(value), class_=_KINDS.get(value))
