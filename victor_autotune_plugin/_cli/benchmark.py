"""`benchmark`: is one workflow file better than another?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .context import initial_context
from .options import (
    HERE,
    BaseUrl,
    Context,
    Json,
    Metric,
    Model,
    MostRuns,
    Output,
    Project,
    Provider,
    Threshold,
    Values,
    Verbose,
)

if TYPE_CHECKING:
    from .._settings import Settings
    from .._tuning.runtime import Runtime


def benchmark(
    before: Annotated[Path, typer.Option("--before", metavar="FILE.yaml", help="Workflow file to compare with.")],
    after: Annotated[Path, typer.Option("--after", metavar="FILE.yaml", help="Workflow file that may be better.")],
    workflow: Annotated[
        str | None, typer.Option("--workflow", metavar="NAME", help="Which workflow, if the files hold several.")
    ] = None,
    runs: MostRuns = 30,
    metric: Metric = None,
    threshold: Threshold = None,
    provider: Provider = None,
    model: Model = None,
    base_url: BaseUrl = None,
    values: Values = None,
    context: Context = None,
    verbose: Verbose = False,
    project: Project = HERE,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Run two workflow files in turn, as they are written, until it is proven which is better.

    Runs come in pairs of random order, and the test looks after every run:
    its verdict is wrong in at most 5 % of comparisons of equal files. Below
    10 runs of each nothing is proven. No plan is changed, and nothing is
    recorded in the project's store.

    Exit code 1 if the second file is proven worse, or no run of a file succeeds.
    """
    import tempfile

    from .._host.workflows import read_workflows
    from .._tuning.runtime import Runtime
    from . import trials
    from .comparison import Comparison, Version, run_comparison

    initial = initial_context(context, values or [])
    sides = [read_workflows(file).workflow(workflow) for file in (before, after)]
    chosen = trials.overrides(metric, threshold)
    with tempfile.TemporaryDirectory(prefix="victor-autotune-") as folder:
        # Two definitions of one team in the store would look like a change of the team.
        url = f"sqlite:///{Path(folder) / 'benchmark.db'}"
        runtime = Runtime(project, overrides={**chosen, "mode": "observe", "database_url": url})
        try:
            settings, _ = (_settings(runtime, definition) for definition in sides)
            comparison = Comparison(
                control=Version("before", sides[0]),
                treatment=Version("after", sides[1]),
                trial=trials.new_trial(settings, runs, before, after),
                provider=provider,
                model=model,
                base_url=base_url,
                context=initial,
                verbose=verbose,
            )
            run_comparison(comparison, runtime, trials.new_screen("before or after", runs, as_json=as_json))
        finally:
            runtime.close()
    trials.tell(comparison, {"before": str(before), "after": str(after)}, output, as_json=as_json)


def _settings(runtime: Runtime, definition: Any) -> Settings:
    """Return the settings of a workflow's first team; what is wrong in its metadata ends the command."""
    from .definitions import team_steps

    step = next(iter(team_steps(definition)))
    return runtime.resolver.for_team(definition.name, step, (definition.metadata or {}).get("autotune"))
