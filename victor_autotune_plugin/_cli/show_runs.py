"""`runs`: the last runs, or one of them with its members."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ..errors import AutotuneError
from . import rendering as show
from .options import HERE, Json, Project, Team, Workflow
from .project import opened

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from .._model.run import MemberOutcome, TeamRun
    from .._model.score import Score
    from ..storage import Store

WATCHED: Final = {"treatment": "live plan", "control": "plan before"}
"""What the arms of a run are called that a test is over for: its live plan is verified against the plan before."""

SHOWN_ID: Final = 8
"""Characters of a run's id that are shown, enough to name it: victor autotune score RUN."""

_LONGEST_ERROR: Final = 24
"""Characters of an error's class that are not broken."""

_WHOLE_BAR: Final = 12
"""Characters of the bar that stands for the longest time of a member."""


def runs(
    what: Annotated[list[str] | None, typer.Argument(metavar="[show RUN]", help="The id of a run, its first 6 "
                                                     "characters, or its trace.")] = None,
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:  # fmt: skip
    """List the last runs, newest first; `runs show RUN` shows one with its members.

    Neither prompts nor outputs are kept, so none is shown.
    """
    named = _named(what or [])
    with opened(project) as session:
        if named is None:
            keys = session.keys(workflow, team)
            listed = [] if session.store is None else last_runs(session.store, keys, limit)
        else:
            run, scores = _found(session.store, named)
    if named is not None:
        if as_json:
            told = [one.to_dict() for one in scores]
            show.write_json({"run": {**run.to_dict(), "status": run.status, "scores": told}})
        else:
            _print(run, scores)
    elif as_json:
        show.write_json({"runs": [{**run.to_dict(), "status": run.status} for run in listed]})
    elif listed:
        show.out().print(run_table(listed))
        show.say("One of them, with its members: victor autotune runs show RUN", "dim")
    else:
        show.say("No runs yet.")


def _named(words: Sequence[str]) -> str | None:
    """Return the run that is to be shown, or None for a list."""
    if not words:
        return None
    if words[0] == "show" and len(words) == 2:
        return words[1]
    raise AutotuneError(
        f"{' '.join(words)!r} is not understood",
        where="runs",
        hint="Write runs, runs --team-id TEAM, or runs show RUN.",
    )


def _found(store: Store | None, named: str) -> tuple[TeamRun, Sequence[Score]]:
    found = None if store is None else store.find_run(named)
    if store is None or found is None:
        raise AutotuneError(f"no run {named!r} was recorded", where="RUN", hint="List them: victor autotune runs")
    return found, store.scores_of(found.run_id)


def last_runs(store: Store, keys: Iterable[tuple[str | None, str | None]], limit: int) -> list[TeamRun]:
    """Return the last runs of some teams, newest first.

    Args:
        store: The store.
        keys: The teams, as `OpenProject.keys` gives them.
        limit: At most so many.
    """
    found = [run for key in keys for run in store.runs(*key, limit=limit)]
    return sorted(found, key=lambda run: (run.started_at, run.run_id), reverse=True)[:limit]


def run_table(found: Sequence[TeamRun]) -> Table:
    """Return the table of some runs."""
    table = show.table("Started", "Team", "Outcome", ">Duration", ">Calls", "Plan")
    table.columns[2].min_width = min(max((len(run.error_class or "") for run in found), default=0), _LONGEST_ERROR)
    for run in found:
        finished = run.status == "finished"
        table.add_row(
            show.lines(show.when(run.started_at), show.name(run.run_id[:SHOWN_ID])),
            show.lines(show.name(run.spec.team_id), show.name(run.spec.workflow)),
            show.lines(_outcome(run), None if run.score is None else f"score {show.number(run.score)}"),
            show.seconds(run.duration_seconds) if finished else show.DASH,
            str(run.tool_calls) if finished else show.DASH,
            show.lines(show.plan_text(run.plan_asked), _arm(run)),
        )
    return table


def _arm(run: TeamRun) -> str | None:
    if run.arm is None:
        return None
    return f"{run.arm} of {run.experiment_id}" if run.phase == "test" else WATCHED[run.arm]


def _outcome(run: TeamRun) -> Text:
    if run.status != "finished":
        return show.word(run.status, "warn")
    if run.cancelled:
        return show.word("cancelled", "warn")
    if run.success:
        return show.word("ok")
    return show.lines(show.word("timed out" if run.timed_out else "failed", "failed"), run.error_class)


def _print(run: TeamRun, scores: Sequence[Score]) -> None:
    show.say(f"Run {run.run_id}", "bold")
    rows: list[tuple[str, object]] = [
        ("Team", f"{run.spec.team_id} ({run.spec.workflow})"),
        ("Started", show.when(run.started_at)),
        ("Outcome", ": ".join(_outcome(run).plain.splitlines())),
    ]
    has_ended = run.status not in ("running", "lost")
    if has_ended:
        tokens = f"{run.input_tokens:,} in, {run.output_tokens:,} out" if run.input_tokens else show.DASH
        rows += [
            ("Took", show.seconds(run.duration_seconds)),
            ("Cost", show.usd(run.cost_usd)),
            ("Tokens", tokens),
            ("Calls", f"{show.count(run.llm_calls, 'model call')}, {show.count(run.tool_calls, 'tool call')}"),
        ]
    if run.score is not None or scores:
        parts = [f"{one.name} {show.number(one.value)}" for one in scores]
        rows.append(("Score", f"{show.number(run.score)}{f' ({show.listed(parts)})' if parts else ''}"))
    rows.append(("Plan", show.plan_text(run.plan_asked)))
    if has_ended and not run.plan_used.is_empty:
        rows.append(("Ran as", show.plan_text(run.plan_used)))
    rows.append(("Mode", run.mode))
    if run.arm is not None:
        rows.append(("Experiment", f"{run.experiment_id}: {run.arm}, {run.phase}"))
    rows += [(name, value) for name, value in (
        ("Task", run.task_key), ("Inside of run", run.parent_id), ("Trace", run.trace_id or None)
    ) if value is not None]  # fmt: skip
    show.out().print(show.pairs(rows))
    if run.members:
        show.out().print(_members(run.members))


def _members(members: Sequence[MemberOutcome]) -> Table:
    table = show.table("Member", "Outcome", ">Took", "", ">Model", ">Tools", ">Tokens")
    table.columns[1].min_width = min(max(len(member.error_class or "") for member in members), _LONGEST_ERROR)
    longest = max(member.duration_seconds for member in members)
    for member in members:
        bad = "failed" if member.finished else "did not finish"
        outcome = show.word("ok") if member.success else show.word(bad, "failed")
        refused = f"{member.tool_calls_refused} refused" if member.tool_calls_refused else None
        waited = "" if member.model_seconds is None else f"{show.seconds(member.model_seconds)}, "
        width = round(_WHOLE_BAR * member.duration_seconds / longest) if longest > 0 else 0
        table.add_row(
            show.lines(show.name(member.id), show.name(member.role) if member.role else None),
            show.lines(outcome, member.error_class),
            show.seconds(member.duration_seconds),
            show.text("▬" * max(width, 1), "cyan"),
            f"{waited}{show.count(member.llm_calls, 'call')}" if member.llm_calls else show.DASH,
            show.lines(str(member.tool_calls), refused),
            f"{member.input_tokens + member.output_tokens:,}",
        )
    return table
