"""What `benchmark` and `validate` share: the trial's rules from the settings, and telling its result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .._apply.trial import Trial
from .._tuning.suggestions import policy_of
from .._values.files import write_text
from ..experiment import METRICS, Policy
from . import rendering as show
from .command import ExitCode
from .trial_screen import TrialScreen, print_trial

if TYPE_CHECKING:
    from .._settings import Settings
    from .comparison import Comparison


def overrides(metric: str | None, threshold: float | None) -> dict[str, object]:
    """Return the options of a trial as settings.

    Args:
        metric: What decides, or None.
        threshold: Least improvement in percent, or None.

    Raises:
        AutotuneError: For a metric that is none.
    """
    from ..errors import AutotuneError

    if metric is not None and metric not in METRICS:
        raise AutotuneError(f"{metric!r} is no metric", where="--metric", hint=f"Known: {', '.join(METRICS)}.")
    return {
        "experiment.metric": metric,
        "experiment.minimum_improvement": None if threshold is None else threshold / 100,
    }


def new_trial(settings: Settings, runs: int, *names: object) -> Trial:
    """Return a trial by a team's settings.

    Args:
        settings: The settings.
        runs: Most runs of each version.
        *names: What is compared; equal names give an equal order of the runs.
    """
    seed = hashlib.sha256("\n".join(map(str, names)).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return Trial(Policy.from_dict(policy_of(settings)), seed=seed, runs_per_arm=runs)


def new_screen(title: str, runs: int, *, as_json: bool) -> TrialScreen:
    """Return the screen of a trial with this many runs of each version."""
    return TrialScreen(title, 2 * runs, bar=not as_json)


def tell(comparison: Comparison, extra: Mapping[str, Any], output: Path | None, *, as_json: bool) -> None:
    """Tell the result of a comparison, and end with its exit code.

    Args:
        comparison: A comparison that was run.
        extra: What else belongs into the JSON.
        output: File to write the JSON to, or None.
        as_json: Whether JSON goes to stdout.

    Raises:
        typer.Exit: With 1 when the treatment failed, or no run of a version succeeded; 130 after Ctrl-C.
    """
    result = comparison.trial.result()
    control, treatment = comparison.control.name, comparison.treatment.name
    failures = [
        {"number": run.number, "version": name, "error": run.error} for name, run in comparison.runs if run.error
    ]
    data = {
        **extra,
        **result.to_dict(),
        "versions": {"control": control, "treatment": treatment},
        "failures": failures,
        "interrupted": comparison.interrupted,
    }
    if output is not None:
        write_text(output, show.json_text(data))
    if as_json:
        show.write_json(data)
    else:
        print_trial(result, control, treatment)
        for one in failures[:3]:
            show.say(f"run {one['number']} ({one['version']}) failed: {one['error']}", "red")
        if len(failures) > 3:
            show.say(f"and {len(failures) - 3} more failed; all are in --json", "red")
        if comparison.interrupted:
            show.say(f"Interrupted after {show.count(len(comparison.runs), 'run')}.")
    if comparison.interrupted:
        raise typer.Exit(ExitCode.INTERRUPTED)
    nothing_succeeded = 0.0 in (result.control.success_rate, result.treatment.success_rate)
    if result.status == "failed" or nothing_succeeded:
        raise typer.Exit(ExitCode.BAD)
