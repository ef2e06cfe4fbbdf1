"""Real Victor teams on a scripted model, under plans that the benchmark chooses or under the plugin's own loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from victor_autotune_plugin._model.plan import EMPTY_PLAN, TeamPlan
from victor_autotune_plugin._model.run import TeamRun
from victor_autotune_plugin.hookspecs import PlannedRun, hookimpl
from victor_autotune_testing.sandbox import victor_sandbox
from victor_autotune_testing.scripted import MODEL, Script, ScriptedModel

PRICES = f"prices: {{{MODEL}: {{input_per_million_usd: 2.0, output_per_million_usd: 10.0}}}}\n"


class Victor:
    """Runs team steps of workflows, and keeps the plugin's records of them.

    Attributes:
        plan: The plan of the next runs; None leaves the choice to the plugin.
        runs: The finished runs, oldest first.
        output: What the team of the last run delivered.
        model: The scripted model.
        project: The project folder.
        orchestrator: Victor's, once it runs.
    """

    def __init__(self, model: ScriptedModel, project: Path) -> None:
        self.plan: TeamPlan | None = None
        self.runs: list[TeamRun] = []
        self.output = ""
        self.model = model
        self.project = project
        self.orchestrator: Any = None

    @hookimpl(tryfirst=True)
    def plan_team_run(self) -> PlannedRun | None:
        """Answer with the benchmark's plan, if it has one."""
        return None if self.plan is None else PlannedRun(self.plan, "auto", source="benchmark")

    @hookimpl(trylast=True)
    def after_team_run(self, run: TeamRun) -> None:
        """Keep a record."""
        self.runs.append(run)

    async def run(self, workflow: Any, plan: TeamPlan | None = EMPTY_PLAN) -> TeamRun:
        """Run a workflow with one team step, and return the record of it.

        Args:
            workflow: What `team_workflow` returned.
            plan: The plan; None leaves the choice to the plugin.

        Raises:
            SystemExit: The plugin made no record, or another one than it was told to.
        """
        from victor_autotune_plugin import run_workflow

        self.plan = plan
        before = len(self.runs)
        result = await run_workflow(workflow, self.orchestrator, {})
        self.output = str(result.state.get("team_output", ""))
        if len(self.runs) != before + 1 or (plan is not None and self.runs[-1].plan_asked != plan):
            raise SystemExit(f"the plan {plan} was not run: {self.runs[before:]}")
        return self.runs[-1]

    def play(self, script: Script) -> None:
        """Let the model follow a script from its beginning."""
        self.model.script = script
        self.model.clear()
        # What failed under the last script must not make Victor's provider refuse calls under this one.
        self.orchestrator.provider._sandhi_typed_providers = None
        self.orchestrator.provider._rate_limit_suppressed_until_monotonic = None

    async def _start(self) -> None:
        from victor_autotune_plugin import make_orchestrator

        self.orchestrator = await make_orchestrator("openai", MODEL, None)


@contextmanager
def sandboxed(settings: str = "") -> Iterator[Victor]:
    """Start a scripted model, and move Victor into a sandbox in whose project stand the settings.

    Args:
        settings: The plugin's settings as YAML; prices are added.
    """
    with ScriptedModel() as model, victor_sandbox(model.base_url, quiet=True) as sandbox:
        folder = sandbox.project / ".victor"
        folder.mkdir(exist_ok=True)
        (folder / "autotune.yaml").write_text(PRICES + settings, encoding="utf-8")
        yield Victor(model, sandbox.project)


@asynccontextmanager
async def running(victor: Victor) -> AsyncIterator[Any]:
    """Start Victor with the plugin.

    Args:
        victor: What `sandboxed` yields.

    Yields:
        The plugin's runtime.
    """
    from victor_autotune_plugin import settle
    from victor_autotune_plugin._host import seams
    from victor_autotune_plugin._tuning import runtime
    from victor_autotune_plugin._tuning.runtime import Runtime

    owner = Runtime(victor.project, with_entry_points=False)
    owner.hooks.register(victor, "autotune.benchmark")  # as one of its own, so that it sees runs at once
    runtime.use(owner)
    seams.install()
    await victor._start()
    try:
        yield owner
    finally:
        owner.close()
        await settle()


def team_workflow(
    name: str, goal: str, formation: str, members: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]
) -> Any:
    """Return Victor's definition of a workflow with one team step, `team`.

    Args:
        name: Name of the workflow.
        goal: What the team is asked to do.
        formation: Its formation.
        members: Its members as a workflow file has them.
        fields: Further keys of the step.
    """
    from victor.workflows.definition import TeamStepWorkflow, WorkflowDefinition

    own = [dict(member) for member in members]
    step = TeamStepWorkflow(id="team", name="team", goal=goal, team_formation=formation, members=own, **fields)
    return WorkflowDefinition(name=name, nodes={"team": step})
