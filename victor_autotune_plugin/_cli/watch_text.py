"""What `watch` writes of teams and runs: cells and sentences, made from what a `Board` tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.text import Text

from . import rendering as show

if TYPE_CHECKING:
    from .._model.run import TeamRun
    from .._page.outcome import PlanOutcome

TEAM_COLUMNS: Final = ("Team", "State", "Was → now", "Runs", "Median", "Last", "Trend")
LESS_NEEDED: Final = ("Last", "Trend")
"""Columns of a team that a narrow screen has no room for."""

RUN_COLUMNS: Final = ("Started", "Run", "Outcome", "Took", "Arm", "Plan")

_KINDS: Final = {"good": "green", "asks": "bold yellow", "unsure": "yellow", "open": "cyan", "idle": "dim"}
_GOALS: Final = {"canary": "testing", "testing": "proof", "probation": "proof", "reverifying": "the answer"}
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_GUARDRAILS: Final = {"harmed": "red", "open": "yellow", "unclear": "yellow"}


def team_name(row: Mapping[str, Any]) -> str:
    """Return workflow and id of a team, as one name."""
    return show.clean(f"{row['workflow']}/{row['team']}")


def team_cells(row: Mapping[str, Any]) -> tuple[Text, ...]:
    """Return the cells of a team, under `TEAM_COLUMNS`."""
    running = f" ({row['running']} now)" if row["running"] else ""
    return (
        show.lines(show.name(row["team"]), show.name(row["workflow"])),
        show.lines(state_cell(row), next_text(row)),
        show.lines(*was_now_parts(row)),
        Text(f"{row['runs']:,}{running}"),
        Text(show.seconds(row["median"])),
        show.lines(*show.when(row["last_at"]).partition("-")[2].split() or [show.DASH]),
        sparkline(row["spark"]),
    )


def state_cell(row: Mapping[str, Any]) -> Text:
    """Return the state of a team in its colour."""
    state = row["state"]
    paused = " (paused)" if row["paused"] and state["title"] != "paused" else ""
    return Text(f"{state['title']}{paused}", style=_KINDS.get(state["kind"], ""))


def next_text(row: Mapping[str, Any]) -> str | None:
    """Return what a team waits for in a few words; None where nothing comes."""
    if row["awaits"]:
        return f"asks you: {row['awaits'][0]['asks']}"
    goal = _GOALS.get(row["state"]["name"])
    if row["runs_to_next"] is None or goal is None:
        return None
    if row["at_most"] and row["state"]["name"] in ("testing", "probation"):
        goal = "its end"
    return f"{'≤ ' if row['at_most'] else '~'}{show.count(row['runs_to_next'], 'run')} to {goal}"


def outcome_of(row: Mapping[str, Any]) -> PlanOutcome | None:
    """Return what a team's plan brought; None where nothing tells."""
    from attrs import fields_dict

    from .._page.outcome import PlanOutcome, WasNow

    told = row["outcome"]
    if told is None:
        return None
    # The page adds words of its own to both.
    figures = tuple(WasNow(**{name: one[name] for name in fields_dict(WasNow)}) for one in told["figures"])
    return PlanOutcome(**{**{name: told[name] for name in fields_dict(PlanOutcome)}, "figures": figures})


def was_now_parts(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the figure that a team's test is about, *was → now*, and how sure it is; a dash where nothing tells."""
    from .._page.figure_words import basis_text, sure_text, was_now

    outcome = outcome_of(row)
    if outcome is None:
        return (show.DASH,)
    figure = outcome.figure(outcome.metric) or next(iter(outcome.figures), None)
    if figure is None:
        return tuple(basis_text(outcome).split(": ", 1))
    so_far = None if outcome.is_live else "in its test so far"
    return was_now(figure), ", ".join(part for part in (sure_text(figure), so_far) if part is not None)


def sparkline(values: Sequence[float | None]) -> Text:
    """Return numbers as bars, oldest first; their height is from 0 up to the largest."""
    known = [value for value in values if value is not None]
    most = max(known, default=0.0) or 1.0
    return Text("".join(_BLOCKS[min(7, int(8 * value / most))] for value in known))


def row_line(row: Mapping[str, Any]) -> str:
    """Return a team in a line, for what is no terminal."""
    brought = [part for part in was_now_parts(row) if part != show.DASH]
    told = [row["state"]["title"], next_text(row), *brought, show.count(row["runs"], "run")]
    return f"{team_name(row)}: {', '.join([part for part in told if part])}, median {show.seconds(row['median'])}"


def asking(rows: Sequence[Mapping[str, Any]]) -> Text:
    """Return what awaits a person in some teams, with the commands that answer; empty where nothing does."""
    told = Text()
    for row in rows:
        for one in row["awaits"]:
            told.append(f"{show.clean(row['team'])} asks you: {one['question']} ", "bold yellow")
            waited = one["waited"] or [f"Since {show.when(one['since'])}."]
            told.append(f"{one['description']} {' '.join(waited)}\n")
            told.append("".join(f"  {command}\n" for command in (one["approve"], one["reject"]) if command), "bold")
    return told


def team_facts_rows(data: Mapping[str, Any]) -> Iterator[tuple[str, Text]]:
    """Give name and value of what is known of a team; `data` is what `Board.team` returns."""
    row = data["row"]
    since = row["state"]["since"]
    begun = f" since {show.when(since)}" if since is not None else ""
    yield "State", Text().append_text(state_cell(row)).append(f"{begun}, mode {row['mode']}")
    yield "Live plan", show.text(row["plan"])
    outcome = outcome_of(row)
    if outcome is not None:
        from .._page.figure_words import outcome_lines

        yield "Was → now", show.lines(*outcome_lines(outcome))
    if row["next"]:
        yield "Next", show.lines(*row["next"])
    for one in data["experiments"]:
        if one["id"] == data["open"] or (data["open"] is None and one["id"] == data["live"]):
            yield "Test", show.lines(one["description"], (one["verdict"] or {}).get("reason"))
            told = _guardrails(one)
            if told:
                yield "Guardrails", told
    for number, one in enumerate(data["changes"][:5]):
        said = f"{show.when(one['at'])}  {one['title']} {one['who']}: {one['reason']}"
        yield "" if number else "History", show.text(said, "dim" if number else "")


def _guardrails(one: Mapping[str, Any]) -> Text:
    told = Text()
    for guardrail in (one["watch"] or one["verdict"] or {}).get("guardrails") or ():
        told.append(", " if told else "")
        told.append(
            f"{guardrail['title']} {show.state_text(guardrail['status'])}", _GUARDRAILS.get(guardrail["status"])
        )
    return told


def run_cells(run: TeamRun) -> tuple[Text, ...]:
    """Return the cells of a run, under `RUN_COLUMNS`."""
    from .show_runs import SHOWN_ID, WATCHED

    has_ended = run.status not in ("running", "lost")
    return (
        Text(show.when(run.started_at)),
        Text(run.run_id[:SHOWN_ID]),
        _outcome(run),
        Text(show.seconds(run.duration_seconds) if has_ended else show.DASH),
        Text(show.DASH if run.arm is None else WATCHED[run.arm] if run.phase == "watch" else run.arm),
        show.text(show.plan_text(run.plan_asked)),
    )


def _outcome(run: TeamRun) -> Text:
    if run.status not in ("finished", "late"):
        return show.word(run.status, "running" if run.status == "running" else "warn")
    if run.cancelled:
        return show.word("cancelled", "warn")
    if run.success:
        return show.word("ok")
    kind = "timed out" if run.timed_out else "failed"
    return show.word(f"{kind}: {run.error_class}" if run.error_class and not run.timed_out else kind, "failed")


def run_facts_rows(view: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Give name and value of what is known of a run; `view` is what `Board.run` returns."""
    yield "Started", show.when(view["at"])
    ended = (
        "timed out"
        if view["timed_out"]
        else "cancelled"
        if view["cancelled"]
        else "ok"
        if view["success"]
        else "failed"
    )
    if view["status"] in ("running", "lost"):
        ended = view["status"]
    yield "Outcome", f"{ended}: {view['error_class']}" if view["error_class"] else ended
    yield "Took", show.seconds(view["seconds"])
    yield "Cost", show.usd(view["usd"])
    yield "Tokens", f"{view['input_tokens']:,} in, {view['output_tokens']:,} out"
    yield "Calls", f"{show.count(view['llm_calls'], 'model call')}, {show.count(view['tool_calls'], 'tool call')}"
    if view["score"] is not None:
        yield "Score", show.number(view["score"])
    yield "Plan", f"{view['asked']} (mode {view['mode']})"
    if view["arm"] is not None:
        yield "Experiment", f"{view['experiment']}: {view['arm']}, {view['phase']}"
    if view["trace_id"]:
        yield "Trace", view["trace_id"]


def timeline(view: Mapping[str, Any], columns: int) -> Iterator[tuple[str, Text]]:
    """Give each member of a run with a bar from its begin to its end, of so many columns for the whole run."""
    whole = max([view["seconds"] or 0.0, *((one["begin"] or 0.0) + (one["seconds"] or 0.0) for one in view["members"])])
    for one in view["members"]:
        begin, took = one["begin"] or 0.0, one["seconds"] or 0.0
        left = int(columns * begin / whole) if whole else 0
        width = max(1, min(columns - left, round(columns * took / whole))) if whole else 1
        bar = Text(" " * left).append("━" * width, "cyan" if one["success"] else "red")
        bar.append(" " * (columns - left - width))
        calls = f"{show.count(one['llm_calls'], 'model call')}, {show.count(one['tool_calls'], 'tool call')}"
        ended = (
            "" if one["success"] else f", {one['error_class'] or ('failed' if one['finished'] else 'did not finish')}"
        )
        yield show.clean(one["id"]), bar.append(f" {show.seconds(took)}, {calls}{show.clean(ended)}")
