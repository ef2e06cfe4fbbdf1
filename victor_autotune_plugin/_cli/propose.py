"""`propose`: a proven plan as a patch, a text for a pull request, and evidence to decide it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from ..errors import AutotuneError
from . import rendering as show
from .options import HERE, Json, Project, Team, TeamName, Workflow, chosen
from .project import opened

PATCH: Final = "plan.patch"
TEXT: Final = "PROPOSAL.md"
EVIDENCE: Final = "evidence.jsonl"


def propose(
    name: TeamName = None,
    file: Annotated[
        Path, typer.Option("--file", metavar="WORKFLOW.yaml", help="Workflow file that declares the team.")
    ] = ...,  # type: ignore[assignment]  # Typer's mark of an option that must be given
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write to; it is made.")
    ] = Path("autotune-proposal"),
    project: Project = HERE,
    workflow: Workflow = None,
    team: Team = None,
    as_json: Json = False,
) -> None:
    """Write a team's proven plan as a change to review; the file itself stays as it is.

    Into the folder come plan.patch, which `git apply` takes; PROPOSAL.md for a
    pull request: was and is, how sure, guardrails, data flow, how to roll it
    back; and evidence.jsonl, which `victor autotune replay` decides again on
    any machine. It holds keys of tasks, and neither prompt nor output.
    """
    from .._page.change_request import ChangeRequest
    from .._values.files import write_text
    from ..configfiles import read_team_config

    with opened(project) as session:
        state = session.team(chosen(name, team), workflow)
        if session.store is None:
            raise AutotuneError("nothing was recorded yet", hint="Run a workflow: victor autotune run WORKFLOW.yaml")
        settings = session.runtime.resolver.for_team(*state.key)
        read = read_team_config(file, state.team_id, state.workflow)
        request = ChangeRequest.of(session.store, state, settings, read)
    try:
        output.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        hint = "Name a folder that you may make or write to."
        raise AutotuneError(f"can't be made: {error.strerror}", where=f"--output {output}", hint=hint) from error
    for called, text in ((PATCH, request.patch), (TEXT, request.text), (EVIDENCE, request.evidence)):
        write_text(output / called, text, project=project)
    if as_json:
        show.write_json(
            {
                "workflow": state.workflow,
                "team_id": state.team_id,
                "plan": state.plan.to_dict(),
                "experiment_id": request.proof.id,
                "outcome": request.outcome.to_dict(),
                "patch": str(output / PATCH),
                "text": str(output / TEXT),
                "evidence": str(output / EVIDENCE),
                "notes": request.notes,
            }
        )
        return
    show.say(f"{output}: {PATCH}, {TEXT} and {EVIDENCE}. The plan: {show.plan_text(state.plan)}.")
    show.say(f"Look at {output / TEXT}, then: git apply {output / PATCH}", "dim")
