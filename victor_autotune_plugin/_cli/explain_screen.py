"""What `explain` shows, and what the tuner says, which `suggest` shows, too."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from .._dataflow.flow_facts import HEADINGS
from .._model.experiment import STATES
from .._model.text import evidence
from .._tuning.next_test import HISTORY_RUNS
from . import rendering as show
from .awaiting import print_decisions
from .quality_facts import print_quality
from .status import TeamFacts, potential_pointer

if TYPE_CHECKING:
    from rich.table import Table

    from .._dataflow.flow_facts import FlowFacts
    from .._model.optimization import OptimizationSuggestion
    from .._tuner import Outlook, Proposal
    from .._tuning.next_test import Advice
    from .._tuning.standing import Standing
    from .explain import Explanation

_TESTED: Final = {
    "draft": "A person is asked for its test.",
    "awaits_approval": "Its test awaits a person.",
    "canary": "It is being tested now.",
    "testing": "It is being tested now.",
    "probation": "It is live on probation now, while its test goes on.",
    "awaits_promotion": "It is proven better, and awaits a person.",
    "proven": "It is live now.",
    "reverifying": "It is live, and being verified again now.",
    "failed": "It was tested before, and failed.",
    "inconclusive": "It was tested before, without proof.",
    "aborted": f"Its test was aborted; it may be tested again {HISTORY_RUNS} runs after that.",
    "rolled_back": "It was live before, and rolled back.",
    "superseded": "It was live before another change took its place.",
}
"""What happened to a suggestion that an experiment tried, by the experiment's status."""


_LONGEST_KEY: Final = 40
"""Characters of a setting's name up to which the other columns give way to it."""

_MOST_EDGES: Final = 30
"""Uses of others' work that are listed at most."""

_KNOBS: Final = {"tool_budget": "tool budget", "timeout_seconds": "timeout"}
"""Names of knobs for people, where they differ."""


def print_summary(found: Explanation, *, is_all: bool = False) -> None:
    """Print what runs, since when, what it brought, how sure that is, and what comes next.

    Args:
        found: What explains the team's plan.
        is_all: Whether the rest follows, so that nothing needs to say where it is.
    """
    facts, state = found.facts, found.facts.state
    console = show.out()
    if print_decisions([facts]):
        console.print()
    console.print(show.text(f"{state.team_id} ({state.workflow})", "bold"))
    rows: list[tuple[str, object]] = [("Runs with", _plan(found))]
    rows += [(title, told) for title, told in zip(("Was → now", "", "", "", ""), _brought(facts), strict=False)]
    if facts.trouble is not None:
        rows.append(("Trouble", show.text(facts.trouble, "red")))
    rows += [("State", _standing(one)) for one in facts.standings]
    if not facts.standings:
        last = facts.verdict_text()
        rows.append(("State", "nothing is tested" if last is None else f"nothing is tested; the last test: {last}"))
    rows.append(("Next", _next(found)))
    mode = f"{facts.modes.configured}{', paused' if state.paused else ''}"
    rows.append(("Mode", mode if facts.modes.sentence is None else facts.modes.sentence.removeprefix("mode ")))
    console.print(show.pairs(rows))
    pointer = potential_pointer(facts)
    if pointer is not None:
        show.say(pointer, "dim")
    if not is_all:
        show.say("More: --details (test, statistics, data flow, tuner), --settings", "dim")


def _plan(found: Explanation) -> str:
    """Return the plan that the next run has, and since when."""
    for one in found.facts.standings:
        if one.state == "awaits_promotion" and one.decision is not None:
            now, before = one.experiment.treatment, one.experiment.control
            return f"{show.plan_text(now)} until you answer; the live plan is still {show.plan_text(before)}"
    return f"{show.plan_text(found.facts.plan)}, {_since(found)}"


def _since(found: Explanation) -> str:
    if found.facts.fixed:
        return "fixed by the settings"
    if found.source is None:
        return "no change was promoted"
    return f"since {show.when(found.source.at)} ({show.action_text(found.source)} {show.who(found.source)})"


def _brought(facts: TeamFacts) -> Iterator[str]:
    """Give what the live plan brought, or so far what the plan of the open test would, line by line."""
    from .._page.figure_words import outcome_lines

    outcome, figures = facts.outcome, facts.figures
    if outcome is not None:
        yield from outcome_lines(outcome)
    elif figures.runs:
        success = show.percent(figures.success_rate)
        yield f"nothing to compare yet; median {show.seconds(figures.median_seconds)}, {success} succeeded"
    else:
        yield "nothing to compare yet: no runs"


def _next(found: Explanation) -> str:
    """Return what comes next in a sentence."""
    for one in found.facts.standings:
        if one.decision is not None and one.decision.asks != "keep":
            waits = "Nothing before you answer; the commands stand above."
            return waits if STATES[one.state].awaits_person else f"Its test goes on meanwhile. {one.next[-1]}"
        if one.upcoming is not None:
            return one.upcoming
    return found.outlook[0]


def print_details(found: Explanation) -> None:
    """Print how the team is configured, its test with the statistics, its data flow, and what the tuner says."""
    state, figures = found.facts.state, found.facts.figures
    console = show.out()
    console.print()
    rows: list[tuple[str, object]] = []
    if found.source is not None:
        rows.append(("Comes from", show.step(found.source)))
    if state.spec is not None:
        members = ", ".join(state.spec.member_ids)
        rows.append(("Configured", f"{state.spec.formation}, {len(state.spec.members)} members: {members}"))
    theirs = {knob for knob, _, _ in found.facts.owners}
    owners = [f"{knob}: {who} ({show.count(times, 'run')})" for knob, who, times in found.facts.owners]
    owners.append("the others: autotune" if theirs else "autotune")
    rows.append(("Knobs are set by", "; ".join(owners)))
    rows.append(("Tests", _tests(*found.tests)))
    rows.append(
        (
            "Runs",
            f"{figures.runs}, {show.percent(figures.success_rate)} succeeded, "
            f"median {show.seconds(figures.median_seconds)}, P95 {show.seconds(figures.p95_seconds)}"
            if figures.runs
            else "none yet",
        )
    )
    console.print(show.pairs(rows))
    _print_experiment(found)
    if found.facts.flow is not None:
        _print_flow(found.facts.flow)
    print_quality(found.facts.quality, found.advice.opened_by_scorer, found.scoring_cost)
    console.print()
    console.print("What would change it", style="bold")
    console.print(show.bullets(found.outlook))
    console.print()
    print_advice(found.advice)
    console.print("What the strategies suggest", style="bold")
    if not found.suggestions:
        console.print(f"Nothing, after {show.count(found.advice.compared, 'comparable run')}.")
    console.print(show.bullets(_suggestion(*suggested) for suggested in found.suggestions))


def print_settings(found: Explanation) -> None:
    """Print every setting with its source."""
    console = show.out()
    console.print()
    console.print("Settings", style="bold")
    table = show.table("Setting", "Value", "From")
    table.columns[0].no_wrap = all(len(key) <= _LONGEST_KEY for key, _, _ in found.settings)
    for key, value, source in found.settings:
        style = "dim" if source == "default" else ""
        table.add_row(show.text(key, style), show.text(_value(value), style), show.text(source, style))
    console.print(table)


def _suggestion(suggestion: OptimizationSuggestion, tested: str | None, waits: str | None) -> str:
    after = "" if waits is None else f" It waits: {waits}."
    if tested is not None:
        after = f" {_TESTED.get(tested, 'It was tested before.')}"
    return (
        f"{suggestion.description} Expected: {show.percent(suggestion.expected_improvement / 100)} better, confidence "
        f"{suggestion.confidence:.2f}, risk {suggestion.risk_level:.2f} ({suggestion.type}).{after}"
    )


def _print_experiment(found: Explanation) -> None:
    experiment, verdict = found.facts.experiment, found.facts.verdict
    if experiment is None or verdict is None:
        return
    console = show.out()
    console.print()
    heading = "Open experiment" if found.facts.standings else "Last experiment"
    status = found.facts.standings[0].title if found.facts.standings else show.state_text(experiment.status)
    console.print(show.text(f"{heading} {experiment.id}: {status}", "bold"))
    runs, missing = verdict["runs"], verdict.get("missing") or {}
    low, high = verdict["interval"]
    rows: list[tuple[str, object]] = [
        ("Change", experiment.description),
        ("Control", show.plan_text(experiment.control)),
        ("Treatment", show.plan_text(experiment.treatment)),
        ("Test says", "nothing: no test proved it" if experiment.is_untested else verdict["reason"]),
        ("Runs", f"{runs['control']} control, {runs['treatment']} treatment"),
        ("Missing runs", ", ".join(f"{missing.get(arm, 0)} {arm}" for arm in runs)),
        *_unscored(verdict),
        (
            f"Effect on {show.TITLES[verdict['metric']]}",
            f"{show.change(verdict['effect'])}, "
            + ("no interval yet" if None in (low, high) else f"interval {show.interval(low, high)}"),
        ),
        ("Evidence", _evidence(experiment.policy.rule, verdict)),
    ]
    if found.facts.watch is not None:
        seen = found.facts.watch["runs"]
        rows.append(("Watch says", found.facts.watch["reason"]))
        rows.append(("Runs since", f"{seen['treatment']} with the plan, {seen['control']} with the one before"))
    if found.ending is not None:
        said = [one["reason"] for one in (verdict, found.facts.watch) if one is not None]
        rows.append(("Ended", show.step(found.ending, why=found.ending.reason not in said)))
    console.print(show.pairs(rows))
    console.print(guardrail_table(verdict))
    _print_statistics(found)


def _unscored(verdict: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Give how many runs of a scored test got no score, by arm, where any did not."""
    unscored = verdict.get("unscored") or {}
    if any(unscored.values()):
        yield "Without a score", ", ".join(f"{unscored.get(arm, 0)} {arm}" for arm in verdict["runs"])


def guardrail_table(verdict: Any) -> Table:
    """Return the table of what a test knows of its guardrails."""
    table = show.table("Guardrail", ">Control", ">Treatment", "Worse by", "Tolerated", "Status")
    for guardrail in verdict["guardrails"]:
        name = guardrail["name"]
        table.add_row(
            show.text(show.TITLES[name]),
            _measured(name, guardrail["control"]),
            _measured(name, guardrail["treatment"]),
            _worse(name, guardrail["change"]),
            _worse(name, guardrail["margin"]),
            show.word(guardrail["status"]),
        )
    return table


def _standing(one: Standing) -> str:
    """Return a state in a line: what it is, what that means, since when, and what comes next."""
    begun = f"{one.title} since {show.when(one.since)}"
    comes = None if one.decision is not None and one.decision.asks != "keep" else one.brief
    return f"{', '.join(part for part in (begun, comes, one.p95) if part is not None)}: {one.meaning}"


def _tests(number: int, null_passes: float) -> str:
    """Return how many tests a team had, and what chance alone would have made of them."""
    if not number:
        return "none yet"
    passed = show.rounded(round(null_passes, 2))
    return f"{number}; had no change made a difference, {passed} of them would have passed by now on average"


def _print_flow(flow: FlowFacts) -> None:
    """Print who uses whose work, how that is known, and what follows."""
    console, known = show.out(), flow.knowledge
    console.print()
    console.print("Data flow", style="bold")
    console.print(show.text(flow.graph))
    rows: list[tuple[str, object]] = [("Verdict", f"{known.verdict}. {known.because}")]
    if known.missing is not None:
        rows.append(("Missing", known.missing))
    rows.append(("Looked at", flow.looked_at))
    rows += [("Open", f"{name}: {why}") for name, why in flow.open]
    console.print(show.pairs(rows))
    if flow.edges:
        table = show.table(*(f">{name}" if name == "Runs" else name for name in HEADINGS))
        for row in flow.rows(_MOST_EDGES):
            table.add_row(*map(show.text, row))
        console.print(table)
        if len(flow.edges) > _MOST_EDGES:
            console.print(f"and {show.count(len(flow.edges) - _MOST_EDGES, 'further use')}: see --json")
    else:
        console.print()
    console.print(show.bullets(flow.consequences()))


_EFFECT_SIZES: Final = {"mann-whitney": "P(faster)", "two proportions": "h"}
"""What a method's effect size is called; Hedges' g for the others."""

_SHOWN: Final = {"welch": show.signed_seconds, "two proportions": show.points}
"""How the change of a method is shown that is a difference; it is relative for the others."""


def _print_statistics(found: Explanation) -> None:
    """Print the runs by the methods that readers know; they describe, and the sequential test decides."""
    if not found.statistics:
        return
    metric = "" if found.facts.experiment is None else found.facts.experiment.policy.metric
    table = show.table("As if looked at once", ">Change", "95 % interval", ">p", "Effect size")
    for one in found.statistics:
        shown = _SHOWN.get(one.method, show.change)
        if one.method == "welch" and metric != "duration":
            shown = show.signed
        name = _EFFECT_SIZES.get(one.method, "g")
        table.add_row(
            show.text(f"{one.method} of success" if one.method == "two proportions" else one.method),
            shown(one.estimate),
            " to ".join("unbounded" if math.isinf(end) else shown(end) for end in (one.low, one.high)),
            show.text(show.rounded(one.p_value)),
            f"{name} {show.number(one.effect_size) if name == 'P(faster)' else show.signed(one.effect_size)}",
        )
    show.out().print(table)


def _evidence(rule: str, verdict: Any) -> str:
    boundary, mismatch = verdict["boundary"], verdict["sample_ratio_p_value"]
    height = evidence(rule, verdict["statistic"], boundary) + (", no boundary yet" if boundary is None else "")
    ignored = ", ".join(f"{number} {name}" for name, number in verdict["ignored"].items() if number)
    return (
        f"{height}; the risk of a wrong decision between equal plans is "
        f"{show.percent(verdict['error_rate'])} at most, however often it is looked at; "
        f"shares of the arms: p = {show.rounded(mismatch)}" + (f"; not counted: {ignored}" if ignored else "")
    )


def _measured(name: str, value: float | None) -> str:
    if value is None:
        return show.DASH
    if name in ("p95", "mean"):
        return show.seconds(value)
    if name in ("success", "member_success", "loss"):
        return show.percent(value)
    return show.usd(value) if name == "cost" else show.number(value)


def _worse(name: str, change: float | None) -> str:
    if change is None:
        return show.DASH
    return show.points(change) if name in ("success", "member_success", "score", "loss") else show.change(change)


def _value(value: object) -> str:
    if value is None:
        return show.DASH
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{key}: {_inner(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_inner, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _inner(value: object) -> str:
    return f"[{_value(value)}]" if isinstance(value, list | tuple) else _value(value)


def print_advice(advice: Advice) -> None:
    """Print what the tuner says of a team; nothing where it was not asked, is off, or failed."""
    console = show.out()
    if advice.outlook is not None:
        console.print("What the tuner says of it", style="bold")
        console.print(show.text(advice.outlook.reason))
        console.print(show.pairs(_rows(advice.outlook.outlook)))
        console.print()
    if advice.proposal is not None:
        _print_proposal(advice.proposal)


def _print_proposal(proposal: Proposal) -> None:
    """Print what the tuner would test next, or why nothing, and why not the other plans."""
    console = show.out()
    console.print("What the tuner would test next", style="bold")
    chosen = proposal.chosen
    if chosen is None:
        console.print(show.text(f"Nothing. {proposal.nothing_because}"))
    else:
        rows = [("Plan", show.plan_text(chosen.plan)), *_rows(chosen), ("Suggested by", chosen.source)]
        console.print(show.pairs(rows))
    if proposal.reasons:
        ruled_out = ", ".join(f"{reason} ({number})" for reason, number in proposal.reasons.items())
        console.print(show.text(f"Plans ruled out: {ruled_out}."))
    console.print()
    if proposal.not_chosen:
        console.print("Why not another plan", style="bold")
        table = show.table("Plan", ">Expected", "From", "Why not")
        for other in proposal.not_chosen:
            expected = show.DASH if other.improvement is None else show.change(other.improvement)
            table.add_row(
                show.text(show.plan_text(other.plan)), expected, show.text(other.source), show.text(other.reason)
            )
        console.print(table)
    if proposal.sensitivity:
        console.print("How much each knob matters, changed alone", style="bold")
        table = show.table("Knob", ">Best", ">Worst", ">Settings", "Best setting")
        for knob in proposal.sensitivity:
            name, plan = _KNOBS.get(knob.knob, knob.knob), show.text(show.plan_text(knob.best_plan))
            table.add_row(name, show.change(knob.best), show.change(knob.worst), str(knob.settings), plan)
        console.print(table)


def _rows(outlook: Outlook) -> list[tuple[str, object]]:
    needed = "unknown: no improvement is expected"
    if outlook.runs_needed is not None:
        needed = f"{show.count(outlook.runs_needed, 'run')} in each arm, for a proof with probability 80 %"
    return [
        ("Improvement", f"{show.change(outlook.improvement)} expected, {_interval(outlook.interval)}"),
        ("Better", f"{show.likely(outlook.p_better)} likely; harm {show.likely(outlook.p_harm)} likely"),
        (
            "Success",
            f"{show.points(outlook.success_change)} ({show.points(outlook.success_interval[0])} to "
            f"{show.points(outlook.success_interval[1])}), kept: {show.likely(outlook.p_success_kept)} likely",
        ),
        ("Rests on", f"{show.count(outlook.runs_behind, 'run')} of it, {outlook.runs_of_live} of the plan it replaces"),
        ("Prior said", f"{show.change(outlook.prior_improvement)}, {_interval(outlook.prior_interval)}"),
        ("Needs", needed),
        ("Proof", f"{show.likely(outlook.p_pass)} likely that a test proves it better and safe in time"),
    ]


def _interval(ends: tuple[float, float]) -> str:
    return f"90 % interval {show.interval(*ends)}"
