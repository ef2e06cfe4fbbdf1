"""Applies one suggestion to one team, in its config, its file or its live plan, tested or not; and rolls it back."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from .._model.experiment import TAKES_BACK, ChangeAction, TeamState
from .._model.optimization import OptimizationResult, OptimizationSuggestion, current_config
from .._model.plan import ADHOC_WORKFLOW, EMPTY_PLAN, TeamSpec, is_called
from .._tuning.new_experiment import policy_of
from .._values.nodes import WrongValueError
from .._values.reading import read_bytes
from ..errors import AutotuneError, PlanError
from .optimizations import FILE, OPTIMIZATION, ROLLBACK_CONFIG, VALIDATION, Optimization

if TYPE_CHECKING:
    from .._model.experiment import Change
    from .._model.run import TeamRun
    from .._settings import Settings
    from .._tuning.runtime import Runtime
    from ..configfiles.team import TeamConfigFile
    from ..storage import Store
    from .trial import Runner, TrialResult

_ACTIVE: Final = ("suggest", "approve", "auto")
"""The modes in which a live plan is used."""

_SEARCHED_RUNS: Final = 1_000
"""How many of the last runs outside workflows are searched for a name."""


@frozen
class KnownTeam:
    """What the project knows of a team.

    Attributes:
        state: Its state; empty for a team that was never seen.
        spec: Its definition as it was last seen, or None.
        settings: Its settings, without its workflow's own metadata.
    """

    state: TeamState
    spec: TeamSpec | None
    settings: Settings

    @property
    def config(self) -> dict[str, Any]:
        """The knobs as they are; empty for a team that was never seen."""
        return {} if self.spec is None else current_config(self.spec, self.state.plan)


def known_team(runtime: Runtime, store: Store | None, team_id: str, workflow: str | None = None) -> KnownTeam:
    """Find a team.

    Args:
        store: Its store, or None while there is none.
        workflow: Its workflow, needed when several have a team of this id.

    Raises:
        AutotuneError: If several workflows have such a team and none is named.
    """
    try:
        team_id.encode()
    except UnicodeEncodeError as error:
        raise AutotuneError(f"{team_id!a} is not a team name: it is not text") from error
    states = [] if store is None else [one for one in store.teams() if is_called(one.key, team_id)]
    found = [one for one in states if workflow in (None, one.workflow)]
    if len({one.workflow for one in found}) < len(found):
        ids = ", ".join(one.team_id for one in found)
        raise AutotuneError(f"several teams are called {team_id!r}", hint=f"Name one of: {ids}.")
    if len(found) > 1:
        names = ", ".join(repr(one.workflow) for one in found)
        raise AutotuneError(f"several workflows have a team {team_id!r}", hint=f"Give workflow=, one of: {names}.")
    if found:
        state = found[0]
    else:
        last = None if store is None else _last_run(store, team_id, workflow)
        key = (workflow or ADHOC_WORKFLOW, team_id) if last is None else last.spec.key
        state = TeamState(*key)
        if last is not None:
            spec = last.spec
            state = evolve(state, fingerprint=spec.fingerprint(), spec=spec)
    return KnownTeam(state, state.spec, runtime.resolver.for_team(*state.key))


def _last_run(store: Store, team_id: str, workflow: str | None) -> TeamRun | None:
    """Return the last run of a team that was only observed; outside workflows it may be named by its name."""
    last = next(store.runs(workflow, team_id, limit=1), None)
    if last is None and workflow in (None, ADHOC_WORKFLOW):
        recent = store.runs(ADHOC_WORKFLOW, limit=_SEARCHED_RUNS)
        last = next((run for run in recent if run.spec.name == team_id), None)
    return last


@frozen
class ConfigTarget:
    """What a change is applied to.

    Attributes:
        config: The config as it is.
        file: The file that holds it, or None.
    """

    config: Mapping[str, Any] = field(factory=dict)
    file: TeamConfigFile | None = None

    @classmethod
    def of(
        cls, given: Mapping[str, Any] | str | Path | None, team: KnownTeam, suggested: Mapping[str, Any]
    ) -> ConfigTarget:
        """Return what the caller means.

        Args:
            given: A config, a file that holds one, or None for what is known of the team.
            suggested: The config that a suggestion was made for, where nothing else is known.

        Raises:
            WorkflowError: If the file can't be used.
        """
        if isinstance(given, str | Path):
            from ..configfiles import read_team_config

            named = None if team.state.workflow == ADHOC_WORKFLOW else team.state.workflow
            try:
                file = read_team_config(Path(given), team.state.team_id, named)
            except AutotuneError:
                if named is None:
                    raise
                file = read_team_config(Path(given), team.state.team_id)
            return cls(file.config, file)
        return cls(dict(given) if given is not None else team.config or dict(suggested))


class Application:
    """One suggestion on its way into a team's plan."""

    def __init__(
        self,
        runtime: Runtime,
        team: KnownTeam,
        suggestion: OptimizationSuggestion,
        target: ConfigTarget,
        changed: Mapping[str, Any],
    ) -> None:
        self._runtime = runtime
        self._team = team
        self._suggestion = suggestion
        self._target = target
        self._changed = dict(changed)

    def check(self) -> None:
        """Make sure that the change can be made.

        Raises:
            PlanError: It can't run with this team, or crosses a limit.
            WorkflowError: The file can't take it.
            AutotuneError: The settings fix the plan.
        """
        team, plan = self._team, self._team.state.plan.merged(self._suggestion.plan)
        if team.settings.plan is not None:
            raise AutotuneError("the settings fix this team's plan", hint="Take `plan` out of the settings.")
        if team.spec is not None and self._target.file is None:
            from ..configfiles.placement import placed

            placed(team.spec, team.settings, plan)
        for _, limit, text in team.settings.limits.crossed_by(plan):
            raise PlanError(text, where="/".join(team.state.key), hint=f"Change the plan, or limits.{limit}.")
        if self._target.file is not None:
            self._target.file.rendered(self._suggestion.suggested_config)

    def dry_run(self) -> OptimizationResult:
        """Return what the change would be; nothing is written."""
        return self._result(True, "dry_run", message="Nothing was changed: this is a dry run.")

    def put_in_place(self, trial: TrialResult | None = None) -> OptimizationResult:
        """Make the change.

        Args:
            trial: The test that proved it, or None for a change without one.

        Raises:
            AutotuneError: If it can't be made.
        """
        status = "skipped" if trial is None else trial.status
        reason = self._suggestion.description if trial is None else trial.reason
        evidence = self._evidence(status, trial)
        file, plan = self._target.file, self._suggestion.plan
        if file is not None:
            made = file.write(self._suggestion.suggested_config, project=self._runtime.project)
            evidence[FILE] = _written(file.path, made)
            plan, reason = EMPTY_PLAN, f"{reason} Written into {file.path}."
            backup = evidence[FILE]["backup"]
            message = f"{file.path} says so already." if backup is None else f"Written into {file.path}, with a backup."
        else:
            message = self._live_message(f"The live plan of team {self._team.state.team_id!r} is changed.")
        proven = None if trial is None else trial.improvement_percent
        change = self._runtime.manual.apply(
            self._team.state.key,
            plan,
            reason,
            evidence=evidence,
            improvement_percent=proven,
            watched=(self._suggestion, self._team.settings),
        )
        if change.experiment_id is not None:
            message += " It is verified from now on, and rolled back if it does harm."
        return self._result(True, status, trial, message=message)

    def start_test(self) -> OptimizationResult:
        """Start an A/B test on the team's next runs.

        Where the team has an open test already, it is that one.

        Raises:
            AutotuneError: If the live plan is being verified again.
        """
        evidence = {ROLLBACK_CONFIG: dict(self._target.config)}
        opened = self._team.state.experiment_id
        test = self._runtime.manual.start_test(self._team.state.key, self._suggestion, self._team.settings, evidence)
        mode = self._team.settings.mode
        message = f"The test {test.id} has started; the team's next runs decide it."
        if test.id == opened:
            message = f"The test {test.id} of this team is open: {test.description} The team's next runs decide it."
        if mode not in ("approve", "auto"):
            message = (
                f"The test {test.id} waits: runs take part in tests in the modes approve and auto, and "
                f"the settings say {mode}. The workflow's own metadata.autotune may say otherwise."
            )
        if self._target.file is not None:
            message += f" {self._target.file.path} stays as it is."
        return self._result(True, "inconclusive", message=message)

    async def test(self, runner: Runner, runs_per_arm: int | None = None) -> OptimizationResult:
        """Run the A/B test to its verdict, and put the change in place if it passed.

        Args:
            runner: Runs the team with a config.
            runs_per_arm: Most runs in each arm; None for the settings'.

        Raises:
            AutotuneError: If what the runner returns can't be used, or the change can't be made.
        """
        from .._model.policy import METRICS
        from .._model.run import CONTROL
        from .trial import Trial, observed

        metric = self._suggestion.metadata.metric
        policy = policy_of(self._team.settings, metric if metric in METRICS else None)
        trial = Trial(policy, seed=self._seed(), runs_per_arm=runs_per_arm or policy.max_runs_per_arm)
        configs = {CONTROL: dict(self._target.config)}
        while (arm := trial.next_arm) is not None:
            config = copy.deepcopy(configs.get(arm, self._changed))
            trial.observe(await observed(runner, config, arm, trial.next_index))
        result = trial.result()
        if result.status == "passed":
            return self.put_in_place(result)
        evidence = self._evidence(result.status, result)
        action: ChangeAction = "failed" if result.status == "failed" else "inconclusive"
        self._runtime.manual.note(self._team.state.key, action, result.reason, evidence=evidence)
        return self._result(False, result.status, result, message="Nothing was changed.")

    def _live_message(self, message: str) -> str:
        mode = self._team.settings.mode
        if mode in _ACTIVE:
            return message
        return (
            f"{message} It is used in the modes {', '.join(_ACTIVE)}, and the settings say {mode}. "
            "The workflow's own metadata.autotune may say otherwise."
        )

    def _seed(self) -> str:
        state = self._team.state
        origin = f"{state.workflow}\n{state.team_id}\n{sorted(self._changed)}\n{self._suggestion.description}"
        return hashlib.sha256(origin.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def _evidence(self, status: str, trial: TrialResult | None) -> dict[str, Any]:
        evidence: dict[str, Any] = {
            OPTIMIZATION: self._suggestion.to_dict(),
            VALIDATION: status,
            ROLLBACK_CONFIG: dict(self._target.config),
        }
        if trial is not None:
            evidence |= {
                "before_metrics": trial.control.metrics(),
                "after_metrics": trial.treatment.metrics(),
                "test": trial.verdict.to_dict(),
            }
        return evidence

    def _result(
        self, success: bool, status: str, trial: TrialResult | None = None, *, message: str
    ) -> OptimizationResult:
        return OptimizationResult(
            success=success,
            team_id=self._team.state.team_id,
            optimization=self._suggestion,
            before_metrics={} if trial is None else trial.control.metrics(),
            after_metrics={} if trial is None else trial.treatment.metrics(),
            improvement_percentage=0.0 if trial is None else trial.improvement_percent,
            validation_status=status,
            rollback_config=dict(self._target.config),
            applied_config=self._changed,
            message=message if trial is None else f"{trial.reason} {message}",
        )


def _written(path: Path, backup: Path | None) -> dict[str, Any]:
    """Return what a change of a file leaves in the history, for rolling it back; `backup` is None where it fitted."""
    return {
        "path": str(path.absolute()),
        "backup": None if backup is None else str(backup.absolute()),
        "sha256": _digest(path),
    }


def take_back(runtime: Runtime, one: Optimization, reason: str) -> Change:
    """Roll an optimization back exactly: the live plan, or the file that it was written into.

    Args:
        one: An optimization that is in effect. With a live plan those that were applied after it go, too.

    Returns:
        The line in the history.

    Raises:
        AutotuneError: It is not in effect, or its file was changed since, or has no backup any more.
        StoreError: If the store can't be used.
    """
    if not one.in_effect or one.change_id is None:
        raise AutotuneError(
            f"{one.optimization.get('description') or 'the change'!s} is not in effect",
            hint="See what can be rolled back: victor autotune rollback --list",
        )
    if not one.is_noted:
        return runtime.manual.roll_back(one.workflow, one.team_id, reason, change_id=one.change_id)
    if one.file is not None:
        _restore(one.file, runtime.project)
    key = one.workflow, one.team_id
    return runtime.manual.note(key, "rolled_back", reason, evidence={TAKES_BACK: [one.change_id]})


def _restore(file: Mapping[str, Any], project: Path) -> None:
    from ..configfiles import restore

    path, backup = Path(file["path"]), file["backup"]
    if backup is None:
        return
    hint = f"The file as it was before the change is {backup}."
    try:
        same = _digest(path) == file["sha256"]
    except OSError as error:
        raise AutotuneError(f"can't be read: {error.strerror}", where=str(path), hint=hint) from error
    if not same:
        raise AutotuneError("was changed since the optimization was written", where=str(path), hint=hint)
    if not Path(backup).exists():
        raise AutotuneError("the backup is gone", where=backup, hint="Roll the change back by hand.")
    restore(Path(backup), project=project)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(read_bytes(path)).hexdigest()
    except WrongValueError as wrong:
        raise wrong.told(AutotuneError) from wrong
