"""`PerformanceAutotuner`: suggest, apply, test and roll back, from Python.

    autotuner = PerformanceAutotuner()                                   # the store of the current project
    suggestions = autotuner.suggest_optimizations("review_team")
    result = await autotuner.apply_optimizations("review_team", suggestions)
    result.validation_status                                             # 'inconclusive': the test has started
    autotuner.get_optimization_history("review_team")                    # … and what came of it
    await autotuner.rollback_optimization("review_team")

Every change is a transaction of the store that the team runs themselves use, so it holds for all processes that share
it, and the history survives a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from attrs import asdict, evolve

from .._apply.application import Application, ConfigTarget, KnownTeam, known_team, take_back
from .._apply.optimizations import Optimization, recorded
from .._model.optimization import OptimizationResult, OptimizationSuggestion, PerformanceInsight
from .._model.process import person_name
from ..errors import AutotuneError
from .analyzer import PerformanceAnalyzer

if TYPE_CHECKING:
    from .._apply.trial import Runner
    from .._dataflow.verdict import Knowledge
    from .._model.experiment import Change
    from .._model.score import ScoreSource
    from .._tuning.runtime import Runtime
    from ..storage import Store
    from ..strategies import OptimizationStrategy

DEFAULT_THRESHOLD: Final = 5.0
"""Improvement in percent that a test must prove, unless the settings or the caller say otherwise."""

_LATEST_RUNS: Final = 50
"""How many of a team's last runs tell where it stands."""

_ANALYZED_RUNS: Final = 10_000
"""How many of a team's last recorded runs suggestions are made from."""


class PerformanceAutotuner:
    """Suggests, applies, tests and rolls back changes of teams.

    Args:
        analyzer: Holds the runs to make suggestions from; None for the runs that the project's store has recorded.
        strategies: Who suggests: instances, or names. None for the built-in ones and those of installed hooks, as
            far as the settings allow them.
        ab_test_threshold: Least improvement, in percent, that a test must prove. 5.0 stands for what the settings say,
            which is 5 % unless they say otherwise.
        enable_auto_rollback: Whether a live plan is verified, and rolled back if it turns worse. True leaves it to the
            settings, which do unless they say otherwise.
        project: Folder whose settings and store are used; None for the one that Victor works on, or the current one.
        database_url: Store to use instead of the project's.
        workflow: Workflow of the teams, where several have a team of the same id.
        max_risk: Highest risk level of suggestions, 0 to 1; None for any.

    Raises:
        SettingsError: If the project's settings are wrong.
    """

    def __init__(
        self,
        analyzer: PerformanceAnalyzer | None = None,
        strategies: Iterable[OptimizationStrategy | str] | None = None,
        ab_test_threshold: float = DEFAULT_THRESHOLD,
        enable_auto_rollback: bool = True,
        *,
        project: Path | str | None = None,
        database_url: str | None = None,
        workflow: str | None = None,
        max_risk: float | None = None,
        environment: str | None = None,
    ) -> None:
        from .._tuning.runtime import Runtime, project_folder

        self.analyzer = analyzer
        self.ab_test_threshold = ab_test_threshold
        self.enable_auto_rollback = enable_auto_rollback
        self._strategies = None if strategies is None else tuple(strategies)
        self._workflow = workflow
        self._max_risk = max_risk
        overrides = {
            "database_url": database_url,
            "experiment.minimum_improvement": (
                None if ab_test_threshold == DEFAULT_THRESHOLD else ab_test_threshold / 100
            ),
            "watch.enabled": None if enable_auto_rollback else False,
            "environment": environment,
        }
        self._runtime: Runtime = Runtime(project_folder() if project is None else Path(project), overrides=overrides)

    def suggest_optimizations(
        self,
        team_id: str,
        current_config: Mapping[str, Any] | None = None,
        *,
        workflow: str | None = None,
        max_risk: float | None = None,
        strategies: Iterable[str] | None = None,
    ) -> list[OptimizationSuggestion]:
        """Suggest changes.

        Args:
            current_config: Its config: any of `formation` (or `team_formation`), `members` or `member_count`,
                `tool_budget` (or `total_tool_budget`), `timeout_seconds`; None for what the store knows.
            workflow: Its workflow; None for that of the constructor, or the only one with such a team.
            max_risk: Highest risk level, 0 to 1; None for that of the constructor.
            strategies: Names of the strategies that may suggest; None for all.

        Returns:
            Suggestions by priority, and then by expected improvement times confidence; none below a confidence of
            0.6, and none that would take from a member the work that it uses. Empty when the runs show nothing, or
            there are none.

        Raises:
            PlanError: If a value of the config can't be used.
            AutotuneError: If several workflows have such a team and none is named.
        """
        from ..strategies.base import rank

        with self._looking() as store:
            team = self._team(store, team_id, workflow)
            insights = self._insights(store, team, current_config)
            knowledge = self._knowledge(store, team)
        config = {"limits": asdict(team.settings.limits), **(team.config if current_config is None else current_config)}
        chosen, names = self._chosen(team)
        wanted = names if strategies is None else tuple(strategies)
        risk = self._max_risk if max_risk is None else max_risk
        if knowledge is None:
            return rank(chosen, insights, config, names=wanted, max_risk=risk)
        if knowledge.depends_on:
            config.setdefault("depends_on", {name: list(needed) for name, needed in knowledge.depends_on.items()})
        found = rank(chosen, insights, config, names=wanted, max_risk=risk)
        return [one for one in found if not knowledge.cut_by(team.state.plan.merged(one.plan))]

    async def apply_optimizations(
        self,
        team_id: str,
        optimizations: Sequence[OptimizationSuggestion],
        workflow_config: Mapping[str, Any] | str | Path | None = None,
        enable_ab_testing: bool = True,
        dry_run: bool = False,
        *,
        runner: Runner | None = None,
        runs_per_arm: int | None = None,
        workflow: str | None = None,
    ) -> OptimizationResult:
        """Apply the first of some suggestions. The others can follow when it is decided: a test proves one change.

        - With A/B testing and a `runner`, the test is run to its verdict now, and the change applied if it passed.
        - With A/B testing alone, the test is started: the team's next runs decide it, in this process or another.
          Until then `validation_status` is `inconclusive`, and `get_optimization_history` tells what came of it.
        - Without A/B testing the change is applied at once; `validation_status` is `skipped`.
        - A dry run checks everything and changes nothing.

        Where a change is applied: in the file, if `workflow_config` is one (comments and order are kept, with a
        backup); else in the team's live plan. A config that was given as a mapping is not touched: the changed one is
        the result's `applied_config`, and `rollback_config` is what was before.

        Args:
            workflow_config: The team's config, or the YAML or JSON file that holds it; None for what the store knows.
            enable_ab_testing: Whether a test decides.
            dry_run: Whether to change nothing.
            runner: Async (or plain) function that runs the team with a config and returns what came of it: a mapping
                or an object with any of `success`, `duration_seconds`, `score`, `cost_usd`, `tool_calls`,
                `timed_out`. If it raises, that run failed.
            runs_per_arm: Most runs of each config by the `runner`; None for the settings'.
            workflow: The team's workflow; None for that of the constructor, or the only one with such a team.

        Returns:
            What came of it. Figures are measured or absent. What went wrong is in `error`, with `success` False.
        """
        chosen = next(iter(optimizations), None)
        if chosen is None:
            return OptimizationResult(
                False, team_id, None, error="There is nothing to apply: no optimization is given."
            )
        try:
            with self._looking() as store:
                team = self._team(store, team_id, workflow)
            target = ConfigTarget.of(workflow_config, team, chosen.current_config)
            changed = self._strategy_of(chosen, team).apply(target.config, chosen)
            application = Application(self._runtime, team, chosen, target, changed)
            application.check()
            if dry_run:
                return application.dry_run()
            if not enable_ab_testing:
                return application.put_in_place()
            if runner is None:
                return application.start_test()
            return await application.test(runner, runs_per_arm)
        except AutotuneError as error:
            return OptimizationResult(False, team_id, chosen, error=str(error))

    def apply_optimizations_sync(
        self, team_id: str, optimizations: Sequence[OptimizationSuggestion], *arguments: Any, **options: Any
    ) -> OptimizationResult:
        """Do what `apply_optimizations` does, outside of an event loop; the arguments are the same."""
        return asyncio.run(self.apply_optimizations(team_id, optimizations, *arguments, **options))

    async def rollback_optimization(
        self,
        team_id: str,
        rollback_index: int = -1,
        *,
        workflow: str | None = None,
        reason: str = "Rolled back by hand.",
    ) -> bool:
        """Roll an optimization back exactly, with those that were applied on top of it.

        Args:
            rollback_index: Which one of those that are in effect, oldest first; -1 is the latest, 0 the oldest.
            workflow: The team's workflow; None for that of the constructor, or the only one with such a team.

        Returns:
            Whether it was rolled back; False when there is none of this number.

        Raises:
            AutotuneError: If it can't be rolled back: its file was changed since, or the store can't be used.
        """
        active = [one for one in self._history(team_id, workflow) if one.in_effect]
        try:
            wanted = active[rollback_index]
        except IndexError:
            return False
        take_back(self._runtime, wanted, reason)
        return True

    def rollback_optimization_sync(self, team_id: str, rollback_index: int = -1, **options: Any) -> bool:
        """Do what `rollback_optimization` does, outside of an event loop; the arguments are the same."""
        return asyncio.run(self.rollback_optimization(team_id, rollback_index, **options))

    def get_optimization_history(
        self, team_id: str | None = None, *, workflow: str | None = None
    ) -> list[dict[str, Any]]:
        """Return what was changed or tested, oldest first.

        Args:
            team_id: Of this team; None for all teams.
            workflow: Of this workflow; None for that of the constructor, or any.

        Returns:
            For each optimization `timestamp`, `team_id`, `optimization`, `improvement_percentage`,
            `validation_status` and the other keys of `OptimizationResult.to_dict`, with `in_effect`, `rolled_back` and
            `reason`.
        """
        return [one.to_dict() for one in self._history(team_id, workflow)]

    def standing(self, team_id: str, *, workflow: str | None = None) -> list[dict[str, Any]]:
        """Return where the open experiments of a team stand; what awaits a person is first, and the live plan last.

        Args:
            workflow: Its workflow; None for that of the constructor, or the only one with such a team.

        Returns:
            For each plain JSON-able data: `experiment_id`, `state` (a name of the table of states), `meaning`, `since`
            (Unix seconds), `next` (sentences), `runs_to_next` and whether it `is_at_most` so many, `runs` by arm,
            `open_guardrails`, and `awaits_person`: None, or what it `asks` with the commands that answer.

        Raises:
            AutotuneError: If several workflows have such a team and none is named.
        """
        from .._tuning.present_state import standings

        with self._looking() as store:
            team = self._team(store, team_id, workflow)
            if store is None:
                return []
            runs = list(store.finished_runs(*team.state.key, limit=_LATEST_RUNS))
            settings = evolve(team.settings, mode=runs[0].mode) if runs else team.settings
            found = standings(store, team.state, settings, runs)
        return [one.to_dict() for one in found]

    def outcome(self, team_id: str, *, workflow: str | None = None) -> dict[str, Any] | None:
        """Return what a team's live plan brought, *was → now*, or so far what the plan of its open test would.

        Args:
            workflow: Its workflow; None for that of the constructor, or the only one with such a team.

        Returns:
            Plain JSON-able data: `experiment_id`, `status`, `since` (Unix seconds), `basis` (`since_promotion`, `test`
            or None), `runs` by arm, `not_measured_since`, and `figures`, each with `name`, `was`, `now`, `change`,
            `low`, `high` and `chance_better`; None where nothing is live or tested.

        Raises:
            AutotuneError: If several workflows have such a team and none is named.
        """
        from .._page.outcome import live_outcome

        with self._looking() as store:
            found = None if store is None else live_outcome(store, self._team(store, team_id, workflow).state)
        return None if found is None else found.to_dict()

    def savings(self, team_id: str | None = None, *, workflow: str | None = None) -> dict[str, Any]:
        """Return what promotions have saved since, against runs of the plan before from the same time.

        Args:
            team_id: Only this team; None for the whole store.
            workflow: Only this workflow; None for that of the constructor, or all.

        Returns:
            Plain JSON-able data: `saved`, `weeks` and `teams`. What was saved has for each of `seconds`, `usd`,
            `tokens` and `score` the `value`, `low` and `high` of its 95 % interval, `runs` and `per_run`, or None
            where it was not measured.
        """
        from .._page.ledger import SavingsLedger, savings_ledger

        with self._looking() as store:
            named = workflow or self._workflow
            found = SavingsLedger({}, (), ()) if store is None else savings_ledger(store, named, team_id)
        return found.to_dict()

    def approve(
        self, team_id: str, *, experiment_id: str | None = None, by: str | None = None, workflow: str | None = None
    ) -> Change:
        """Approve what awaits a person: the start of a test, a probation, or a promotion.

        Args:
            experiment_id: The experiment that was looked at, as `standing` tells it; None for whichever awaits.
            by: Who approves; None for the user that the process runs as.
            workflow: The team's workflow; None for that of the constructor, or the only one with such a team.

        Returns:
            The line in the history.

        Raises:
            AutotuneError: Nothing awaits a person, another experiment does than the one named, or the team's definition
                changed since.
        """
        key, name = self._answering(team_id, workflow, by)
        return self._runtime.manual.approve(*key, experiment_id=experiment_id, by=name)

    def reject(
        self,
        team_id: str,
        *,
        experiment_id: str | None = None,
        reason: str = "",
        by: str | None = None,
        workflow: str | None = None,
    ) -> Change:
        """Reject what awaits a person; arguments, result and errors are those of `approve`.

        Args:
            reason: Why, for the history.
        """
        key, name = self._answering(team_id, workflow, by)
        return self._runtime.manual.reject(*key, experiment_id=experiment_id, by=name, reason=reason)

    def data_flow(self, team_id: str, *, workflow: str | None = None) -> dict[str, Any]:
        """Return which members of a team use whose work, how that is known, and what follows from it.

        Args:
            workflow: Its workflow; None for that of the constructor, or the only one with such a team.

        Returns:
            Plain JSON-able data: `workflow`, `team_id`, `verdict` (`dependent`, `independent` or `unknown`), `because`,
            `missing`, `declared`, `graph`, `runs` by layout, `edges`, `open`, `formations`, `opened_by` and
            `ignored_edges`.

        Raises:
            AutotuneError: If no run of it was recorded, or several workflows have such a team and none is named.
        """
        from .._dataflow.flow_facts import facts_of

        with self._looking() as store:
            team = self._team(store, team_id, workflow)
            if store is None or team.spec is None:
                hint = "Run it, or look for its name: victor autotune status"
                raise AutotuneError(f"no run of a team {team_id!r} was recorded", where="team_id", hint=hint)
            key, has_scorer = team.state.key, bool(team.state.gates)
            last = next(iter(store.finished_runs(*key, limit=1)), None)
            settings = team.settings if last is None else evolve(team.settings, mode=last.mode)
            facts = facts_of(store.data_flow(*key), team.spec, settings, team.state.plan, has_scorer=has_scorer)
        return {"workflow": key[0], "team_id": key[1], **facts.to_dict()}

    def record_score(
        self, run_id: str, value: float | None, *, name: str = "review", source: ScoreSource = "person"
    ) -> dict[str, Any]:
        """Score a run, now that it is known what it was worth.

        A score of the same name is replaced. One that a test waits for is in the test; one that comes after its run was
        judged is kept beside it, and changes no verdict.

        Args:
            run_id: The run: its id, the first 6 characters of it or more, or the id of its trace.
            value: From 0 to 1, 1 is best; None for no opinion.
            name: What the score is called: an external scorer of the settings, or any other name.
            source: Where it comes from: `person`, `command` (a check by a program), or `import` (another tool). A model
                as judge is compared with the first two.

        Returns:
            Plain JSON-able data: `run_id`, `workflow`, `team_id`, `started_at`, `name`, `value`, `source`, `at`, what
            it `replaced`, the run's `score` now, and the names of the scorers that this `waits_for`.

        Raises:
            AutotuneError: There is no such run, several are meant, it has not ended, or an argument can't be used.
            StoreError: The store can't be used.
        """
        from .._apply.rating import checked_name, checked_value, named_run, rate

        share, called = checked_value(value, "value"), checked_name(name, "name")
        with self._looking() as store:
            run = named_run(store, run_id, "run_id")
        return rate(self._runtime, self._runtime.store(), run, share, called, source, None).to_dict()

    def close(self) -> None:
        """Close the store. An autotuner that is used again opens it again."""
        self._runtime.close()

    def __enter__(self) -> Self:
        """Return the autotuner, to be closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    @contextmanager
    def _looking(self) -> Iterator[Store | None]:
        """Open the store for a block, if there is one: looking creates none."""
        store = self._runtime.open_existing_store()
        if store is None:
            yield None
            return
        with store:
            yield store

    def _answering(self, team_id: str, workflow: str | None, by: str | None) -> tuple[tuple[str, str], str]:
        """Return the key of a team, and the name of who answers what it asks."""
        name = person_name(by)
        with self._looking() as store:
            team = self._team(store, team_id, workflow)
            if store is None:
                raise AutotuneError(f"nothing of team {team_id!r} awaits a person: nothing was recorded yet")
        return team.state.key, name

    def _team(self, store: Store | None, team_id: str, workflow: str | None) -> KnownTeam:
        return known_team(self._runtime, store, team_id, workflow or self._workflow)

    @staticmethod
    def _knowledge(store: Store | None, team: KnownTeam) -> Knowledge | None:
        """Return what is known of a team's data flow, or None of one that never ran."""
        from .._dataflow.verdict import knowledge_of

        if store is None or team.spec is None:
            return None
        return knowledge_of(store.data_flow(*team.state.key), team.spec, team.settings)

    def _history(self, team_id: str | None, workflow: str | None) -> list[Optimization]:
        with self._looking() as store:
            return [] if store is None else recorded(store, workflow or self._workflow, team_id)

    def _insights(
        self, store: Store | None, team: KnownTeam, config: Mapping[str, Any] | None
    ) -> list[PerformanceInsight]:
        formation = None if config is None else config.get("formation") or config.get("team_formation")
        if self.analyzer is not None:
            # Metrics files mostly name no workflow.
            named = self.analyzer.find(team.state.team_id, self._workflow) is not None
            only = self._workflow if named else None
            return self.analyzer.analyze_team_workflow(
                team.state.team_id, workflow=only, spec=team.spec, formation=formation
            )
        if store is None:
            return []
        analyzer = PerformanceAnalyzer()
        analyzer.add_runs(
            run
            for run in store.finished_runs(*team.state.key, limit=_ANALYZED_RUNS)
            if team.spec is None or run.spec.fingerprint() == team.spec.fingerprint()
        )
        return analyzer.analyze_team_workflow(team.state.team_id, spec=team.spec, formation=formation)

    def _chosen(self, team: KnownTeam) -> tuple[list[OptimizationStrategy], tuple[str, ...] | None]:
        """Return who may suggest, and the names that are allowed."""
        from ..strategies import BUILT_IN

        offered = [*BUILT_IN, *self._hooked()]
        if self._strategies is None:
            return offered, team.settings.strategies
        chosen: list[OptimizationStrategy] = []
        for one in self._strategies:
            if not isinstance(one, str):
                chosen.append(one)
                continue
            named = [strategy for strategy in offered if strategy.name == one]
            if not named:
                names = ", ".join(dict.fromkeys(strategy.name for strategy in offered))
                raise AutotuneError(f"unknown strategy {one!r}", where="strategies", hint=f"Known: {names}.")
            chosen += named
        return chosen, None

    def _hooked(self) -> list[OptimizationStrategy]:
        return [strategy for answer in self._runtime.hooks.answers("add_strategies") for strategy in answer.value]

    def _strategy_of(self, suggestion: OptimizationSuggestion, team: KnownTeam) -> OptimizationStrategy:
        """Return the strategy that made a suggestion, to apply it its way; any built-in one for a stranger's."""
        from ..strategies import BUILT_IN

        chosen, _ = self._chosen(team)
        return next((one for one in chosen if one.name == suggestion.type), BUILT_IN[0])
